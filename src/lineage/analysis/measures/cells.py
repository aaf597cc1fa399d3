"""Cells of a log: a mean over pairs of each, with its interval, by whatever a query groups by.

Every figure of lineage is such a mean, so this is what all measures are made with. A measure says
in SQL what each pair has in each cell; pairs come first, so that a failed probe does not make its
pair weigh less. The mean is `avg(value ORDER BY pair)` by the same engine: a query by hand that
averages within pairs, then over them in order, has the same last digit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineage.analysis.measures.records import records
from lineage.metrics import Numbers, bounds, ratio_bounds

Cell = Mapping[str, Any]
Ids = tuple[str | int, ...]
Draws = Callable[[Cell], Ids]
"""What the resamples of a cell are drawn from. Never its arm: paired arms draw the same pairs."""

INTERVAL = ("mean", "low", "high", "n")
"""What a table holds of a cell, beside what the cell is by."""


def drawn(measure: str, *columns: str) -> Draws:
    """Return draws from the name of a measure and from these columns of a cell."""
    return lambda cell: (measure, *(cell[column] for column in columns))


def means(
    log: duckdb.DuckDBPyConnection,
    by_pair: str,
    by: Sequence[str],
    draws: Draws,
    more: Mapping[str, str] | None = None,
    params: Sequence[object] | None = None,
) -> pa.Table:
    """Return `folder`, the columns of `by`, mean, low, high and n of each cell, then `more`.

    `by_pair` is SQL for folder, the columns of `by`, pair and value, a row a pair. A value may be
    null: a cell without any has no mean, and n = 0. A cell of one pair has no bounds. `more` are
    aggregates by name. Raises ValueError where a value is not finite.
    """
    aggregates = {
        "mean": "avg(value ORDER BY pair)",
        "n": "count(value)",
        "_value": "list(value::DOUBLE ORDER BY pair) FILTER (value IS NOT NULL)",
    }
    cells = _cells(log, by_pair, by, aggregates | dict(more or {}), params)
    values = _lists(cells, "_value")
    found = _bootstrap(log, cells, by, draws, values, bounds)
    return _with_bounds(cells, by, found, more)


def ratios(
    log: duckdb.DuckDBPyConnection,
    by_pair: str,
    by: Sequence[str],
    draws: Draws,
    more: Mapping[str, str] | None = None,
    params: Sequence[object] | None = None,
    positive: bool = False,
) -> pa.Table:
    """Return the ratio of two means over the pairs that have both, laid out as `means` does.

    `by_pair` is SQL for folder, the columns of `by`, pair, above and below. A ratio is undefined,
    with no mean and n = 0, where the interval of what is divided by holds 0, or there are no two
    pairs to tell; where that is `positive` in every pair, one pair defines the ratio.
    """
    both = "FILTER (above IS NOT NULL AND below IS NOT NULL)"
    aggregates = {
        "mean": f"sum(above ORDER BY pair) {both} / sum(below ORDER BY pair) {both}",
        "n": f"count(*) {both}",
        "_above": f"list(above::DOUBLE ORDER BY pair) {both}",
        "_below": f"list(below::DOUBLE ORDER BY pair) {both}",
    }
    cells = _cells(log, by_pair, by, aggregates | dict(more or {}), params)
    sides = zip(_lists(cells, "_above"), _lists(cells, "_below"), strict=True)
    values = [np.column_stack(pair) for pair in sides]
    found = _bootstrap(log, cells, by, draws, values, ratio_bounds)
    undefined = pa.array([pair is None and not positive for pair in found], pa.bool_())
    for name, nothing in (("mean", None), ("n", 0)):
        column = cells[name]
        left = pc.if_else(undefined, pa.scalar(nothing, column.type), column)
        cells = cells.set_column(cells.column_names.index(name), name, left)
    return _with_bounds(cells, by, [pair or (None, None) for pair in found], more)


def named(*columns: str) -> str:
    """Return column names as SQL."""
    return ", ".join(f'"{column}"' for column in columns)


def excludes_zero(table: pa.Table) -> pa.Table:
    """Return `table` with a column that says whether both bounds lie on one side of 0."""
    sides = zip(table["low"].to_pylist(), table["high"].to_pylist(), strict=True)
    found = [low is not None and high is not None and low * high > 0 for low, high in sides]
    return table.append_column("excludes_zero", pa.array(found, pa.bool_()))


def where(table: pa.Table, holds: Callable[[Cell], bool]) -> pa.Table:
    """Return the rows of `table` for which `holds`, which is asked once a row."""
    return table.filter(pa.array([holds(row) for row in table.to_pylist()], pa.bool_()))


def _cells(
    log: duckdb.DuckDBPyConnection,
    by_pair: str,
    by: Sequence[str],
    aggregates: Mapping[str, str],
    params: Sequence[object] | None,
) -> pa.Table:
    keys = named("folder", *by)
    columns = ", ".join(f"{sql} AS {name}" for name, sql in aggregates.items())
    return log.sql(
        f"SELECT {keys}, {columns} FROM ({by_pair}) GROUP BY ALL ORDER BY {keys}",
        params=list(params or ()),
    ).to_arrow_table()


def _lists(cells: pa.Table, name: str) -> list[Numbers]:
    """Return the numbers in each row of a column of lists; a null is an empty list."""
    column = cells[name].combine_chunks()
    values, ends = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
    return [values[start:end] for start, end in pairwise(ends)]


def _bootstrap(
    log: duckdb.DuckDBPyConnection,
    cells: pa.Table,
    by: Sequence[str],
    draws: Draws,
    values: Sequence[Numbers],
    bounds_of: Callable[..., Sequence[Any]],
) -> list[Any]:
    """Return the bounds of each cell; cells with the same draws are resampled together."""
    runs = records(log)
    alike: dict[tuple[int, int, float, Ids], list[int]] = defaultdict(list)
    for number, cell in enumerate(cells.select(["folder", *by]).to_pylist()):
        run = runs[cell["folder"]]
        ids = draws(cell)
        alike[len(values[number]), run.bootstrap, run.confidence, ids].append(number)
    found: list[Any] = [None] * len(values)
    for (_, bootstrap, confidence, ids), numbers in alike.items():
        together = [values[number] for number in numbers]
        several = bounds_of(together, bootstrap, confidence, *ids)
        for number, one in zip(numbers, several, strict=True):
            found[number] = one
    return found


def _with_bounds(
    cells: pa.Table,
    by: Sequence[str],
    found: Sequence[tuple[float | None, float | None]],
    more: Mapping[str, str] | None,
) -> pa.Table:
    for side, name in enumerate(("low", "high")):
        cells = cells.append_column(name, pa.array([pair[side] for pair in found], pa.float64()))
    return cells.select(["folder", *by, *INTERVAL, *(more or ())])
