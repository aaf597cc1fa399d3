"""Sheets in the terminal; what reads no log and computes nothing, so that it is there at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lineage.core.text import one_line
from lineage.report.headline import banner
from lineage.report.sheet import Sheet

RULED = Box("    \n    \n ─  \n    \n    \n    \n    \n    \n")
"""A rule below each head and an empty line between sections; a space parts the columns."""


def show_banner(engine: str | None, versions: Iterable[str], console: Console) -> None:
    """Print in a line of its own that no language model made the figures, where none did."""
    if warning := banner(engine, versions):
        console.print(plain(warning), style="bold yellow", highlight=False)


def show_sheet(sheet: Sheet, console: Console) -> None:
    """Print `sheet`, parted by an empty line from what is above it."""
    console.print()
    console.print(drawn(sheet))


def new_table(**more: Any) -> Table:
    """Return an empty table as all of ours look: a rule below the heads, and none elsewhere."""
    return Table(box=RULED, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, **more)


def drawn(sheet: Sheet) -> Table:
    """Return `sheet` as rich draws it. Where there is no room, the names on the left fold."""
    note = plain(sheet.note) if sheet.note else None
    table = new_table(title=plain(sheet.title), caption=note)
    for number, title in enumerate(sheet.head):
        if number < sheet.left:
            table.add_column(plain(title), overflow="fold")
        else:
            table.add_column(plain(title), justify="right", no_wrap=True)
    for row in sheet.rows:
        if any(row):
            table.add_row(*(plain(cell) for cell in row))
        else:
            table.add_section()
    return table


def plain(text: str) -> Text:
    """Return `text` in one line, without markup."""
    return Text(one_line(text))
