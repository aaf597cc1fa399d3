"""`lineage.open`: runs, sweeps, trainings and globs of them as one DuckDB log of named views.

Nothing is read on opening but records, settings and the ends of files. A folder that is still
being written shows its finished generations, and those finished later in later queries.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from lineage.core.config import StorageConfig
from lineage.core.errors import LineageError, nearest
from lineage.core.urls import SCHEME, is_url
from lineage.log.views.blank import FILES, copy_blank, make_commented
from lineage.log.views.datasets import (
    SCHEMAS,
    Files,
    Skipped,
    Unfinished,
    check_path,
    dataset_sql,
    datasets_behind,
    files_of,
    nothing,
    whole_files,
)
from lineage.log.views.description import Description
from lineage.log.views.places import Opened, Places
from lineage.log.views.runs import runs_table
from lineage.log.views.sql import VIEWS

LEAST_MEMORY, OF_MEMORY = 2 * 2**30, 4
"""Bytes that DuckDB may hold at once, or this part of the machine's where that is more. What is
over it is spilled to disk, but for single values: JSON of 100,000 docs takes more than the least.
"""


def open_log(
    *where: str | Path, skip: bool = False, connection: duckdb.DuckDBPyConnection | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection with the views of all that `where` names.

    Each is the folder of a run, a training or a sweep, one that holds such, a glob of any, or a
    URL: s3://bucket/runs/first, with the keys and the endpoint of the service's own environment, or
    one that a `connection` of yours has the secrets or the file system for. The views: runs,
    steps, episodes, probes, handoffs, edits, memories, docs, knowledge, snapshots, worlds,
    generations, lineages, training, curve and skipped. The keys of a sweep, and the settings whose
    values differ, are columns of runs. `describe` tells what a view holds.

    Points of a sweep of which nothing is finished are left out, and are in the view `skipped`.
    Raises LineageError where there is nothing to read, and where a run is torn, empty or of a newer
    schema, unless `skip` says to leave that out too.
    """
    if not where:
        raise LineageError("nothing is named that could be opened: lineage.open(FOLDER)")
    log = new_connection() if connection is None else connection
    if connection is None and any(str(one).startswith(SCHEME) for one in where):
        from lineage.log.store import for_duckdb

        log.register_filesystem(for_duckdb(StorageConfig()))
    skipped: list[Skipped] = []
    places = Places(log, skip, skipped)
    for one in where:
        places.look(str(one))
    blank = copy_blank if connection is None else make_commented
    make_views(log, list(places.found.values()), skip, skipped, blank)
    return log


def new_connection() -> duckdb.DuckDBPyConnection:
    """Return a connection that holds `LEAST_MEMORY`, or its part, at most, and spills the rest."""
    spilled = str(Path(tempfile.gettempdir()) / "lineage-duckdb")
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = f"{max(LEAST_MEMORY, whole // OF_MEMORY) // 2**20}MiB"
    return duckdb.connect(config={"memory_limit": limit, "temp_directory": spilled})


def make_views(
    log: duckdb.DuckDBPyConnection,
    opened: Sequence[Opened],
    skip: bool,
    skipped: list[Skipped],
    blank: Callable[[duckdb.DuckDBPyConnection, pa.Table], None],
    gather: Callable[[], None] | None = None,
) -> None:
    """Make the views of `opened` on `log`, as `blank` does. Raises LineageError as `open_log` does.

    `gather` is called once the datasets are views of files.
    """
    whole, files, behind = [], dict[str, Files](), dict[str, Collection[str]]()
    for one in opened:
        try:
            check_path(one.folder)
            if is_url(one.folder):
                behind[one.folder] = datasets_behind(log, one.folder)
            found = files_of(one.folder)
            # What is gathered is read at once, and a torn file shows then.
            files[one.folder] = whole_files(one.folder, found, skip, skipped, each=gather is None)
            whole.append(one)
        except Unfinished as error:
            if not (skip or one.sweep):
                raise
            skipped.append(Skipped(one.folder, "", one.failed or str(error)))
        except LineageError as error:
            if not skip:
                raise
            skipped.append(Skipped(one.folder, "", str(error)))
    if not whole:
        raise LineageError(f"nothing can be read; left out, of {len(skipped)}: {skipped[0].reason}")
    try:
        partial = {one.folder for one in skipped if one.file}
        blank(log, runs_table(whole))
        for name in SCHEMAS:
            sql = dataset_sql(name, files, behind, partial)
            if sql != nothing(name):
                log.execute(f"CREATE OR REPLACE VIEW {FILES}.{name} AS {sql}")
        if gather is not None:
            gather()
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        for one in whole:
            whole_files(one.folder, files[one.folder], False, [])
        where = ", ".join(one.folder for one in whole)
        raise LineageError(f"{where} cannot be read: {str(error).splitlines()[0]}") from error
    _skipped(log, skipped)


def describe(log: duckdb.DuckDBPyConnection, view: str) -> Description:
    """Return what `view` of `log` holds: columns `column`, `type` and `doc`, a row a column.

    A notebook shows it as a table.

    DuckDB's own DESCRIBE leaves comments out. Raises LineageError where there is no such view.
    """
    # A cursor of its own: an unread result of the caller is left alone.
    found = log.cursor().sql(
        "SELECT column_name AS \"column\", data_type AS type, coalesce(comment, '') AS doc "
        "FROM duckdb_columns() WHERE table_name = ? AND schema_name = 'main' ORDER BY column_index",
        params=[view],
    ).to_arrow_table()
    if not found.num_rows:
        hint = nearest(view, [*SCHEMAS, *(one.name for one in VIEWS), "runs", "skipped"])
        raise LineageError(f"a log has no view {view!r}{hint}")
    said = log.cursor().execute(
        "SELECT comment FROM duckdb_views() WHERE view_name = $view AND schema_name = 'main' "
        "UNION ALL "
        "SELECT comment FROM duckdb_tables() WHERE table_name = $view AND schema_name = 'main'",
        {"view": view},
    ).fetchone()
    return Description(view, str((said or [""])[0] or ""), found)


def _skipped(log: duckdb.DuckDBPyConnection, skipped: Sequence[Skipped]) -> None:
    for one in skipped:
        log.execute("INSERT INTO skipped VALUES (?, ?, ?)", [one.folder, one.file, one.reason])
