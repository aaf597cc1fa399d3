"""How many lineages a second the vectorised surrogate simulates, and what memory it takes.

    python benchmarks/vectorised.py --lineages 5000 20000 --generations 10

A process of its own simulates each number of lineages and writes them as Parquet. Told are its
seconds of processor, the most memory that it held, and what a million lineages would take on two
processors: chunks are of one size, so seconds grow with their number and memory does not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ratios import Measured, Setup, in_turn, peak_memory
from rich.console import Console
from rich.table import Table

from lineage import compose
from lineage.surrogate import chunks
from lineage.surrogate.setting import Setting

MILLION, PROCESSORS = 1_000_000, 2


HOUR = 3600.0


def simulated(lineages: int, generations: int) -> float:
    """Simulate so many lineages, and return the seconds of processor that this takes."""
    half = generations // 2
    schedule = ["smollm2-135m@r0"] * half + ["smollm2-135m@r1"] * (generations - half)
    config = compose.load(
        [
            *("engine=surrogate", "agent.docs=false", "experiment.episodes=6"),
            *("suite.machines_per_kind=12", f"schedule.versions=[{','.join(schedule)}]"),
        ]
    )
    names = tuple(dict.fromkeys(schedule))
    sweep = chunks.Sweep(Setting.of(config), names, lineages, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        for _ in chunks.run(sweep, Path(folder)):
            pass
        return time.process_time() - begun


def asked(lineages: int, generations: int = 10) -> tuple[float, float]:
    """Let a process of its own simulate; return seconds of processor and its peak of memory."""
    words = ("--lineages", str(lineages), "--generations", str(generations), "--ask")
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, check=True)
    seconds, memory = json.loads(done.stdout)
    return float(seconds), float(memory)


def ratios(setup: Setup) -> dict[str, Measured]:
    """Measure what a million lineages would take, and how time and memory grow with the number."""
    many, few = setup.size(20_000, 4_000), setup.size(5_000, 2_000)
    memory: dict[int, list[float]] = {many: [], few: []}

    def each(lineages: int) -> float:
        seconds, peak = asked(lineages)
        memory[lineages].append(peak)
        return seconds / lineages

    above, below = in_turn(lambda: each(many), lambda: each(few), setup)
    million = tuple(one * MILLION / PROCESSORS for one in above)
    sizes = {"lineages": float(many), "beside": float(few)}
    peaks = (tuple(memory[size][1:]) for size in (many, few))
    return {
        "million-lineages": Measured(million, (HOUR,) * len(million), sizes),
        "vectorised-time": Measured(above, below, sizes),
        "vectorised-memory": Measured(*peaks, sizes),
    }


def main() -> None:
    """Simulate each number of lineages once, and show the seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lineages", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--ask", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    table = Table(
        "lineages", "seconds of processor", "lineages a second", "MiB", "million, minutes"
    )
    for count in options.lineages:
        if options.ask:
            print(json.dumps((simulated(count, options.generations), peak_memory())))
            return
        seconds, memory = asked(count, options.generations)
        whole = seconds / count * MILLION / PROCESSORS / 60
        cells = (seconds, count / seconds, memory / 2**20, whole)
        table.add_row(str(count), *(f"{cell:,.1f}" for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
