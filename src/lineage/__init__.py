"""lineage: what should happen to a model's memory when the model is upgraded, and what is it worth?

    log = lineage.open("runs/latest")
    log.sql("SELECT arm, family, avg(score) FROM probes GROUP BY ALL")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from lineage.log.views.description import Description

__all__ = ["describe", "open"]


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
