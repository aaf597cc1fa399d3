"""Prompt assembly: pure functions from Knowledge, task and steps to conversation turns.

What is shared by a generation's episodes comes first (rules, memories, doc titles), what differs
comes last (the task), so that the prefix cache serves them all. Inherited text is data: it is
escaped, stands between marks that name its authors, and is never part of the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from lineage.knowledge import Doc, Knowledge, Memory
from lineage.models.protocol import Turn

NO_DOC = "none"


@dataclass(frozen=True)
class Experience:
    """One finished episode as its own instance remembers it; `right` as the feedback says."""

    prompt: str
    answer: str
    feedback: str
    right: bool


@cache
def template(name: str) -> Template:
    """Return the prompt template `name` of the prompts folder, without its last line break."""
    return Template(files("lineage.prompts").joinpath(f"{name}.md").read_text().rstrip("\n"))


def escape(text: str) -> str:
    """Return inherited or generated text on one line, with nothing in it that could be a mark.

    `<` goes, and with it both our fences and every chat template's special tokens; control
    characters and lone surrogates become spaces.
    """
    plain = text.replace("&", "&amp;").replace("<", "&lt;")
    kept = (c if c.isprintable() else " " for c in plain)
    return " ".join("".join(kept).split())


def fence(tag: str, entries: Sequence[Memory | Doc], lines: Sequence[str]) -> str:
    """Return `lines` between marks that name the versions that wrote the entries."""
    authors = ", ".join(sorted({escape(entry.edited.version) for entry in entries}))
    return "\n".join((f'<{tag} from="{authors}">', *lines, f"</{tag}>"))


def memory_block(knowledge: Knowledge, with_ids: bool = False) -> str:
    """Return the memories as they stand in a prompt, "" where there are none.

    This text is what the memory budget counts.
    """
    if not knowledge.memories:
        return ""
    prefix = "{}: {}" if with_ids else "{1}"
    lines = [prefix.format(m.id, escape(m.text)) for m in knowledge.memories]
    return fence("notes", knowledge.memories, lines)


def doc_index(knowledge: Knowledge) -> str:
    """Return the ids and titles of the docs, "" where there are none."""
    if not knowledge.docs:
        return ""
    return fence("docs", knowledge.docs, [f"{d.id}: {escape(d.title)}" for d in knowledge.docs])


def system_turn(rules: str, *inherited: str) -> Turn:
    """Return the system turn: the rules named `rules`, then the inherited blocks that exist."""
    blocks = [block for block in inherited if block]
    head = [template(rules).template]
    if blocks:
        head.append(template("inherited").template)
    return Turn("system", "\n".join((*head, *blocks)))


def act_turns(knowledge: Knowledge, prompt: str) -> tuple[Turn, ...]:
    """Return the turns that ask for an answer with memories only."""
    return (system_turn("act", memory_block(knowledge)), Turn("user", prompt))


def open_turns(knowledge: Knowledge, prompt: str) -> tuple[Turn, ...]:
    """Return the turns that ask which doc to open; the answer is a doc id or `NO_DOC`."""
    system = system_turn("act", memory_block(knowledge), doc_index(knowledge))
    return (system, Turn("user", template("open").substitute(prompt=prompt)))


def opened_turns(
    asked: tuple[Turn, ...], choice: str, doc: Doc | None, prompt: str
) -> tuple[Turn, ...]:
    """Return the turns that follow a choice: the doc's body, then the task again."""
    block = "No document."
    if doc:
        block = fence("doc", [doc], [escape(line) for line in doc.body.splitlines()])
    text = template("opened").substitute(doc=block, prompt=prompt)
    return (*asked, Turn("assistant", choice), Turn("user", text))


def handoff_turns(
    knowledge: Knowledge, experiences: Sequence[Experience], wrong_answers: bool
) -> tuple[Turn, ...]:
    """Return the turns that ask for edits of the memories after `experiences`."""
    system = system_turn("handoff", memory_block(knowledge, with_ids=True))
    return (system, episodes_turn(experiences, wrong_answers))


def document_turns(experiences: Sequence[Experience], wrong_answers: bool) -> tuple[Turn, ...]:
    """Return the turns that ask for one doc about `experiences`."""
    return (system_turn("document"), episodes_turn(experiences, wrong_answers))


def compress_turns(knowledge: Knowledge) -> tuple[Turn, ...]:
    """Return the turns that ask to bring memories that are over budget back under it."""
    return (
        system_turn("compress", memory_block(knowledge, with_ids=True)),
        Turn("user", "Write the JSON."),
    )


def episodes_turn(experiences: Sequence[Experience], wrong_answers: bool) -> Turn:
    """Return the user turn that shows finished episodes; their answers are escaped data.

    Answers that were wrong are shown only where `wrong_answers`.
    """
    shown = "\n".join(
        template("episode" if e.right or wrong_answers else "episode-wrong").substitute(
            prompt=e.prompt, answer=escape(e.answer), feedback=e.feedback
        )
        for e in experiences
    )
    return Turn("user", template("episodes").substitute(episodes=shown))


def memory_schema(
    knowledge: Knowledge, max_edits: int, max_chars: int, may_add: bool = True
) -> dict[str, Any]:
    """Return the JSON schema of memory edits that refer only to ids that exist.

    Lengths are bounded: a small model that is left free writes until its token limit.
    """
    text = {"type": "string", "minLength": 1, "maxLength": max_chars}
    ids = [memory.id for memory in knowledge.memories]
    shapes = [_object(op={"const": "add"}, text=text)] if may_add else []
    if ids:
        known = {"enum": ids}
        shapes += [
            _object(op={"const": "revise"}, id=known, text=text),
            _object(op={"const": "drop"}, id=known),
        ]
    if len(ids) > 1:
        many = {"type": "array", "items": known, "minItems": 2, "maxItems": 4}
        shapes.append(_object(op={"const": "merge"}, ids=many, text=text))
    edits = {"type": "array", "items": {"anyOf": shapes}, "maxItems": max_edits}
    return _object(edits=edits)


def document_schema(max_title_chars: int, max_body_chars: int) -> dict[str, Any]:
    """Return the JSON schema of one new doc."""
    return _object(
        title={"type": "string", "minLength": 1, "maxLength": max_title_chars},
        body={"type": "string", "minLength": 1, "maxLength": max_body_chars},
    )


def _object(**properties: object) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
