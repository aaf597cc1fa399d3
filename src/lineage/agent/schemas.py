"""JSON schemas of what an instance may write; the engine holds the model to them.

Lengths are bounded: a small model that is left free writes until its token limit. Ids are
those that exist. What a schema cannot say (budgets, duplicates) `lineage.core.edits` checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lineage.core.config import AgentConfig
from lineage.core.knowledge import Doc, Knowledge

Schema = dict[str, Any]
ALL = ("add", "revise", "merge", "drop")
MERGED_AT_ONCE = 4


def memory_edits(
    knowledge: Knowledge,
    most: int,
    config: AgentConfig,
    operations: Sequence[str] = ALL,
    shown: Sequence[Doc] = (),
) -> Schema:
    """Return the schema of at most `most` edits of the memories by `operations`.

    A memory may move into each of the docs `shown`, and a line of these that is short enough out.
    """
    text = _text(config.memory_chars)
    known = {"enum": [memory.id for memory in knowledge.memories]}
    many = {"type": "array", "items": known, "minItems": 2, "maxItems": MERGED_AT_ONCE}
    shapes = []
    if "add" in operations:
        shapes.append(_object(op={"const": "add"}, text=text))
    if "revise" in operations and knowledge.memories:
        shapes.append(_object(op={"const": "revise"}, id=known, text=text))
    if "drop" in operations and knowledge.memories:
        shapes.append(_object(op={"const": "drop"}, id=known))
    if "merge" in operations and len(knowledge.memories) > 1:
        shapes.append(_object(op={"const": "merge"}, ids=many, text=text))
    for doc in shown:
        if knowledge.memories:
            shapes.append(_object(op={"const": "move"}, id=known, to={"const": doc.id}))
        lines = (" ".join(line.split()) for line in doc.body.splitlines())
        if fitting := [line for line in lines if 0 < len(line) <= config.memory_chars]:
            unlike = list(dict.fromkeys(fitting))
            shapes.append(
                _object(op={"const": "move"}, id={"const": doc.id}, text={"enum": unlike})
            )
    return _edits(shapes, most)


def doc_edits(related: Sequence[Doc], lines: int, config: AgentConfig) -> Schema:
    """Return the schema of one edit of the docs: a new one, or a change of one of `related`."""
    doc = _doc(lines, config)
    shapes = [_object(op={"const": "write"}, **doc)]
    if related:
        known = {"enum": [one.id for one in related]}
        shapes.append(_object(op={"const": "revise"}, id=known, **doc))
        shapes.append(_object(op={"const": "drop"}, id=known))
    return _edits(shapes, 1)


def all_notes(config: AgentConfig) -> Schema:
    """Return the schema of a whole new list of memories."""
    notes = {"type": "array", "items": _text(config.memory_chars), "maxItems": config.rewrite_notes}
    return _object(notes=notes)


def restated_memory(config: AgentConfig) -> Schema:
    """Return the schema of one memory said anew."""
    return _object(text=_text(config.memory_chars))


def restated_doc(doc: Doc, config: AgentConfig) -> Schema:
    """Return the schema of one doc said anew, in no more lines than it has."""
    return _object(**_doc(len(doc.body.splitlines()), config))


def _doc(lines: int, config: AgentConfig) -> dict[str, object]:
    line = _text(config.doc_line_chars)
    body = {"type": "array", "items": line, "minItems": 1, "maxItems": max(lines, 1)}
    return {"title": _text(config.doc_title_chars), "body": body}


def _text(most: int) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": most}


def _edits(shapes: list[Schema], most: int) -> Schema:
    return _object(edits={"type": "array", "items": {"anyOf": shapes}, "maxItems": most})


def _object(**properties: object) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
