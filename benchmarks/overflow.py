"""How long it takes to bring a folder of many notes within a memory budget.

    python benchmarks/overflow.py --notes 3000 6000 12000

What is timed is `agent.budget.fit` with the surrogate's counter of tokens: no model is asked. The
time should grow with the number of notes, not with its square.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from rich.console import Console
from rich.table import Table

from lineage import compose
from lineage.agent.budget import fit
from lineage.agent.context import Context, Ids
from lineage.core.knowledge import IMPORT, Knowledge, Memory, Origin
from lineage.log.schema import Step
from lineage.models.surrogate import Surrogate, count_tokens
from lineage.search import Library, make_ranker
from lineage.suites import make_suite


class Counted:
    """A log that keeps nothing but how many snapshots it was given."""

    def __init__(self) -> None:
        self.snapshots: set[str] = set()

    def append(self, step: Step, asked: str = "") -> None:
        """Keep nothing."""

    def hold(self, step: Step, asked: str = "") -> None:
        """Keep nothing."""

    def snapshot(self, knowledge: Knowledge) -> None:
        """Count it."""
        self.snapshots.add(knowledge.id)


def notes(count: int) -> Knowledge:
    """Return as many notes as a folder might hold."""
    origin = Origin(0, IMPORT, "MEMORY.md")
    texts = (f"Service {i} listens on port {8000 + i}." for i in range(count))
    memories = (Memory(f"m{i}", text, origin, origin) for i, text in enumerate(texts, start=1))
    return Knowledge(tuple(memories), (), count + 1)


def main() -> None:
    """Time each count of notes once, and show the seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--notes", type=int, nargs="+", default=[1500, 3000, 6000, 12000])
    options = parser.parse_args()
    config = compose.load(["engine=surrogate"])
    table = Table("notes", "kept", "snapshots", "seconds", "microseconds a note")
    for count in options.notes:
        log = Counted()
        context = Context(
            ids=Ids("benchmark", "benchmark", "inherit", 0, "000-inherit", 0, "m@r0"),
            engine=Surrogate(config.engine.surrogate),
            suite=make_suite(config.suite),
            config=config.agent,
            count=count_tokens,
            log=log,
            docs=Library(make_ranker("bm25")),
            past=Library(make_ranker("bm25")),
        )
        came, began = notes(count), time.perf_counter()
        left = asyncio.run(fit(context, "migrate", came))
        seconds = time.perf_counter() - began
        table.add_row(
            f"{count:,}",
            f"{len(left.memories)}",
            f"{len(log.snapshots)}",
            f"{seconds:.2f}",
            f"{1e6 * seconds / count:.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
