"""Search over docs and over raw episodes: one interface, several rankings.

A ranking is one file here and one line in `make_ranker`.
"""

from __future__ import annotations

from collections import OrderedDict

from lineage.core.errors import LineageError
from lineage.search.bm25 import Bm25
from lineage.search.dense import Dense
from lineage.search.ranking import Entry, Hit, Ranker

__all__ = ["Entry", "Hit", "Library", "Ranker", "make_ranker"]

TUPLES_KEPT = 4
"""Tuples of entries that a library knows by sight: before and after a handoff, and two more."""


def make_ranker(kind: str, model: str | None = None) -> Ranker:
    """Return an empty ranker of `kind`; `model` is the folder that `dense` embeds with.

    Raises LineageError where the kind is unknown, or its package or model is missing.
    """
    if kind == "bm25":
        return Bm25()
    if kind == "dense":
        return Dense.load(model)
    raise LineageError(f"agent.ranking={kind} is unknown: choose from bm25, dense")


class Library:
    """Keeps a ranker in step with a tuple of entries that changes a little at a time.

    Searches of one process may alternate between a few tuples: only what differs is put or
    dropped, and rankers remember for a while what they dropped.
    """

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker
        self._held: dict[str, Entry] = {}
        # By identity, which is safe while the tuple itself is kept beside its entries by id.
        self._known: OrderedDict[int, tuple[tuple[Entry, ...], dict[str, Entry]]] = OrderedDict()

    def search(self, entries: tuple[Entry, ...], query: str, k: int) -> tuple[Hit, ...]:
        """Return the `k` best of `entries` for `query`; see `Ranker.search`.

        Entries have ids of their own; where two share one, the last counts.
        """
        wanted = self._by_id(entries)
        if wanted is not self._held:
            held, self._held = self._held, wanted
            self._ranker.drop([id for id in held if id not in wanted])
            self._ranker.put([entry for id, entry in wanted.items() if held.get(id) != entry])
        return self._ranker.search(query, k)

    def _by_id(self, entries: tuple[Entry, ...]) -> dict[str, Entry]:
        """Return `entries` by id: the same dict for a tuple that is the same, or equal."""
        if id(entries) in self._known:
            self._known.move_to_end(id(entries))
            return self._known[id(entries)][1]
        for key, (seen, by_id) in self._known.items():
            if seen == entries:
                self._known.move_to_end(key)
                return by_id
        self._known[id(entries)] = entries, {entry.id: entry for entry in entries}
        if len(self._known) > TUPLES_KEPT:
            self._known.popitem(last=False)
        return self._known[id(entries)][1]
