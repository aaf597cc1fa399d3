"""A log without rows: its tables and views, and what each of their columns holds.

DuckDB takes a third of a millisecond for any statement, and 300 say what the columns hold. So this
is made once a process, as a file of DuckDB's own, and its catalog is copied from then on.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Collection
from contextlib import closing
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa

from lineage.log.schema import DOCS
from lineage.log.views.datasets import SCHEMAS, nothing, quoted
from lineage.log.views.runs import RECORD_DOCS, RUN_SCHEMA
from lineage.log.views.sql import VIEWS, View

PREFIX = "lineage-blank-"
"""How the name of the folder begins that it is kept in; the process follows."""
FILES = "files"
"""The schema of the views that read files. A view of the same name in `main` reads each of them: so
these can be told where the files are last, and no other view looks for files when it is made.
"""
DATASET_DOCS = {
    "steps": "one row a step: everything that a model was asked and wrote",
    "knowledge": "one row a snapshot and the generation that made it",
    "worlds": "one row a fact of a lineage's own world, by generation",
    "training": "one row an alternative of a training's step",
    "curve": "one row a step of a training",
}
SKIPPED_DOCS = {"file": "the file; empty: the whole folder", "reason": "what is wrong with it"}
TABLES = {
    "runs": View("runs", "", "one row a run or training", RECORD_DOCS),
    "skipped": View("skipped", "", "what could not be read and was left out", SKIPPED_DOCS),
}
NAMED = {
    **{name: View(name, "", DATASET_DOCS[name], DOCS[name]) for name in SCHEMAS},
    **{view.name: view for view in VIEWS},
    **TABLES,
}
BLANK = "; ".join(
    (
        "CREATE TABLE runs AS SELECT * FROM lineage_runs",
        f"CREATE SCHEMA IF NOT EXISTS {FILES}",
        *(f"CREATE VIEW {FILES}.{name} AS {nothing(name)}" for name in SCHEMAS),
        *(f"CREATE VIEW {name} AS SELECT * FROM {FILES}.{name}" for name in SCHEMAS),
        "CREATE TABLE skipped (folder VARCHAR, file VARCHAR, reason VARCHAR)",
        *(f"CREATE VIEW {view.name} AS {view.sql}" for view in VIEWS),
    )
)


def make_blank(log: duckdb.DuckDBPyConnection, runs: pa.Table) -> None:
    """Make the tables and views of a log of `runs`, without a word on their columns."""
    _with_runs(log, runs, BLANK)


def make_commented(log: duckdb.DuckDBPyConnection, runs: pa.Table) -> None:
    """Make them, with comments on all their columns."""
    make_blank(log, runs)
    comment(log)


def copy_blank(log: duckdb.DuckDBPyConnection, runs: pa.Table) -> None:
    """Make the same on `log`, a new connection in memory."""
    try:
        log.execute(f"ATTACH {quoted(kept_file(os.getpid()))} AS blank (READ_ONLY)")
    except (duckdb.IOException, OSError):
        # No room for it, or who keeps the folder of temporary files tidy has removed it.
        kept_file.cache_clear()
        make_commented(log, runs)
        return
    log.execute("COPY FROM DATABASE blank TO memory (SCHEMA); DETACH blank")
    if runs.column_names == RUN_SCHEMA.names:
        _with_runs(log, runs, "INSERT INTO runs SELECT * FROM lineage_runs")
    else:
        _with_runs(log, runs, "CREATE OR REPLACE TABLE runs AS SELECT * FROM lineage_runs")
        comment(log, ("runs",))


def copy_if_kept(log: duckdb.DuckDBPyConnection, runs: pa.Table) -> None:
    """Make the same on such a connection, whose columns need not have a word.

    To keep a log pays for those alone who open several: it is copied where one is there already.
    """
    (copy_blank if kept_file.cache_info().currsize else make_blank)(log, runs)


def comment(log: duckdb.DuckDBPyConnection, names: Collection[str] = tuple(NAMED)) -> None:
    """Say what each view and column holds, where DuckDB keeps such words."""
    words = []
    for name, column in log.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'main'"
    ).fetchall():
        if name in names:
            known = {**DOCS["steps"], **NAMED[name].docs, "folder": RECORD_DOCS["folder"]}
            doc = known.get(column, "setting" if name == "runs" else "")
            words.append(f'COLUMN {name}."{column}" IS {quoted(doc)}')
    for name in names:
        kind = "TABLE" if name in TABLES else "VIEW"
        words.append(f"{kind} {name} IS {quoted(NAMED[name].doc)}")
    log.execute("BEGIN; " + "".join(f"COMMENT ON {word}; " for word in words) + "COMMIT")


def _with_runs(log: duckdb.DuckDBPyConnection, runs: pa.Table, sql: str) -> None:
    log.register("lineage_runs", runs)
    log.execute(sql)
    log.unregister("lineage_runs")


@cache
def kept_file(process: int) -> str:
    """Return the file of `process` with such a log, commented; it goes as the process ends."""
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{process}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = str(Path(folder) / "blank.duckdb")
    with closing(duckdb.connect()) as log:
        make_commented(log, RUN_SCHEMA.empty_table())
        log.execute(f"ATTACH {quoted(file)} AS blank")
        log.execute("COPY FROM DATABASE memory TO blank (SCHEMA); DETACH blank")
    return file
