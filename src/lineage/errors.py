"""The one error that lineage raises for humans: one line that says what to change."""

from __future__ import annotations


class LineageError(Exception):
    """Something the user can mend. `str(error)` is one line; the CLI prints it and exits 1."""
