"""The tables that end a run, in the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lineage.analysis.sheet import Sheet
from lineage.analysis.tables import sheets
from lineage.analysis.visible import one_line


def show_summary(summary: dict[str, Any], console: Console) -> None:
    """Print the tables of `summary` (see `measures.summarise`)."""
    for sheet in sheets(summary):
        console.print(drawn(sheet))
    show_totals(summary, console)


def show_totals(summary: dict[str, Any], console: Console) -> None:
    """Print in a line how much was run, and at what cost."""
    totals = summary["totals"]
    console.print(
        f"{totals['pairs']} pairs, {totals['episodes']:,} episodes, {totals['steps']:,} steps, "
        f"{totals['errors']} errors, {totals['prompt_tokens']:,} prompt and "
        f"{totals['completion_tokens']:,} completion tokens, "
        f"{(totals['seconds'] or 0) / 60:.1f} minutes",
        highlight=False,
    )


def drawn(sheet: Sheet) -> Table:
    """Return `sheet` as rich draws it. Where there is no room, the names on the left fold."""
    note = _cell(sheet.note) if sheet.note else None
    table = Table(title=_cell(sheet.title), caption=note, box=None)
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
            table.add_row()
    return table


def _cell(text: str) -> Text:
    return Text(one_line(text))
