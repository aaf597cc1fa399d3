"""The writer x reader matrix: what Knowledge that one version wrote is worth to another.

A cell comes from an arm whose last generation is served by the reader and all earlier ones by
one writer; only that last generation is scored. Baselines are arms that receive nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from lineage.analysis.cells import ByPair, by_pair, measured, plain
from lineage.metrics import paired_difference, ratio

COLD = "cold"


@dataclass(frozen=True)
class _Cell:
    arm: str
    writer: str
    reader: str


def matrix(connection: duckdb.DuckDBPyConnection, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row a writer, reader and family: score, gain over cold, retention and harm.

    Upgrade retention is (S of the reader with the writer's Knowledge - cold) / (S of the reader
    with its own - cold); it has no mean where the interval of the denominator holds 0. Harm is
    the share of the probes solved cold that are failed with Knowledge. Empty where a run has
    fewer than two writers or readers.
    """
    arms = record.get("defined", {})
    cells = [cell for name, arm in arms.items() if (cell := _cell(name, arm)) is not None]
    if len({(cell.writer, cell.reader) for cell in cells}) < 3:
        return []
    cold = {
        arm["versions"][-1]: name for name, arm in arms.items() if arm["receives"] == COLD
    }
    last = len(record["schedule"]) - 1
    scores = by_pair(
        connection,
        "arm, family",
        "avg(score ORDER BY step_id)",
        f"steps WHERE kind = 'probe' AND generation = {last}",
    )
    own = {cell.reader: cell.arm for cell in cells if cell.writer == cell.reader}
    found = []
    for cell in cells:
        for family in record["families"]:
            values = scores.get((cell.arm, family))
            base = scores.get((cold.get(cell.reader, ""), family), {})
            if not values:
                continue
            gain = paired_difference(values, base)
            best = paired_difference(scores.get((own.get(cell.reader, ""), family), {}), base)
            found.append(
                {
                    "writer": cell.writer,
                    "reader": cell.reader,
                    "family": family,
                    "score": plain(measured(values, record, "matrix", family)),
                    "gain": plain(measured(gain, record, "matrix", family) if gain else None),
                    "retention": plain(
                        ratio(
                            gain, best, record["bootstrap"], record["confidence"], "matrix", family
                        )
                    ),
                    "harm": _harm(connection, record, cell, cold.get(cell.reader), family, last),
                }
            )
    return found


def _cell(name: str, arm: dict[str, Any]) -> _Cell | None:
    *writers, reader = arm["versions"]
    if arm["receives"] == COLD or len(set(writers)) != 1 or arm["receives"] == "oracle":
        return None
    return _Cell(name, writers[0], reader)


def _harm(
    connection: duckdb.DuckDBPyConnection,
    record: dict[str, Any],
    cell: _Cell,
    cold: str | None,
    family: str,
    last: int,
) -> dict[str, Any]:
    """Return the share of probes solved cold that are failed with Knowledge, over pairs."""
    if cold is None:
        return plain(None)
    rows = connection.execute(
        "WITH p AS (SELECT * FROM steps WHERE kind = 'probe' AND score IS NOT NULL "
        "AND generation = ? AND family = ?) "
        "SELECT a.pair, avg((a.score < 1)::DOUBLE ORDER BY a.step_id) FROM p a "
        "JOIN p b USING (pair, episode, task) "
        "WHERE a.arm = ? AND b.arm = ? AND b.score = 1 GROUP BY ALL ORDER BY ALL",
        [last, family, cell.arm, cold],
    ).fetchall()
    values: ByPair = dict(rows)
    return plain(measured(values, record, "harm", family) if values else None)
