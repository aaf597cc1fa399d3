"""What a run or a training has come to, from its records: the log itself is hardly read.

A folder that cannot be read is listed as broken, with what is wrong, and stops nothing.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lineage.core.errors import LineageError
from lineage.core.jsonfile import ODD, read_json, what
from lineage.log.held_out import read_gains
from lineage.log.progress import pairs, progress
from lineage.log.reader import check_end, check_file
from lineage.log.schema import KEYS
from lineage.log.views.connect import connect, read_record
from lineage.log.views.datasets import files_of, whole_files
from lineage.log.views.settings import read_settings
from lineage.metrics import METRICS_VERSION, summarise_all
from lineage.metrics.registry import INTERVAL
from lineage.metrics.training import connect_training
from lineage.report.lookup import FAMILY, headline_gains, totals
from lineage.report.sheet import starred

FINISHED, RUNNING, STOPPED, BROKEN = "finished", "in progress", "stopped", "broken"
FAILED, WAITING = "failed", "not begun"
"""Of points of a sweep alone."""
ASKED = ("scores", "gain_by_inheritance", "totals")
"""The metrics that a row is made of."""
HEADLINE = "reward"
"""The measure of held-out worlds that is the headline of a training."""


@dataclass(frozen=True)
class Listed:
    """One run, training or sweep. `folder` is below the root.

    `finished` of `planned` are generations of all lineages, steps of a training, or points of a
    sweep. `headline` has `of` (an arm or a curriculum), `over`, `measure`, the keys of an interval
    and `starred`; that of a sweep is its `best` point's. `engine` is the kind that served it; of
    the stand-in, figures say nothing about the versions.

    A point has the name of its `sweep`, its `number`, and as `point` the values of the swept keys;
    a sweep has these `keys`.
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
    number: int | None = None
    point: dict[str, Any] = field(default_factory=dict)
    objective: float | None = None
    keys: tuple[str, ...] = ()
    best: str = ""
    trouble: str = ""


def read_one(folder: Path, name: str) -> list[Listed]:
    """Return the run in `folder`, as `name`, and the trainings that it made while it ran."""
    mine = _read(folder, name)
    inner = [path for path in sorted(folder.glob("training/*")) if path.is_dir()]
    busy = mine.state == RUNNING
    return [mine, *(_read(path, f"{name}/training/{path.name}", busy) for path in inner)]


def _read(folder: Path, name: str, busy: bool = False) -> Listed:
    """Return what is in `folder`; `busy`: whoever writes it holds the lock of the one above."""
    try:
        record, settings = read_record(folder), read_settings(folder)
        _check_log(folder)
        describe = _training if "training" in record else _run
        return describe(folder, name, busy or held(folder), record, settings)
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
    came = progress(folder, record, settings)
    metrics = _metrics(folder)
    state = _state(held, came.done)
    errors = metrics["errors"] if state == FINISHED and metrics else _errors(folder)
    return Listed(
        folder=name,
        state=state,
        name=str(record["experiment"]),
        began=float(record["began"]),
        engine=str(settings.get("engine.kind", "")),
        versions=tuple(map(str, record["schedule"])),
        arms=tuple(map(str, record["arms"])),
        pairs=pairs(settings),
        finished=came.finished,
        planned=came.planned,
        errors=int(errors),
        headline=metrics["gain"] if metrics else None,
    )


def _metrics(folder: Path) -> dict[str, Any] | None:
    """Return the `errors` and the `gain` that `metrics.json` holds, None where there is none yet.

    Of one that an older lineage laid out they are computed anew. Raises LineageError where it is
    damaged.
    """
    file, remedy = folder / "metrics.json", f"lineage report {folder} makes it again"
    if not file.exists():
        return None
    found = read_json(file, dict[str, Any], remedy)
    try:
        if int(found["schema"]) < METRICS_VERSION:
            (found,) = summarise_all(connect(folder), ASKED).values()
        return {"errors": int(totals(found)["errors"]), "gain": _gain(found)}
    except ODD as error:
        raise LineageError(f"{file} is damaged ({what(error)}): {remedy}") from error


def _gain(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """Return the gain of `inherit`, or else of the first arm that has one, where it inherited."""
    for gain in headline_gains(metrics)[:1]:
        interval = {key: gain[key] for key in (*INTERVAL, "excludes_zero")}
        names = {"of": gain["arm"], "over": metrics["baseline"], "measure": f"score on {FAMILY}"}
        return {**names, **interval, "starred": starred(gain)}
    return None


def _errors(folder: Path) -> int:
    files = files_of(str(folder))
    if not files["steps"]:
        return 0
    # To open the log with all its views takes four times as long.
    failed = 0
    for file in whole_files(str(folder), files, False, [])["steps"]:
        try:
            with pq.ParquetFile(file) as data:
                # None where they are of before there was such a column.
                columns = data.read(columns=["error"]).columns
        except (pa.ArrowException, OSError) as error:
            raise LineageError(f"{file} is no whole Parquet file: move it away") from error
        failed += sum(bool(one) for column in columns for one in column.to_pylist())
    return failed


def _training(
    folder: Path, name: str, held: bool, record: dict[str, Any], settings: dict[str, Any]
) -> Listed:
    came, errors = progress(folder, record, settings), 0
    if came.finished:
        failed = "SELECT count(*) FROM training WHERE error <> ''"
        errors = (connect_training(folder).execute(failed).fetchone() or (0,))[0]
    gains = read_gains(folder)
    gain = next((one for one in gains if one["measure"] == HEADLINE), None)
    return Listed(
        folder=name,
        state=_state(held, came.done),
        kind="training",
        name=str(record["training"]),
        began=float(record["began"]),
        engine=str(settings.get("engine.kind", "")),
        versions=(str(record["parent"]), str(record["training"])),
        arms=tuple(map(str, record["curricula"])),
        finished=came.finished,
        planned=came.planned,
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


def held(folder: Path) -> bool:
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
