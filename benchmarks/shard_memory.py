"""How much memory and how many open files do the processes of a run in shards have, by its size?

    python benchmarks/shard_memory.py                       100, 1,000 and 10,000 lineages
    python benchmarks/shard_memory.py --lineages 100 1000   these

The surrogate serves the tiny experiment, two arms a pair, in two shards on a Ray of this machine,
so many lineages in flight whatever their number. Each process is looked at twice a second: the most
that it held while the run went on, and the driver also while it wrote the report.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from ratios import Measured, Setup, in_turn
from rich.console import Console
from rich.table import Table

MIB = 2**20
EVERY = 0.5
"""Seconds between two looks."""
ARMS = ("inherit", "cold")
PARTS = {"ray::Shard": "shards", "ray::Host": "engine", "ray::Keeper": "keeper"}
"""By the title of a process what it is."""


@dataclass
class Most:
    """The most that processes of a kind held, each: memory in bytes, and open files."""

    memory: int = 0
    files: int = 0

    def see(self, process: psutil.Process) -> None:
        with suppress(psutil.Error):
            self.memory = max(self.memory, process.memory_info().rss)
            self.files = max(self.files, process.num_fds())

    def __str__(self) -> str:
        return f"{self.memory / MIB:,.0f} MiB, {self.files:,} files" if self.memory else "n/a"


def measured(lineages: int, in_flight: int) -> tuple[dict[str, Most], float]:
    """Return by kind of process what one held at most, and the seconds that the run took."""
    found: dict[str, Most] = defaultdict(Most)
    with tempfile.TemporaryDirectory(prefix="lineage-") as folder:
        run = Path(folder) / "runs" / "x"
        words = [
            *("engine=surrogate", "experiment=tiny", "run.shards=2", "run.name=x"),
            *(f"arms.names=[{','.join(ARMS)}]", "arms.ceiling=inherit"),
            *(f"experiment.lineages={lineages // len(ARMS)}", f"run.root={run.parent}"),
            *(f"run.cache={folder}/cache", f"run.lineages_in_flight={in_flight}"),
        ]
        began = time.monotonic()
        driver = subprocess.Popen(
            [sys.executable, "-m", "lineage", "run", *words], stdout=subprocess.DEVNULL
        )
        me = psutil.Process(driver.pid)
        while driver.poll() is None:
            below: list[psutil.Process] = []
            with suppress(psutil.Error):
                below = me.children(recursive=True)
            shards = 0
            for one in below:
                with suppress(psutil.Error):
                    title = " ".join(one.cmdline())
                    kind = next((k for t, k in PARTS.items() if title.startswith(t)), "")
                    shards += kind == "shards"
                    if kind:
                        found[kind].see(one)
            # Once there is no shard any more it writes the report.
            found["driver" if shards or not found["shards"].memory else "report"].see(me)
            time.sleep(EVERY)
        if driver.returncode:
            raise SystemExit(f"the run of {lineages} lineages ended with {driver.returncode}")
        return found, time.monotonic() - began


def ratios(setup: Setup) -> dict[str, Measured]:
    """Measure how the memory of the driver, and of a shard, grows with ten times the lineages."""
    few, in_flight = setup.size(100, 10), 64
    held: dict[str, list[float]] = {"driver": [], "shards": []}

    def run(lineages: int) -> float:
        found, took = measured(lineages, in_flight)
        for kind, values in held.items():
            values.append(found[kind].memory / MIB)
        return took

    times = in_turn(lambda: run(10 * few), lambda: run(few), setup, repeats=min(setup.repeats, 2))
    sizes = {"lineages": 10.0 * few, "beside": float(few), "seconds": sum(times[0]) / len(times[0])}
    # The processes of the runs are gone when it is asked what the machine did beside this one.
    origin = {"others": None}
    return {
        f"{kind}-memory": Measured(tuple(values[2::2]), tuple(values[3::2]), sizes, origin)
        for kind, values in (("driver", held["driver"]), ("shard", held["shards"]))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lineages", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--in-flight", type=int, default=256, help="lineages at the same time")
    options = parser.parse_args()
    kinds = ("driver", *PARTS.values(), "report")
    table = Table("lineages", "seconds", *kinds)
    for lineages in options.lineages:
        found, seconds = measured(lineages, options.in_flight)
        table.add_row(f"{lineages:,}", f"{seconds:,.0f}", *(str(found[kind]) for kind in kinds))
        Console(width=160).print(table)


if __name__ == "__main__":
    main()
