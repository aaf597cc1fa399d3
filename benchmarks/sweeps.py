"""What a point of a sweep costs beside a run of its own, on the surrogate.

    python benchmarks/sweeps.py                64 points of the experiment tiny
    python benchmarks/sweeps.py --points 8

Each of the two is a process as a user starts it, with its reports. What starts an engine costs a
minute more, once a sweep and once a run, and is not in these figures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from ratios import Measured, Setup, in_turn
from rich.console import Console
from rich.table import Table

TINY = ("engine=surrogate", "experiment=tiny")
ALONE = 3
"""Runs of their own that are timed."""


def seconds(folder: Path, *arguments: str) -> float:
    """Return how long `lineage run` takes with these arguments, writing below `folder`."""
    where = (f"run.root={folder / 'runs'}", f"run.cache={folder / 'cache'}")
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "lineage", "run", *arguments, *TINY, *where],
        check=True,
        capture_output=True,
    )
    return time.monotonic() - began


def ratios(setup: Setup) -> dict[str, Measured]:
    """Measure a point of a sweep beside a run of its own: seconds of each."""
    points = setup.size(16, 2)
    seeds = ",".join(map(str, range(points)))
    with tempfile.TemporaryDirectory() as name:
        numbers = count()

        def point() -> float:
            named = f"run.name=all-{next(numbers)}"
            return seconds(Path(name), "-m", f"experiment.seed={seeds}", named) / points

        def alone() -> float:
            return seconds(Path(name), f"run.name=alone-{next(numbers)}")

        found = in_turn(point, alone, setup)
    return {"sweep-point": Measured(*found, {"points": float(points)})}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds = ",".join(map(str, range(options.points)))
        alone = [
            seconds(folder, f"experiment.seed={seed}", f"run.name=alone-{seed}")
            for seed in range(ALONE)
        ]
        together = seconds(folder, "-m", f"experiment.seed={seeds}", "run.name=all")
        found = len(list((folder / "runs" / "all").glob("*/metrics.json")))
    assert found == options.points, f"{found} of {options.points} points have a result"
    table = Table("", "seconds", "seconds a run")
    table.add_row("a run of its own", f"{min(alone):.1f}", f"{min(alone):.2f}")
    each = together / options.points
    table.add_row(f"a sweep of {options.points}", f"{together:.1f}", f"{each:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
