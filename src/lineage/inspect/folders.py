"""What a folder holds: runs, trainings, and sweeps with their points below them.

A folder that cannot be read is listed as broken, with what is wrong, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lineage.core.errors import LineageError
from lineage.inspect.listing import (
    BROKEN,
    FAILED,
    FINISHED,
    RUNNING,
    STOPPED,
    WAITING,
    Listed,
    held,
    read_one,
)
from lineage.log.sweep import Point, SweepRecord, best_first, is_sweep, read_sweep
from lineage.log.views.settings import read_settings
from lineage.log.views.swept import plain, swept

FROM_POINTS = ("name", "engine", "versions", "arms", "pairs")
"""What a sweep has as its points have it, where all have the same."""


def listing(root: Path) -> list[Listed]:
    """Return what is in `root`, or `root` itself where it is a run or a sweep; newest first.

    The points of a sweep stand below it, in their order. Raises LineageError where `root` is no
    folder.
    """
    if not root.is_dir():
        raise LineageError(f"{root} is no folder: nothing has run there yet")
    if is_sweep(root) or (root / "run.json").exists():
        return _group(root, root.name or root.resolve().name)
    groups = [group for folder in _folders(root) for group in _groups(folder, folder.name)]
    return [one for group in sorted(groups, key=_newest, reverse=True) for one in group]


def _groups(folder: Path, name: str) -> Iterator[list[Listed]]:
    """Yield what stands together: a run, a sweep, or each of those in a folder of them."""
    if not is_sweep(folder) and not (folder / "run.json").exists():
        inner = [path for path in _folders(folder) if _is_either(path)]
        if inner:
            yield from (_group(path, f"{name}/{path.name}") for path in inner)
            return
    yield _group(folder, name)


def _group(folder: Path, name: str) -> list[Listed]:
    return list_sweep(folder, name) if is_sweep(folder) else read_one(folder, name)


def _is_either(folder: Path) -> bool:
    return is_sweep(folder) or (folder / "run.json").exists()


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders of `root`, without links such as `latest` to others of them."""
    try:
        paths = sorted(root.iterdir())
    except OSError:
        return
    for path in paths:
        inside = path.is_symlink() and path.resolve().is_relative_to(root.resolve())
        if path.is_dir() and not path.name.startswith(".") and not inside:
            yield path


def _newest(group: list[Listed]) -> float:
    return max((one.began or 0.0 for one in group), default=0.0)


def list_sweep(folder: Path, name: str) -> list[Listed]:
    """Return the sweep in `folder`, as `name`, then its points in order, each with its trainings.

    What else lies there comes last.
    """
    try:
        record = read_sweep(folder)
    except (LineageError, OSError) as error:
        broken = Listed(name, BROKEN, kind="sweep", trouble=" ".join(str(error).split()))
        inner = [path for path in _folders(folder) if _is_either(path)]
        return [broken, *(one for path in inner for one in read_one(path, f"{name}/{path.name}"))]
    found = [_point(folder, name, record, point) for point in record.points]
    known = {point.folder for point in record.points}
    others = [
        one
        for path in _folders(folder)
        if path.name not in known and _is_either(path)
        for one in read_one(path, f"{name}/{path.name}")
    ]
    points = [rows[0] for rows in found]
    return [_sweep(folder, name, record, points), *(one for rows in found for one in rows), *others]


def _point(folder: Path, name: str, record: SweepRecord, point: Point) -> list[Listed]:
    path, shown = folder / point.folder, f"{name}/{point.folder}"
    there = (path / "run.json").exists()
    rows = read_one(path, shown) if there else [Listed(shown, WAITING, kind=record.kind)]
    first = rows[0]
    if point.failed and first.state != RUNNING:
        # A run may be whole, and have no figure of the kind that the sweep asks for.
        state = first.state if first.state == FINISHED else FAILED
        first = replace(first, state=state, trouble=point.failed)
    try:
        settings: dict[str, Any] = read_settings(path) if there else {}
    except (LineageError, OSError):
        settings = {}
    values = swept(record.keys, point.overrides, settings)
    of, first = name.rpartition("/")[2], replace(first, objective=point.objective)
    return [replace(one, sweep=of, number=point.number, point=values) for one in (first, *rows[1:])]


def _sweep(folder: Path, name: str, record: SweepRecord, points: Sequence[Listed]) -> Listed:
    begun = [one for one in points if one.name]
    values = {field: [getattr(one, field) for one in begun] for field in FROM_POINTS}
    common = {
        field: its[0] for field, its in values.items() if its and all(one == its[0] for one in its)
    }
    finished = [one for one in points if one.state == FINISHED]
    ranked = best_first(record, finished, lambda one: one.objective, mean_of)
    best = ranked[0] if ranked else None
    return Listed(
        folder=name,
        state=_state(folder, [one.state for one in points]),
        kind="sweep",
        **common,
        began=record.began,
        finished=len(finished),
        planned=len(points),
        errors=sum(one.errors for one in points),
        headline=best.headline if best else None,
        keys=tuple(plain(key) for key in record.keys),
        best=best.folder if best else "",
    )


def mean_of(one: Listed) -> float | None:
    """Return the headline figure of a run or a training; None where there is none."""
    mean = one.headline["mean"] if one.headline else None
    return None if mean is None else float(mean)


def _state(folder: Path, states: Sequence[str]) -> str:
    """Return the state of a sweep: that of its points which says most of what is to be done."""
    if held(folder) or RUNNING in states:
        return RUNNING
    if BROKEN in states:
        return BROKEN
    return FINISHED if states and set(states) == {FINISHED} else STOPPED
