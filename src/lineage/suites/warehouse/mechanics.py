"""How a convention shows in a table: which columns it adds, and how SQL may read them.

Each mechanic makes the *hidden* truth of a table's rows once, from the world's seed. `store`
writes it down under the convention's value now, so that a value that drifts migrates the data.
`readings` says what each way of filling the blank makes of every row: 0 or 1 where the blank
stands in a condition, else the number that is summed. Questions are built from rows that tell
the right reading from all others, so that no value but the right one gives the right result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

Readings = NDArray[np.float64]
Columns = dict[str, list[Any]]


class Mechanic(ABC):
    """One way in which a convention can shape a table. `options` are its possible values.

    With `fixed`, the stored data are the same under every value, and the value decides what is
    asked for: any of the first `len(options)` readings may be the right one. Otherwise the first
    reading is right under every value, and the others are what wrong values make of the data.
    Either way the last readings include the naive one, which ignores the convention.
    """

    fixed: bool = False

    @abstractmethod
    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        """Return the truth of `rows` rows, the same under every value."""

    @abstractmethod
    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        """Return the cells of each column that it adds, under `value`."""

    @abstractmethod
    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        """Return an array (readings, rows)."""


@dataclass(frozen=True)
class Code(Mechanic):
    """A column of codes, one of which has a meaning: `column = ___`, or `<>` with `negate`.

    With `signed` the codes are signs, and the column has numbers of that sign.
    """

    column: str
    negate: bool = False
    signed: bool = False

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        weights = [draw.uniform(1, 3) for _ in options]
        classes = draw.choices(range(len(options)), weights, k=rows)
        return classes, draw.choices(range(1, 90), k=rows)

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        classes, sizes = hidden
        order = [value, *(option for option in options if option != value)]
        codes = [_literal(order[each]) for each in classes]
        if self.signed:
            codes = [code * size for code, size in zip(codes, sizes)]
        return {self.column: codes}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        masks = np.array(hidden[0])[None, :] == np.arange(len(options))[:, None]
        return _with_all(~masks if self.negate else masks)


@dataclass(frozen=True)
class Sentinel(Mechanic):
    """A number that stands for "unknown" among ordinary ones: `column <> ___`."""

    column: str
    highest: int

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.choice((None, *[draw.randint(1, self.highest)] * 2)) for _ in range(rows)]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        return {self.column: [_literal(value) if each is None else each for each in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        return _with_all(np.array([[each is not None for each in hidden]]))


@dataclass(frozen=True)
class OpenEnd(Mechanic):
    """A far year that stands for "no end yet" among ordinary dates: `year(column) = ___`."""

    column: str

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        days = _days(draw, rows, date(2022, 1, 1), 900)
        return [None if draw.random() < 0.35 else day for day in days]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        return {self.column: [f"{value}-12-31" if d is None else d.isoformat() for d in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        opened = np.array([each is None for each in hidden])
        return _with_all(np.array([opened, np.zeros(len(hidden), bool)]))


@dataclass(frozen=True)
class Flag(Mechanic):
    """A bit of a number, one of several: `column & ___ > 0`."""

    column: str

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [[draw.random() < 0.45 for _ in range(rows)] for _ in options]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        order = [value, *(option for option in options if option != value)]
        bits = [int(option) for option in order]
        rows = zip(*hidden)
        return {self.column: [sum(b for b, on in zip(bits, row) if on) for row in rows]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        return _with_all(np.array(hidden))


@dataclass(frozen=True)
class Unit(Mechanic):
    """A quantity stored in some unit, asked for in a known one: `column * ___`, or `/ ___`."""

    column: str
    divides: bool

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.randint(10, 900) for _ in range(rows)]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        unit = int(value)
        stored = [each * unit if self.divides else each / unit for each in hidden]
        return {self.column: stored}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        units = [int(option) for option in options]
        ratios = sorted({read / held for held in units for read in (*units, 1)} - {1.0})
        return np.outer([1.0, *ratios], np.array(hidden, float))


@dataclass(frozen=True)
class Factor(Mechanic):
    """A count of packs, whose size decides what is asked for: `column * ___`."""

    column: str
    fixed = True

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.randint(1, 60) for _ in range(rows)]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        return {self.column: list(hidden)}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        return np.outer([*(float(option) for option in options), 1.0], np.array(hidden, float))


@dataclass(frozen=True)
class Tax(Factor):
    """A price that includes a percentage: `column * 100 / (100 + ___)`."""

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        rates = [100 / (100 + int(option)) for option in (*options, "0")]
        return np.outer(rates, np.array(hidden, float))


@dataclass(frozen=True)
class Default(Mechanic):
    """What a missing number counts as: `coalesce(column, ___)`."""

    column: str
    fixed = True

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.choice((None, draw.randint(10, 60))) for _ in range(rows)]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        return {self.column: list(hidden)}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        fills = [int(option) for option in (*options, "0")]
        return np.array([[fill if e is None else e for e in hidden] for fill in fills], float)


@dataclass(frozen=True)
class Alike(Mechanic):
    """Columns named alike, one of them live: `___` is its name. The options are the columns."""

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [[draw.randint(5, 400) for _ in range(rows)] for _ in options]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        order = [value, *(option for option in options if option != value)]
        cells = dict(zip(order, hidden))
        return {option: cells[option] for option in options}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        return np.array(hidden, float)


@dataclass(frozen=True)
class Key(Alike):
    """Columns named alike, one of them the key of another table, whose first half is asked for."""

    keys: int

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.choices(range(1, self.keys + 1), k=rows) for _ in options]

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        return _with_all(np.array(hidden) <= self.keys // 2)


@dataclass(frozen=True)
class Offset(Mechanic):
    """Keys of another table, stored with a number added: `column - ___`."""

    column: str
    keys: int

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return draw.choices(range(1, self.keys + 1), k=rows)

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        return {self.column: [each + int(value) for each in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        shifts = sorted({int(a) - int(b) for a in options for b in (*options, "0")} - {0})
        read = np.array(hidden)[None, :] + np.array([0, *shifts])[:, None]
        return _with_all((read >= 1) & (read <= self.keys // 2))


@dataclass(frozen=True)
class FiscalYear(Mechanic):
    """Dates, and the month in which the year asked for begins."""

    column: str
    year: int
    fixed = True

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return _days(draw, rows, date(self.year, 1, 1), 730)

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        return {self.column: [each.isoformat() for each in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        months = np.array([each.year * 12 + each.month for each in hidden])
        starts = np.array([int(option) for option in (*options, "1")])
        return _with_all((months[None, :] - starts[:, None]) // 12 == self.year)


@dataclass(frozen=True)
class Zone(Mechanic):
    """Times in an unknown zone; those before `hour` of UTC are asked for."""

    column: str
    hour: int

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return _times(draw, rows, datetime(2024, 3, 1), 60 * 24 * 30)

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        ahead = timedelta(hours=int(value))
        return {self.column: [(each + ahead).isoformat() for each in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        shifts = sorted({int(a) - int(b) for a in options for b in (*options, "0")} - {0})
        hours = np.array([each.hour for each in hidden])
        return _with_all((hours[None, :] + np.array([0, *shifts])[:, None]) % 24 < self.hour)


@dataclass(frozen=True)
class DayStart(Mechanic):
    """Times, and the hour at which the day asked for begins. Nights are busy here."""

    column: str
    day: date
    fixed = True

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        first = datetime.combine(self.day - timedelta(days=1), datetime.min.time())
        days = draw.choices(range(4), (1, 3, 3, 1), k=rows)
        moments = _times(draw, rows, first, 60 * 13)
        return [moment + timedelta(days=day) for moment, day in zip(moments, days)]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        return {self.column: [each.isoformat() for each in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        starts = [timedelta(hours=int(option)) for option in (*options, "0")]
        masks = [[(each - start).date() == self.day for each in hidden] for start in starts]
        return _with_all(np.array(masks))


@dataclass(frozen=True)
class Threshold(Mechanic):
    """Numbers, and the least that counts: `column >= ___`."""

    column: str
    fixed = True

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.randint(1, 99) for _ in range(rows)]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        return {self.column: list(hidden)}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        bounds = np.array([int(option) for option in options])
        return _with_all(np.array(hidden)[None, :] >= bounds[:, None])


@dataclass(frozen=True)
class Position(Mechanic):
    """A code word with the letter that counts at one place: `substr(column, ___, 1)`."""

    column: str

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.choices("PQRS", k=rows) for _ in options]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        order = [value, *(option for option in options if option != value)]
        letters = [hidden[order.index(option)] for option in options]
        return {self.column: ["".join(row) for row in zip(*letters)]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        return _with_all(np.array(hidden) == "P")


@dataclass(frozen=True)
class Origin(Mechanic):
    """Days counted from the first of January of some year; those of `year` are asked for."""

    column: str
    year: int

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return _days(draw, rows, date(self.year - 1, 1, 1), 3 * 365)

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        origin = date(int(value), 1, 1)
        return {self.column: [(each - origin).days for each in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        years = np.array([each.year for each in hidden])
        # The options are years apart, so that any other one leaves the year asked for empty.
        return _with_all(np.array([years == self.year, np.zeros(len(years), bool)]))


def _with_all(masks: NDArray[np.bool_]) -> Readings:
    """Return `masks` and, last, the naive reading: every row, no condition."""
    return np.vstack([masks, np.ones((1, masks.shape[1]), bool)]).astype(float)


def _literal(option: str) -> Any:
    """Return `option` as a cell: a number where it is one."""
    return int(option) if option.lstrip("-").isdigit() else option


def _days(draw: Random, rows: int, first: date, days: int) -> list[date]:
    return [first + timedelta(days=draw.randrange(days)) for _ in range(rows)]


def _times(draw: Random, rows: int, first: datetime, minutes: int) -> list[datetime]:
    return [first + timedelta(minutes=draw.randrange(minutes)) for _ in range(rows)]
