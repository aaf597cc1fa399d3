"""lineage: what should happen to a model's memory when the model is upgraded, and what is it worth?

    log = lineage.open("runs/latest")
    log.sql("SELECT arm, family, avg(score) FROM probes GROUP BY ALL")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

    from lineage.analysis.description import Description

__all__ = ["describe", "open"]


def open(
    where: str | Path, skip: bool = False, connection: duckdb.DuckDBPyConnection | None = None
) -> duckdb.DuckDBPyConnection:
    """Return runs as named DuckDB views: see `lineage.analysis.opening.open_log`."""
    from lineage.analysis.opening import open_log

    return open_log(where, skip, connection)


def describe(log: duckdb.DuckDBPyConnection, view: str) -> Description:
    """Return what a view of `log` holds, column by column: see `lineage.analysis.opening`."""
    from lineage.analysis import opening

    return opening.describe(log, view)
