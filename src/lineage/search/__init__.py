"""Search over docs and over raw episodes: one interface, several rankings.

A ranking is one file here and one line in `make_ranker`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lineage.core.errors import LineageError
from lineage.search.bm25 import Bm25
from lineage.search.dense import Dense, check, load
from lineage.search.hybrid import Hybrid
from lineage.search.ranking import Entry, Hit, Ranker

__all__ = ["Entry", "Hit", "Library", "Ranker", "check_ranking", "make_ranker"]


def check_ranking(kind: str, model: str | None) -> None:
    """Raise LineageError where a package or model that `make_ranker` needs is missing."""
    if kind != "bm25":
        check(model)


def make_ranker(kind: str, model: str | None = None, kept: Path = Path(".cache")) -> Ranker:
    """Return an empty ranker of `kind`.

    `model` is the folder that `dense` and `hybrid` embed with; None is a packaged one, which is
    unpacked below the folder `kept`. Raises LineageError where the kind is unknown, or its package
    or model is missing.
    """
    kinds: dict[str, Callable[[], Ranker]] = {
        "bm25": Bm25,
        "dense": lambda: Dense(*load(model, kept)),
        "hybrid": lambda: Hybrid(Bm25(), Dense(*load(model, kept))),
    }
    if kind not in kinds:
        raise LineageError(f"agent.ranking={kind} is unknown: choose from {', '.join(kinds)}")
    return kinds[kind]()


class Library:
    """Keeps a ranker in step with a tuple of entries that changes a little at a time.

    Searches of one process may alternate between a few tuples: only what differs is put or
    dropped, and rankers remember for a while what they dropped.
    """

    def __init__(self, ranker: Ranker) -> None:
        self._ranker = ranker
        self._entries: tuple[Entry, ...] = ()
        self._held: dict[str, Entry] = {}

    def search(self, entries: tuple[Entry, ...], query: str, k: int) -> tuple[Hit, ...]:
        """Return the `k` best of `entries` for `query`; see `Ranker.search`.

        Entries have ids of their own; where two share one, the last counts.
        """
        if entries is not self._entries:
            wanted, held = {entry.id: entry for entry in entries}, self._held
            self._entries, self._held = entries, wanted
            self._ranker.drop([id for id in held if id not in wanted])
            self._ranker.put([entry for id, entry in wanted.items() if held.get(id) != entry])
        return self._ranker.search(query, k)
