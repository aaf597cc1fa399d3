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
from datetime import date
from random import Random
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Readings = NDArray[np.float64]
Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class Mechanic(ABC):
    """One way in which a convention can shape a table. `options` are its possible values.

    `column` is the name of what it adds, or what the names of several columns begin with.

    With `fixed`, the stored data are the same under every value, and the value decides what is
    asked for: any of the first `len(options)` readings may be the right one. Otherwise the first
    reading is right under every value, and the others are what wrong values make of the data.
    Either way the last readings include the naive one, which ignores the convention.
    """

    column: str
    fixed: ClassVar[bool] = False

    def columns(self, options: Sequence[str]) -> Sequence[str]:
        """Return the names of the columns that it adds."""
        return (self.column,)

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

    negate: bool = False
    signed: bool = False

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        weights = [draw.uniform(1, 3) for _ in options]
        classes = draw.choices(range(len(options)), weights, k=rows)
        return classes, draw.choices(range(1, 90), k=rows)

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        classes, sizes = hidden
        order = _first(value, options)
        codes = [_literal(order[each]) for each in classes]
        if self.signed:
            codes = [code * size for code, size in zip(codes, sizes)]
        return {self.column: codes}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        masks = np.array(hidden[0])[None, :] == np.arange(len(options))[:, None]
        return with_all(~masks if self.negate else masks)


@dataclass(frozen=True)
class Sentinel(Mechanic):
    """A number that stands for "unknown" among ordinary ones: `column <> ___`."""

    highest: int

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.choice((None, *[draw.randint(1, self.highest)] * 2)) for _ in range(rows)]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        return {self.column: [_literal(value) if each is None else each for each in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        return with_all(np.array([[each is not None for each in hidden]]))


@dataclass(frozen=True)
class Flag(Mechanic):
    """A bit of a number, one of several: `column & ___ > 0`."""

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [[draw.random() < 0.45 for _ in range(rows)] for _ in options]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        bits = [int(option) for option in _first(value, options)]
        rows = zip(*hidden)
        return {self.column: [sum(b for b, on in zip(bits, row) if on) for row in rows]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        return with_all(np.array(hidden))


@dataclass(frozen=True)
class Unit(Mechanic):
    """A quantity stored in some unit, asked for in a known one: `column * ___`, or `/ ___`."""

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
class Plain(Mechanic):
    """A column that is stored as it is: the value decides what is asked for."""

    fixed: ClassVar[bool] = True

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        shown = (each.isoformat() if isinstance(each, date) else each for each in hidden)
        return {self.column: list(shown)}


@dataclass(frozen=True)
class Factor(Plain):
    """A count of packs, whose size decides what is asked for: `column * ___`."""

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.randint(1, 60) for _ in range(rows)]

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        return np.outer([*(float(option) for option in options), 1.0], np.array(hidden, float))


@dataclass(frozen=True)
class Tax(Factor):
    """A price that includes a percentage: `column * 100 / (100 + ___)`."""

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        rates = [100 / (100 + int(option)) for option in (*options, "0")]
        return np.outer(rates, np.array(hidden, float))


@dataclass(frozen=True)
class Default(Plain):
    """What a missing number counts as: `coalesce(column, ___)`."""

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.choice((None, draw.randint(10, 60))) for _ in range(rows)]

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        fills = [int(option) for option in (*options, "0")]
        return np.array([[fill if e is None else e for e in hidden] for fill in fills], float)


@dataclass(frozen=True)
class Threshold(Plain):
    """Numbers, and the least that counts: `column >= ___`."""

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.randint(1, 99) for _ in range(rows)]

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        bounds = np.array([int(option) for option in options])
        return with_all(np.array(hidden)[None, :] >= bounds[:, None])


@dataclass(frozen=True)
class Alike(Mechanic):
    """Columns named alike, one of them live: `___` is its name. The options are the columns."""

    def columns(self, options: Sequence[str]) -> Sequence[str]:
        return options

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [[draw.randint(5, 400) for _ in range(rows)] for _ in options]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        cells = dict(zip(_first(value, options), hidden))
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
        return with_all(np.array(hidden) <= self.keys // 2)


@dataclass(frozen=True)
class Offset(Mechanic):
    """Keys of another table, stored with a number added: `column - ___`."""

    keys: int

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return draw.choices(range(1, self.keys + 1), k=rows)

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        return {self.column: [each + int(value) for each in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        read = np.array(hidden)[None, :] + shifts(options)[:, None]
        return with_all((read >= 1) & (read <= self.keys // 2))


@dataclass(frozen=True)
class Position(Mechanic):
    """A code word with the letter that counts at one place: `substr(column, ___, 1)`."""

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return [draw.choices("PQRS", k=rows) for _ in options]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        order = _first(value, options)
        letters = [hidden[order.index(option)] for option in options]
        return {self.column: ["".join(row) for row in zip(*letters)]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        return with_all(np.array(hidden) == "P")


def with_all(masks: NDArray[np.bool_]) -> Readings:
    """Return `masks` and, last, the naive reading: every row, no condition."""
    return np.vstack([masks, np.ones((1, masks.shape[1]), bool)]).astype(float)


def shifts(options: Sequence[str]) -> NDArray[np.int64]:
    """Return how far a reading is off that takes off another of `options`, or none: first 0."""
    off = {int(a) - int(b) for a in options for b in (*options, "0")} - {0}
    return np.array([0, *sorted(off)])


def _first(value: str, options: Sequence[str]) -> list[str]:
    """Return `options` with `value` before the others."""
    return [value, *(option for option in options if option != value)]


def _literal(option: str) -> Any:
    """Return `option` as a cell: a number where it is one."""
    return int(option) if option.lstrip("-").isdigit() else option
