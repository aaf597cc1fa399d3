"""What runs and trainings a folder holds, from their records: the log itself is hardly read.

A folder that cannot be read is listed as broken, with what is wrong, and stops nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from lineage.core.errors import LineageError
from lineage.core.jsonfile import ODD, read_json, what
from lineage.core.names import POINT
from lineage.log.reader import check_end, check_file
from lineage.log.schema import KEYS
from lineage.log.views.connect import connect, read_record
from lineage.log.views.settings import differing, read_settings
from lineage.metrics.held_out import read_gains
from lineage.metrics.training import connect_training
from lineage.report.sheet import starred

FINISHED, RUNNING, STOPPED, BROKEN = "finished", "in progress", "stopped", "broken"
FAMILY = "same"
"""The family of probes whose gain is the headline."""
HEADLINE = "reward"
"""The measure of held-out worlds that is the headline of a training."""


@dataclass(frozen=True)
class Listed:
    """One run or training. `folder` is below the root; `point` are the keys its sweep varies.

    `finished` of `planned` are generations of all lineages, or steps of a training. `headline`
    has `of` (an arm or a curriculum), `over`, `measure`, the keys of an interval and `starred`.
    `engine` is the kind that served it; of the stand-in, figures say nothing about the versions.
    """

    folder: str
    state: str
    kind: str = "run"
    name: str = ""
    began: float | None = None
    engine: str = ""
    versions: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    pairs: int = 0
    finished: int = 0
    planned: int = 0
    errors: int = 0
    headline: dict[str, Any] | None = None
    sweep: str = ""
    point: dict[str, Any] = field(default_factory=dict)
    trouble: str = ""


def listing(root: Path) -> list[Listed]:
    """Return what is in `root`, or `root` itself where it is a run; newest first.

    The points of a sweep stand together, in their order. Raises LineageError where `root` is no
    folder.
    """
    if not root.is_dir():
        raise LineageError(f"{root} is no folder: nothing has run there yet")
    if (root / "run.json").exists():
        return _one(root, root.name)
    if _points(root):
        return _sweep(root, root.name)
    groups = [
        _sweep(folder, folder.name) if _points(folder) else _one(folder, folder.name)
        for folder in _folders(root)
    ]
    return [one for group in sorted(groups, key=_newest, reverse=True) for one in group]


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders of `root`, without links such as `latest` to others of them."""
    for path in sorted(root.iterdir()):
        inside = path.is_symlink() and path.resolve().is_relative_to(root.resolve())
        if path.is_dir() and not path.name.startswith(".") and not inside:
            yield path


def _points(folder: Path) -> list[Path]:
    """Return the runs of a sweep, whose folders are numbers; empty where it is something else.

    A run whose name is a number may lie among other runs and sweeps: then that is no sweep.
    """
    try:
        if (folder / "run.json").exists():
            return []
        below = list(_folders(folder))
        numbers = [path for path in below if POINT.fullmatch(path.name)]
        others = (path for path in below if path not in numbers)
        if any((path / "run.json").exists() or any(path.glob("*/run.json")) for path in others):
            return []
        return numbers if any((point / "run.json").exists() for point in numbers) else []
    except OSError:
        return []


def _newest(group: list[Listed]) -> float:
    return max((one.began or 0.0 for one in group), default=0.0)


def _sweep(folder: Path, name: str) -> list[Listed]:
    points = {point: _one(point, f"{name}/{point.name}") for point in _points(folder)}
    whole = [point for point, found in points.items() if found[0].state != BROKEN]
    settings = {point: read_settings(point) for point in whole}
    keys = differing(list(settings.values())) if settings else []
    return [
        replace(one, sweep=name, point={key: settings.get(point, {}).get(key) for key in keys})
        for point, found in points.items()
        for one in found
    ]


def _one(folder: Path, name: str) -> list[Listed]:
    """Return a run, and the trainings that it made while it ran."""
    mine = _read(folder, name)
    inner = [path for path in sorted(folder.glob("training/*")) if path.is_dir()]
    held = mine.state == RUNNING
    return [mine, *(_read(path, f"{name}/training/{path.name}", held) for path in inner)]


def _read(folder: Path, name: str, held: bool = False) -> Listed:
    """Return what is in `folder`; `held`: whoever writes it holds the lock of the one above."""
    try:
        record, settings = read_record(folder), read_settings(folder)
        _check_log(folder)
        describe = _training if "training" in record else _run
        return describe(folder, name, held or _held(folder), record, settings)
    except (LineageError, OSError, duckdb.Error) as error:
        return Listed(name, BROKEN, trouble=" ".join(str(error).split()))
    except ODD as error:
        trouble = f"{folder}: its record or configuration lacks or garbles {what(error)}"
        return Listed(name, BROKEN, trouble=trouble)


def _check_log(folder: Path) -> None:
    """Raise LineageError where a file of the log does not end, or is of a newer schema."""
    files = sorted(folder.glob("steps/**/*.parquet"))
    for file in files:
        check_end(file)
    # All have one schema, and its version takes a while to read.
    for file in files[:1]:
        check_file(file, KEYS["steps"])


def _run(
    folder: Path, name: str, held: bool, record: dict[str, Any], settings: dict[str, Any]
) -> Listed:
    forked = settings.get("start.run") is not None
    pairs = 1 if forked else int(settings["experiment.lineages"])
    before = int(settings["start.generation"]) + 1 if forked else 0
    planned = (len(record["schedule"]) - before) * pairs * len(record["arms"])
    finished = len(list(folder.glob("done/*.json")))
    metrics = _metrics(folder)
    state = _state(held, finished >= planned and metrics is not None)
    errors = metrics["errors"] if state == FINISHED and metrics else _errors(folder)
    return Listed(
        folder=name,
        state=state,
        name=str(record["experiment"]),
        began=float(record["began"]),
        engine=str(settings.get("engine.kind", "")),
        versions=tuple(map(str, record["schedule"])),
        arms=tuple(map(str, record["arms"])),
        pairs=pairs,
        finished=finished,
        planned=planned,
        errors=int(errors),
        headline=metrics["gain"] if metrics else None,
    )


def _metrics(folder: Path) -> dict[str, Any] | None:
    """Return the `errors` and the `gain` that `metrics.json` holds, None where there is none yet.

    Raises LineageError where it is damaged.
    """
    file, remedy = folder / "metrics.json", f"lineage report {folder} makes it again"
    if not file.exists():
        return None
    found = read_json(file, dict[str, Any], remedy)
    try:
        return {"errors": int(found["totals"]["errors"]), "gain": _gain(found)}
    except ODD as error:
        raise LineageError(f"{file} is damaged ({what(error)}): {remedy}") from error


def _gain(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """Return the gain of `inherit`, or else of the first arm that could have one.

    In generations that inherited.
    """
    later = {
        row["arm"]: row
        for row in metrics["gain_by_inheritance"]
        if row["inherited"] and row["family"] == FAMILY
    }
    others = [arm for arm in metrics["arms"] if arm != metrics["ceiling"]]
    for arm in sorted(others, key=lambda arm: arm != "inherit"):
        gain = later.get(arm)
        if gain is not None:
            interval = {key: gain[key] for key in ("mean", "low", "high", "n", "excludes_zero")}
            names = {"of": arm, "over": metrics["baseline"], "measure": f"score on {FAMILY}"}
            return {**names, **interval, "starred": starred(gain)}
    return None


def _errors(folder: Path) -> int:
    if next(folder.glob("steps/**/*.parquet"), None) is None:
        return 0
    found = connect(folder).execute("SELECT count(*) FROM steps WHERE error <> ''").fetchone()
    return int(found[0]) if found else 0


def _training(
    folder: Path, name: str, held: bool, record: dict[str, Any], settings: dict[str, Any]
) -> Listed:
    planned = int(settings["method.steps"])
    finished, errors = len(list(folder.glob("curve/*.parquet"))), 0
    if finished:
        failed = "SELECT count(*) FROM training WHERE error <> ''"
        errors = (connect_training(folder).execute(failed).fetchone() or (0,))[0]
    gains = read_gains(folder)
    measured = bool(gains) or not settings["train.held_out"]
    written = (folder / "training.json").exists()
    gain = next((one for one in gains if one["measure"] == HEADLINE), None)
    return Listed(
        folder=name,
        state=_state(held, finished >= planned and measured and written),
        kind="training",
        name=str(record["training"]),
        began=float(record["began"]),
        engine=str(settings.get("engine.kind", "")),
        versions=(str(record["parent"]), str(record["training"])),
        arms=tuple(map(str, record["curricula"])),
        finished=finished,
        planned=planned,
        errors=int(errors),
        headline=_held_out(gain, str(record["parent"])) if gain else None,
    )


def _held_out(gain: dict[str, Any], parent: str) -> dict[str, Any]:
    low, high = gain["gain"]["low"], gain["gain"]["high"]
    excludes = low is not None and high is not None and low * high > 0
    names = {"of": gain["curriculum"], "over": parent, "measure": f"held-out {gain['measure']}"}
    return {
        **names,
        **gain["gain"],
        "excludes_zero": excludes,
        "starred": starred(gain["gain"]),
    }


def _state(held: bool, whole: bool) -> str:
    if held:
        return RUNNING
    return FINISHED if whole else STOPPED


def _held(folder: Path) -> bool:
    """Whether a process is writing the folder: it holds the lock as long as it lives."""
    try:
        # Without waiting: a pipe of that name is nobody's lock.
        lock = os.open(folder / ".lock", os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(lock, "rb", 0) as file:
            # Shared and given back at once: two readers never keep each other out.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False

