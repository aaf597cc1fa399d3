"""What is said of a folder of memory before it is used: what is odd, and what becomes of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lineage.core.findings import findings
from lineage.core.text import one_line, say, unfolded
from lineage.report.terminal import new_table, plain

if TYPE_CHECKING:
    from lineage.core.credentials import Redacted
    from lineage.runs.foresee import Foresight
    from lineage.runs.plan import Job

SHOWN = 30
"""Characters of an entry in a table."""
MOST_ROWS = 50
"""Entries in a table; as JSON there are all."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Let `parser` say what becomes of each entry, and allow that some are lost."""
    parser.add_argument("--dry-run", action="store_true", help="say what would become of it")
    parser.add_argument("--allow-drop", action="store_true", help="go on where entries are lost")
    parser.add_argument("--json", action="store_true", help="one JSON document, with every entry")


def oddities(redacted: Redacted) -> list[str]:
    """Return what is to be looked at in Knowledge, a line each: secrets first."""
    lines = [f"{id} holds a secret: {', '.join(kinds)}" for id, kinds in redacted.kinds.items()]
    for one in findings(redacted.knowledge):
        lines.append(f"{one.kind}: {' and '.join(one.entries)} {one.why}")
    return lines


def show_foresight(console: Console, found: Sequence[Foresight], warnings: Iterable[str]) -> None:
    """Print in a sentence, then entry by entry, what becomes of a folder, and the `warnings`.

    Entries that are kept as they are have no row of their own.
    """
    for one in found:
        say(console, one.sentence)
        rows = [fate for fate in one.fates if fate.reason]
        table = new_table()
        table.add_column("id", no_wrap=True)
        table.add_column("becomes", no_wrap=True)
        table.add_column("tokens", justify="right", no_wrap=True)
        table.add_column("why", overflow="fold")
        table.add_column("memory, or title of a doc", overflow="ellipsis", no_wrap=True)
        for fate in rows[:MOST_ROWS]:
            tokens = f"{fate.tokens:,}" if one.counted else "n/a"
            cells = (fate.entry, fate.what, tokens, fate.reason or "n/a", shortened(fate.label))
            table.add_row(*map(plain, cells))
        if table.row_count:
            unfolded(console).print(table)
        if table.row_count < len(rows):
            say(console, f"the first {table.row_count} of {len(rows):,}; all of them with --json")
    for warning in warnings:
        say(console, f"warning: {one_line(warning)}")


def document(found: Foresight, warnings: Sequence[str]) -> dict[str, Any]:
    """Return all of it as JSON has it."""
    fates = [asdict(fate) | {"reason": fate.reason} for fate in found.fates]
    head = {name: value for name, value in asdict(found).items() if name != "fates"}
    return {**head, "entries": fates, "warnings": list(warnings)}


def start_told(job: Job) -> tuple[tuple[Foresight, ...], list[str]]:
    """Return what becomes of the folder that `job` begins with, and what is odd about it.

    Of snapshots that are replayed those follow of which something would be lost.
    """
    from lineage.runs.foresee import CUT, foreseen
    from lineage.runs.replay import as_knowledge

    if not job.config.start.folder:
        return (), []
    start = job.start
    taken_out = start.redacted.kinds if start.redacted.marks else {}
    found = foreseen(job.config, job.arms, start.knowledge, taken_out)
    replaying = [arm for arm in job.arms if arm.receives.replayed]
    for snapshot in start.replayed:
        ones = foreseen(job.config, replaying, as_knowledge(snapshot), {})
        found += tuple(one for one in ones if one.of(CUT))
    return found, [*start.warnings, *oddities(start.redacted)]


def announce(job: Job, console: Console) -> None:
    """Say what becomes of the folder that `job` begins with.

    Raises LineageError where entries would be lost, unless `start.allow_drop`.
    """
    found, warnings = start_told(job)
    show_foresight(console, found, warnings)
    _refuse(job, found)


def check_start(job: Job) -> None:
    """Raise LineageError as `announce` does, and say nothing."""
    _refuse(job, start_told(job)[0])


def _refuse(job: Job, found: Sequence[Foresight]) -> None:
    from lineage.runs.foresee import check_kept

    if not job.config.start.allow_drop:
        check_kept(found, "set start.allow_drop=true")


def shortened(text: str, most: int = SHOWN) -> str:
    """Return `text` on one line of at most `most` characters."""
    line = one_line(text)
    return line if len(line) <= most else line[: most - 1] + "…"
