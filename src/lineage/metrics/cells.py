"""Cells of a log: a mean over pairs of each, with its interval, by whatever a query groups by.

Every figure of lineage is such a mean, so this is what all measures are made with. A measure says
in SQL what each pair has in each cell; pairs come first, so that a failed probe does not make its
pair weigh less. The mean is `avg(value ORDER BY pair)` by the same engine: a query by hand that
averages within pairs, then over them in order, has the same last digit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineage.core.intervals import (
    Bounds,
    Numbers,
    Range,
    bounds,
    excludes_zero,
    optional,
    ratio_bounds,
    stars,
    tested,
)
from lineage.metrics.records import records
from lineage.metrics.registry import INTERVAL

Cell = Mapping[str, Any]
Of = Range | Callable[[Cell], Range]
"""Which values a figure can have, where need be by cell; of ratios, what is divided."""
TYPES = {
    **dict.fromkeys(("generation", "n"), pa.int64()),
    **dict.fromkeys(("mean", "low", "high", "p"), pa.float64()),
    **dict.fromkeys(("excludes_zero", "starred"), pa.bool_()),
}
"""Of columns that are no text."""


def means(
    log: duckdb.DuckDBPyConnection,
    by_pair: str,
    by: Sequence[str],
    of: Of,
    more: Mapping[str, str] | None = None,
    params: Sequence[object] = (),
    test: bool = False,
) -> pa.Table:
    """Return `folder`, the columns of `by`, mean, low, high and n of each cell, then `more`.

    `by_pair` is SQL for folder, the columns of `by`, pair and value, a row a pair. A value may be
    null: a cell without any has no mean, and n = 0. A cell of one pair has no bounds, nor have
    others that tell no spread (`metrics.bounds`). `more` are aggregates by name. With `test` a
    column p comes last, for `starred`. Raises ValueError where a value is not finite.
    """
    aggregates = {
        "mean": "avg(value ORDER BY pair)",
        "n": "count(value)",
        "_value": "list(value::DOUBLE ORDER BY pair) FILTER (value IS NOT NULL)",
    }
    cells = _cells(log, by_pair, by, aggregates | dict(more or {}), params)
    values = _lists(cells, "_value")
    found = Bounds.none(len(values))
    for numbers, confidence, its in _alike(log, cells, by, of, values):
        _put(found, numbers, bounds(np.stack([values[n] for n in numbers]), confidence, its))
    table = _with_bounds(cells, by, found, more)
    return table.append_column("p", _column(found.p)) if test else table


def ratios(
    log: duckdb.DuckDBPyConnection,
    by_pair: str,
    by: Sequence[str],
    of: Of,
    more: Mapping[str, str] | None = None,
) -> pa.Table:
    """Return the ratio of two means over the pairs that have both, laid out as `means` does.

    `by_pair` is SQL for folder, the columns of `by`, pair, above and below. A ratio of gains is
    undefined, with no mean and n = 0, where the interval of what is divided by holds 0, or there
    are no two pairs to tell; any other where there is nothing to divide by. See
    `metrics.ratio_bounds`.
    """
    both = "FILTER (above IS NOT NULL AND below IS NOT NULL)"
    aggregates = {
        "mean": f"sum(above ORDER BY pair) {both} / sum(below ORDER BY pair) {both}",
        "n": f"count(*) {both}",
        "_above": f"list(above::DOUBLE ORDER BY pair) {both}",
        "_below": f"list(below::DOUBLE ORDER BY pair) {both}",
    }
    cells = _cells(log, by_pair, by, aggregates | dict(more or {}))
    sides = zip(_lists(cells, "_above"), _lists(cells, "_below"), strict=True)
    values = [np.stack(pair) for pair in sides]
    found, undefined = Bounds.none(len(values)), np.ones(len(values), dtype=bool)
    for numbers, confidence, its in _alike(log, cells, by, of, values):
        above, below = np.stack([values[n] for n in numbers], axis=1)
        several, defined = ratio_bounds(above, below, confidence, its)
        _put(found, numbers, several)
        undefined[numbers] = ~defined
    for name, nothing in (("mean", None), ("n", 0)):
        column = cells[name]
        left = pc.if_else(pa.array(undefined), pa.scalar(nothing, column.type), column)
        cells = cells.set_column(cells.column_names.index(name), name, left)
    for side in (found.low, found.high):
        side[undefined] = np.nan
    return _with_bounds(cells, by, found, more)


def by_measure(tables: Iterable[pa.Table], measures: Sequence[str], by: Sequence[str]) -> pa.Table:
    """Return `tables`, one a measure, as one with a column `measure` after the columns of `by`.

    Columns that only some have, as those of a test, are null in the others.
    """
    told = [
        table.add_column(len(by) + 1, "measure", pa.array([measure] * len(table), pa.string()))
        for measure, table in zip(measures, tables, strict=True)
    ]
    return pa.concat_tables(told, promote_options="default")


def nothing(*columns: str) -> pa.Table:
    """Return a table with `folder` and these `columns`, of which `TYPES` has the types, and no row.

    Where no run of a log can have a cell of a metric, its steps need not be asked.
    """
    names = ("folder", *columns)
    return pa.schema([(name, TYPES.get(name, pa.string())) for name in names]).empty_table()


def named(*columns: str) -> str:
    """Return column names as SQL."""
    return ", ".join(f'"{column}"' for column in columns)


def starred(log: duckdb.DuckDBPyConnection, table: pa.Table) -> pa.Table:
    """Return `table`, of cells with a p, with the columns excludes_zero and starred.

    The cells of one run in it are one table, which its correction is over: `metrics.stars`.
    """
    runs, rows = records(log), table.to_pylist()
    excludes = [excludes_zero(row["low"], row["high"]) for row in rows]
    earned = [False] * len(rows)
    for folder, run in runs.items():
        places = [place for place, row in enumerate(rows) if row["folder"] == folder]
        cells = [(rows[place]["p"], rows[place]["n"]) for place in places]
        for place, star in zip(places, stars(cells, run.confidence, run.correction), strict=True):
            earned[place] = star and excludes[place]
    table = table.append_column("excludes_zero", pa.array(excludes, pa.bool_()))
    return table.append_column("starred", pa.array(earned, pa.bool_()))


def by_chance(rows: Sequence[Cell], confidence: float, correction: str) -> dict[str, Any]:
    """Return of the `rows` of a table how many cells were tested, and what chance would star.

    `by_chance` is how many would earn a star without correction if every one of them were 0.
    """
    cells = sum(tested(row["p"], row["n"]) for row in rows)
    expected = round(cells * (1 - confidence), 3)
    return {"cells": cells, "by_chance": expected, "correction": correction}


def comparable(log: duckdb.DuckDBPyConnection, table: pa.Table) -> pa.Table:
    """Return the rows of `table` whose arm the versions of `over` serve, or of the baseline."""
    runs, rows = records(log), table.to_pylist()
    alike = [runs[row["folder"]].comparable(row["arm"], row.get("over")) for row in rows]
    return table.filter(pa.array(alike, pa.bool_()))


def _cells(
    log: duckdb.DuckDBPyConnection,
    by_pair: str,
    by: Sequence[str],
    aggregates: Mapping[str, str],
    params: Sequence[object] = (),
) -> pa.Table:
    keys = named("folder", *by)
    columns = ", ".join(f"{sql} AS {name}" for name, sql in aggregates.items())
    return log.sql(
        f"SELECT {keys}, {columns} FROM ({by_pair}) GROUP BY ALL ORDER BY {keys}",
        params=list(params),
    ).to_arrow_table()


def _lists(cells: pa.Table, name: str) -> list[Numbers]:
    """Return the numbers in each row of a column of lists; a null is an empty list."""
    column = cells[name].combine_chunks()
    values, ends = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
    return [values[start:end] for start, end in pairwise(ends)]


def _alike(
    log: duckdb.DuckDBPyConnection,
    cells: pa.Table,
    by: Sequence[str],
    of: Of,
    values: Sequence[Numbers],
) -> Iterator[tuple[list[int], float, Range]]:
    """Yield numbers of cells that can be bounded together, their confidence and range."""
    runs = records(log)
    alike: dict[tuple[int, float, Range], list[int]] = defaultdict(list)
    for number, cell in enumerate(cells.select(["folder", *by]).to_pylist()):
        its = of if isinstance(of, Range) else of(cell)
        alike[values[number].shape[-1], runs[cell["folder"]].confidence, its].append(number)
    for (_, confidence, its), numbers in alike.items():
        yield numbers, confidence, its


def _put(found: Bounds, numbers: Sequence[int], several: Bounds) -> None:
    for name in ("low", "high", "p"):
        getattr(found, name)[numbers] = getattr(several, name)


def _column(side: Numbers) -> pa.Array:
    return pa.array([optional(value) for value in side], pa.float64())


def _with_bounds(
    cells: pa.Table, by: Sequence[str], found: Bounds, more: Mapping[str, str] | None
) -> pa.Table:
    for name, side in (("low", found.low), ("high", found.high)):
        cells = cells.append_column(name, _column(side))
    return cells.select(["folder", *by, *INTERVAL, *(more or ())])
