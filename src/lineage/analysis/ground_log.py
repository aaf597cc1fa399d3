"""What the measures with ground truth read: worlds, snapshots and handoffs, each loaded once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from lineage.analysis.views import rows
from lineage.knowledge import Doc, Knowledge, Memory, knowledge_from_json
from lineage.metrics import interval
from lineage.tasks import Fact
from lineage.truth import Said, Truth

Row = dict[str, Any]

USED_SNAPSHOTS = """\
SELECT DISTINCT knowledge, content FROM snapshots WHERE knowledge IN (
    SELECT knowledge_before FROM steps WHERE kind IN ('act', 'probe', 'search', 'open', 'migrate')
    UNION SELECT knowledge_after FROM steps WHERE kind = 'migrate' OR phase = 'reward')
"""


@dataclass(frozen=True)
class Shelf:
    """What one Knowledge states of a world: by its memories together, and by each doc (id)."""

    memories: frozenset[str]
    docs: dict[str, frozenset[str]]

    @property
    def stated(self) -> frozenset[str]:
        """The facts that a memory or a doc states."""
        return self.memories.union(*self.docs.values())


class Home:
    """A lineage's own world as it is in one generation, and what entries say about it."""

    def __init__(self, world: str, facts: tuple[Fact, ...]) -> None:
        self.world = world
        self.facts = {fact.key: fact for fact in facts}
        self._truth = Truth(facts)
        self._said: dict[str, Said] = {}
        self._shelves: dict[str, Shelf] = {}

    def said(self, entry: Memory | Doc) -> Said:
        """Return what `entry` says."""
        return self.read(
            entry.text if isinstance(entry, Memory) else f"{entry.title}\n{entry.body}"
        )

    def read(self, text: str) -> Said:
        """Return what `text` says; equal texts are read once."""
        if text not in self._said:
            self._said[text] = self._truth.read(text)
        return self._said[text]

    def shelf(self, id: str, knowledge: Knowledge) -> Shelf:
        """Return what `knowledge`, whose id is `id`, states of this world."""
        if id not in self._shelves:
            by_memories = (self.said(memory).stated for memory in knowledge.memories)
            self._shelves[id] = Shelf(
                frozenset[str]().union(*by_memories),
                {doc.id: self.said(doc).stated for doc in knowledge.docs},
            )
        return self._shelves[id]


@dataclass(frozen=True)
class End:
    """The end of one generation of a lineage: the Knowledge that it leaves, the world as it is.

    `memory_tokens` are those of the memory block, by the version's own tokenizer.
    """

    arm: str
    pair: int
    lineage: str
    generation: int
    knowledge: Knowledge
    home: Home
    shelf: Shelf
    memory_tokens: int


class GroundLog:
    """A run as the measures with ground truth need it. Empty where the run logged no worlds."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, bootstrap: int, confidence: float
    ) -> None:
        self.connection, self.bootstrap, self.confidence = connection, bootstrap, confidence
        self._rows: dict[str, list[Row]] = {}
        self.homes = _homes(connection)
        """By lineage and generation."""
        self.knowledge: dict[str, Knowledge] = {}
        self.ends: dict[tuple[str, int], End] = {}
        """By lineage and generation, in that order; lineages that hand nothing over have none."""
        if not self.homes:
            return
        for id, content in connection.execute(USED_SNAPSHOTS).fetchall():
            self.knowledge[id] = knowledge_from_json(content)
        for row in self.rows(
            "SELECT arm, pair, lineage, generation, knowledge_after, memory_tokens FROM steps "
            "WHERE phase = 'reward' ORDER BY lineage, generation"
        ):
            id, place = row["knowledge_after"], (row["lineage"], row["generation"])
            if id in self.knowledge and place in self.homes:
                home, knowledge = self.homes[place], self.knowledge[id]
                self.ends[place] = End(
                    arm=row["arm"],
                    pair=row["pair"],
                    lineage=row["lineage"],
                    generation=row["generation"],
                    knowledge=knowledge,
                    home=home,
                    shelf=home.shelf(id, knowledge),
                    memory_tokens=row["memory_tokens"],
                )

    def rows(self, sql: str) -> list[Row]:
        """Return the rows of a query as dicts, not to be changed; each query is asked once."""
        if sql not in self._rows:
            self._rows[sql] = rows(self.connection, sql)
        return self._rows[sql]


class Cells:
    """Values by arm, further keys and pair, and the rows of their means.

    A cell may be empty: then its row has no mean but a `reason`.
    """

    def __init__(self, log: GroundLog, measure: str, *names: str, reason: str) -> None:
        self.log, self.measure, self.names, self.reason = log, measure, names, reason
        self.values: dict[tuple[Any, ...], dict[int, list[float]]] = defaultdict(dict)

    def add(self, pair: int, values: Iterable[float], *cell: Any) -> None:
        """Add the values of `pair` to a cell: the arm, then what `names` name."""
        mine = self.values[cell]
        for value in values:
            mine.setdefault(pair, []).append(value)

    def add_pooled(self, pair: int, values: Iterable[float], *cell: Any) -> None:
        """Add to a cell, and to the one over all of its last key (which is null there)."""
        several = list(values)
        self.add(pair, several, *cell)
        self.add(pair, several, *cell[:-1], None)

    def rows(self, **more: Any) -> list[Row]:
        """Return a row a cell: its keys, mean, low and high over `n` pairs, values behind it."""
        return [
            dict(zip(("arm", *self.names), cell, strict=True)) | self._mean(cell) | more
            for cell in sorted(self.values, key=_nulls_last)
        ]

    def _mean(self, cell: tuple[Any, ...]) -> Row:
        by_pair = self.values[cell]
        count = sum(map(len, by_pair.values()))
        if not by_pair:
            nothing = {"mean": None, "low": None, "high": None, "n": 0}
            return {**nothing, "values": 0, "reason": self.reason}
        means = {pair: sum(values) / len(values) for pair, values in by_pair.items()}
        # Without the arm: paired arms draw the same pairs.
        ids = (self.measure, *map(str, cell[1:]))
        whole = interval(means, self.log.bootstrap, self.log.confidence, *ids)
        return {**asdict(whole), "values": count, "reason": None}


def _nulls_last(cell: tuple[Any, ...]) -> list[tuple[bool, Any]]:
    return [(key is None, 0 if key is None else key) for key in cell]


def _homes(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, int], Home]:
    """Return the own world of each lineage and generation; arms of a pair share the objects."""
    found: dict[tuple[str, int], list[tuple[str, Fact]]] = defaultdict(list)
    for lineage, generation, world, *fact in connection.execute(
        "SELECT lineage, generation, world, key, value, text FROM worlds ORDER BY ALL"
    ).fetchall():
        found[lineage, generation].append((world, Fact(*fact)))
    made: dict[tuple[str, tuple[Fact, ...]], Home] = {}
    homes = {}
    for place, several in found.items():
        world, facts = several[0][0], tuple(fact for _, fact in several)
        if (world, facts) not in made:
            made[world, facts] = Home(world, facts)
        homes[place] = made[world, facts]
    return homes
