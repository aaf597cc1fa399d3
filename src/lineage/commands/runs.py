"""RUN, as the commands take it: a folder, a URL, or its name below `run.root`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lineage.core.config import RunConfig
from lineage.core.errors import LineageError, nearest
from lineage.core.files import behind
from lineage.core.urls import is_url, url_in
from lineage.log.sweep import SWEEP, read_sweep

Fetch = Callable[[RunConfig, str], Path]
"""Brings the run at a URL into a folder, which it returns."""
FILES = ("run.json", "config.yaml", SWEEP, "*/run.json")
"""What a run has, or a training, a sweep or another folder of runs."""


def add_run(
    parser: argparse.ArgumentParser, name: str = "run", what: str = "its folder", **more: Any
) -> None:
    """Let `parser` take a RUN as `name`."""
    parser.add_argument(
        name, type=Path, metavar="RUN", help=f"{what} or URL, or its name below run.root", **more
    )


def find_run(given: Path, fetch: Fetch | None = None) -> Path:
    """Return the folder of the run `given`: itself, or the one of that name below `run.root`.

    Of one with a URL it is what `fetch` makes of that: else a copy, to be read.

    Raises LineageError where there is neither, with the nearest name.
    """
    if _is_run(given):
        return given
    # Hydra takes a moment to load, which a folder that is there need not wait for.
    from lineage import compose

    run = compose.shipped_run()
    if (url := _url(given, run.root)) is not None:
        from lineage.runs.stored import read_from

        return (fetch or read_from)(run, url)
    root = Path(run.root)
    below = root / given
    if not given.is_absolute() and below.is_dir():
        return below
    behind(given)
    if given.exists():
        return given
    beside = {name for place in (given.parent, below.parent) for name in _names(place, root)}
    raise LineageError(f"there is no run {given}{nearest(given.name, sorted(beside))}")


def url_of_run(given: Path) -> str | None:
    """Return the URL of the run `given`, where it has one: it is one, or `run.root` is."""
    if _is_run(given):
        return None
    from lineage import compose

    return _url(given, compose.shipped_run().root)


def only_in_folders(what: str) -> Fetch:
    """Return what raises LineageError for a run with a URL: `what` takes those in folders."""

    def refuse(run: RunConfig, url: str) -> Path:
        raise LineageError(f"{url} is read where it is: {what} takes a run in a folder")

    return refuse


def find_point(sweep: Path, given: str) -> Path:
    """Return the folder of the point `given` of a sweep, its number or the name of its folder.

    Raises LineageError where the sweep has no such point, or that has not begun.
    """
    points = {str(point.number): point for point in read_sweep(sweep).points}
    point = points.get(given) or next((p for p in points.values() if p.folder == given), None)
    if point is None:
        known = f"0 to {len(points) - 1}" if [*points] == [*map(str, range(len(points)))] else ""
        known = known or ", ".join(points)
        raise LineageError(f"{sweep} has no point {given!r}: choose from {known or 'none yet'}")
    folder = sweep / point.folder
    if not (folder / "run.json").exists():
        why = f"failed ({point.failed})" if point.failed else "has not begun"
        raise LineageError(f"point {given} of {sweep} {why}: lineage resume {sweep}")
    return folder


def begun_points(sweep: Path) -> list[Path]:
    """Return the folders of a sweep's points that have begun, in their order.

    Raises LineageError where none has, or the sweep's record is damaged.
    """
    folders = [sweep / point.folder for point in read_sweep(sweep).points]
    if begun := [folder for folder in folders if (folder / "run.json").exists()]:
        return begun
    raise LineageError(f"no point of {sweep} has begun: lineage resume {sweep}")


def _url(given: Path, root: str) -> str | None:
    # A command line takes it for a path, and of s3:// is left s3:/.
    if (found := url_in(str(given))) is not None:
        return found
    return f"{root.rstrip('/')}/{given}" if is_url(root) and not given.exists() else None


def _is_run(folder: Path) -> bool:
    return folder.is_dir() and any(next(folder.glob(name), None) for name in FILES)


def _names(place: Path, root: Path) -> list[str]:
    """Return the names of the folders in `place`; none of the working folder, where code is."""
    working = place == Path() and root != Path()
    if working or not place.is_dir():
        return []
    return [path.name for path in place.iterdir() if path.is_dir()]
