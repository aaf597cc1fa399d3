"""How well the arms do: mean scores, with intervals over pairs.

What an agent could not do, because its prompt was over-long, scores 0. What an engine or a suite
failed has no score and is in no mean. `counts.unscored` counts both.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from lineage.core.intervals import SHARE
from lineage.metrics.cells import means
from lineage.metrics.registry import INTERVAL, metric
from lineage.metrics.relations import scored

PROBES = "kind = 'probe'"
INHERITED = f"{PROBES} AND generation > 0"
"""Probes of generations that received something: generation 0 has only what it wrote itself."""


@metric("arm", "family", *INTERVAL)
def scores(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the mean score of probes by arm and family. The means are those of `SCORE_SQL`."""
    return _means(log, ("arm", "family"))


@metric("arm", "family", "generation", *INTERVAL)
def scores_by_generation(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the mean score of probes by arm, family and generation."""
    return _means(log, ("arm", "family", "generation"))


@metric("arm", "family", "category", *INTERVAL)
def scores_by_category(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the mean score of probes by arm, family and the benchmark's own category.

    No rows without categories.
    """
    return _means(log, ("arm", "family", "category"), f"{PROBES} AND category <> ''")


@metric("arm", "generation", *INTERVAL)
def work_scores(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the mean score of working episodes by arm and generation."""
    return _means(log, ("arm", "generation"), "kind = 'act'")


def _means(log: duckdb.DuckDBPyConnection, by: Sequence[str], which: str = PROBES) -> pa.Table:
    return means(log, scored(", ".join(by), which), by, SHARE)
