"""Cells of a run: a value of each pair, by whatever a query groups by. Pairs come first.

Every figure of lineage is a mean over pairs with a bootstrap over them, so this is what all
measures start from.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any

import duckdb

from lineage.metrics import Interval, interval

ByPair = dict[int, float]


def by_pair(
    connection: duckdb.DuckDBPyConnection, by: str, value: str, source: str
) -> dict[tuple[Any, ...], ByPair]:
    """Return `value` (an aggregate) of each pair in the cells of `by`; all three are our own SQL.

    A pair without a value is left out.
    """
    cells: dict[tuple[Any, ...], ByPair] = defaultdict(dict)
    for *cell, pair, found in connection.execute(
        f"SELECT {by}, pair, {value} FROM {source} GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        if found is not None:
            cells[tuple(cell)][pair] = found
    return cells


def measured(values: ByPair, record: dict[str, Any], *ids: str | int) -> Interval:
    """Return the interval of `values` with the resamples and confidence of the run's record."""
    return interval(values, record["bootstrap"], record["confidence"], *ids)


def plain(found: Interval | None) -> dict[str, Any]:
    """Return an interval as `metrics.json` holds it; an undefined one has nulls."""
    if found is None:
        return {"mean": None, "low": None, "high": None, "n": 0}
    return asdict(found)
