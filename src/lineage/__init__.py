"""lineage: what should happen to a model's memory when the model is upgraded, and what is it worth?

log = lineage.run(["engine=surrogate", "suite.drift=0.1"])    # or lineage.open("runs/latest")
log.sql("SELECT arm, family, avg(score) FROM probes GROUP BY ALL")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from lineage.log.views.description import Description

__all__ = ["describe", "open", "run", "train"]


def open(
    *where: str | Path, skip: bool = False, connection: duckdb.DuckDBPyConnection | None = None
) -> duckdb.DuckDBPyConnection:
    """Return runs and sweeps as named DuckDB views: see `lineage.log.views.open.open_log`."""
    from lineage.log.views.open import open_log

    return open_log(*where, skip=skip, connection=connection)


def describe(log: duckdb.DuckDBPyConnection, view: str) -> Description:
    """Return what a view of `log` holds, column by column: see `lineage.log.views.open`."""
    from lineage.log.views import open

    return open.describe(log, view)


def run(
    overrides: Sequence[str] = (), *, multirun: bool = False, progress: bool = False
) -> duckdb.DuckDBPyConnection:
    """Run an experiment, as `lineage run` does with these `overrides`, and return its opened log.

    `multirun`: a sweep over values given as a,b,c (`-m`), opened as one log. `progress`: say how
    far it is, a line now and then, or bars in a terminal. The view `runs` says in which `folder` it
    is: that of `run.name`, where what is finished is not run again, or else a new one.

    Raises LineageError for what the user can mend, OSError where the disk refuses, TypeError for
    overrides that are one text, and KeyboardInterrupt; a note to it says how to go on.
    """
    from lineage.commands import api

    return api.run(overrides, multirun, progress)


def train(overrides: Sequence[str] = (), *, progress: bool = False) -> duckdb.DuckDBPyConnection:
    """Train a version, as `lineage train` does with these `overrides`; return the opened log.

    What it made is on the shelf, where it is not the stand-in's. Else as `run`.
    """
    from lineage.commands import api

    return api.train(overrides, progress)
