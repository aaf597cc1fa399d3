"""How conventions about dates and times show in a table; see `mechanics` for what these do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import numpy as np

from lineage.suites.warehouse.mechanics import Columns, Mechanic, Plain, Readings, shifts, with_all


@dataclass(frozen=True)
class OpenEnd(Mechanic):
    """A far year that stands for "no end yet" among ordinary dates: `year(column) = ___`."""

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        days = _days(draw, rows, date(2022, 1, 1), 900)
        return [None if draw.random() < 0.35 else day for day in days]

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        return {self.column: [f"{value}-12-31" if d is None else d.isoformat() for d in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        opened = np.array([each is None for each in hidden])
        return with_all(np.array([opened, np.zeros(len(hidden), bool)]))


@dataclass(frozen=True)
class FiscalYear(Plain):
    """Dates, and the month in which the year asked for begins."""

    year: int

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return _days(draw, rows, date(self.year, 1, 1), 730)

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        months = np.array([each.year * 12 + each.month for each in hidden])
        starts = np.array([int(option) for option in (*options, "1")])
        return with_all((months[None, :] - starts[:, None]) // 12 == self.year)


@dataclass(frozen=True)
class Zone(Mechanic):
    """Times in an unknown zone; those before `hour` of UTC are asked for."""

    hour: int

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return _times(draw, rows, datetime(2024, 3, 1), 60 * 24 * 30)

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        ahead = timedelta(hours=int(value))
        return {self.column: [(each + ahead).isoformat() for each in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        hours = np.array([each.hour for each in hidden])
        return with_all((hours[None, :] + shifts(options)[:, None]) % 24 < self.hour)


@dataclass(frozen=True)
class DayStart(Plain):
    """Times, and the hour at which the day asked for begins. Nights are busy here."""

    day: date

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        first = datetime.combine(self.day - timedelta(days=1), datetime.min.time())
        days = draw.choices(range(4), (1, 3, 3, 1), k=rows)
        moments = _times(draw, rows, first, 60 * 13)
        return [moment + timedelta(days=day) for moment, day in zip(moments, days)]

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        starts = [timedelta(hours=int(option)) for option in (*options, "0")]
        masks = [[(each - start).date() == self.day for each in hidden] for start in starts]
        return with_all(np.array(masks))


@dataclass(frozen=True)
class Origin(Mechanic):
    """Days counted from the first of January of some year; those of `year` are asked for."""

    year: int

    def hidden(self, draw: Random, rows: int, options: Sequence[str]) -> Any:
        return _days(draw, rows, date(self.year - 1, 1, 1), 3 * 365)

    def store(self, hidden: Any, value: str, options: Sequence[str]) -> Columns:
        origin = date(int(value), 1, 1)
        return {self.column: [(each - origin).days for each in hidden]}

    def readings(self, hidden: Any, options: Sequence[str]) -> Readings:
        years = np.array([each.year for each in hidden])
        # The options are years apart, so that any other one leaves the year asked for empty.
        return with_all(np.array([years == self.year, np.zeros(len(years), bool)]))


def _days(draw: Random, rows: int, first: date, days: int) -> list[date]:
    return [first + timedelta(days=draw.randrange(days)) for _ in range(rows)]


def _times(draw: Random, rows: int, first: datetime, minutes: int) -> list[datetime]:
    return [first + timedelta(minutes=draw.randrange(minutes)) for _ in range(rows)]
