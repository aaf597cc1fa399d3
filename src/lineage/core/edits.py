"""Edits: the small language in which a handoff changes Knowledge, and its pure application.

Memories are edited by `add`, `revise`, `merge` and `drop`; docs by `write`, `revise` and `drop`;
`move` takes a memory into a doc, or a line of a doc into the memories. Each edit is judged by
itself: one that is invalid is rejected with its reason and changes nothing, and the others still
count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from lineage.core.knowledge import IMPORT, Doc, Knowledge, Memory, Origin
from lineage.core.plaintext import spaced

Entry = TypeVar("Entry", Memory, Doc)
APPLIED = "applied"
OVERFLOW = "overflow"
TOGETHER = 64
"""Memories that overflow at once and are still dropped one by one."""
_NUMBERED = re.compile(r"[a-z][0-9]{1,18}")
SPARE = 8
"""A text this many times too long is rejected unread: white space alone does not explain it."""


@dataclass(frozen=True)
class Edit:
    """One proposed change. `id` names a memory (`m3`) or a doc (`d4`); `ids` are of a merge.

    A `move` of a memory is `to` a doc; that of a doc is of the line that is `text`.
    """

    op: str
    id: str = ""
    ids: tuple[str, ...] = ()
    text: str = ""
    title: str = ""
    body: str = ""
    to: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of an edit: `verdict` is `APPLIED`, `OVERFLOW` or the reason of a rejection."""

    edit: Edit
    entry: str
    verdict: str

    @property
    def detail(self) -> str:
        """The outcome as the step log holds it: "op: verdict"."""
        return f"{self.edit.op}: {self.verdict}"


@dataclass(frozen=True)
class Change:
    """One edit's effect: Knowledge before and after it (the same object where rejected)."""

    before: Knowledge
    after: Knowledge
    outcome: Outcome


@dataclass(frozen=True)
class Limits:
    """Longest texts: in characters, and by `count` in tokens (None: not counted).

    `moves`: whether what is written may move between memories and docs.
    """

    memory: int
    title: int
    body: int
    count: Callable[[str], int] = len
    memory_tokens: int | None = None
    body_tokens: int | None = None
    moves: bool = False


class Rejected(Exception):
    """Why an edit is not applied."""


def parse_edits(text: str) -> tuple[Edit, ...]:
    """Return the edits that `text` (JSON: `{"edits": [...]}`) proposes.

    A doc's body may be a list of lines. Raises ValueError where it is not of that form; nothing
    in it is ever evaluated.
    """
    items = json_object(text, "edits").get("edits")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError("malformed edits: no list of edits")
    return tuple(_parse(item) for item in items)


def json_object(text: str, what: str) -> dict[str, object]:
    """Return the JSON object that a model wrote as `what`; raises ValueError where it is none."""
    try:
        raw = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"malformed {what}: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"malformed {what}: not a JSON object")
    return raw


def _parse(item: dict[str, object]) -> Edit:
    ids, body = item.get("ids", []), item.get("body", "")
    lines = [str(line) for line in body] if isinstance(body, list) else [str(body)]
    return Edit(
        op=str(item.get("op", "")),
        id=str(item.get("id", "")),
        ids=tuple(str(id) for id in ids) if isinstance(ids, list) else (),
        text=str(item.get("text", "")),
        title=str(item.get("title", "")),
        body="\n".join(lines),
        to=str(item.get("to", "")),
    )


def apply(
    knowledge: Knowledge, edits: Sequence[Edit], origin: Origin, limits: Limits
) -> tuple[Change, ...]:
    """Return what each of `edits` changes, in order. A rejected edit changes nothing."""
    changes = []
    for edit in edits:
        change = _apply(knowledge, edit, origin, limits)
        changes.append(change)
        knowledge = change.after
    return tuple(changes)


def _apply(knowledge: Knowledge, edit: Edit, origin: Origin, limits: Limits) -> Change:
    operations = {
        "add": _add,
        "merge": _merge,
        "write": _write,
        "revise": _revise_doc if edit.id.startswith("d") else _revise,
        "drop": _drop,
    }
    if limits.moves:
        operations["move"] = _move_out if edit.id.startswith("d") else _move_in
    try:
        if edit.op not in operations:
            raise Rejected(f"unknown operation {edit.op!r}"[:80])
        after, entry = operations[edit.op](knowledge, edit, origin, limits)
    except Rejected as reason:
        return Change(knowledge, knowledge, Outcome(edit, edit.id, str(reason)))
    return Change(knowledge, after, Outcome(edit, entry, APPLIED))


def overflow(
    knowledge: Knowledge, fits: Callable[[Knowledge], bool], used: frozenset[str]
) -> tuple[Change, ...]:
    """Drop as few memories as make the rest fit, in the order of `going`.

    `fits` is asked about the logarithm of their number times. Each drop is a change of its own;
    where more than `TOGETHER` go, all are dropped in one, and each change leads from the Knowledge
    that came to what is left: snapshots of each between would take the square of their number.
    """
    if fits(knowledge):
        return ()
    order = going(knowledge.memories, used)
    count = fewest(len(order), lambda n: fits(_without(knowledge, order[:n])))
    outcomes = [Outcome(Edit("drop", id=one.id), one.id, OVERFLOW) for one in order[:count]]
    if count > TOGETHER:
        kept = _without(knowledge, order[:count])
        return tuple(Change(knowledge, kept, outcome) for outcome in outcomes)
    changes = []
    for memory, outcome in zip(order, outcomes, strict=False):
        kept = _without(knowledge, [memory])
        changes.append(Change(knowledge, kept, outcome))
        knowledge = kept
    return tuple(changes)


def going(entries: Sequence[Entry], used: frozenset[str] = frozenset()) -> list[Entry]:
    """Return `entries` in the order in which they go where not all have room.

    Those in `used` (ids) go after all others. Of the others the least recently edited goes first:
    by generation, and in one generation that which was added first. What came from a folder has an
    order but no age: it goes before what was written in that generation, and of it what stands last
    goes first, as people put first what matters.
    """

    def rank(entry: Entry) -> tuple[bool, int, bool, int]:
        number = int(entry.id[1:]) if _NUMBERED.fullmatch(entry.id) else 0
        imported = entry.created.version == IMPORT
        return (
            entry.id in used,
            entry.edited.generation,
            not imported,
            -number if imported else number,
        )

    return sorted(entries, key=rank)


def _without(knowledge: Knowledge, gone: Sequence[Memory]) -> Knowledge:
    ids = {memory.id for memory in gone}
    return knowledge.evolve(memories=tuple(m for m in knowledge.memories if m.id not in ids))


def fewest(most: int, enough: Callable[[int], bool]) -> int:
    """Return the least number up to `most` that is `enough`; whatever is more is enough too."""
    high = 1
    while high < most and not enough(high):
        high *= 2
    low, high = high // 2 + 1, min(high, most)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


def _add(k: Knowledge, edit: Edit, origin: Origin, limits: Limits) -> tuple[Knowledge, str]:
    text = _memory_text(k, edit, limits)
    memory = Memory(f"m{k.next_id}", text, origin, origin)
    return k.evolve(memories=(*k.memories, memory), next_id=k.next_id + 1), memory.id


def _revise(k: Knowledge, edit: Edit, origin: Origin, limits: Limits) -> tuple[Knowledge, str]:
    old = _found(k.memories, edit.id)
    new = replace(old, text=_memory_text(k, edit, limits), edited=origin)
    return k.evolve(memories=tuple(new if m is old else m for m in k.memories)), new.id


def _merge(k: Knowledge, edit: Edit, origin: Origin, limits: Limits) -> tuple[Knowledge, str]:
    olds = [_found(k.memories, id) for id in dict.fromkeys(edit.ids)]
    if len(olds) < 2:
        raise Rejected("a merge needs two ids or more")
    first, gone = olds[0], {old.id for old in olds[1:]}
    rest = k.evolve(memories=tuple(m for m in k.memories if m.id not in gone))
    new = replace(first, text=_memory_text(rest, edit, limits, but=first.id), edited=origin)
    memories = tuple(new if m.id == first.id else m for m in rest.memories)
    return k.evolve(memories=memories), new.id


def _drop(k: Knowledge, edit: Edit, origin: Origin, limits: Limits) -> tuple[Knowledge, str]:
    if edit.id.startswith("d"):
        doc = _found(k.docs, edit.id)
        return k.evolve(docs=tuple(d for d in k.docs if d is not doc)), doc.id
    memory = _found(k.memories, edit.id)
    return k.evolve(memories=tuple(m for m in k.memories if m is not memory)), memory.id


def _write(k: Knowledge, edit: Edit, origin: Origin, limits: Limits) -> tuple[Knowledge, str]:
    title, body = _doc_texts(k, edit, limits)
    doc = Doc(f"d{k.next_id}", title, body, origin, origin)
    return k.evolve(docs=(*k.docs, doc), next_id=k.next_id + 1), doc.id


def _revise_doc(k: Knowledge, edit: Edit, origin: Origin, limits: Limits) -> tuple[Knowledge, str]:
    old = _found(k.docs, edit.id)
    title, body = _doc_texts(k, edit, limits, but=old.id)
    new = replace(old, title=title, body=body, edited=origin)
    return k.evolve(docs=tuple(new if d is old else d for d in k.docs)), new.id


def _move_in(k: Knowledge, edit: Edit, origin: Origin, limits: Limits) -> tuple[Knowledge, str]:
    """Take a memory into a doc, as its last line unless a line of it says so already."""
    memory, doc = _found(k.memories, edit.id), _found(k.docs, edit.to)
    memories = tuple(m for m in k.memories if m is not memory)
    if memory.text in map(_flat, doc.body.splitlines()):
        return k.evolve(memories=memories), doc.id
    body = f"{doc.body}\n{memory.text}"
    _bounded(body, limits.body, limits.body_tokens, limits)
    new = replace(doc, body=body, edited=origin)
    return k.evolve(memories=memories, docs=tuple(new if d is doc else d for d in k.docs)), doc.id


def _move_out(k: Knowledge, edit: Edit, origin: Origin, limits: Limits) -> tuple[Knowledge, str]:
    """Take a line of a doc into the memories; the doc goes where it says nothing else."""
    doc, text = _found(k.docs, edit.id), _memory_text(k, edit, limits)
    lines = doc.body.splitlines()
    at = next((n for n, line in enumerate(lines) if _flat(line) == text), None)
    if at is None:
        raise Rejected("no line of the doc")
    body = "\n".join((*lines[:at], *lines[at + 1 :])).strip("\n")
    new = replace(doc, body=body, edited=origin)
    docs = tuple(new if d is doc else d for d in k.docs if d is not doc or body.strip())
    memory = Memory(f"m{k.next_id}", text, doc.created, origin)
    moved = k.evolve(memories=(*k.memories, memory), docs=docs, next_id=k.next_id + 1)
    return moved, memory.id


def _found(entries: Sequence[Entry], id: str) -> Entry:
    for entry in entries:
        if entry.id == id:
            return entry
    raise Rejected("unknown id")


def _memory_text(k: Knowledge, edit: Edit, limits: Limits, but: str = "") -> str:
    text = _line(edit.text, limits.memory)
    if not text:
        raise Rejected("empty")
    _bounded(text, limits.memory, limits.memory_tokens, limits)
    if any(m.text == text for m in k.memories if m.id != but):
        raise Rejected("duplicate")
    return text


def _doc_texts(k: Knowledge, edit: Edit, limits: Limits, but: str = "") -> tuple[str, str]:
    title = _line(edit.title, limits.title)
    if len(edit.body) > SPARE * limits.body:
        raise Rejected("too long")
    lines = (_line(line, limits.body) for line in edit.body.splitlines())
    body = "\n".join(line for line in lines if line)
    if not title or not body:
        raise Rejected("empty")
    _bounded(title, limits.title, None, limits)
    _bounded(body, limits.body, limits.body_tokens, limits)
    if any((d.title, d.body) == (title, body) for d in k.docs if d.id != but):
        raise Rejected("duplicate")
    return title, body


def _line(text: str, limit: int) -> str:
    """Return `text` on one line, control characters and runs of white space as one space."""
    if len(text) > SPARE * limit:
        raise Rejected("too long")
    return _flat(text)


def _flat(text: str) -> str:
    return " ".join(spaced(text).split())


def _bounded(text: str, chars: int, tokens: int | None, limits: Limits) -> None:
    if len(text) > chars:
        raise Rejected("too long")
    if tokens is not None and limits.count(text) > tokens:
        raise Rejected("over budget")
