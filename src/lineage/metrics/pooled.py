"""Cells of the metrics with ground truth: by some columns, and over all of the last of them."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from lineage.metrics.cells import Of, means, named
from lineage.metrics.ground import prepare

VALUES = {"values": "sum(known)::BIGINT"}
"""How many values are behind a mean, beside the number of pairs."""


def pooled(
    log: duckdb.DuckDBPyConnection,
    values: str,
    of: Of,
    by: Sequence[str],
    reason: str,
    whole: bool = True,
) -> pa.Table:
    """Return `folder`, the columns of `by`, mean, low, high, n, values and reason of each cell.

    `values` is SQL over the tables of `ground`, which are made where they are not there, for
    folder, the columns of `by`, pair, value and turn, a row a value; `turn` orders the values of a
    pair. Values are averaged within pairs first. With `whole` each cell is there once more with
    those that differ only in the last column, which is null then. A cell whose values are all null
    is undefined: it has no mean, n = 0 and the `reason`.
    """
    prepare(log)
    keys = named("folder", *by[:-1], "pair")
    columns = named("folder", *by, "pair")
    sets = f"({columns}), ({keys})" if whole else f"({columns})"
    by_pair = (
        f"SELECT {columns}, avg(value ORDER BY turn) AS value, count(value) AS known "
        f"FROM ({values}) GROUP BY GROUPING SETS ({sets})"
    )
    return with_reason(means(log, by_pair, by, of, VALUES), reason)


def with_reason(table: pa.Table, reason: str) -> pa.Table:
    """Return `table` with a column that says why a cell has no mean, null where it has one."""
    reasons = [None if n else reason for n in table["n"].to_pylist()]
    return table.append_column("reason", pa.array(reasons, pa.string()))
