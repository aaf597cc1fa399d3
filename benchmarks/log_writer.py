"""What share of a run does its log take, and how much more than writing the same rows at once?

    python benchmarks/log_writer.py [--lineages N] [--repeat N]

Runs the default experiment on the surrogate, with every call of the log timed, and then writes the
same tables to the same disk with pyarrow alone: no journal kept apart from them, no fsync, no
rename, no record. Both in turn, so that whatever else the machine does is there for both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from lineage import conf
from lineage.steplog import log as log_module
from lineage.steplog.log import GenerationLog
from lineage.succession.run import execute

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
    config = conf.load(
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
    for number, table in enumerate(tables):
        pq.write_table(table, root / f"{number}.parquet", compression="zstd")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the writer of a run's log.")
    parser.add_argument("--lineages", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    found = []
    for _ in range(args.repeat):
        with tempfile.TemporaryDirectory() as folder:
            whole, ours, tables = run(Path(folder), args.lineages)
            found.append((whole, ours, alone(Path(folder), tables)))
    rows = sum(table.num_rows for table in tables)
    table = Table(f"{rows:,} rows, {len(tables):,} tables", "seconds", "share of the run", box=None)
    for name, at in (("whole run, with its report", 0), ("its log", 1), ("pyarrow alone", 2)):
        seconds = statistics.median(one[at] for one in found)
        share = statistics.median(one[at] / one[0] for one in found)
        table.add_row(name, f"{seconds:.2f}", f"{share:.1%}")
    ratio = statistics.median(ours / theirs for _, ours, theirs in found)
    console = Console(width=100)
    console.print(table)
    console.print(f"log / pyarrow alone = {ratio:.2f} (median of {args.repeat})")


if __name__ == "__main__":
    main()
