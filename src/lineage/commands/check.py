"""`lineage check`: what a folder of memory holds as Knowledge, and what its git history tells."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from lineage.commands import Commands, add_command
from lineage.commands.foretold import oddities
from lineage.core.console import busy
from lineage.core.errors import LineageError
from lineage.core.text import one_line, say, say_json
from lineage.report.terminal import new_table

if TYPE_CHECKING:
    from lineage.core.knowledge import Knowledge
    from lineage.markdown.adopted import Reading
    from lineage.markdown.history import History

UNCOMMITTED = "not committed"
SHOWN = 40
"""Characters of an entry in a table."""
MOST_ROWS = 1000
"""Entries in a table, unless all are asked for: rich takes a millisecond for each."""

EXAMPLE = """\
examples:
  lineage check notes/
  lineage check notes/ --all
  lineage check notes/ --format claude       not as what it seems to be
  lineage check notes/ --strict              any warning fails, and all are listed
  lineage check REPO/notes --history         and what became of every entry, commit by commit
  lineage check REPO/notes@v1.0 --json       as it was at a commit, for another program

What an agent has in every prompt is a memory, what it opens on demand a doc. Where the folder is in
git its history is read too: who wrote what by the trailers of commits, and how long it lived.
"""
FORMAT = "read it as this kind of folder: lineage, claude, agents, cursor and so on"


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "show what a folder of Markdown holds as Knowledge, and its git history"
    check = add_command(commands, "check", what, EXAMPLE)
    what = "or REPO@COMMIT: as it was there"
    check.add_argument("folder", type=Path, metavar="FOLDER", help=what)
    check.add_argument(
        "--all", action="store_true", help=f"list every entry, not the first {MOST_ROWS:,}"
    )
    check.add_argument("--format", default="", metavar="NAME", help=FORMAT)
    check.add_argument("--strict", action="store_true", help="a warning is an error")
    check.add_argument(
        "--history",
        action=argparse.BooleanOptionalAction,
        help="every entry that ever was; by default a summary, where the folder is in git",
    )
    check.add_argument("--json", action="store_true", help="one JSON document, with every entry")
    check.set_defaults(command=_check)


def _check(options: argparse.Namespace, console: Console) -> None:
    from lineage.commands import history
    from lineage.core.credentials import redact
    from lineage.markdown.folder import summary

    found, lived, troubles = _read(options, console)
    redacted = redact(found.knowledge)
    warnings = [*found.warnings, *oddities(redacted)]
    if options.json:
        say_json(console, _document(found, redacted.knowledge, warnings, history.document(lived)))
    else:
        say(console, summary(found))
        for line in (*troubles, *([history.sentence(lived)] if lived else [])):
            say(console, line)
        _show_entries(console, redacted.knowledge, _authors(found, lived), options.all)
        if lived:
            console.print()
            most = None if options.all else MOST_ROWS
            history.show_history(console, lived, bool(options.history), most)
        for warning in warnings:
            say(console, f"warning: {one_line(warning)}")
        knowledge = redacted.knowledge
        counts = f"{len(knowledge.memories)} memories, {len(knowledge.docs)} docs"
        say(console, f"{counts}, Knowledge {found.knowledge.id}")
    if options.strict and found.warnings:
        many = "1 warning" if len(found.warnings) == 1 else f"{len(found.warnings):,} warnings"
        raise LineageError(f"{many} of {options.folder}: mend them, or leave out --strict")


def _read(
    options: argparse.Namespace, console: Console
) -> tuple[Reading, History | None, list[str]]:
    """Return what the folder holds, its history, and a line where that cannot be read.

    Raises LineageError for that where the history is asked for.
    """
    from lineage.commands.history import history_of
    from lineage.markdown.folder import read_folder
    from lineage.markdown.git import is_bare
    from lineage.markdown.history import at_commit, read_at

    folder: Path = options.folder
    named = at_commit(str(folder)) or ((folder, "HEAD") if is_bare(folder) else None)
    if named is None:
        found, revision = read_folder(folder, options.format), "HEAD"
    else:
        there = read_at(*named, options.format)
        folder, revision, found = named[0], there.commit, there.reading
    if options.history is False:
        return found, None, []
    try:
        with busy(console, "reading the history"):
            lived = history_of(folder, revision, options.format)
    except LineageError as error:
        if options.history:
            raise
        return found, None, [f"history: n/a, {error}"]
    if lived is None and options.history:
        raise LineageError(f"{folder} has no history: no commit of a git repository holds it")
    return found, lived, []


def _show_entries(
    console: Console, knowledge: Knowledge, authors: Mapping[str, str], every: bool
) -> None:
    table = new_table()
    table.add_column("id", no_wrap=True)
    table.add_column("memory, or title of a doc", overflow="ellipsis", no_wrap=True)
    table.add_column("characters", justify="right", no_wrap=True)
    table.add_column("written by", overflow="fold")
    most = None if every else MOST_ROWS
    memories = knowledge.memories[:most]
    docs = knowledge.docs[: None if most is None else most - len(memories)]
    for memory in memories:
        by = authors.get(memory.id, memory.edited.version)
        table.add_row(*_cells(memory.id, memory.text, len(memory.text), by))
    if memories and docs:
        table.add_row()
    for doc in docs:
        by = authors.get(doc.id, doc.edited.version)
        table.add_row(*_cells(doc.id, doc.title, len(doc.body), by))
    if table.row_count:
        console.print(table)
    shown, entries = len(memories) + len(docs), len(knowledge.entries)
    if shown < entries:
        say(console, f"the first {shown:,} of {entries:,} entries; all of them with --all")


def _authors(found: Reading, lived: History | None) -> dict[str, str]:
    """Return by the id of each entry of another agent who wrote it, and when, as git has it."""
    from lineage.commands.history import written_by

    if lived is None:
        return {}
    by = written_by(lived)
    return {
        id: by.get((part.kind, part.title if part.kind == "doc" else "", part.text), UNCOMMITTED)
        for id, part in found.parts.items()
    }


def _document(
    found: Reading, knowledge: Knowledge, warnings: Sequence[str], history: Any
) -> dict[str, Any]:
    """Return all that `check` says as JSON has it; `knowledge` is without credentials."""
    from lineage.markdown.folder import summary

    return {
        "summary": summary(found),
        "format": found.folder.convention.name if found.folder else None,
        "knowledge": found.knowledge.id,
        "memories": [asdict(memory) for memory in knowledge.memories],
        "docs": [asdict(doc) for doc in knowledge.docs],
        "warnings": list(warnings),
        "history": history,
    }


def _cells(id: str, text: str, characters: int, version: str) -> tuple[str, ...]:
    line = one_line(text)
    shown = line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
    return escape(one_line(id)), escape(shown), f"{characters:,}", escape(one_line(version))
