"""`lineage.run` and `lineage.train`: what the commands do, from Python, to an opened log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lineage import compose
from lineage.commands.foretold import announce
from lineage.commands.run import check, kind, release
from lineage.core.config import Config
from lineage.core.signals import apart
from lineage.log.record import RECORD
from lineage.log.views.open import open_log
from lineage.runs.folder import named_folder
from lineage.runs.origin import commanded
from lineage.runs.run import execute
from lineage.runs.stored import stored

if TYPE_CHECKING:
    import duckdb


def run(overrides: Sequence[str], multirun: bool, progress: bool) -> duckdb.DuckDBPyConnection:
    """See `lineage.run`."""
    _check_list(overrides)
    console = _console(progress)
    if multirun:
        return open_log(_run_points(overrides, console))
    config = compose.load(overrides)
    folder = _folder(config, config.experiment.name)
    _run_one(config, folder, console, "lineage", "run", *overrides)
    return open_log(folder)


def train(overrides: Sequence[str], progress: bool) -> duckdb.DuckDBPyConnection:
    """See `lineage.train`."""
    from lineage.commands.train import with_log
    from lineage.training.run import execute as execute_training

    _check_list(overrides)
    config, console = with_log(compose.load(overrides)), _console(progress)
    folder = _folder(config, "train")

    def work() -> None:
        with stored(config.run, folder, console):
            execute_training(config, folder, console)

    with _resumable(folder):
        _apart_from_a_loop(work)
    return open_log(folder)


def _run_points(overrides: Sequence[str], console: Console) -> Path:
    """Run the points of a sweep at once, on engines that they share, and return its folder."""
    from lineage.commands.flags import Asked
    from lineage.commands.sweeping import run_sweep

    begun: list[Path] = []

    def work() -> None:
        with commanded("lineage", "run", "-m", *overrides):
            run_sweep(Asked(tuple(overrides), multirun=True), kind(), console, begun.append)

    try:
        _apart_from_a_loop(work)
    except BaseException as error:
        if begun:
            error.add_note(f"what was finished is kept, go on with: lineage resume {begun[0]}")
        raise
    return begun[0]


def _run_one(config: Config, folder: Path, console: Console, *command: str) -> None:
    """Run `config` in `folder`; `command` is what does the same in a shell."""
    job = check(config, console)
    if not (folder / RECORD).exists():
        announce(job, console)

    def work() -> None:
        with commanded(*command), stored(config.run, folder, console) as mirror:
            execute(config, folder, console, release, job=job, mirror=mirror)

    with _resumable(folder):
        _apart_from_a_loop(work)


def _apart_from_a_loop(work: Callable[[], object]) -> None:
    """Do `work`, which runs an event loop: in a thread of its own where one runs in this, as in a
    notebook.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        work()
    else:
        apart(work)


@contextmanager
def _resumable(folder: Path) -> Iterator[None]:
    """Let an exception say how to go on with what was begun in `folder`."""
    try:
        yield
    except BaseException as error:
        if (folder / "config.yaml").exists():
            error.add_note(f"what was finished is kept, go on with: lineage resume {folder}")
        raise


def _folder(config: Config, what: str) -> Path:
    """Return the folder that is named by `run.name`; else a new one.

    Runs of a program may begin within one second, which the command line's do not.
    """
    folder = named_folder(config, what)
    if config.run.name is not None or not folder.exists():
        return folder
    others = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    return next(one for one in others if not one.exists())


def _console(progress: bool) -> Console:
    # Not as rich shows things in a notebook: widgets, which not all of them have.
    return Console(force_jupyter=False, quiet=not progress)


def _check_list(overrides: Sequence[str]) -> None:
    """Raise TypeError for one text: it would be read as a list of single characters."""
    if isinstance(overrides, str):
        raise TypeError(f"overrides is a list of texts, such as [{overrides!r}]")
