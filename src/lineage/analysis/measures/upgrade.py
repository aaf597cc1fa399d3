"""The writer x reader matrix: what Knowledge that one version wrote is worth to another.

A cell comes from an arm whose last generation is served by the reader and all earlier ones by
one writer; only that last generation is scored. Baselines are arms that receive nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass

import duckdb
import pyarrow as pa

from lineage.analysis.measures.cells import drawn, means, ratios
from lineage.analysis.measures.records import Record, records
from lineage.analysis.measures.relations import scored
from lineage.analysis.measures.scoring import PROBES

COLD = "cold"
ORACLE = "oracle"
MEASURES = ("score", "gain", "retention", "harm")
BY = ("place", "arm", "writer", "reader", "family")


@dataclass(frozen=True)
class Crossing:
    """An arm as a cell of the matrix, with the arms that it is compared with ("" for none).

    `place` is its place among the arms of the run, `last` the generation that is scored.
    """

    folder: str
    place: int
    arm: str
    writer: str
    reader: str
    cold: str
    own: str
    last: int


NO_CROSSING = Crossing("", 0, "", "", "", "", "", 0)
"""Of no run: a query needs a row to know the columns by."""


def upgrade_matrix(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return by arm, writer, reader, family and `measure` what the writer's Knowledge is worth.

    `score`; `gain` over the reader cold; `retention`: (S of the reader with the writer's Knowledge
    - cold) / (S of the reader with its own - cold), undefined where the interval of the denominator
    holds 0; `harm`: the share of the probes solved cold that are failed with Knowledge. Columns:
    folder, place (of the arm in its run), arm, writer, reader, family, measure, mean, low, high, n.
    No rows where a run has fewer than two writers or readers.
    """
    cells = [cell for run in records(log).values() for cell in crossings(run)]
    if not cells:
        cells = [NO_CROSSING]
    rows = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * len(cells))
    known: list[object] = [value for cell in cells for value in astuple(cell)]
    crossed = (
        "crossed(folder, place, arm, writer, reader, cold, own, last) AS "
        f"(SELECT * FROM (VALUES {rows}))"
    )
    score = f"score AS MATERIALIZED ({scored('arm, family, generation', PROBES)})"
    keys = "c.folder, c.place, c.arm, c.writer, c.reader, s.family, s.pair"
    mine = (
        f"WITH {crossed}, {score}, mine AS MATERIALIZED (SELECT {keys}, s.value, "
        "b.value AS cold, o.value AS own FROM crossed c JOIN score s "
        "ON s.folder = c.folder AND s.arm = c.arm AND s.generation = c.last "
        f"LEFT JOIN score b ON {_same('b')} AND b.arm = c.cold "
        f"LEFT JOIN score o ON {_same('o')} AND o.arm = c.own)"
    )
    harmed = (
        f"WITH {crossed}, probe AS (SELECT * FROM steps WHERE {PROBES} AND score IS NOT NULL) "
        f"SELECT {keys}, avg((s.score < 1)::DOUBLE ORDER BY s.step_id) AS value "
        "FROM crossed c JOIN probe s "
        "ON s.folder = c.folder AND s.arm = c.arm AND s.generation = c.last "
        f"JOIN probe b ON {_same('b')} AND b.arm = c.cold "
        "AND b.episode = s.episode AND b.task = s.task WHERE b.score = 1 GROUP BY ALL"
    )
    draw = drawn("matrix", "family")
    gain = f"{mine} SELECT *, value - cold AS gain FROM mine"
    whole = f"{mine} SELECT *, value - cold AS above, own - cold AS below FROM mine"
    found = (
        means(log, f"{mine} SELECT * FROM mine", BY, draw, params=known),
        means(log, f"SELECT * REPLACE (gain AS value) FROM ({gain})", BY, draw, params=known),
        ratios(log, whole, BY, draw, params=known),
        means(log, harmed, BY, drawn("harm", "family"), params=known),
    )
    tables = [
        table.add_column(len(BY) + 1, "measure", pa.array([measure] * len(table), pa.string()))
        for measure, table in zip(MEASURES, found, strict=True)
    ]
    return pa.concat_tables(tables)


def crossings(run: Record) -> Iterator[Crossing]:
    """Yield the cells of the matrix of `run`, in the order of its arms; see above for which."""
    served = [
        (place, name, arm["versions"])
        for place, (name, arm) in enumerate(run.defined.items())
        if arm["receives"] not in (COLD, ORACLE) and len(set(arm["versions"][:-1])) == 1
    ]
    if len({(versions[0], versions[-1]) for _, _, versions in served}) < 3:
        return
    cold = {
        arm["versions"][-1]: name for name, arm in run.defined.items() if arm["receives"] == COLD
    }
    own = {versions[-1]: name for _, name, versions in served if versions[0] == versions[-1]}
    for place, name, (writer, *_, reader) in served:
        last = len(run.schedule) - 1
        yield Crossing(
            run.folder, place, name, writer, reader, cold.get(reader, ""), own.get(reader, ""), last
        )


def _same(other: str) -> str:
    columns = ("folder", "family", "generation", "pair")
    return " AND ".join(f"{other}.{column} = s.{column}" for column in columns)
