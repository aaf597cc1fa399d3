"""A run's datasets in one place, read once: for what asks a run a hundred things, as its report.

A run has a file a generation and dataset, and each query of a view opens all of them. Gathered,
they are tables of one file of DuckDB's own, which holds texts compressed and on the disk.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import duckdb
import psutil

from lineage.core.errors import LineageError, first_line
from lineage.log.views import blank
from lineage.log.views.connect import connect
from lineage.log.views.datasets import SCHEMAS, quoted

PREFIX = "lineage-gathered-"
"""How the names of folders begin in which logs are gathered; the process follows."""
ROW_GROUP = 122_880
"""Rows of a table that DuckDB reads with one thread, however many it may use."""
LEFT = re.compile(rf"(?:{PREFIX}|{blank.PREFIX})([0-9]{{1,9}})-.*")


@contextmanager
def gathered(run: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection with the views of `run` (`views.connect`), as the run is at this moment.

    What it holds goes with it. Raises LineageError as `connect` does, and where the folder for
    temporary files has no room for it. What killed processes left there is removed.
    """
    _remove_left(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as folder,
        closing(connect(run, partial(_gather, Path(folder)))) as log,
    ):
        # Else each query would look for what is distinct anew.
        _into_table(log, "snapshots", "main")
        (steps,) = log.execute("SELECT count(*) FROM steps").fetchone() or (0,)
        if steps <= ROW_GROUP:
            # To hand what is this little to others takes longer than to do it.
            log.execute("SET threads = 1")
        yield log


def _remove_left(folder: Path) -> None:
    """Remove from `folder` what processes left in it that are no more."""
    for left in folder.glob("lineage-*"):
        found = LEFT.fullmatch(left.name)
        if found and not psutil.pid_exists(int(found[1])):
            shutil.rmtree(left, ignore_errors=True)


def _gather(folder: Path, log: duckdb.DuckDBPyConnection) -> None:
    # Every file is read but once, and rows have no order that anything may rest on.
    log.execute("SET enable_external_file_cache = false; SET preserve_insertion_order = false")
    try:
        log.execute(f"ATTACH {quoted(str(folder / 'log.duckdb'))} AS gathered")
        for name in SCHEMAS:
            _into_table(log, name, blank.FILES)
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        where = f"the log cannot be gathered in {folder.parent}"
        raise LineageError(f"{where}: {first_line(error)}") from error


def _into_table(log: duckdb.DuckDBPyConnection, view: str, schema: str) -> None:
    """Let `view` of `schema` read a table that holds what it gives now."""
    log.execute(
        f"CREATE TABLE gathered.{view} AS SELECT * FROM {schema}.{view}; "
        f"CREATE OR REPLACE VIEW {schema}.{view} AS SELECT * FROM gathered.{view}"
    )
