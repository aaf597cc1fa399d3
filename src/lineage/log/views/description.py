"""What a view of a log holds, column by column: text in a terminal, a table in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import pyarrow as pa

HEAD = ("column", "type", "doc")


@dataclass(frozen=True, repr=False)
class Description:
    """Columns `column`, `type` and `doc`, a row a column of the view; `doc` says what a row is.

    Whatever an Arrow table has, this has as well (`to_pylist`, `to_pandas`, `column`, ...), and
    whatever reads Arrow reads it.
    """

    view: str
    doc: str
    table: pa.Table

    def __getattr__(self, name: str) -> Any:
        """Return what the table has of this name."""
        if name.startswith("_") or name == "table":
            raise AttributeError(name)
        return getattr(self.table, name)

    def __len__(self) -> int:
        """Return how many columns the view has."""
        return int(self.table.num_rows)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the table as a stream (Arrow's PyCapsule interface)."""
        return self.table.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        """Return it as lines of text, the columns under each other."""
        rows = [HEAD, *self._rows()]
        wide = [max(len(row[at]) for row in rows) for at in (0, 1)]
        lines = (f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c}".rstrip() for a, b, c in rows)
        return "\n".join((f"{self.view}: {self.doc}", *lines))

    def _repr_html_(self) -> str:
        """Return it as a table for a notebook."""
        style = ' style="text-align: left"'
        head = "".join(f"<th{style}>{name}</th>" for name in HEAD)
        body = "".join(
            f"<tr><td{style}><code>{escape(a)}</code></td><td{style}>{escape(b)}</td>"
            f"<td{style}>{escape(c)}</td></tr>"
            for a, b, c in self._rows()
        )
        caption = f"<caption{style}><b>{escape(self.view)}</b>: {escape(self.doc)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _rows(self) -> list[tuple[str, str, str]]:
        return [(row["column"], row["type"], row["doc"]) for row in self.table.to_pylist()]
