"""Arm against arm: paired differences between arms that the same versions serve.

Each two arms but the baseline once, the one that the run names first less the other. What an arm
gains over the baseline: `gains`.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lineage.core.intervals import DIFFERENCE
from lineage.metrics.cells import comparable, means, starred
from lineage.metrics.facts import STALE
from lineage.metrics.ground import prepare
from lineage.metrics.pooled import VALUES, with_reason
from lineage.metrics.registry import INTERVAL, TEST, metric
from lineage.metrics.relations import mean, probes, same_probe
from lineage.metrics.scoring import INHERITED


@metric("arm", "over", "family", *INTERVAL, *TEST)
def contrasts(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return S(arm) - S(over) by arm, `over` and family, in generations that inherited.

    Over the probes that both have a score of.
    """
    cells = _each_two(
        probes(INHERITED, ["family"]),
        "a.folder, a.arm, b.arm AS over, a.family, a.pair, "
        f"{mean('a.score', 'a')} - {mean('b.score', 'a')} AS value",
        same_probe("b", "a", "family"),
    )
    by = ("arm", "over", "family")
    found = means(log, f"{cells} GROUP BY ALL", by, DIFFERENCE, test=True)
    return starred(log, comparable(log, found))


@metric("arm", "over", *INTERVAL, "values", "p", "reason", "excludes_zero", "starred")
def staleness_contrasts(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how the share of stale memories differs, by arm and `over` (see `facts.staleness`).

    Over all generations of a pair.
    """
    prepare(log)
    cells = _each_two(
        "SELECT folder, arm, pair, avg(value ORDER BY turn) AS value, count(value) AS known "
        f"FROM ({STALE}) WHERE entries = 'memories' GROUP BY ALL",
        "a.folder, a.arm, b.arm AS over, a.pair, a.value - b.value AS value, "
        "least(a.known, b.known) AS known",
        "b.folder = a.folder AND b.pair = a.pair",
    )
    found = means(log, cells, ("arm", "over"), DIFFERENCE, VALUES, test=True)
    found = with_reason(found, "no pair has memories in both arms")
    return starred(log, comparable(log, found))


def _each_two(cells: str, columns: str, same: str) -> str:
    """Return SQL for `columns` of each two `cells` that are `same`, a of the first arm."""
    return (
        f"WITH cell AS MATERIALIZED ({cells}) SELECT {columns} FROM cell a JOIN cell b ON {same} "
        "JOIN runs r ON r.folder = a.folder "
        "WHERE a.arm <> r.baseline AND b.arm <> r.baseline "
        "AND list_position(r.arms, a.arm) < list_position(r.arms, b.arm)"
    )
