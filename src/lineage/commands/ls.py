"""`lineage ls`: the runs, sweeps and trainings of a folder, a row each."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lineage.commands import Commands, add_command
from lineage.core.console import on_terminal
from lineage.core.text import one_line, say, say_json, unfolded
from lineage.core.urls import is_url, url_in
from lineage.report.headline import engine_words
from lineage.report.sheet import STARRED_FROM, gained, name, short
from lineage.report.terminal import new_table

if TYPE_CHECKING:
    from lineage.inspect.listing import Listed

EXAMPLES = """\
examples:
  lineage ls                    the runs, sweeps and trainings of run.root, newest first
  lineage ls runs/sweep         a sweep, and its points below it
  lineage ls --json | jq '.runs[] | select(.state == "stopped") | .folder'
"""
NOTE = (
    "gain: of inherit over the baseline on tasks met before, in generations that inherited, mean "
    "over n pairs [interval]; of a training, in reward over the parent, in n held-out worlds; of a "
    "sweep, that of its best point; * "
    f"the interval excludes 0, n of {STARRED_FROM} or more; (stand-in): no language model made it; "
    "n/a: not computed"
)
STYLES = {
    "finished": "green",
    "in progress": "yellow",
    "stopped": "magenta",
    "not begun": "dim",
    "failed": "red",
    "broken": "red",
}

TOLD = ("name", "engine", "versions", "pairs", "arms")
"""What a sweep says for its points, where they have it in common."""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    ls = add_command(commands, "ls", "list runs, sweeps and trainings, newest first", EXAMPLES)
    ls.add_argument("root", type=Path, nargs="?", metavar="ROOT", help="default: conf's run.root")
    ls.add_argument("--json", action="store_true", help="one JSON document")
    ls.set_defaults(command=_ls)


def _ls(options: argparse.Namespace, console: Console) -> None:
    root, found = _listed(options.root)
    # A sweep is what its points are, which are counted.
    counted = [one for one in found if one.kind != "sweep" or one.trouble]
    states = Counter(one.state for one in counted)
    if options.json:
        document = {"root": str(root), "runs": [_plain(one) for one in found]}
        say_json(console, {**document, "states": states})
        return
    if found:
        unfolded(console).print(_table(found, folded=on_terminal(console)))
    for one in found:
        if one.trouble:
            where = f"{one.folder}: " if one.state != "broken" else ""
            say(console, f"{one.state}: {where}{one.trouble}")
    kinds = ", ".join(f"{count} {state}" for state, count in states.items())
    say(console, f"{len(counted)} in {root}: {kinds}" if found else f"no runs in {root}")


def _listed(given: Path | None) -> tuple[str, list[Listed]]:
    """Return the root, as it is named, and what is in it; of a URL all of it is fetched."""
    from lineage.inspect.folders import listing

    url = url_in(str(given)) if given is not None else None
    if given is not None and url is None:
        return str(given), listing(given)
    from lineage import compose

    run = compose.shipped_run()
    root = url or run.root
    if not is_url(root):
        return root, listing(Path(root))
    from lineage.runs.stored import read_from

    return root, listing(read_from(run, root))


def _plain(one: Listed) -> dict[str, Any]:
    began = one.began and datetime.fromtimestamp(one.began, UTC).isoformat()
    return {**asdict(one), "began": began}


def _table(found: list[Listed], folded: bool) -> Table:
    """Return a row a run; `folded`: what it is stands below its name, for want of width."""
    table = new_table(caption=Text(NOTE), caption_justify="left")
    table.add_column("run", overflow="fold")
    if not folded:
        table.add_column("what")
    for title in ("state", "done", "errors", "gain", "n"):
        table.add_column(title, justify="left" if title == "state" else "right", no_wrap=True)
    above: Listed | None = None
    for one in found:
        above = above if above is not None and one.folder.startswith(f"{above.folder}/") else None
        what = Text(one_line(_what(one, above)), "dim")
        head = Text(one_line(one.folder), "bold")
        names = [Text.assemble(head, "\n", what) if folded and what.plain else head]
        done = f"{one.finished}/{one.planned}" if one.planned else ""
        known = one.state != "broken" and one.planned > 0
        table.add_row(
            *(names if folded else (*names, what)),
            Text(one.state, STYLES[one.state]),
            Text(done),
            Text(f"{one.errors:,}" if known else "", "red" if one.errors else ""),
            Text(gained(one.headline) if known else ""),
            Text(str(one.headline["n"]) if one.headline else ""),
        )
        above = one if one.kind == "sweep" else above
    return table


def _what(one: Listed, above: Listed | None) -> str:
    """Return in words what was run: name, when it began, versions, arms, and the point's keys.

    Of a point, what the row of the sweep `above` it does not say.
    """
    if one.state == "broken":
        return ""
    said = {} if above is None else {field: getattr(above, field) for field in TOLD}
    own = {field: getattr(one, field) for field in TOLD if said.get(field) != getattr(one, field)}
    told = _told(one, own, alone=above is None) if one.state != "not begun" else []
    keys = [f"{key}={value}" for key, value in one.point.items()]
    if one.kind == "sweep":
        keys = [f"sweep over {', '.join(one.keys)}"]
    parts = [*told, *keys] if above is None else [*keys, *told]
    if one.best:
        parts.append(f"best: {one.best}")
    if one.headline is not None and one.headline["of"] != "inherit":
        parts.append(f"gain of {one.headline['of']}")
    return "; ".join(part for part in parts if part)


def _told(one: Listed, own: dict[str, Any], alone: bool) -> list[str]:
    """Return in words the fields `own`; `alone`: no row above it says what it does not."""
    served = f"on {engine_words(own['engine'])}" if own.get("engine") else ""
    if alone and not served and one.kind != "sweep":
        served = f"on {engine_words('')}"
    began = datetime.fromtimestamp(one.began).strftime("%Y-%m-%d %H:%M") if one.began else ""
    when, arms = began if alone else "", ", ".join(own.get("arms", ()))
    if one.kind == "training" and one.versions:
        parent, made = one.versions
        what = f"training of {made} from {name(parent)}" if "name" in own else ""
        return [what, served, when, arms]
    pairs = own.get("pairs", 0)
    many = f"{pairs} {'pair' if pairs == 1 else 'pairs'}" if pairs else ""
    return [
        own.get("name", ""),
        served,
        when,
        " > ".join(short(own.get("versions", ()))),
        many,
        arms,
    ]
