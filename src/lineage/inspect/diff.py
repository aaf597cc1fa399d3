"""What differs between two snapshots: entries added, dropped and revised, word by word. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from lineage.core.knowledge import Doc, Knowledge, Memory, Origin

Word = tuple[str, str]
"""A piece of text that is the `same` in both, or only in the `old` or the `new` one."""


@dataclass(frozen=True)
class Difference:
    """One entry that differs; `old` or `new` is None where it was added or dropped.

    `origin` is where its latest text comes from, `words` are the pieces of a revised text.
    """

    entry: str
    change: str  # added | dropped | revised
    old: str | None
    new: str | None
    origin: Origin
    words: tuple[Word, ...] = ()


def entries(knowledge: Knowledge) -> dict[str, Memory | Doc]:
    """Return the entries of `knowledge` by id, memories first."""
    return {entry.id: entry for entry in knowledge.entries}


def difference(before: Knowledge, after: Knowledge, by_text: bool = False) -> list[Difference]:
    """Return the entries that differ: dropped, revised, added, each in its snapshot's order.

    Entries are matched by id; `by_text` is for snapshots of lineages that share no ids: then an
    entry is the same where its text is, and none is revised.
    """
    old, new = (
        {(entry.text if by_text else entry.id): entry for entry in knowledge.entries}
        for knowledge in (before, after)
    )
    dropped = [
        Difference(entry.id, "dropped", entry.text, None, entry.edited)
        for key, entry in old.items()
        if key not in new
    ]
    revised: list[Difference] = []
    added: list[Difference] = []
    for key, entry in new.items():
        text, was = entry.text, old[key].text if key in old else None
        if was is None:
            added.append(Difference(entry.id, "added", None, text, entry.edited))
        elif was != text:
            pieces = words(was, text)
            revised.append(Difference(entry.id, "revised", was, text, entry.edited, pieces))
    return [*dropped, *revised, *added]


def words(old: str, new: str) -> tuple[Word, ...]:
    """Return the pieces of both texts in order; those not `new` make `old`, and the reverse."""
    a, b = _split(old), _split(new)
    pieces: list[Word] = []
    for tag, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(("same", "".join(a[i:j])))
            continue
        pieces += [("old", "".join(a[i:j]))] if j > i else []
        pieces += [("new", "".join(b[k:m]))] if m > k else []
    return tuple(pieces)


def _split(text: str) -> list[str]:
    return re.findall(r"\w+|\s+|[^\w\s]", text)
