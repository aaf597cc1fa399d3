"""The memories of many lineages as arrays, and what becomes of them: no text, the same rules.

A note says a fact of `codebook` ("The code of pump Birch is 4821."), or has lost its last words, as
the surrogate loses them. It is what its words are, so equal notes are equal texts. The arrays are
lineages x places; a place is free where `id` is -1, and notes stand in the order of their ids.
The rules are those of `lineage.core.edits` and `lineage.agent.budget`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]
CODE, ZONE = 0, 1
WHOLE_TOKENS, WORDS = 8, 7
"""Of a note that lost nothing: its tokens, the last two of which are one word; and its words."""
FENCE_TOKENS = 11
"""Of the marks round the notes, but for the names of who wrote them."""
COMPRESSED = 2
"""Notes that a surrogate drops when it is asked to compress: the first ones."""
SAYS = ("attribute", "kind", "name", "value")
"""What a note says, as far as it is not cut off."""
FIELDS = ("id", *SAYS, "lost", "edited", "author")


@dataclass
class Notes:
    """Notes of `lineages`, each in one of `places`; `given` are the ids that were given so far.

    `lost` counts words that were cut off; `edited` is a generation, `author` a number of a version.
    """

    id: Ints
    attribute: Ints
    kind: Ints
    name: Ints
    value: Ints
    lost: Ints
    edited: Ints
    author: Ints
    given: Ints

    @classmethod
    def empty(cls, lineages: int, places: int) -> Notes:
        """Return no notes."""
        arrays = {field: np.zeros((lineages, places), dtype=np.int32) for field in FIELDS}
        arrays["id"] -= 1
        return cls(**arrays, given=np.zeros(lineages, dtype=np.int32))

    @property
    def held(self) -> Flags:
        """Which places hold a note."""
        found: Flags = self.id >= 0
        return found

    @property
    def whole(self) -> Flags:
        """Which places hold a note that says a value."""
        found: Flags = self.held & (self.lost == 0)
        return found

    def about(self, attribute: Ints, kind: Ints, name: Ints) -> Flags:
        """Return which notes are of that fact, whatever is left of them."""
        same = (self.kind == kind[:, None]) & (self.name == name[:, None])
        found: Flags = self.held & same & (self.attribute == attribute[:, None])
        return found

    def put(self, rows: Ints, places: Ints, note: Note, now: int, by: int) -> None:
        """Write `note` (of those rows) into places that are taken, as edited `now` by `by`."""
        for field in (*SAYS, "lost"):
            getattr(self, field)[rows, places] = getattr(note, field)[rows]
        self.edited[rows, places] = now
        self.author[rows, places] = by

    def add(self, rows: Ints, note: Note, now: int, by: int) -> Ints:
        """Write `note` into the first free place of each of `rows`, and return these places."""
        places: Ints = np.argmax(~self.held[rows], axis=1).astype(np.int32)
        self.id[rows, places] = self.given[rows]
        self.given[rows] += 1
        self.put(rows, places, note, now, by)
        return places

    def same_text(self, note: Note) -> Flags:
        """Return which notes read as `note` does, of their lineage."""
        lost = self.lost
        same = self.held & (lost == note.lost[:, None])
        same &= (self.attribute == note.attribute[:, None]) | (lost > 5)
        same &= (self.kind == note.kind[:, None]) | (lost > 3)
        same &= (self.name == note.name[:, None]) | (lost > 2)
        same &= (self.value == note.value[:, None]) | (lost > 0)
        found: Flags = same
        return found


@dataclass(frozen=True)
class Note:
    """One note a lineage: each field is an array of them."""

    attribute: Ints
    kind: Ints
    name: Ints
    value: Ints
    lost: Ints


def tokens(notes: Notes, authors: Ints) -> Ints:
    """Return the tokens of the memory block; `authors` are those of each version's name."""
    lost = notes.lost
    each = np.where(lost > 0, WORDS - lost, WHOLE_TOKENS)
    held = notes.held
    total = np.where(held, each, 0).sum(axis=1)
    named = np.zeros(len(total), dtype=np.int32)
    several = np.zeros(len(total), dtype=np.int32)
    for number, count in enumerate(authors):
        wrote = (held & (notes.author == number)).any(axis=1)
        named += np.where(wrote, count, 0)
        several += wrote
    found: Ints = np.where(several > 0, total + FENCE_TOKENS + named + several - 1, 0)
    return found


def fit(notes: Notes, used: Flags, budget: int, authors: Ints) -> None:
    """Bring `notes` within `budget`: first the surrogate compresses, then the oldest unused go."""
    (over,) = np.nonzero(tokens(notes, authors) > budget)
    for _ in range(COMPRESSED):
        if over.size:
            order = np.where(notes.held[over], notes.id[over], np.iinfo(np.int32).max)
            notes.id[over, np.argmin(order, axis=1)] = -1
    while over.size:
        part = _of(notes, over)
        over = over[tokens(part, authors) > budget]
        if not over.size:
            return
        # Ids stay below 2^20: a lineage is given a few each generation.
        rank = notes.edited[over].astype(np.int64) << 20
        rank += notes.id[over] + (used[over].astype(np.int64) << 60)
        rank[~notes.held[over]] = np.iinfo(np.int64).max
        notes.id[over, np.argmin(rank, axis=1)] = -1


def _of(notes: Notes, rows: NDArray[np.intp]) -> Notes:
    fields: dict[str, Ints] = {field: getattr(notes, field)[rows] for field in FIELDS}
    return Notes(**fields, given=notes.given[rows])


def restate(notes: Notes, kept: Flags, now: int, by: int) -> None:
    """Let a version say each note again: those not `kept` lose a word, unless others read so."""
    order = np.argsort(np.where(notes.held, notes.id, np.iinfo(np.int32).max), axis=1)
    rows = np.arange(len(order), dtype=np.int32)
    for turn in range(order.shape[1]):
        places = order[:, turn].astype(np.int32)
        cut = (
            notes.held[rows, places] & ~kept[rows, places] & (notes.lost[rows, places] < WORDS - 1)
        )
        if not cut.any():
            continue
        says: dict[str, Ints] = {field: getattr(notes, field)[rows, places] for field in SAYS}
        note = Note(**says, lost=notes.lost[rows, places] + 1)
        others = notes.same_text(note)
        others[rows, places] = False
        chosen = rows[cut & ~others.any(axis=1)]
        notes.put(chosen, places[chosen], note, now, by)
