"""What an inheritance is worth, and what it spoils: each arm against the baseline of the run.

Arms are paired by seed and by probe: a probe that one side has no score of, because an engine or a
suite failed, is missing in both.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lineage.core.intervals import DIFFERENCE, SHARE, excludes_zero
from lineage.metrics.cells import Cell, comparable, means, ratios, starred
from lineage.metrics.records import records
from lineage.metrics.registry import INTERVAL, TEST, metric
from lineage.metrics.relations import SOLVED, differences, over_baseline
from lineage.metrics.scoring import INHERITED, PROBES

FORWARD = f"{PROBES} AND family = 'similar' AND met IS NULL"


@metric("arm", "family", *INTERVAL, *TEST, "share_of_possible", "share_reason")
def inheritance_gain(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return S(arm) - S(baseline) by arm and family, and its share of what was possible.

    Over the probes of all generations, as the scores are; `gain_by_inheritance` has generation 0
    apart. `share_of_possible` is that of S(ceiling) - S(baseline); it is null, and `share_reason`
    says why, where the interval of that holds 0. Arms that other versions serve are left out.
    """
    runs = records(log)
    by = ("arm", "family")
    gains = means(log, over_baseline(PROBES, ["family"]), by, DIFFERENCE, test=True)
    found = starred(log, comparable(log, gains))
    possible = differences(PROBES, ["family"], "a.arm = r.ceiling")
    wholes = {
        (row["folder"], row["family"]): row
        for row in means(log, possible, by, DIFFERENCE).to_pylist()
    }
    shares = [
        _share(row, wholes.get((row["folder"], row["family"])), runs[row["folder"]].ceiling)
        for row in found.to_pylist()
    ]
    found = found.append_column("share_of_possible", pa.array([s for s, _ in shares], pa.float64()))
    return found.append_column("share_reason", pa.array([r for _, r in shares], pa.string()))


def _share(gain: Cell, whole: Cell | None, ceiling: str) -> tuple[float | None, str | None]:
    if whole is None:
        return None, f"no {ceiling} arm"
    if excludes_zero(whole["low"], whole["high"]):
        return gain["mean"] / whole["mean"], None
    if whole["low"] is None:
        return None, "one pair has no interval"
    return None, f"the interval of {ceiling} over the baseline holds 0"


@metric("inherited", "arm", "family", *INTERVAL, *TEST)
def gain_by_inheritance(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return S(arm) - S(baseline) with generation 0 apart, by `inherited`, arm and family.

    Only where `inherited` is true does a gain tell what a successor has of its ancestors. A probe
    of generation 0 reads what the same generation handed over, after 1 handoff: nothing came from
    an ancestor. Arms that other versions serve are left out.
    """
    told = f"(SELECT *, {INHERITED} AS inherited FROM steps) steps"
    gains = over_baseline(PROBES, ["family", "inherited"], told)
    by = ("inherited", "arm", "family")
    return starred(log, comparable(log, means(log, gains, by, DIFFERENCE, test=True)))


@metric("version", "arm", "family", *INTERVAL, *TEST)
def gain_by_version(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return S(arm) - S(baseline) by the version that was probed, arm and family.

    A pooled gain would mix what Knowledge is worth with what the versions are. Of generations that
    inherited (see `gain_by_inheritance`), each against the baseline in the same generation, so that
    arms whose versions differ elsewhere compare too.
    """
    gains = over_baseline(INHERITED, ["family", "version"])
    by = ("version", "arm", "family")
    return starred(log, means(log, gains, by, DIFFERENCE, test=True))


@metric("arm", *INTERVAL, *TEST)
def forward_transfer(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the gain on *similar* probes whose task no generation had met, by arm.

    Forward transfer is what earlier tasks are worth on tasks never met (Lopez-Paz and Ranzato
    2017).
    """
    gains = over_baseline(FORWARD)
    return starred(log, means(log, gains, ("arm",), DIFFERENCE, test=True))


@metric("arm", "family", *INTERVAL, "failed", "solved_by_baseline")
def harm(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of the probes solved by the baseline that an arm fails, by arm and family.

    A ratio of sums over the n pairs whose baseline solves any; beside it the probes of both.
    """
    cells = (
        "WITH probe AS (SELECT folder, arm, family, pair, generation, episode, task, score "
        "FROM steps WHERE kind = 'probe' AND score IS NOT NULL) "
        "SELECT a.folder, a.arm, a.family, a.pair, "
        f"count(*) FILTER (a.score < {SOLVED}) AS above, count(*) AS below "
        "FROM probe a JOIN probe b USING (folder, pair, generation, episode, task) "
        "JOIN runs r ON r.folder = a.folder "
        f"WHERE b.arm = r.baseline AND a.arm <> r.baseline AND b.score = {SOLVED} GROUP BY ALL"
    )
    more = {"failed": "sum(above)::BIGINT", "solved_by_baseline": "sum(below)::BIGINT"}
    return ratios(log, cells, ("arm", "family"), SHARE, more)
