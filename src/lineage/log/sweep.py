"""The record of a sweep, `sweep.json`: what was asked for, and what became of each of its points.

It is written before the first point begins, and again when points are added or end.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from lineage.core.errors import LineageError
from lineage.core.fields import Number, Whole
from lineage.core.files import atomic_write
from lineage.core.jsonfile import parse_json, read_file
from lineage.core.names import check_name
from lineage.log.record import LATEST_CLOCK, OPEN

P = TypeVar("P")

SWEEP = "sweep.json"
BASIC = "basic"
"""The sweeper that lists all points beforehand, and learns nothing of them."""
HEADLINES = ("", "gain_by_inheritance.mean", "gain in reward")
"""The objectives that are the headline of a run or a training itself."""
LOCK = ".sweep.lock"
"""Held while the record is changed: points may run in processes of their own."""


@dataclass(frozen=True)
class Point:
    """One run of a sweep. `folder` is below the sweep's, `overrides` are Hydra's of the point.

    `failed` is the line that says why it ended without a result, "" where it has not. `objective`
    is the figure that the sweeper was given, None where there is none yet.
    """

    number: int
    folder: str
    overrides: tuple[str, ...]
    failed: str = ""
    objective: float | None = None


@dataclass(frozen=True)
class SweepRecord:
    """What `sweep.json` holds. `kind` is run or training; `keys` are the swept ones, in order.

    `overrides` are those of the command, as given, so that the sweep can be gone on with.
    `objective` is the metric that conf names for a sweeper, "" for none. `origin` has commit,
    dirty, machine and command; `config_name` is the file that all points are composed from.
    `minimize`: the sweeper was told that less of the objective is better.
    """

    kind: str
    began: float
    overrides: tuple[str, ...]
    keys: tuple[str, ...]
    sweeper: str
    launcher: str
    objective: str = ""
    points: tuple[Point, ...] = ()
    origin: dict[str, Any] = field(default_factory=dict)
    config_name: str = "config"
    minimize: bool = False

    @property
    def guided(self) -> bool:
        """Whether the sweeper learns of the objective."""
        return bool(self.objective) and self.sweeper != BASIC

    def with_points(self, points: Sequence[Point]) -> SweepRecord:
        """Return the record with `points`, by their numbers, in place of those or beside them."""
        known = {one.number: one for one in (*self.points, *points)}
        return replace(self, points=tuple(known[number] for number in sorted(known)))


@checked_dataclass(frozen=True, config=OPEN)
class _Point:
    number: Whole
    folder: str
    overrides: list[str]
    failed: str = ""
    objective: Number | None = None


@checked_dataclass(frozen=True, config=OPEN)
class _Sweep:
    kind: str
    began: Annotated[Number, Field(ge=0, le=LATEST_CLOCK)]
    overrides: list[str]
    keys: list[str]
    sweeper: str
    launcher: str
    points: list[_Point]
    objective: str = ""
    origin: dict[str, Any] = field(default_factory=dict)
    config_name: str = "config"
    minimize: bool = False


def is_sweep(folder: Path) -> bool:
    """Whether `folder` is a sweep's: it has a record, and that is not one of a run."""
    return (folder / SWEEP).exists()


def read_sweep(folder: Path) -> SweepRecord:
    """Return the record of the sweep in `folder`.

    Raises LineageError where there is none, where it is damaged, or where a point's folder is none
    below the sweep's: the record may be somebody else's.
    """
    file = folder / SWEEP
    if not file.exists():
        raise LineageError(f"{folder} is no sweep: it has no {SWEEP}")
    return parse_sweep(read_file(file), str(file))


def parse_sweep(data: bytes, file: str) -> SweepRecord:
    """Return what `data` holds, as `read_sweep` does of the `file` that it is named by."""
    found = parse_json(data, file, _Sweep)
    for one in found["points"]:
        check_name(f"{file}, folder", one["folder"])
    points = (
        Point(**{**_known(one, Point), "overrides": tuple(one["overrides"])})
        for one in found["points"]
    )
    lists = {key: tuple(found[key]) for key in ("overrides", "keys")}
    return SweepRecord(**{**_known(found, SweepRecord), **lists, "points": tuple(points)})


def _known(found: dict[str, Any], kind: Any) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key in kind.__dataclass_fields__}


def write_sweep(folder: Path, record: SweepRecord) -> None:
    """Write the record of the sweep in `folder`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / SWEEP, json.dumps(asdict(record), indent=1).encode())


def by_objective(record: SweepRecord, objectives: Iterable[float | None]) -> bool:
    """Whether points are better by their objective, and not by the headline of a run.

    They are where that is another figure, or less of it is better, and a point has it.
    """
    other = record.objective not in HEADLINES or record.minimize
    return other and any(one is not None for one in objectives)


def best_first(
    record: SweepRecord,
    points: Iterable[P],
    objective: Callable[[P], float | None],
    headline: Callable[[P], float | None],
) -> list[P]:
    """Return those of the finished `points` that have the figure by which they are better, the best
    first.
    """
    found = list(points)
    guided = by_objective(record, map(objective, found))
    figure = objective if guided else headline
    known = [(value, one) for one in found if (value := figure(one)) is not None]
    sign = 1 if guided and record.minimize else -1
    return [one for _, one in sorted(known, key=lambda pair: sign * pair[0])]


def update_sweep(folder: Path, *points: Point) -> None:
    """Write `points` into the record of the sweep in `folder`, which others may write to as well.

    Raises LineageError as `read_sweep` does.
    """
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_sweep(folder, read_sweep(folder).with_points(points))
