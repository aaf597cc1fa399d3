"""`lineage log`, `lineage diff`, `lineage fork`: where Knowledge comes from, and going on there."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lineage.commands import Commands, add_command
from lineage.commands.runs import add_run, find_run, url_of_run
from lineage.core.config import Config
from lineage.core.errors import LineageError

if TYPE_CHECKING:
    from lineage.inspect.snapshots import Snapshots

Execute = Callable[[argparse.Namespace, Config, Path, Console], None]

ENTRY = re.compile(r"[md]\d+")

LOG = """\
examples:
  lineage log runs/latest m3                     who wrote m3, who changed it, did it help?
  lineage log runs/latest m3 --lineage 001-inherit
  lineage log runs/latest 193de821               how this Knowledge came to be
  lineage log runs/latest 000-inherit@1          the same, of what generation 1 left
"""
DIFF = """\
examples:
  lineage diff runs/latest 193de821 7255b766     from the first to the second
  lineage diff runs/latest 7255b766              from its parent
  lineage diff runs/latest 000-inherit@1         what generation 1 changed: from what 0 left
"""
FORK = """\
examples:
  lineage fork runs/latest --at 193de821 migration=verify
  lineage fork runs/latest --at 000-inherit@1 agent.memory_budget=160 --dry-run
  lineage fork runs/latest --at 193de821 migration=mine --config-dir mine

migration=verify sets what conf/migration/verify.yaml itself says; what all options of the group
share stays as in RUN.
"""


def register(commands: Commands[argparse.ArgumentParser], execute: Execute) -> None:
    """Add the commands; `execute` runs a configuration in a folder and shows what came of it."""
    log = add_command(
        commands, "log", "show where an entry or a snapshot of Knowledge comes from", LOG
    )
    add_run(log)
    log.add_argument("name", metavar="ENTRY|KNOWLEDGE", help="m3, d4; an id or LINEAGE@GENERATION")
    log.add_argument("--lineage", default="", metavar="NAME", help="such as 000-inherit")
    log.add_argument("--json", action="store_true", help="one JSON document")
    log.set_defaults(command=_log)
    diff = add_command(
        commands, "diff", "show what changed between two snapshots of Knowledge", DIFF
    )
    add_run(diff)
    diff.add_argument("a", metavar="A", help="an id or LINEAGE@GENERATION")
    diff.add_argument("b", metavar="B", nargs="?", help="without it, A is compared with its parent")
    diff.add_argument("--json", action="store_true", help="one JSON document")
    diff.set_defaults(command=_diff)
    fork = add_command(
        commands, "fork", "go on from a snapshot of a run, under other settings", FORK
    )
    add_run(fork)
    fork.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of RUN's conf")
    # They may follow --at too, where argparse would not take them for the argument above.
    fork.add_argument(
        "--at",
        nargs="+",
        required=True,
        metavar=("KNOWLEDGE", "KEY=VALUE"),
        help="an id or LINEAGE@GENERATION",
    )
    what = "a conf folder of your own, beside conf/"
    fork.add_argument("-cd", "--config-dir", metavar="DIR", help=what)
    fork.add_argument("--dry-run", action="store_true", help="show the settings, run nothing")
    fork.set_defaults(command=lambda options, console: _fork(options, console, execute))


def _log(options: argparse.Namespace, console: Console) -> None:
    from lineage.core.text import say_json
    from lineage.inspect.provenance import provenance
    from lineage.inspect.provenance_text import show_chain, show_entry
    from lineage.log.views.connect import read_record

    options.run = find_run(options.run)
    record = read_record(options.run)
    snapshots = _snapshots(options.run)
    if _names_entry(snapshots, options.name):
        found = provenance(snapshots, record, options.name, options.lineage)
        if options.json:
            say_json(console, asdict(found))
        else:
            show_entry(console, found, chosen=not options.lineage)
        return
    id, lineage = _place(snapshots, options.name, options.lineage)
    links = snapshots.log(id, lineage)
    if options.json:
        chain = [asdict(link) for link in links]
        say_json(console, {"knowledge": id, "lineage": lineage, "chain": chain})
    else:
        show_chain(console, lineage, links)


def _snapshots(run: Path) -> Snapshots:
    # DuckDB and Arrow take a moment to load, which `lineage --help` need not wait for.
    from lineage.inspect.snapshots import Snapshots
    from lineage.log.views.connect import connect, read_record

    read_record(run)
    return Snapshots(connect(run))


def _names_entry(snapshots: Snapshots, name: str) -> bool:
    """Whether `name` is an entry; `d1234` may be a Knowledge id as well."""
    from lineage.inspect.provenance import holders
    from lineage.inspect.snapshots import SHORTEST

    if not ENTRY.fullmatch(name):
        return False
    return name.startswith("m") or len(name) < SHORTEST or bool(holders(snapshots, name))


def _place(snapshots: Snapshots, name: str, lineage: str) -> tuple[str, str]:
    """Return the id of the snapshot `name`, and the lineage whose history of it is shown."""
    id = snapshots.find(name)
    holding = [place.lineage for place in snapshots.held_by(id)]
    named, at, _ = name.partition("@")
    lineage = lineage or (named if at else holding[0])
    if snapshots.lineage(lineage) not in holding:
        raise LineageError(f"lineage {lineage} never held {id}: {holding[0]} did")
    return id, lineage


def _diff(options: argparse.Namespace, console: Console) -> None:
    from lineage.core.text import say_json
    from lineage.inspect.diff import difference
    from lineage.inspect.provenance_text import show_differences

    options.run = find_run(options.run)
    snapshots = _snapshots(options.run)
    if options.b is None:
        before, after = snapshots.came_from(options.a), snapshots.find(options.a)
    else:
        before, after = snapshots.find(options.a), snapshots.find(options.b)
    by_text = not snapshots.kin(before, after)
    old, new = (snapshots.get(id) for id in (before, after))
    if old is None or new is None:
        lacking = before if old is None else after
        raise LineageError(f"{options.run} lacks the content of {lacking}: name two to compare")
    found = difference(old, new, by_text)
    same = len(new.memories) + len(new.docs) - sum(one.new is not None for one in found)
    if not options.json:
        show_differences(console, before, after, found, by_text, same)
        return
    document = {
        "before": before,
        "after": after,
        "matched_by": "text" if by_text else "id",
        "same": same,
        "differences": [asdict(one) for one in found],
    }
    say_json(console, document)


def _fork(options: argparse.Namespace, console: Console, execute: Execute) -> None:
    from lineage.commands import fork as forks
    from lineage.commands.flags import with_folder
    from lineage.inspect.provenance_text import show_note, show_settings
    from lineage.runs.folder import new_folder
    from lineage.runs.plan import prepare

    url, (at, *more) = url_of_run(options.run), options.at
    options.run = find_run(options.run)
    fork = forks.find_fork(_snapshots(options.run), at)
    overrides = with_folder([*options.overrides, *more], options.config_dir)
    config = forks.configured(options.run, fork, overrides, url)
    changed = forks.changes(options.run, config)
    notes = list(fork.notes)
    if elsewhere := forks.other_world(changed):
        notes.append(f"another world than the Knowledge is about, by {', '.join(elsewhere)}")
    for note in notes:
        show_note(console, note)
    prepare(config)
    if options.dry_run:
        show_settings(console, changed)
        return
    folder = new_folder(config)
    if not config.run.name:
        folder = folder.with_name(f"{folder.name}-fork")
    execute(options, config, folder, console)
