"""The tables that end a run, in the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lineage.analysis.sheet import Sheet
from lineage.analysis.tables import sheets


def show(summary: dict[str, Any], console: Console) -> None:
    """Print the tables of `summary` (see `measures.summarise`)."""
    for sheet in sheets(summary):
        console.print(drawn(sheet))
    totals = summary["totals"]
    console.print(
        f"{totals['pairs']} pairs, {totals['episodes']:,} episodes, {totals['steps']:,} steps, "
        f"{totals['errors']} errors, {totals['prompt_tokens']:,} prompt and "
        f"{totals['completion_tokens']:,} completion tokens, "
        f"{(totals['seconds'] or 0) / 60:.1f} minutes",
        highlight=False,
    )


def drawn(sheet: Sheet) -> Table:
    """Return `sheet` as rich draws it."""
    table = Table(title=escape(sheet.title), caption=escape(sheet.note) or None, box=None)
    for number, title in enumerate(sheet.head):
        left = number < sheet.left
        table.add_column(escape(title), justify="left" if left else "right", no_wrap=True)
    for row in sheet.rows:
        if any(row):
            table.add_row(*(escape(cell) for cell in row))
        else:
            table.add_section()
            table.add_row()
    return table
