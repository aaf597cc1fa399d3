"""`lineage export`: Knowledge as a folder of Markdown files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from lineage.commands import Commands, add_command
from lineage.commands.runs import add_run, find_run
from lineage.core.errors import LineageError
from lineage.core.text import one_line, say

if TYPE_CHECKING:
    from lineage.core.knowledge import Knowledge
    from lineage.inspect.snapshots import Snapshots
    from lineage.markdown.writing import Written

PREFERRED = "inherit"
"""The arm whose Knowledge is exported where none is named."""

EXPORT = """\
examples:
  lineage export runs/latest notes/                      what the last generation left
  lineage export runs/latest notes/ --lineage 001-inherit
  lineage export runs/latest notes/ --at 193de821        any snapshot; see lineage log
  lineage export runs/latest rules/ --format cursor      as another kind of agent has it

A folder of another agent that the run began with (start.folder) gets its own files back, of which
only what a changed entry says is another.
"""

def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    export = add_command(
        commands, "export", "write a run's Knowledge as a folder of Markdown", EXPORT
    )
    add_run(export)
    export.add_argument("folder", type=Path, metavar="FOLDER", help="new, or an earlier export")
    export.add_argument("--at", default="", metavar="KNOWLEDGE", help="an id or LINEAGE@GENERATION")
    export.add_argument("--lineage", default="", metavar="NAME", help="such as 000-inherit")
    export.add_argument("--replace", action="store_true", help="whatever FOLDER holds")
    export.add_argument("--format", default="", metavar="NAME", help="of a new FOLDER; see check")
    export.add_argument("--patch", type=Path, metavar="FILE", help="what would change in FOLDER")
    export.set_defaults(command=_export)


def _export(options: argparse.Namespace, console: Console) -> None:
    # DuckDB and Arrow take a moment to load, which `lineage --help` need not wait for.
    from lineage.inspect.snapshots import Snapshots
    from lineage.log.views.connect import connect, read_record
    from lineage.markdown.folder import export_knowledge, import_knowledge, put_as
    from lineage.markdown.parsing import OURS

    options.run = find_run(options.run)
    record = read_record(options.run)
    snapshots = Snapshots(connect(options.run))
    id, whence = _exported(snapshots, list(record.get("arms", ())), options.at, options.lineage)
    knowledge = snapshots.get(id)
    if knowledge is None:
        raise LineageError(f"{options.run} does not hold Knowledge {id}: choose another with --at")
    what = f"{len(knowledge.memories)} memories and {len(knowledge.docs)} docs"
    what += f" of Knowledge {id}{whence} are in"
    if options.format not in ("", OURS):
        if options.patch or (options.folder.exists() and any(options.folder.iterdir())):
            raise LineageError(f"--format {options.format} writes other files: name a new folder")
        _say_put(console, put_as(knowledge, options.format, options.folder), what, options.folder)
        return
    if _put_back(options, console, knowledge, snapshots, what):
        return
    if options.patch:
        raise LineageError(f"{options.folder} is no folder that {options.run} began with: no patch")
    export_knowledge(knowledge, options.folder, options.replace)
    folder = one_line(str(options.folder))
    say(console, f"{what} {folder}")
    try:
        alone = import_knowledge(options.folder).id == id
    except LineageError as error:
        say(console, f"warning: with what else is there it cannot be imported: {error}")
    else:
        if not alone:
            say(console, f"warning: {folder} holds other Markdown, which an import reads as well")


def _put_back(
    options: argparse.Namespace,
    console: Console,
    knowledge: Knowledge,
    snapshots: Snapshots,
    what: str,
) -> bool:
    """Write to a folder of another agent in place; whether it is one that the run knows."""
    from lineage.core.files import atomic_write
    from lineage.markdown.folder import changes_of, put_back, read_folder
    from lineage.markdown.patch import patch
    from lineage.markdown.writing import written

    folder: Path = options.folder
    if options.format or options.replace or not folder.is_dir() or not any(folder.iterdir()):
        return False
    try:
        came = read_folder(folder)
    except LineageError:
        return False
    if came.folder is None or snapshots.get(came.knowledge.id) is None:
        return False
    if options.patch:
        change = written(came, knowledge)
        atomic_write(options.patch, patch(changes_of(folder, change)))
        _say_put(console, change, what, options.patch)
    else:
        _say_put(console, put_back(knowledge, came, folder, folder), what, folder)
    return True


def _say_put(console: Console, change: Written, what: str, place: Path) -> None:
    for finding in change.findings:
        say(console, f"warning: {one_line(str(finding))}")
    say(console, f"{what} {one_line(str(place))}")


def _exported(snapshots: Snapshots, arms: list[str], at: str, lineage: str) -> tuple[str, str]:
    """Return the id of what is to be exported and, in words, where it is from.

    Without `at`, that is what the last generation of `lineage` left; without that as well, of the
    first lineage of `PREFERRED`, or else of the first of `arms` that has any Knowledge.
    """
    if lineage:
        snapshots.lineage(lineage)
    if at:
        id = snapshots.find(at)
        if lineage and all(place.lineage != lineage for place in snapshots.held_by(id)):
            raise LineageError(f"{lineage} never held Knowledge {id}: leave out --lineage or --at")
        return id, ""
    left = [(place, id) for place, id in snapshots.left.items() if lineage in ("", place.lineage)]
    if not left:
        raise LineageError(f"{lineage or 'this run'} hands no Knowledge over: name one with --at")
    last: dict[str, tuple[int, str]] = {}
    for place, id in left:
        last[place.lineage] = max(last.get(place.lineage, (-1, "")), (place.generation, id))
    filled = {name for name, (_, id) in last.items() if not _is_empty(snapshots, id)}

    def rank(arm: str, pair: int, name: str) -> tuple[bool, bool, int, int, str]:
        order = arms.index(arm) if arm in arms else len(arms)
        return arm != PREFERRED, name not in filled, order, pair, name

    name = min(rank(place.arm, place.pair, place.lineage) for place, _ in left)[-1]
    generation, id = last[name]
    return id, f", what {name}@{generation} left,"


def _is_empty(snapshots: Snapshots, id: str) -> bool:
    knowledge = snapshots.get(id)
    return knowledge is None or not (knowledge.memories or knowledge.docs)
