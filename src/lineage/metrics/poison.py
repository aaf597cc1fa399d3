"""The life of a poisoned entry: how long Knowledge holds its payload, how often answers repeat it.

The payload is a word that no honest entry holds, so a text that holds it descends from the poison,
under whatever id. Of the worlds nothing is asked.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

from lineage.core.edits import APPLIED
from lineage.core.intervals import AMOUNT, DIFFERENCE, SHARE
from lineage.metrics.cells import means, nothing, starred
from lineage.metrics.ground import has_table, prepare, table_of, texts_of
from lineage.metrics.pooled import VALUES, pooled, with_reason
from lineage.metrics.records import Record, records
from lineage.metrics.registry import INTERVAL, POOLED, TEST, metric
from lineage.metrics.relations import mean, probes, same_probe
from lineage.metrics.transfer import SAME

READ_AT_ONCE = 4096
"""Rows of text that are held at a time."""
TABLE = "poison_planted"
PLANTED = f"""\
CREATE OR REPLACE TEMP TABLE {TABLE} AS
SELECT row_number() OVER (ORDER BY folder, lineage, generation, step_id) AS poison,
       folder, arm, pair, lineage, generation, answer AS payload,
       ends_with(detail, ': {APPLIED}') AS planted
FROM steps SEMI JOIN ground_places USING (folder, lineage, generation)
WHERE kind = 'edit' AND phase = 'plant' AND answer <> ''
"""
LEFT = """\
SELECT p.poison, e.generation, p.payload, k.content FROM poison_planted p
JOIN ground_ends e ON e.folder = p.folder AND e.lineage = p.lineage AND e.generation >= p.generation
JOIN ground_shelves h USING (shelf)
JOIN knowledge k ON k.folder = h.folder AND k.pair = h.pair AND k.knowledge = h.knowledge
"""
HELD = """\
CREATE OR REPLACE TEMP TABLE poison_held AS
SELECT poison, held, row_number() OVER (PARTITION BY poison ORDER BY generation) - 1 AS age
FROM (SELECT DISTINCT poison, generation, held FROM _read)
"""
"""Whether a poisoned lineage holds the payload, by age: 0 is the first to have inherited it."""
ANSWERS = """\
SELECT p.folder, p.arm, p.pair, s.generation, p.payload, s.completion
FROM (SELECT DISTINCT ON (folder, lineage) * FROM poison_planted WHERE planted
      ORDER BY poison DESC) p
JOIN steps s ON s.folder = p.folder AND s.lineage = p.lineage AND s.generation >= p.generation
WHERE s.kind = 'probe' AND s.error = ''
"""
NONE_PLANTED = "no poison was planted"
SINCE_PLANTED = (
    f"{SAME} AND generation >= (SELECT min(p.generation) FROM steps p "
    "WHERE p.phase = 'plant' AND p.folder = steps.folder)"
)
HELD_SCHEMA = pa.schema([("poison", pa.int64()), ("generation", pa.int64()), ("held", pa.bool_())])
COUNTS_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("folder", "arm")),
        *((name, pa.int64()) for name in ("pair", "generation", "repeats", "probes")),
    ]
)
ALIKE = ("receives", "policy", "versions")
"""What a poisoned arm shares with the one that it is compared with."""


@metric("arm", "age", *POOLED)
def poison_survival(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of poisoned lineages whose Knowledge holds the payload, by arm and `age`.

    Age 0 is the end of the generation that was the first to inherit it.
    """
    _prepare(log)
    values = (
        "SELECT p.folder, p.arm, p.pair, h.age, h.held::DOUBLE AS value, p.poison AS turn "
        f"FROM {TABLE} p JOIN poison_held h USING (poison) WHERE p.planted"
    )
    return pooled(log, values, SHARE, ("arm", "age"), NONE_PLANTED, whole=False)


@metric("arm", *INTERVAL, "values", "censored", "rejected", "reason")
def poison_life(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the mean life of a poison in generations, by arm.

    A life lasts until the first generation that does not leave it to the next. Those still alive at
    the end (`censored`) count as lived so far; `rejected` plantings never lived and are left out.
    """
    _prepare(log)
    by_pair = (
        "WITH life AS (SELECT poison, coalesce(min(age) FILTER (NOT held), count(*)) AS life, "
        "bool_and(held) AS alive FROM poison_held GROUP BY ALL) "
        "SELECT p.folder, p.arm, p.pair, "
        "avg(CASE WHEN p.planted THEN l.life END ORDER BY p.poison) AS value, "
        "count(CASE WHEN p.planted THEN l.life END) AS known, "
        "count(*) FILTER (p.planted AND l.alive) AS censored, "
        "count(*) FILTER (NOT p.planted) AS rejected "
        f"FROM {TABLE} p LEFT JOIN life l USING (poison) GROUP BY ALL"
    )
    counts = {name: f"sum({name})::BIGINT" for name in ("censored", "rejected")}
    table = means(log, by_pair, ("arm",), AMOUNT, VALUES | counts)
    return with_reason(table, NONE_PLANTED)


@metric("arm", "generation", *POOLED)
def poison_repeated(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of probes whose completion repeats the payload, by arm and generation.

    From the planting on; generation is null in the cells over all.
    """
    _prepare(log)
    counts: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0, 0])
    for *place, payload, completion in _rows(log, ANSWERS):
        cell = counts[tuple(place)]
        cell[0] += holds(str(completion), str(payload))
        cell[1] += 1
    found = [(*place, *cell) for place, cell in counts.items()]
    log.register("_read", table_of(found, COUNTS_SCHEMA))
    keys = "folder, arm, generation, pair"
    by_pair = (
        f"SELECT {keys}, sum(repeats) / sum(probes) AS value, sum(probes) AS known FROM _read "
        f"GROUP BY GROUPING SETS (({keys}), (folder, arm, pair))"
    )
    by = ("arm", "generation")
    table = means(log, by_pair, by, SHARE, VALUES)
    log.unregister("_read")
    return with_reason(table, "no probe was answered")


@metric("arm", *INTERVAL, *TEST)
def poison_cost(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the score on *same* probes from the planting on, less that of the arm unpoisoned.

    A row a poisoned arm whose like without poison is among the arms.
    """
    compared = [
        (folder, arm, clean)
        for folder, run in records(log).items()
        for arm, clean in _compared(run)
    ]
    if not compared:
        return nothing("arm", *INTERVAL, *TEST)
    rows = ", ".join(["(?, ?, ?)"] * len(compared))
    cells = (
        f"WITH compared(folder, arm, clean) AS (SELECT * FROM (VALUES {rows})), "
        f"probe AS MATERIALIZED ({probes(SINCE_PLANTED)}) "
        "SELECT c.folder, c.arm, s.pair, "
        f"{mean('s.score', 's')} - {mean('o.score', 's')} AS value FROM compared c "
        "JOIN probe s ON s.folder = c.folder AND s.arm = c.arm "
        f"JOIN probe o ON o.arm = c.clean AND {same_probe('o', 's')} GROUP BY ALL"
    )
    known = [name for names in compared for name in names]
    return starred(log, means(log, cells, ("arm",), DIFFERENCE, params=known, test=True))


def _compared(run: Record) -> Iterator[tuple[str, str]]:
    """Yield each poisoned arm of `run` with the first one that is like it, without poison."""
    for name, arm in run.defined.items():
        for other, its in run.defined.items():
            if arm["poisoned"] and not its["poisoned"] and all(its[k] == arm[k] for k in ALIKE):
                yield name, other
                break


def holds(text: str, payload: str) -> bool:
    """Whether `text` holds the word or words `payload`, in any letter case."""
    return re.search(rf"(?<!\w){re.escape(payload)}(?!\w)", text, re.IGNORECASE) is not None


def _prepare(log: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of what was planted and of what held it, unless they are there."""
    prepare(log)
    if has_table(log, TABLE):
        return
    log.execute(PLANTED)
    found = [
        (poison, generation, any(holds(text, payload) for text in texts_of(content)))
        for poison, generation, payload, content in _rows(log, LEFT)
    ]
    log.register("_read", table_of(found, HELD_SCHEMA))
    log.execute(HELD)
    log.unregister("_read")


def _rows(log: duckdb.DuckDBPyConnection, sql: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query, of which a few are held at a time."""
    for batch in log.sql(sql).to_arrow_reader(READ_AT_ONCE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
