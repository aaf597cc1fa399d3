"""Making tasks: how many a second, and whether memory grows with their number.

    python benchmarks/suites.py --tasks codebook=1000000 --tasks warehouse=10000

World after world is made from seeds and let go. Memory is that of the whole process: what it
held once the first worlds were made, and the most that it ever held after that.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from itertools import count

import psutil
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lineage.compose import load_suite
from lineage.core.seeds import derive

TASKS = {"codebook": 1_000_000, "warehouse": 10_000}
WARM = 10
"""Worlds made before the first measure: imports and caches are no growth."""

LOOK = 20
"""Worlds between two looks at memory."""


@dataclass(frozen=True)
class Measure:
    """One suite: tasks and worlds made, seconds, and bytes held at first and at most."""

    suite: str
    tasks: int
    worlds: int
    seconds: float
    first: int
    most: int

    def row(self) -> list[str]:
        """Return the measure as text."""
        grown = (self.most - self.first) / 2**20
        return [
            self.suite,
            f"{self.tasks:,}",
            f"{self.worlds:,}",
            f"{self.tasks / self.seconds:,.0f}",
            f"{self.most / 2**20:,.0f}",
            f"{grown:+,.1f}",
        ]


def make(name: str, tasks: int, seed: int, progress: Progress) -> Measure:
    """Make `tasks` tasks or a few more, whole worlds at a time."""
    suite, process = load_suite(name), psutil.Process()
    for number in range(WARM):
        suite.world(derive("suites", seed, "warm", number), 0)
    bar = progress.add_task(name, total=tasks)
    first = most = process.memory_info().rss
    made, began = 0, time.perf_counter()
    for number in count():
        made += len(suite.world(derive("suites", seed, number), 0).tasks)
        if number % LOOK == 0 or made >= tasks:
            progress.update(bar, completed=min(made, tasks))
            most = max(most, process.memory_info().rss)
        if made >= tasks:
            seconds = time.perf_counter() - began
            return Measure(name, made, number + 1, seconds, first, most)
    raise AssertionError("seeds have no end")


def asked(text: str) -> tuple[str, int]:
    """Read SUITE=COUNT."""
    name, _, number = text.partition("=")
    if not number.isdigit() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not SUITE=COUNT")
    return name, int(number)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make tasks, world after world.")
    parser.add_argument("--tasks", type=asked, action="append", metavar="SUITE=COUNT")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    console = Console(width=100)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        wanted = args.tasks or TASKS.items()
        measures = [make(name, tasks, args.seed, progress) for name, tasks in wanted]
    table = Table("suite", "tasks", "worlds", "tasks a second", "peak MiB", "grown MiB", box=None)
    for measure in measures:
        table.add_row(*measure.row())
    console.print(table)


if __name__ == "__main__":
    main()
