"""Whether two result sets are the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lineage.suites.matching import same_rows
from lineage.suites.warehouse.sandbox import Cell, Result


def same(given: Result, reference: Result, ordered: bool, tolerance: float) -> bool:
    """Whether `given` holds the rows of `reference`: columns by position, whatever their names.

    The order of rows counts only where `ordered`. Numbers are equal within the relative
    `tolerance`, NULL equals NULL. A result with an error, or cut short, equals none.
    """
    if given.error or given.more or len(given.rows) != len(reference.rows):
        return False
    if len(given.columns) != len(reference.columns):
        return False
    if ordered:
        return all(_same_row(a, b, tolerance) for a, b in zip(given.rows, reference.rows))
    return same_rows(given.rows, reference.rows, lambda a, b: _same_row(a, b, tolerance))


def _same_row(a: Sequence[Cell], b: Sequence[Cell], tolerance: float) -> bool:
    return len(a) == len(b) and all(_same(x, y, tolerance) for x, y in zip(a, b))


def _same(a: Cell, b: Cell, tolerance: float) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        if isinstance(a, bool) != isinstance(b, bool):
            return False
        return math.isclose(a, b, rel_tol=tolerance) or (math.isnan(a) and math.isnan(b))
    return type(a) is type(b) and a == b


def shown(result: Result, rows: int, chars: int) -> str:
    """Return `result` as text: a line of column names, then one a row, cut to the two limits."""
    if result.error:
        return f"Error: {result.error}"[:chars]
    lines = [" | ".join(result.columns)]
    for row in result.rows[:rows]:
        lines.append(" | ".join("NULL" if cell is None else str(cell) for cell in row))
    if result.more or len(result.rows) > rows:
        lines.append("... more rows")
    elif not result.rows:
        lines.append("no rows")
    text = "\n".join(lines)
    return text if len(text) <= chars else text[: max(chars - 4, 0)] + "\n..."
