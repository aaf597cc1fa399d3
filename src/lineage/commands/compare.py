"""`lineage compare`: two runs side by side, over the tasks that both met."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from lineage.commands import Commands, add_command
from lineage.commands.runs import add_run, find_point, find_run
from lineage.core.errors import LineageError
from lineage.core.text import one_line, say, say_json, unfolded
from lineage.log.sweep import is_sweep
from lineage.report.headline import engine_words
from lineage.report.sheet import STARRED_FROM, Sheet, bounds, counted, gained, pairs_of, starred
from lineage.report.terminal import show_sheet

EXAMPLES = """\
examples:
  lineage compare runs/before runs/after
  lineage compare runs/sweep 0 3                two points of a sweep, by their numbers
  lineage compare runs/sweep/000 runs/sweep/001 --json | jq '.scores[] | .difference.mean'
"""
VALUE = 60
"""Characters of a setting's value that are shown."""
FEW = 8
"""So many keys that one run alone has are named."""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "compare two runs over the tasks that both met: scores, memory, cost, settings"
    compare = add_command(commands, "compare", what, EXAMPLES)
    add_run(compare, "a", "the folder of the first, A, or of a sweep")
    points = "the folder of the second, B, or of a sweep the numbers of two points"
    compare.add_argument("b", nargs="*", metavar="RUN|POINT", help=points)
    compare.add_argument("--json", action="store_true", help="one JSON document")
    compare.set_defaults(command=_compare)


def _compare(options: argparse.Namespace, console: Console) -> None:
    # DuckDB and Arrow take a moment to load, which `lineage --help` need not wait for.
    from lineage.inspect.comparison import compare

    found = compare(*_two(find_run(options.a), options.b))
    if options.json:
        say_json(console, found)
        return
    unfolded(console)
    for name in ("a", "b"):
        say(console, Text.assemble((name.upper(), "bold"), f"  {one_line(found[name]['folder'])}"))
        say(console, f"   on {one_line(engine_words(found[name]['engine']))}")
    _show_settings(found, console)
    for sheet in _sheets(found):
        if sheet.rows:
            show_sheet(sheet, console)
    for reason in found["reasons"]:
        say(console, Text(one_line(reason), "yellow"))
    say(console, f"{found['pairs']} pairs compared")


def _two(first: Path, more: list[str]) -> tuple[Path, Path]:
    """Return the two runs that are meant. Raises LineageError which says how to name them."""
    if is_sweep(first):
        if len(more) == 2:
            return find_point(first, more[0]), find_point(first, more[1])
        raise LineageError(
            f"{first} is a sweep: name two points of it, as in lineage compare {first} 0 1, or see "
            f"all of them, lineage report {first}"
        )
    if len(more) != 1:
        raise LineageError(
            f"lineage compare takes two runs: lineage compare {first} RUN"
            if not more
            else f"lineage compare takes two runs, or a sweep and two points; {first} is no sweep"
        )
    second = find_run(Path(more[0]))
    if is_sweep(second):
        raise LineageError(
            f"{second} is a sweep: choose a point of it, as in lineage compare {first} "
            f"{second}/000; see lineage ls {second}"
        )
    return first, second


def _show_settings(found: dict[str, Any], console: Console) -> None:
    for one in found["settings"]:
        values = (one_line(json.dumps(one[name], ensure_ascii=False)) for name in ("a", "b"))
        a, b = (text if len(text) <= VALUE else f"{text[:VALUE]}…" for text in values)
        say(console, Text.assemble((one_line(one["key"]), "bold"), f": {a} → {b}"))
    for name in ("a", "b"):
        if keys := found[f"only_{name}"]:
            few = f": {', '.join(keys)}" if len(keys) <= FEW else ", see --json"
            say(console, Text(f"{len(keys)} keys only {name.upper()} has{one_line(few)}", "dim"))
    if not any(found[key] for key in ("settings", "only_a", "only_b")):
        say(console, "the settings are the same")


def _sheets(found: dict[str, Any]) -> list[Sheet]:
    level = f"{found['confidence']:.0%}"
    note = (
        f"mean over the pairs of both [{level} interval]; * the interval of B - A excludes 0, "
        f"{STARRED_FROM} pairs or more"
    )
    sheets = []
    for family in found["families"]:
        cells = [one for one in found["scores"] if one["family"] == family]
        rows = tuple(
            (one["arm"], bounds(one["a"]), bounds(one["b"]), gained(one["difference"]))
            for one in cells
        )
        last = note if family == found["families"][-1] else ""
        sheet = Sheet(f"score on {family}", ("arm", "A", "B", "B - A"), rows, last)
        sheets.append(counted(sheet, [[pairs_of(one["difference"])] for one in cells]))
    measured = [
        one for one in (*found["memory"], *found["costs"]) if one["a"]["mean"] or one["b"]["mean"]
    ]
    more = tuple(
        (
            one["arm"],
            one["measure"],
            f"{one['a']['mean']:,.1f}",
            f"{one['b']['mean']:,.1f}",
            _gained(one["difference"]),
        )
        for one in measured
    )
    head = ("arm", "measure", "A", "B", "B - A")
    note = (
        "memory tokens: that a generation leaves; a handoff: all that is between the tasks of a "
        "generation; seconds in the engine, or else by the clock"
    )
    sheet = Sheet("memory and cost", head, more, note, left=2)
    return [*sheets, counted(sheet, [[pairs_of(one["difference"])] for one in measured])]


def _gained(difference: dict[str, Any]) -> str:
    """Return a signed difference of large numbers with its bounds."""
    text = f"{difference['mean']:+,.1f}"
    if difference["low"] is None:
        return text
    star = "*" if starred(difference) else " "
    return f"{text} [{difference['low']:,.1f}, {difference['high']:,.1f}]{star}"
