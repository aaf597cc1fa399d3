"""How many lineages a second the vectorised surrogate simulates, and what memory it takes.

    python benchmarks/vectorised.py --lineages 5000 20000 --generations 10

One process simulates each number of lineages and writes them as Parquet. Told are the seconds of
processor, the largest resident memory so far, and what a million lineages would take on two
processors: chunks are of one size, so seconds grow with their number and memory does not.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lineage import compose
from lineage.surrogate import chunks
from lineage.surrogate.setting import Setting

MILLION, PROCESSORS = 1_000_000, 2


def main() -> None:
    """Simulate each number of lineages once, and show the seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lineages", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--generations", type=int, default=10)
    options = parser.parse_args()
    half = options.generations // 2
    schedule = ["smollm2-135m@r0"] * half + ["smollm2-135m@r1"] * (options.generations - half)
    config = compose.load(
        [
            *("engine=surrogate", "agent.docs=false", "experiment.episodes=6"),
            *("suite.machines_per_kind=12", f"schedule.versions=[{','.join(schedule)}]"),
        ]
    )
    names = tuple(dict.fromkeys(schedule))
    table = Table(
        "lineages", "seconds of processor", "lineages a second", "MiB", "million, minutes"
    )
    for count in options.lineages:
        sweep = chunks.Sweep(Setting.of(config), names, count, seed=0)
        with tempfile.TemporaryDirectory() as folder:
            begun = time.process_time()
            for _ in chunks.run(sweep, Path(folder)):
                pass
            seconds = time.process_time() - begun
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        whole = seconds / count * MILLION / PROCESSORS / 60
        cells = (seconds, count / seconds, memory, whole)
        table.add_row(str(count), *(f"{cell:,.1f}" for cell in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
