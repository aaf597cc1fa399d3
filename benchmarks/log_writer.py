"""What does a step cost in the journal, and what share of a run does its log take?

    python benchmarks/log_writer.py [--lineages N] [--repeat N] [--steps N]

Printed first: the journal alone, of steps that a run logged, each made durable at once
(`log.journal_steps=1`), in turn with the other ways that it might be kept: a Parquet file a step,
as it was once, and SQLite in WAL mode. *asked* is what whoever logs a step waits for: in a run the
event loop, and with it every lineage. *durable* is all until nothing waits for the disk.

Those steps are of a run of the default experiment on the surrogate, with every call of its log
timed; the same tables are then written to the same disk with pyarrow alone: no journal kept apart
from them, no fsync, no rename, no record. All in turn, so that whatever else the machine does is
there for all.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ratios import Measured, Setup
from rich.console import Console
from rich.table import Table

from lineage import compose
from lineage.core.files import atomic_write
from lineage.log import writer as log_module
from lineage.log.journal import Answer, Journal
from lineage.log.place import Place
from lineage.log.reader import steps_of
from lineage.log.schema import STEP_SCHEMA, Step, table
from lineage.log.writer import GenerationLog, parquet_bytes
from lineage.runs.run import execute

CALLS = ("__init__", "hold", "append", "snapshot", "finish", "flush")
"""What a run asks of its log. None of them waits for anything but the disk."""


class Clock:
    """Seconds in the outermost of the calls that it times."""

    def __init__(self) -> None:
        self.seconds, self.depth = 0.0, 0

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return `call`, timed."""

        def timing(*arguments: Any, **named: Any) -> Any:
            self.depth += 1
            began = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.seconds += time.perf_counter() - began

        return timing


@contextmanager
def watched(clock: Clock, written: list[pa.Table]) -> Iterator[None]:
    """Time every call of a log, and keep the tables that are written."""
    calls = {name: getattr(GenerationLog, name) for name in CALLS}
    to_bytes = log_module.parquet_bytes

    def keeping(data: pa.Table) -> bytes:
        written.append(data)
        return to_bytes(data)

    for name, call in calls.items():
        setattr(GenerationLog, name, clock.timed(call))
    log_module.parquet_bytes = keeping
    try:
        yield
    finally:
        log_module.parquet_bytes = to_bytes
        for name, call in calls.items():
            setattr(GenerationLog, name, call)


def run(root: Path, lineages: int) -> tuple[float, float, list[pa.Table]]:
    """Return seconds of a whole run, those in its log, and the tables that it wrote."""
    config = compose.load(
        [
            *("engine=surrogate", f"experiment.lineages={lineages}"),
            *(f"run.root={root}", f"run.cache={root / 'cache'}"),
        ]
    )
    clock, written = Clock(), list[pa.Table]()
    began = time.perf_counter()
    with watched(clock, written):
        execute(config, root / "run", Console(quiet=True))
    return time.perf_counter() - began, clock.seconds, written


def alone(root: Path, tables: list[pa.Table]) -> float:
    """Return the seconds that pyarrow takes for `tables`, a file each."""
    began = time.perf_counter()
    for number, rows in enumerate(tables):
        pq.write_table(rows, root / f"{number}.parquet", compression=log_module.CODEC)
    return time.perf_counter() - began


PLACE = Place("inherit", 0, "000-inherit", 0)
DIGEST = "0123456789abcdef"
Way = Callable[[Path, list[Step]], Callable[[], None]]
"""Journals steps below a folder, and returns what waits until all are durable."""


def by_files(folder: Path, steps: list[Step]) -> Callable[[], None]:
    """A Parquet file a step, whole or not at all: two fsyncs."""
    for number, step in enumerate(steps):
        atomic_write(folder / f"{number:06d}.parquet", parquet_bytes(table([step])))
    return lambda: None


def by_sqlite(folder: Path, steps: list[Step]) -> Callable[[], None]:
    """A row and a commit a step; in WAL mode with `synchronous=FULL` a commit is an fsync."""
    with closing(sqlite3.connect(folder / "journal.sqlite", isolation_level=None)) as base:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=FULL")
        base.execute("CREATE TABLE steps (asked TEXT, step TEXT)")
        for step in steps:
            text = json.dumps(asdict(step), ensure_ascii=False)
            base.execute("INSERT INTO steps VALUES (?, ?)", (DIGEST, text))
    return lambda: None


def by_lines(folder: Path, steps: list[Step]) -> Callable[[], None]:
    """As it is: a line a step, its fsync in a thread."""
    journal = Journal(folder, PLACE)
    for step in steps:
        journal.write([Answer(step, DIGEST)])
    return journal.wait


def from_files(folder: Path) -> int:
    files = sorted(folder.glob("*.parquet"))
    found = [steps_of(pq.read_table(file, partitioning=None), PLACE) for file in files]
    return sum(map(len, found))


def from_sqlite(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "journal.sqlite")) as base:
        rows = base.execute("SELECT step FROM steps").fetchall()
    return len([Step(**json.loads(text)) for (text,) in rows])


def from_lines(folder: Path) -> int:
    return len(Journal(folder, PLACE).answers)


WAYS: dict[str, tuple[Way, Callable[[Path], int]]] = {
    "a Parquet file a step (once)": (by_files, from_files),
    "SQLite, WAL": (by_sqlite, from_sqlite),
    "a line a step (now)": (by_lines, from_lines),
}


def journalled(way: str, steps: list[Step]) -> tuple[float, float, float, float]:
    """Return ms a step until it was asked for, until it was durable, its bytes, and s to reopen."""
    write, read = WAYS[way]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        wait = write(folder, steps)
        asked = time.perf_counter() - began
        wait()
        durable = time.perf_counter() - began
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        began = time.perf_counter()
        assert read(folder) == len(steps)
        opened = time.perf_counter() - began
    count = len(steps)
    return asked / count * 1000, durable / count * 1000, size / count, opened


def compare(console: Console, steps: list[Step], repeat: int) -> None:
    """Print what a step costs, by way."""
    texts = sum(len(json.dumps(asdict(step))) for step in steps) / len(steps)
    title = f"{len(steps)} steps of {texts:,.0f} bytes as JSON"
    columns = (title, "asked: ms a step", "durable: ms a step", "bytes a step", "s to reopen")
    found: dict[str, list[tuple[float, float, float, float]]] = {way: [] for way in WAYS}
    for _ in range(repeat):
        for way in WAYS:
            found[way].append(journalled(way, steps))
    shown = Table(*columns, box=None)
    for way, times in found.items():
        asked, durable, size, opened = (statistics.median(one) for one in zip(*times, strict=True))
        shown.add_row(way, f"{asked:.2f}", f"{durable:.2f}", f"{size:,.0f}", f"{opened:.3f}")
    console.print(shown)


def taken(lineages: int) -> tuple[float, float, float, list[pa.Table]]:
    """Return the seconds of a run, of its log, and of pyarrow alone for its tables, and these."""
    with tempfile.TemporaryDirectory() as folder:
        whole, ours, tables = run(Path(folder), lineages)
        return whole, ours, alone(Path(folder), tables), tables


def ratios(setup: Setup) -> dict[str, Measured]:
    """Measure the log's share of a run, and its time over pyarrow's; a first run is left out."""
    lineages, found = setup.size(32, 2), []
    for number in range(setup.repeats + 1):
        setup.tick(f"{number} of {setup.repeats}")
        *times, tables = taken(lineages)
        found.append(times)
    whole, ours, theirs = zip(*found[1:], strict=True)
    rows = float(sum(one.num_rows for one in tables))
    each = {"rows": rows, "rows a second": rows * setup.repeats / sum(ours)}
    return {
        "log-share": Measured(ours, whole, each),
        "log-pyarrow": Measured(ours, theirs, each),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the writer of a run's log.")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--lineages", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    found = []
    for _ in range(args.repeat):
        whole, ours, theirs, tables = taken(args.lineages)
        found.append((whole, ours, theirs))
    rows = sum(one.num_rows for one in tables)
    console = Console(width=120)
    logged = (one for one in tables if one.schema.equals(STEP_SCHEMA))
    steps = [step for one in logged for step in steps_of(one, PLACE)][: args.steps]
    compare(console, steps, args.repeat)
    shown = Table(f"{rows:,} rows, {len(tables):,} tables", "seconds", "share of the run", box=None)
    for name, at in (("whole run, with its report", 0), ("its log", 1), ("pyarrow alone", 2)):
        seconds = statistics.median(one[at] for one in found)
        share = statistics.median(one[at] / one[0] for one in found)
        shown.add_row(name, f"{seconds:.2f}", f"{share:.1%}")
    ratio = statistics.median(ours / theirs for _, ours, theirs in found)
    console.print(shown)
    console.print(f"log / pyarrow alone = {ratio:.2f} (median of {args.repeat})")


if __name__ == "__main__":
    main()
