"""Questions on a warehouse: in words and in SQL, such that only the right reading answers them.

Every question is a count, a sum or a mean over the rows that conditions select, so its result
under each combination of readings is a product of arrays: it is computed here, without a
database, and a question is kept only where no wrong reading gives the right result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from random import Random

import numpy as np
from numpy.typing import NDArray

from lineage.suites.warehouse.data import LINES, SITES, Convention, Sheet

AGGREGATES = {"count": "", "sum": "total", "avg": "average"}
BOUNDS = range(100, 700, 100)
MARGIN = 100
"""Results are told apart by so many tolerances, so that rounding in the database cannot matter."""


@dataclass(frozen=True)
class Filter:
    """What else is asked of the rows: parts that no convention hides."""

    site: str = ""
    line: str = ""
    above: int = 0

    @property
    def words(self) -> str:
        parts = (
            f" at site {self.site}" if self.site else "",
            f" of line {self.line}" if self.line else "",
            f" with quantity above {self.above}" if self.above else "",
        )
        return "".join(parts)

    @property
    def conditions(self) -> list[str]:
        parts = (
            f"site = '{self.site}'" if self.site else "",
            f"line = '{self.line}'" if self.line else "",
            f"quantity > {self.above}" if self.above else "",
        )
        return [part for part in parts if part]

    def mask(self, sheet: Sheet) -> NDArray[np.float64]:
        """Return 1 for each row that passes, else 0."""
        passed = sheet.quantity > self.above if self.above else np.ones(len(sheet.quantity), bool)
        if self.site:
            passed = passed & (sheet.site == self.site)
        if self.line:
            passed = passed & (sheet.line == self.line)
        return passed.astype(float)


FILTERS = (
    *(Filter(site, line) for site, line in product(("", *SITES), ("", *LINES))),
    *(Filter(above=above) for above in BOUNDS),
)


@dataclass(frozen=True, eq=False)
class Question:
    """One question. `conventions` are in the order of the blanks; the group is `group`'s."""

    group: Convention
    conventions: tuple[Convention, ...]
    aggregate: str
    filter: Filter

    @cached_property
    def text(self) -> str:
        """The question in words."""
        table, where = self.group.table, self.filter.words
        phrases = " and ".join(c.kind.phrase for c in self.conventions if not c.kind.measure)
        if self.aggregate == "count":
            return f"How many {table}{where} {phrases}?"
        what = next((c.kind.phrase for c in self.conventions if c.kind.measure), "quantity")
        rows = f"{table}{where}{f' that {phrases}' if phrases else ''}"
        return f"What is the {AGGREGATES[self.aggregate]} {what} of {rows}?"

    @cached_property
    def sql(self) -> str:
        """The statement that answers it, with a blank for each convention."""
        measures = [c.kind.sql for c in self.conventions if c.kind.measure]
        where = [c.kind.sql for c in self.conventions if not c.kind.measure]
        where += self.filter.conditions
        column = "*" if self.aggregate == "count" else "quantity"
        value = (measures or [f"{{a}}({column})"])[0].format(a=self.aggregate)
        rows = f"FROM {self.group.table}" + (f" WHERE {' AND '.join(where)}" if where else "")
        return f"SELECT {value} {rows}"

    @property
    def asks(self) -> str:
        """What the blanks ask for, in the words of the facts' sentences."""
        stems = [f"the {c.kind.stem.format(t=c.table)}" for c in self.conventions]
        return f"What {'is' if len(stems) == 1 else 'are'} {' and '.join(stems)}?"

    def tells(self, sheet: Sheet, tolerance: float) -> bool:
        """Whether under no values of its conventions a wrong reading gives the right result."""
        rows = self.filter.mask(sheet)
        counts = _over(rows, [c.readings for c in self.conventions if not c.kind.measure])
        right = _right([c for c in self.conventions if not c.kind.measure])
        if not counts[right].all():
            return False
        if self.aggregate == "count":
            return _apart(counts, right, tolerance)
        measures = [c for c in self.conventions if c.kind.measure]
        if not measures:
            rows = rows * sheet.quantity
        results = _over(rows, [c.readings for c in self.conventions])
        right = _right(self.conventions)
        if self.aggregate == "avg":
            # The measure is the first axis, and does not change which rows there are.
            counts = np.tile(counts, len(results) // len(counts))
            results = np.where(counts > 0, results / np.maximum(counts, 1), -1.0)
        return _apart(results, right, tolerance)


def questions(
    draw: Random, sheet: Sheet, of: Convention, difficulty: int, count: int, tolerance: float
) -> list[Question]:
    """Return up to `count` different questions that fall under the convention `of`.

    Each combines it with `difficulty` - 1 others of its table.
    """
    candidates = [
        Question(of, used, aggregate, each)
        for used in _combined(sheet, of, difficulty)
        for aggregate in AGGREGATES
        if aggregate != "count" or not used[0].kind.measure
        for each in FILTERS
    ]
    found: list[Question] = []
    for candidate in draw.sample(candidates, len(candidates)):
        if len(found) == count:
            break
        if candidate.tells(sheet, tolerance):
            found.append(candidate)
    return found


def _combined(sheet: Sheet, of: Convention, size: int) -> Iterator[tuple[Convention, ...]]:
    """Yield each way to combine `of` with others: at most one measure, which comes first."""
    others = [each for each in sheet.conventions if each is not of]
    for some in combinations(others, size - 1):
        used = sorted((of, *some), key=lambda each: not each.kind.measure)
        if sum(each.kind.measure for each in used) <= 1:
            yield tuple(used)


def _over(rows: NDArray[np.float64], factors: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the sum over `rows` for each combination of readings, flat, the first slowest."""
    parts = rows[None, :]
    for factor in factors[:-1]:
        parts = (parts[:, None, :] * factor[None, :, :]).reshape(-1, rows.size)
    last = factors[-1] if factors else np.ones((1, rows.size))
    result: NDArray[np.float64] = (parts @ last.T).ravel()
    return result


def _right(conventions: Sequence[Convention]) -> NDArray[np.bool_]:
    """Return which combinations of readings can be the right one, in the order of `_over`."""
    right = np.ones(1, bool)
    for each in conventions:
        may = np.arange(len(each.readings)) < (
            len(each.kind.options) if each.kind.mechanic.fixed else 1
        )
        right = (right[:, None] & may[None, :]).ravel()
    return right


def _apart(results: NDArray[np.float64], right: NDArray[np.bool_], tolerance: float) -> bool:
    """Whether each right result differs from all the others."""
    order = np.argsort(results, kind="stable")
    ordered = results[order]
    gaps = np.diff(ordered) > MARGIN * tolerance * np.abs(ordered[1:])
    alone = np.append(True, gaps) & np.append(gaps, True)
    return bool(alone[right[order]].all())
