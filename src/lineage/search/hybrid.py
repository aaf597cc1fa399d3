"""Ranking by words and by meaning together: reciprocal rank fusion of two rankers.

Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank
learning methods", SIGIR 2009: an entry scores the sum of 1 / (60 + its rank) over the rankings that
found it, whatever their scores are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from lineage.search.ranking import Entry, Hit, Ranker, best

SMOOTHING = 60
"""The paper's constant: how little the first places differ."""
DEPTH = 100
"""Places of each ranking that count, or as many as are asked for."""


class Hybrid:
    """A `Ranker` that fuses the ranks of others. What any of them finds is a hit."""

    def __init__(self, *rankers: Ranker) -> None:
        self._rankers = rankers

    def put(self, entries: Iterable[Entry]) -> None:
        """Add `entries`; one whose id is known replaces the old one."""
        entries = tuple(entries)
        for ranker in self._rankers:
            ranker.put(entries)

    def drop(self, ids: Iterable[str]) -> None:
        """Forget the entries of `ids`; unknown ids are ignored."""
        ids = tuple(ids)
        for ranker in self._rankers:
            ranker.drop(ids)

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        """Return at most `k` hits, best first, ties by id in natural order."""
        scores: dict[str, float] = defaultdict(float)
        for ranker in self._rankers if k > 0 else ():
            rank, last = 0, None
            for place, hit in enumerate(ranker.search(query, max(k, DEPTH)), start=1):
                # Equals share the rank of the first: their order is by id, which says nothing.
                rank, last = (rank, last) if hit.score == last else (place, hit.score)
                scores[hit.id] += 1 / (SMOOTHING + rank)
        return tuple(best(scores, k))
