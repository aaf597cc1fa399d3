"""The tables that end a run, in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lineage.core.text import one_line
from lineage.report.answer import answer, explained
from lineage.report.headline import MINUTE, banner, provenance
from lineage.report.lookup import totals
from lineage.report.sheet import NOT_COMPUTED, Sheet
from lineage.report.tables import more, scores

RULED = Box("    \n    \n ─  \n    \n    \n    \n    \n    \n")
"""A rule below each head and an empty line between sections; a space parts the columns."""


def show_summary(summary: dict[str, Any], console: Console) -> None:
    """Print what was found and the tables of `summary` (see `metrics.summarise`)."""
    show_headline(summary, console)
    for sheet in more(summary):
        show_sheet(sheet, console)
    console.print()
    show_totals(summary, console)


def show_headline(summary: dict[str, Any], console: Console) -> None:
    """Print the answer, what the words of it mean, the scores, and where these come from."""
    show_banner(summary.get("engine"), summary["schedule"], console)
    console.print(_cell(answer(summary)), style="bold", highlight=False)
    console.print(_cell(explained(summary)), style="dim", highlight=False)
    show_sheet(scores(summary), console)
    console.print(_cell(provenance(summary)), style="dim", highlight=False)


def show_banner(engine: str | None, versions: Iterable[str], console: Console) -> None:
    """Print in a line of its own that no language model made the figures, where none did."""
    if warning := banner(engine, versions):
        console.print(_cell(warning), style="bold yellow", highlight=False)


def show_totals(summary: dict[str, Any], console: Console) -> None:
    """Print in a line how much was run, and at what cost."""
    whole = totals(summary)
    seconds = whole["seconds"]
    untimed = f"{NOT_COMPUTED} minutes: no step says when it ended"
    console.print(
        f"{whole['pairs']} pairs, {whole['episodes']:,} episodes, {whole['steps']:,} steps, "
        f"{whole['errors']} errors, {whole['prompt_tokens']:,} prompt and "
        f"{whole['completion_tokens']:,} completion tokens, "
        + (untimed if seconds is None else f"{seconds / MINUTE:.1f} minutes"),
        highlight=False,
    )


def show_sheet(sheet: Sheet, console: Console) -> None:
    """Print `sheet`, parted by an empty line from what is above it."""
    console.print()
    console.print(drawn(sheet))


def new_table(**more: Any) -> Table:
    """Return an empty table as all of ours look: a rule below the heads, and none elsewhere."""
    return Table(box=RULED, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, **more)


def drawn(sheet: Sheet) -> Table:
    """Return `sheet` as rich draws it. Where there is no room, the names on the left fold."""
    note = _cell(sheet.note) if sheet.note else None
    table = new_table(title=_cell(sheet.title), caption=note)
    for number, title in enumerate(sheet.head):
        if number < sheet.left:
            table.add_column(_cell(title), overflow="fold")
        else:
            table.add_column(_cell(title), justify="right", no_wrap=True)
    for row in sheet.rows:
        if any(row):
            table.add_row(*(_cell(cell) for cell in row))
        else:
            table.add_section()
    return table


def _cell(text: str) -> Text:
    return Text(one_line(text))
