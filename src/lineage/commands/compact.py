"""`lineage compact`: the small files of runs put together."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.progress import track

from lineage.commands import Commands, add_command
from lineage.commands.runs import add_run, begun_points, find_run, only_in_folders
from lineage.core.console import on_terminal
from lineage.core.errors import LineageError
from lineage.core.text import one_line, say
from lineage.log.sweep import is_sweep

EXAMPLES = """\
examples:
  lineage compact runs/latest      one run, with the trainings in it
  lineage compact runs/sweep       every point of a sweep that has begun
nothing is lost: what is not finished keeps its own files, and lineage resume goes on from there
"""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "put the small files of finished generations together, sorted, for faster queries"
    compact = add_command(commands, "compact", what, EXAMPLES)
    add_run(compact, what="the folder of a run, training or sweep", nargs="+")
    compact.set_defaults(command=_compact)


def _compact(options: argparse.Namespace, console: Console) -> None:
    folders = [find_run(where, only_in_folders("lineage compact")) for where in options.run]
    found = [(run, of) for folder in folders for run, of in _runs(folder)]
    left: list[str] = []
    for run, of_sweep in dict(found).items():
        try:
            _whole(run, console)
        except LineageError as error:
            # What is wrong with a point keeps no other from being compacted.
            if not of_sweep:
                raise
            left.append(str(error))
    if left:
        raise LineageError(f"{len(left)} of {len(found)} points are left as they were: {left[0]}")


def _whole(run: Path, console: Console) -> None:
    from lineage.runs.folder import locked

    with locked(run):
        # A training in a run is guarded by the lock of that run.
        inner = {file.parents[1] for file in run.glob("**/done/*.json")}
        for folder in sorted({run, *inner}):
            _one(folder, console)


def _runs(where: Path) -> list[tuple[Path, bool]]:
    """Return `where`, or the runs in it, each with whether it is a point of a sweep.

    Raises LineageError where it is neither a run nor a folder of runs.
    """
    if is_sweep(where):
        return [(point.resolve(), True) for point in begun_points(where)]
    if not (where / "run.json").exists():
        points = sorted(file.parent for file in where.glob("*/run.json"))
        if points:
            return [(point.resolve(), False) for point in points]
    from lineage.inspect.browsing import open_record

    open_record(where)
    return [(where, False)]


def _one(folder: Path, console: Console) -> None:
    from lineage.log.compaction import compact, size

    shown = one_line(str(folder))

    def tracked(files: list[Path]) -> Iterable[Path]:
        watched = on_terminal(console)
        return track(files, shown, console=console, transient=True, disable=not watched)

    before = size(folder)
    compact(folder, tracked)
    after = size(folder)
    if before == after:
        say(console, f"{shown}: nothing to put together")
        return
    files = f"{before.files:,} files of {decimal(before.bytes)}"
    say(console, f"{shown}: {files} are now {after.files:,} of {decimal(after.bytes)}")
