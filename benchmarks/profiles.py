"""What a run of the surrogate spends its time on: the five largest costs, by cProfile.

    python benchmarks/profiles.py                        the default experiment
    python benchmarks/profiles.py experiment=tiny        another one
    python benchmarks/profiles.py --by function --most 20

A cost is the time within the functions of one part, without what they call: of lineage each
module is a part, of what others wrote each library. What a part calls is told by --by calls: of
each function of lineage the time with all that it calls. Only the event loop's thread is profiled,
whatever other threads wait for. cProfile slows a run down, small functions most of all: shares
tell where to look, and benchmarks/bench.py whether it helped.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

import lineage
from lineage import compose
from lineage.runs.run import execute

PACKAGE = Path(lineage.__file__).parent
STANDARD = Path(sysconfig.get_path("stdlib"))
SITE = Path(sysconfig.get_path("purelib"))
BUILT_IN = "~"
"""What a profile names as the file of what is no Python."""
MODULE, FUNCTION, CALLS = "module", "function", "calls"

Costs = dict[tuple[str, int, str], tuple[int, int, float, float, object]]
"""Of each function, by file, line and name: calls, all calls, own seconds, with what it calls."""


def profiled(words: Sequence[str], report: bool) -> tuple[Costs, float]:
    """Return what the functions of a run cost, and the seconds of all of them together."""
    with tempfile.TemporaryDirectory(prefix="lineage-") as name:
        where = (f"run.root={name}", f"run.cache={name}/cache")
        config = compose.load(["engine=surrogate", *where, *words])
        profile = cProfile.Profile()
        profile.enable()
        try:
            execute(config, Path(name) / "run", Console(quiet=True), report=report)
        finally:
            profile.disable()
    found = pstats.Stats(profile)
    costs: Costs = found.stats  # type: ignore[attr-defined]
    return costs, float(found.total_tt)  # type: ignore[attr-defined]


def part(file: str, function: str) -> str:
    """Return the part that a function belongs to: a module of lineage, a library, or Python."""
    path = Path(file)
    if file == BUILT_IN:
        return f"Python: {function}"
    if path.is_relative_to(PACKAGE):
        return ".".join(("lineage", *path.relative_to(PACKAGE).with_suffix("").parts))
    if path.is_relative_to(SITE):
        return path.relative_to(SITE).parts[0].removesuffix(".py")
    return f"Python: {path.stem}" if path.is_relative_to(STANDARD) else path.stem


def largest(costs: Costs, by: str, most: int) -> list[tuple[str, float, int]]:
    """Return the `most` largest costs: what they are, seconds, and calls."""
    seconds, calls = defaultdict[str, float](float), defaultdict[str, int](int)
    for (file, line, function), (_, count, own, whole, _) in costs.items():
        of = part(file, function)
        if by == CALLS and not of.startswith("lineage."):
            continue
        name = of if by == MODULE or file == BUILT_IN else f"{of}:{line} {function}"
        seconds[name] += whole if by == CALLS else own
        calls[name] += count
    ordered = sorted(seconds, key=lambda name: (-seconds[name], name))
    return [(name, seconds[name], calls[name]) for name in ordered[:most]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    parser.add_argument("--by", choices=(MODULE, FUNCTION, CALLS), default=MODULE)
    parser.add_argument("--most", type=int, default=5)
    parser.add_argument("--report", action="store_true", help="with the report at its end")
    options = parser.parse_args()
    costs, whole = profiled(options.overrides, options.report)
    found = largest(costs, options.by, options.most)
    console = Console()
    if found:
        name, seconds, _ = found[0]
        console.print(f"The largest cost is {name}: {seconds / whole:.0%} of {whole:.1f} s.")
    table = Table("cost", "seconds", "share", "calls", box=None)
    for name, seconds, count in found:
        table.add_row(name, f"{seconds:.2f}", f"{seconds / whole:.1%}", f"{count:,}")
    console.print(table)


if __name__ == "__main__":
    main()
