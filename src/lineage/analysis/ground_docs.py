"""How well docs are found and opened, against the facts that the tasks need.

A task needs the facts of its own world that its step names; tasks of other worlds need nothing
that a doc could state. A doc that only holds a kindred fact (from which the answer follows by a
rule) does not count as needed: read the family `similar` with that in mind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

from lineage.analysis.ground_log import Cells, GroundLog, Row, Shelf

EPISODES = """\
SELECT arm, pair, lineage, generation, episode, kind, family, world, facts, knowledge_before,
       entry, results, error FROM steps
WHERE phase IN ('work', 'probe') AND kind IN ('search', 'open', 'act', 'probe')
  AND arm IN (SELECT DISTINCT arm FROM steps WHERE kind IN ('search', 'open'))
ORDER BY lineage, generation, episode, step, step_id
"""
WORK = "work"
"""What stands for the family of working episodes."""


@dataclass(frozen=True)
class Search:
    """One episode that had docs to search: what it needed, found and opened.

    `results` are the ids found, best first, each once over all searches; None: it searched not.
    """

    arm: str
    pair: int
    family: str
    needed: frozenset[str]
    shelf: Shelf
    results: tuple[str, ...] | None
    opened: tuple[str, ...]

    @property
    def useful(self) -> frozenset[str]:
        """The docs that state a needed fact."""
        return self._stating(self.needed)

    @property
    def missing(self) -> frozenset[str]:
        """The docs that state a needed fact which no memory states."""
        return self._stating(self.needed - self.shelf.memories)

    def _stating(self, facts: frozenset[str]) -> frozenset[str]:
        return frozenset(id for id, stated in self.shelf.docs.items() if stated & facts)


def recall(search: Search) -> list[float]:
    """Share of the needed facts that docs state which a doc among the results states."""
    stated = search.needed.intersection(frozenset[str]().union(*search.shelf.docs.values()))
    if search.results is None or not stated:
        return []
    found = (search.shelf.docs.get(id, frozenset()) for id in search.results)
    return [len(stated.intersection(frozenset[str]().union(*found))) / len(stated)]


def reciprocal_rank(search: Search) -> list[float]:
    """1 / the rank of the first needed doc among the results, 0 where it is not among them."""
    if search.results is None or not search.useful:
        return []
    ranks = (rank for rank, id in enumerate(search.results, start=1) if id in search.useful)
    first = next(ranks, None)
    return [1.0 / first if first else 0.0]


def precision(search: Search) -> list[float]:
    """Of each opened doc, whether it was needed."""
    return [float(id in search.useful) for id in search.opened]


def opened_when_needed(search: Search) -> list[float]:
    """Whether a needed doc was opened, where one states a needed fact that no memory states."""
    return [float(bool(search.missing & set(search.opened)))] if search.missing else []


def opened_in_vain(search: Search) -> list[float]:
    """Whether a doc was opened all the same, where none states what the memories lack."""
    return [] if search.missing else [float(bool(search.opened))]


MEASURES: tuple[tuple[Callable[[Search], list[float]], str], ...] = (
    (recall, "no search needed a doc that exists"),
    (reciprocal_rank, "no search needed a doc that exists"),
    (precision, "no doc was opened"),
    (opened_when_needed, "no episode needed a doc that exists"),
    (opened_in_vain, "every episode needed a doc that exists"),
)
"""Each measure of an episode, with what is so where no episode has it."""


def doc_search(log: GroundLog) -> list[Row]:
    """Rows by `measure`, arm and `family` (`work` for working episodes, null for all)."""
    episodes = list(_episodes(log))
    found = []
    for measure, reason in MEASURES:
        cells = Cells(log, f"doc_search/{measure.__name__}", "family", reason=reason)
        for search in episodes:
            cells.add_pooled(search.pair, measure(search), search.arm, search.family)
        found += cells.rows(measure=measure.__name__)
    return found


def _episodes(log: GroundLog) -> Iterator[Search]:
    """Yield the episodes whose Knowledge holds docs and that had no error, in order."""
    for (lineage, generation, _), group in groupby(
        log.rows(EPISODES), lambda row: (row["lineage"], row["generation"], row["episode"])
    ):
        steps = list(group)
        last = steps[-1]
        home = log.homes.get((lineage, generation))
        knowledge = log.knowledge.get(last["knowledge_before"])
        failed = any(step["error"] for step in steps)
        if home is None or knowledge is None or not knowledge.docs or failed:
            continue
        searches = [step["results"] or () for step in steps if step["kind"] == "search"]
        results = tuple(dict.fromkeys(id for ids in searches for id in ids))
        opened = (step["entry"] for step in steps if step["kind"] == "open" and step["entry"])
        yield Search(
            arm=last["arm"],
            pair=last["pair"],
            family=last["family"] or WORK,
            needed=frozenset(last["facts"] or ()) if last["world"] == home.world else frozenset(),
            shelf=home.shelf(last["knowledge_before"], knowledge),
            results=results if searches else None,
            opened=tuple(dict.fromkeys(opened)),
        )
