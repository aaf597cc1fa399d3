"""How does the time of a run grow with its lineages, generations, docs and memories?

    python benchmarks/scaling.py                         all of them, a decade at a time
    python benchmarks/scaling.py --of docs generations   these
    python benchmarks/scaling.py --most 100 --repeat 1   a first look

The stand-in serves the tiny experiment, one arm, in one process: what grows is lineage's own. All
is 1 but for what is counted, except that lineages have two generations. Docs and memories are what
a lineage begins with, in two generations of one lineage that hands over. A decade's exponent is
log10 of how many times as long ten times as much takes, start and all: 1 is in proportion, less
has a part that does not grow. What is over `BENDS` bends. How it grows over Ray nodes says
`shards.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ratios import CONFIDENCE
from rich.console import Console
from rich.table import Table

from lineage import compose
from lineage.core.intervals import FREE, interval
from lineage.core.knowledge import EMPTY, Doc, Knowledge, Memory, Origin
from lineage.models.factory import make_engine
from lineage.report.write import write_report
from lineage.runs.loop import run_lineages
from lineage.runs.plan import Job, prepare
from lineage.runs.run import begin

VERSION = "smollm2-135m@r0"
ORIGIN = Origin(0, VERSION, "w000")
BENDS = 1.15
"""An exponent above it is more than what varies from run to run."""
ROOM = 10_000_000
"""Tokens of the context window and the memory budget, so that neither keeps what is counted out."""
KINDS = ("pump", "valve", "gauge", "motor", "boiler")
LINES = 5
"""Of a doc, a fact each."""


def fact(number: int) -> str:
    """Return a fact of a machine that no task asks for."""
    kind = KINDS[number % len(KINDS)]
    return f"The code of {kind} Number {number} is {1000 + number * 7919 % 9000}."


def memories(count: int) -> Knowledge:
    """Return Knowledge of so many memories."""
    made = (Memory(f"m{i}", fact(i), ORIGIN, ORIGIN) for i in range(1, count + 1))
    return EMPTY.evolve(memories=tuple(made))


def docs(count: int) -> Knowledge:
    """Return Knowledge of so many docs."""

    def doc(number: int) -> Doc:
        body = "\n".join(fact(number * LINES + line) for line in range(LINES))
        return Doc(f"d{number}", f"Machines of hall {number}", body, ORIGIN, ORIGIN)

    return EMPTY.evolve(docs=tuple(map(doc, range(1, count + 1))))


@dataclass(frozen=True)
class Growth:
    """What is counted: its sizes, and of a size what a run is told and begins with."""

    sizes: tuple[int, ...]
    words: Callable[[int], tuple[str, ...]]
    begins: Callable[[int], Knowledge] = lambda size: EMPTY


def versions(count: int) -> str:
    return f"schedule.versions=[{','.join([VERSION] * count)}]"


ONE = "experiment.lineages=1"
GROWTHS = {
    "lineages": Growth(
        (1, 10, 100, 1_000, 10_000), lambda size: (f"experiment.lineages={size}", versions(2))
    ),
    "generations": Growth(
        (1, 10, 100, 1_000), lambda size: (ONE, versions(size), "experiment.revisit=1.0")
    ),
    "docs": Growth(
        (10, 100, 1_000, 10_000, 100_000), lambda size: (ONE, versions(2), "agent.docs=true"), docs
    ),
    "memories": Growth((10, 100, 1_000, 10_000), lambda size: (ONE, versions(2)), memories),
}


def job_of(growth: Growth, size: int, root: Path) -> Job:
    """Return the run of a size, prepared."""
    config = compose.load(
        [
            *("engine=surrogate", "experiment=tiny", "arms.names=[inherit]"),
            *("arms.baseline=inherit", "arms.ceiling=inherit"),
            f"agent.memory_budget={ROOM // 2}",
            *(f"run.root={root}", f"run.cache={root / 'cache'}", *growth.words(size)),
        ]
    )
    wide = {name: replace(one, context_window=ROOM) for name, one in config.model.versions.items()}
    job = prepare(replace(config, model=replace(config.model, versions=wide)))
    return replace(job, start=replace(job.start, knowledge=growth.begins(size)))


def timed(growth: Growth, size: int) -> tuple[float, float]:
    """Return the seconds of the lineages of a run, and those of its report."""
    with tempfile.TemporaryDirectory(prefix="lineage-") as name:
        root, folder = Path(name), Path(name) / "run"
        job = job_of(growth, size, root)
        begin(job, folder)
        engine = make_engine(job.config)
        began = time.perf_counter()
        span = range(job.start.generation, job.generations)
        asyncio.run(run_lineages(job, folder, engine, lambda: None, span))
        lived = time.perf_counter()
        write_report(folder, root / "cache")
        return lived - began, time.perf_counter() - lived


def exponents(sizes: Sequence[int], times: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return for each size but the first the exponents since the one before, a repeat each."""
    return [
        [math.log(b / a, sizes[at] / sizes[at - 1]) for a, b in zip(times[at - 1], times[at])]
        for at in range(1, len(sizes))
    ]


def bend(name: str, sizes: Sequence[int], found: Sequence[Sequence[float]]) -> str:
    """Return in one sentence where `found`, the exponents of its decades, first bend."""
    means = [statistics.fmean(one) for one in found]
    at = next((i for i, mean in enumerate(means) if mean > BENDS), None)
    if at is None:
        return f"{name}: nothing bends up to {sizes[-1]:,}; the last decade has {shown(found[-1])}"
    return f"{name}: it bends from {sizes[at]:,} on, with {shown(found[at])}"


def shown(values: Sequence[float]) -> str:
    """Return a mean with its interval."""
    found = interval(dict(enumerate(values)), CONFIDENCE, FREE)
    known = found.low is not None and found.high is not None
    return f"{found.mean:.2f} [{f'{found.low:.2f}, {found.high:.2f}' if known else 'n/a'}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--of", nargs="+", choices=GROWTHS, default=list(GROWTHS))
    parser.add_argument("--most", type=int, default=100_000, help="leave out what is larger")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    console, told = Console(width=120), list[str]()
    for name in options.of:
        growth = GROWTHS[name]
        sizes = [size for size in growth.sizes if size <= options.most]
        table = Table(name, "s, lineages", "exponent", "s, report", "exponent", box=None)
        lived: list[list[float]] = [[] for _ in sizes]
        reported: list[list[float]] = [[] for _ in sizes]
        timed(growth, sizes[0])  # imports and caches
        for _ in range(options.repeat):
            for at, size in enumerate(sizes):
                console.print(f"{size:,} {name}", end="\r")
                one, other = timed(growth, size)
                lived[at].append(one)
                reported[at].append(other)
        columns = [["", *map(shown, exponents(sizes, of))] for of in (lived, reported)]
        for at, size in enumerate(sizes):
            ours, theirs = (statistics.fmean(of[at]) for of in (lived, reported))
            first, second = (column[at] for column in columns)
            table.add_row(f"{size:,}", f"{ours:.2f}", first, f"{theirs:.2f}", second)
        told += [bend(name, sizes, exponents(sizes, lived))]
        told += [bend(f"{name}, report", sizes, exponents(sizes, reported))]
        console.print(table)
    for line in told:
        console.print(line, markup=False)


if __name__ == "__main__":
    main()
