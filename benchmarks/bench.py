"""Measure what lineage adds to what it rests on, as ratios, and keep them for the documentation.

    python benchmarks/bench.py                      all of them: make bench
    python benchmarks/bench.py --only doc-search    some of them: make bench ONLY=doc-search
    python benchmarks/bench.py --surrogate          those without a real engine
    python benchmarks/bench.py --list               what there is
    python benchmarks/bench.py --small --only fleet-16    just enough to see that it works
    python benchmarks/bench.py --write              only docs/benchmarks.md, of what is there

Each ratio is of two things that are measured in turn on one machine in one run: what else that does
slows down both. What is found goes into benchmarks/results.json as soon as it is there, so that it
outlives a Ctrl-C, and docs/benchmarks.md is made of that file. What is found with --small is shown,
and not kept.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from page import NOTHING, filled, interval
from ratios import Measured, Ratio, Results, Setup, Target, answer, result
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lineage.core.console import on_terminal
from lineage.core.errors import LineageError, first_line, nearest
from lineage.core.files import atomic_write
from lineage.core.installed import SERVING, installed
from lineage.core.jsonfile import read_json
from lineage.runs.origin import LIBRARIES, Load, origin

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
INTERRUPTED = 130
"""The exit code of Ctrl-C, as shells have it."""
ORIGIN = ("commit", "dirty", "machine")

WRITER = "seconds that lineages wait for the log"
AS_WRITTEN = "as written"
LORA = "our kernel for LoRA on a processor"
RATIOS = (
    Ratio(
        "log-share", WRITER, "seconds of the run with its report", "s", "log_writer",
        Target(0.10), part=True,
        reason="pyarrow alone takes 13% of such a run, whose stand-in answers in no time",
    ),
    Ratio(
        "log-pyarrow", WRITER, "pyarrow alone", "s", "log_writer", Target(1.5),
        reason="rows of Python become columns, and each generation waits for the disk once",
    ),
    *(
        Ratio(
            f"fleet-{size}{kind}", f"{what} through the fleet, {size} in flight",
            "the same engine offline", "tokens/s", "fleet", Target(0.95, more_is_better=True),
            engine=True,
        )
        for kind, what in (("", "free text"), ("-handoffs", "structured handoffs"))
        for size in (16, 64)
    ),
    Ratio(
        "shared-prefixes", "cached tokens of prompts", "those that could be", "tokens a pair",
        "real_runs", engine=True, part=True,
    ),
    Ratio(
        "succession", "from a generation's last step to the next one's first",
        "a start of the engine", "s", "real_runs", Target(0.01), engine=True,
    ),
    Ratio(
        "training-step", "a training step, but for learning, on a modelled engine",
        "the same in phases, with all asked", "s", "training_steps", Target(0.5),
        reason="an engine on a processor is busy all the time: what waits is little",
    ),
    Ratio("sweep-point", "a point of a sweep of 16", "a run of its own", "s", "sweeps"),
    Ratio(
        "million-lineages", "a million vectorised lineages of 10 generations on two cores",
        "an hour", "s", "vectorised", Target(1.0),
    ),
    Ratio(
        "vectorised-time", "a vectorised lineage among 20,000", "among 5,000", "s", "vectorised",
    ),
    Ratio(
        "vectorised-memory", "memory of 20,000 vectorised lineages", "of 5,000", "bytes",
        "vectorised", Target(1.1),
    ),
    Ratio("query-history", "one lineage's history, compacted", AS_WRITTEN, "s", "log_queries"),
    Ratio("query-scores", "scores by arm and family, compacted", AS_WRITTEN, "s", "log_queries"),
    Ratio("query-text", "full text of prompts, compacted", AS_WRITTEN, "s", "log_queries"),
    Ratio("doc-search", "a search in 100,000 docs", "a scan by DuckDB", "ms", "doc_search"),
    Ratio(
        "driver-memory", "memory of the driver with 1,000 lineages", "with 100", "MiB",
        "shard_memory",
    ),
    Ratio("shard-memory", "memory of a shard, 1,000 lineages", "100", "MiB", "shard_memory"),
    Ratio("lora-prefill", LORA, "vLLM's", "ms", "cpu_lora", Target(1.0)),
    Ratio("lora-mixed", LORA, "vLLM's", "ms", "cpu_lora", Target(1.0)),
    Ratio("lora-decode", LORA, "vLLM's", "ms", "cpu_lora", Target(1.0)),
)  # fmt: skip
"""All that there are, in the order of the page; what one module measures stands together."""

BY_NAME = {one.name: one for one in RATIOS}
Measure = Callable[[str, Setup], Mapping[str, Measured]]


def main() -> None:
    options = _options()
    console = Console()
    try:
        chosen = choose(options.only, options.surrogate)
        if options.list:
            console.print(_listed(chosen, stored(RESULTS)))
            return
        if options.write:
            write(stored(RESULTS))
        else:
            _measure_all(chosen, options, console)
    except LineageError as error:
        sys.exit(f"bench: {error}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="NAME,NAME", help="default: all")
    parser.add_argument("--surrogate", action="store_true", help="those without a real engine")
    parser.add_argument("--list", action="store_true", help="name them, and measure nothing")
    parser.add_argument("--small", action="store_true", help="see that they work; nothing is kept")
    parser.add_argument("--repeats", type=int, help="of each; default: 5, small: 2")
    parser.add_argument(
        "--run", type=Path, help="a finished run of a real engine; default: the newest in runs/"
    )
    parser.add_argument("--write", action="store_true", help="only the page, of what is kept")
    options = parser.parse_args()
    if options.repeats is not None and options.repeats < 1:
        parser.error("--repeats must be 1 or more")
    return options


def choose(only: str, surrogate: bool) -> list[Ratio]:
    """Return the ratios that are named, in our order; raises LineageError for an unknown name."""
    names = [name for name in only.split(",") if name]
    for name in names:
        if name not in BY_NAME:
            raise LineageError(f"no ratio is named {name!r}{nearest(name, [*BY_NAME])}")
    wanted = [one for one in RATIOS if not names or one.name in names]
    return [one for one in wanted if not (surrogate and one.engine)]


def _measure_all(chosen: Sequence[Ratio], options: argparse.Namespace, console: Console) -> None:
    """Measure and keep; exits with 1 where something could not be measured, 130 at a Ctrl-C."""
    setup = Setup(options.repeats or (2 if options.small else 5), options.small, options.run)
    kept = None if options.small else RESULTS
    try:
        failed = measure(chosen, setup, console, kept, _module)
    except KeyboardInterrupt:
        console.print("interrupted: what was measured is kept")
        sys.exit(INTERRUPTED)
    console.print(answer(RATIOS, stored(RESULTS)))
    if failed:
        sys.exit(1)


def measure(
    chosen: Sequence[Ratio],
    setup: Setup,
    console: Console,
    kept: Path | None,
    module: Measure,
) -> list[str]:
    """Measure `chosen`, those of one module at once, and return the names of what failed.

    Each that succeeds is shown and, in the file `kept`, stands before the next is begun; others in
    there stay. `module` measures what the module of a name does.
    """
    failed: list[str] = []
    modules = list(dict.fromkeys(one.module for one in chosen))
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    watched = on_terminal(console)
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not watched
    ) as progress:
        bar = progress.add_task("", total=len(modules))
        for name in modules:
            wanted = [one for one in chosen if one.module == name]

            def tick(said: str, name: str = name) -> None:
                progress.update(bar, description=f"{name}: {said}")
                if not watched:
                    console.print(f"{name}: {said}", markup=False)

            tick("begun")
            began, before = time.monotonic(), Load.now()
            try:
                found = module(name, Setup(setup.repeats, setup.small, setup.run, tick))
                made = {
                    one.name: result(one, found[one.name], _origin(before, began)) for one in wanted
                }
            except Exception as error:  # whatever one of them raises, the others are measured
                failed += [one.name for one in wanted]
                console.print(f"{name}: not measured: {first_line(error)}", markup=False)
            else:
                for one in made:
                    told = f"{one} = {interval(made[one])}, {made[one]['verdict']}"
                    console.print(told, markup=False)
                if kept is not None:
                    keep(made, kept)
            progress.advance(bar)
    return failed


def _module(name: str, setup: Setup) -> Mapping[str, Measured]:
    found: Mapping[str, Measured] = importlib.import_module(name).ratios(setup)
    return found


def _origin(before: Load, began: float) -> dict[str, Any]:
    """Return where and with what something was measured since `began`."""
    took = time.monotonic() - began
    return {
        **{key: value for key, value in origin().items() if key in ORIGIN},
        "libraries": installed(*LIBRARIES, *SERVING),
        "others": round(Load.now().others_since(before, took), 4),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "seconds": round(took),
    }


def stored(file: Path) -> dict[str, dict[str, Any]]:
    """Return what is kept in `file`, none where it is not there.

    Raises LineageError where it is damaged.
    """
    if not file.exists():
        return {}
    found: dict[str, dict[str, Any]] = read_json(file, dict[str, dict[str, Any]], "restore it")
    return found


def keep(made: Results, file: Path) -> None:
    """Put what was `made` into `file`, in our order, and make the page where it is our own."""
    all_results = {**stored(file), **made}
    ordered = {name: all_results[name] for name in BY_NAME if name in all_results}
    atomic_write(file, (json.dumps(ordered, indent=1) + "\n").encode())
    if file == RESULTS:
        write(ordered)


def write(results: Results) -> None:
    """Make the page of `results`."""
    atomic_write(PAGE, filled(PAGE.read_text(encoding="utf-8"), RATIOS, results).encode())


def _listed(chosen: Sequence[Ratio], results: Results) -> Table:
    table = Table("name", "ratio of", "target", "engine", "verdict", box=None)
    for one in chosen:
        target = NOTHING if one.target is None else str(one.target)
        verdict = results.get(one.name, {}).get("verdict", NOTHING)
        engine = "real" if one.engine else ""
        table.add_row(one.name, f"{one.above} / {one.below}", target, engine, verdict)
    return table


if __name__ == "__main__":
    main()
