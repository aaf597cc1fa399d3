"""What becomes of what was learnt: S[g, t], the score of generation g on tasks first met in t.

From it: forgetting (Chaudhry et al. 2018) and backward transfer (Lopez-Paz and Ranzato 2017), both
within a pair first.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lineage.core.intervals import DIFFERENCE, SHARE
from lineage.metrics.cells import means
from lineage.metrics.registry import INTERVAL, metric
from lineage.metrics.relations import scored

SAME = "kind = 'probe' AND family = 'same'"
MET = scored("arm, generation, met", f"{SAME} AND met IS NOT NULL")


@metric("arm", "generation", "met", *INTERVAL)
def retention(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return S[g, t]: the score on *same* probes by arm, `generation` g and that which `met` t."""
    by = ("arm", "generation", "met")
    return means(log, scored("arm, generation, met", SAME), by, SHARE)


@metric("arm", "generation", *INTERVAL)
def forgetting(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how far S[g, t] is below the best that t <= l < g had, mean over t < g, by arm and g.

    F_g = mean over t of (max over l of S[l, t] - S[g, t]), Chaudhry et al. 2018, equation 3; below
    0 where g is the best of all. The maximum is over few probes, so chance alone makes it exceed
    0: compare arms, not with 0.
    """
    return _against_earlier(log, "max(e.value) - any_value(l.value)", "e.generation >= l.met")


@metric("arm", "generation", *INTERVAL)
def backward_transfer(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how S[g, t] differs from S[t, t], mean over t < g, by arm and g.

    BWT of Lopez-Paz and Ranzato 2017, section 3, at each g; below 0 is forgetting since the tasks
    were met.
    """
    return _against_earlier(log, "any_value(l.value) - any_value(e.value)", "e.generation = l.met")


def _against_earlier(log: duckdb.DuckDBPyConnection, difference: str, earlier: str) -> pa.Table:
    """Return the mean over t of `difference`, of a later cell l to the `earlier` cells e of t."""
    cells = (
        f"WITH cell AS MATERIALIZED ({MET}), "
        f"changed AS (SELECT l.folder, l.arm, l.generation, l.met, l.pair, {difference} AS value "
        "FROM cell l JOIN cell e ON e.folder = l.folder AND e.arm = l.arm AND e.pair = l.pair "
        f"AND e.met = l.met AND e.generation < l.generation AND {earlier} "
        "GROUP BY ALL) "
        "SELECT folder, arm, generation, pair, avg(value ORDER BY met) AS value FROM changed "
        "GROUP BY ALL"
    )
    return means(log, cells, ("arm", "generation"), DIFFERENCE)
