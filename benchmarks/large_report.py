"""How do the report of a run and the check of a folder of notes grow with their size?

    python benchmarks/large_report.py [--pairs N] [--bullets N] [--times N] [--root FOLDER]

A small run of the surrogate is written again as other pairs of one large run, as
`benchmarks/log_queries.py` does: N pairs, and `--times` as many. The report of each is made in a
process of its own, which says how much processor time that took and the most memory that it held;
so is `lineage check` of an index of so many bullets, and of an export of a tenth as many memories,
each of which has provenance. Work that is linear takes the same time a
pair, or a bullet, whatever the size, less what any process takes to start: the last column is the
time of each at the larger size over that at the smaller one. Processor time, not that of a clock: a
machine that does other work meanwhile changes it little.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from log_queries import write
from ratios import peak_memory
from rich.console import Console
from rich.table import Table

from lineage import compose
from lineage.cli import main as lineage
from lineage.core.files import atomic_write
from lineage.core.knowledge import Knowledge, Memory, Origin
from lineage.markdown.folder import export_knowledge
from lineage.report.write import write_report
from lineage.runs.run import execute

MIB = 2**20
TEMPLATE_PAIRS = 10


def template(root: Path) -> Path:
    """Run the surrogate: the tiny experiment, of a few more pairs."""
    settings = [
        *("engine=surrogate", "experiment=tiny", f"experiment.lineages={TEMPLATE_PAIRS}"),
        *(f"run.root={root}", f"run.cache={root / 'cache'}"),
    ]
    folder = root / "template"
    if not folder.exists():
        execute(compose.load(settings), folder, Console(quiet=True), report=False)
    return folder


def large_run(root: Path, pairs: int, console: Console) -> Path:
    """Write a run of so many pairs, unless it is there."""
    run = root / f"pairs-{pairs}"
    if not run.exists():
        source = template(root)
        done = [json.loads(file.read_bytes()) for file in (source / "done").iterdir()]
        each = sum(record["steps"] for record in done)
        write(run, source, -(-pairs // TEMPLATE_PAIRS) * each, console)
    return run


def notes(root: Path, bullets: int) -> Path:
    """Write a folder with an index of so many bullets, as somebody else wrote it.

    They are short: such a file may have no more than a MiB.
    """
    folder = root / f"bullets-{bullets}"
    if not folder.exists():
        lines = (f"- {number % 90 + 10}" for number in range(bullets))
        atomic_write(folder / "MEMORY.md", "\n".join((*lines, "")).encode())
    return folder


def export(root: Path, memories: int) -> Path:
    """Write a folder with an index of so many memories, as lineage exports them."""
    folder = root / f"memories-{memories}"
    if not folder.exists():
        of = Origin(0, "smollm2-135m@r0", "w0")
        held = (
            Memory(f"m{number}", f"The code of pump {number} is {number * 7919 % 9973}.", of, of)
            for number in range(1, memories + 1)
        )
        export_knowledge(Knowledge(tuple(held), (), memories + 1), folder)
    return folder


def report(run: Path) -> None:
    write_report(run, run.parent / "cache")


def check(folder: Path) -> None:
    with suppress(SystemExit):
        lineage(["check", str(folder)])


WORK: dict[str, Callable[[Path], None]] = {"report": report, "check": check}


def ask(name: str, folder: Path) -> None:
    """Do the work in this process; print what it took to stderr as JSON."""
    began = time.perf_counter()
    WORK[name](folder)
    taken = {"clock": time.perf_counter() - began, "cpu": time.process_time()}
    print(json.dumps({**taken, "memory": peak_memory()}), file=sys.stderr)


def asked(name: str, folder: Path) -> dict[str, float]:
    """Let another process do it; return what it took."""
    done = subprocess.run(
        [sys.executable, __file__, "--ask", name, "--root", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    answer: dict[str, float] = json.loads(done.stderr.splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--bullets", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--root", type=Path, help="where; default: a folder that goes afterwards")
    parser.add_argument("--ask", choices=WORK, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        ask(options.ask, options.root)
        return
    root = options.root or Path(tempfile.mkdtemp(prefix="lineage-report-"))
    try:
        measure(root, options.pairs, options.bullets, options.times)
    finally:
        if not options.root:
            shutil.rmtree(root, ignore_errors=True)


def measure(root: Path, pairs: int, bullets: int, times: int) -> None:
    console = Console(width=100)
    head = ("work", "of", "processor s", "clock s", "peak MiB", "ms each", "over the smaller")
    table = Table(*head, box=None)
    of: dict[str, tuple[str, str, int, Callable[[int], Path]]] = {
        "report": ("report", "pairs", pairs, lambda size: large_run(root, size, console)),
        "check": ("check", "bullets", bullets, lambda size: notes(root, size)),
        "check of an export": ("check", "memories", bullets // 10, lambda size: export(root, size)),
    }
    for name, (work, what, least, make) in of.items():
        first = 0.0
        for size in (least, least * times):
            found = asked(work, make(size))
            each = found["cpu"] / size
            told = "" if not first else f"{each / first:.2f}"
            first = first or each
            table.add_row(
                name,
                f"{size:,} {what}",
                f"{found['cpu']:,.1f}",
                f"{found['clock']:,.1f}",
                f"{found['memory'] / MIB:,.0f}",
                f"{1000 * each:,.2f}",
                told,
            )
    console.print(table)


if __name__ == "__main__":
    main()
