"""`lineage.open`: one run, a sweep, a training or a glob of them as one DuckDB log of named views.

Nothing is read on opening but records, settings and the ends of files. A folder that is still
being written shows its finished generations, and those finished later in later queries.
"""

from __future__ import annotations

import glob
import json
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lineage.core.errors import LineageError, nearest
from lineage.core.jsonfile import read_file
from lineage.log.record import parse_record
from lineage.log.schema import DOCS, Columns
from lineage.log.sittings import SITTINGS, Sitting, parse_sittings
from lineage.log.views.datasets import (
    SCHEMAS,
    URL,
    Files,
    Skipped,
    check_path,
    dataset_sql,
    datasets_behind,
    files_of,
    quoted,
    whole_files,
)
from lineage.log.views.description import Description
from lineage.log.views.settings import differing, parse_settings
from lineage.log.views.sql import VIEWS, View

MEMORY_LIMIT = "2GiB"
"""What DuckDB may hold at once; what is more is spilled to disk."""
_SITTINGS = pa.list_(pa.struct([("began", pa.float64()), ("seconds", pa.float64())]))
_RUN: Columns = (
    ("folder", pa.string(), "where the run is; metrics go by it"),
    ("kind", pa.string(), "run | training"),
    ("run", pa.string(), "id of the run: experiment name and config hash"),
    ("experiment", pa.string(), "its name; of a training, that of the version made"),
    ("config_hash", pa.string(), "hash of what decides the results"),
    ("arms", pa.list_(pa.string()), "what successors receive, in order"),
    ("families", pa.list_(pa.string()), "of probes, in order"),
    ("schedule", pa.list_(pa.string()), "the version of each generation"),
    ("baseline", pa.string(), "the arm that gains are taken over"),
    ("ceiling", pa.string(), "the arm that stands for the possible"),
    ("defined", pa.string(), "what each arm is, as JSON"),
    ("confidence", pa.float64(), "level of an interval"),
    (
        "engine",
        pa.string(),
        "what served it: vllm | surrogate, which is a stand-in and no language model",
    ),
    ("origin", pa.string(), "commit, machine, command, device and precision of the run, as JSON"),
    ("correction", pa.string(), "of stars for there being many: none | holm | bh"),
    ("sittings", _SITTINGS, "when each began and the seconds that it worked; null: not timed"),
)
RUN_SCHEMA = pa.schema([(name, kind) for name, kind, _ in _RUN])
RECORD_DOCS = {name: doc for name, _, doc in _RUN}
DATASET_DOCS = {
    "steps": "one row a step: everything that a model was asked and wrote",
    "knowledge": "one row a snapshot and the generation that made it",
    "worlds": "one row a fact of a lineage's own world, by generation",
    "training": "one row an alternative of a training's step",
    "curve": "one row a step of a training",
}
SKIPPED_DOCS = {"file": "the file; empty: the whole folder", "reason": "what is wrong with it"}
ORIGIN = ("began", "commit", "dirty", "machine", "command", "engine", "others")
"""Of a record, what says where the figures come from."""


@dataclass(frozen=True)
class Opened:
    """A folder that is read: its record, its settings by dotted key, and its sittings."""

    folder: str
    record: dict[str, Any]
    settings: dict[str, Any]
    sittings: tuple[Sitting, ...] = ()


def open_log(
    where: str | Path, skip: bool = False, connection: duckdb.DuckDBPyConnection | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection with the views of `where`, in each of which `folder` comes first.

    `where` is the folder of a run or a training, one that holds runs (a sweep), a glob of either,
    or a URL that DuckDB can read, such as s3://bucket/runs/first, with a `connection` that has the
    secrets or the file system for it (tested with one in memory; no bucket has been read). The
    views: runs, steps, episodes, probes, handoffs, edits, memories, docs, knowledge, snapshots,
    worlds, generations, lineages, training, curve and skipped. In a sweep the settings whose
    values differ are columns of runs. `describe` tells what a view holds.

    Raises LineageError where there is nothing to read, and where a run is torn, empty or of a newer
    schema, unless `skip` says to leave that out: then it is in the view `skipped`.
    """
    log = new_connection() if connection is None else connection
    skipped: list[Skipped] = []
    make_views(log, _found(log, str(where), skip, skipped), skip, skipped)
    _comment(log)
    return log


def new_connection() -> duckdb.DuckDBPyConnection:
    """Return a connection that holds no more than `MEMORY_LIMIT`, and spills what is more."""
    log = duckdb.connect()
    spilled = quoted(str(Path(tempfile.gettempdir()) / "lineage-duckdb"))
    log.execute(f"SET memory_limit = '{MEMORY_LIMIT}'; SET temp_directory = {spilled}")
    return log


def make_views(
    log: duckdb.DuckDBPyConnection,
    opened: Sequence[Opened],
    skip: bool,
    skipped: list[Skipped],
    gather: Callable[[], None] | None = None,
) -> None:
    """Make the views of `opened` on `log`. Raises LineageError as `open_log` does.

    `gather` is called once the datasets are views, before the views that read them are made: to
    make one, DuckDB looks for all files of those.
    """
    whole, files, behind = [], dict[str, Files](), dict[str, Collection[str]]()
    for one in opened:
        try:
            check_path(one.folder)
            if URL in one.folder:
                behind[one.folder] = datasets_behind(log, one.folder)
            found = files_of(one.folder)
            # What is gathered is read at once, and a torn file shows then.
            files[one.folder] = whole_files(one.folder, found, skip, skipped, each=gather is None)
            whole.append(one)
        except LineageError as error:
            if not skip:
                raise
            skipped.append(Skipped(one.folder, "", str(error)))
    if not whole:
        raise LineageError(f"nothing can be read; left out, of {len(skipped)}: {skipped[0].reason}")
    try:
        partial = {one.folder for one in skipped if one.file}
        for name in SCHEMAS:
            log.execute(f"CREATE VIEW {name} AS {dataset_sql(name, files, behind, partial)}")
        if gather is not None:
            gather()
        _runs(log, whole)
        for view in VIEWS:
            log.execute(f"CREATE VIEW {view.name} AS {view.sql}")
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


def run_patterns(where: str) -> tuple[str, ...]:
    """Return the globs of the `run.json` files that `where` may mean, the first that hits counts.

    A folder that exists is taken as it is named, with whatever characters; else it is a glob.
    """
    place = where.rstrip("/") or "/"
    if URL not in where and Path(where).exists():
        place = glob.escape(str(Path(where)))
    return f"{place}/run.json", f"{place}/*/run.json"


def _found(
    log: duckdb.DuckDBPyConnection, where: str, skip: bool, skipped: list[Skipped]
) -> list[Opened]:
    """Return the runs and trainings that `where` names, in the order of their folders."""
    for pattern in run_patterns(where):
        try:
            records = _files(log, pattern)
        except duckdb.Error as error:
            raise LineageError(f"{where} cannot be read: {str(error).splitlines()[0]}") from error
        if records:
            break
    else:
        raise LineageError(
            f"{where} is no run folder: it has no run.json, and no folder in it has one"
        )
    found: dict[str, Opened] = {}
    for file in records:
        folder = file.removesuffix("/run.json")
        try:
            record = parse_record(_held(log, file), file)
            one = _with_files(log, Opened(folder, record, {}))
            found.setdefault(_real(folder), one)
        except (LineageError, OSError, duckdb.Error) as error:
            reason = " ".join(str(error).split())
            if not skip:
                raise LineageError(reason) from error
            skipped.append(Skipped(folder, file, reason))
    if not found:
        raise LineageError(f"nothing can be read; left out, of {len(skipped)}: {skipped[0].reason}")
    return list(found.values())


def _with_files(log: duckdb.DuckDBPyConnection, one: Opened) -> Opened:
    place = one.folder if URL in one.folder else glob.escape(one.folder)
    for file in _files(log, f"{place}/config.yaml"):
        one = replace(one, settings=parse_settings(_held(log, file), file))
    for file in _files(log, f"{place}/{SITTINGS}"):
        one = replace(one, sittings=parse_sittings(_held(log, file), file))
    return one


def _files(log: duckdb.DuckDBPyConnection, pattern: str) -> list[str]:
    """Return the names of the files that `pattern` hits, in their order."""
    found = log.execute("SELECT file FROM glob(?) ORDER BY file", [pattern]).fetchall()
    return [str(row[0]) for row in found]


def _held(log: duckdb.DuckDBPyConnection, file: str) -> bytes:
    if URL not in file:
        return read_file(Path(file))
    found = log.execute("SELECT content FROM read_blob(?)", [file]).fetchone()
    return bytes(found[0]) if found else b""


def _real(folder: str) -> str:
    # A link such as runs/latest names a run that is there under its own name.
    return folder if URL in folder else str(Path(folder).resolve())


def _runs(log: duckdb.DuckDBPyConnection, whole: Sequence[Opened]) -> None:
    """Make the table `runs`, with the settings that differ between the runs as columns."""
    fixed = pa.Table.from_pylist([_record_row(one) for one in whole], schema=RUN_SCHEMA)
    for key in differing([one.settings for one in whole]) if len(whole) > 1 else ():
        if key not in fixed.column_names:
            fixed = fixed.append_column(key, _values([one.settings.get(key) for one in whole]))
    log.register("lineage_runs", fixed)
    log.execute("CREATE TABLE runs AS SELECT * FROM lineage_runs")
    log.unregister("lineage_runs")


def _record_row(one: Opened) -> dict[str, Any]:
    record, settings = one.record, one.settings
    training = "training" in record
    row = {name: record.get(name) for name in RUN_SCHEMA.names}
    return row | {
        "folder": one.folder,
        "kind": "training" if training else "run",
        "experiment": record.get("training" if training else "experiment"),
        "config_hash": record.get("training_hash" if training else "config_hash"),
        "defined": json.dumps(record.get("defined") or {}),
        "confidence": record.get("confidence", settings.get("log.confidence")),
        "engine": settings.get("engine.kind") or (record.get("engine") or {}).get("kind"),
        "origin": json.dumps({name: record[name] for name in ORIGIN if name in record}),
        "sittings": [asdict(sitting) for sitting in one.sittings],
        "correction": record.get("correction", settings.get("log.correction", "none")),
    }


def _values(values: list[Any]) -> pa.Array:
    """Return the values of one setting as a column: as they are, or as JSON where kinds differ."""
    try:
        found = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        found = None
    plain = found is not None and not pa.types.is_nested(found.type)
    return found if plain else pa.array([json.dumps(value) for value in values])


def _skipped(log: duckdb.DuckDBPyConnection, skipped: Sequence[Skipped]) -> None:
    log.execute("CREATE TABLE skipped (folder VARCHAR, file VARCHAR, reason VARCHAR)")
    for one in skipped:
        log.execute("INSERT INTO skipped VALUES (?, ?, ?)", [one.folder, one.file, one.reason])


def _comment(log: duckdb.DuckDBPyConnection) -> None:
    """Say what each view and column holds, where DuckDB keeps such words."""
    tables = {
        "runs": View("runs", "", "one row a run or training", RECORD_DOCS),
        "skipped": View("skipped", "", "what could not be read and was left out", SKIPPED_DOCS),
    }
    datasets = {name: View(name, "", DATASET_DOCS[name], DOCS[name]) for name in SCHEMAS}
    views = {**datasets, **{view.name: view for view in VIEWS}, **tables}
    words = []
    for name, column in log.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'main'"
    ).fetchall():
        if name in views:
            known = {**DOCS["steps"], **views[name].docs, "folder": RECORD_DOCS["folder"]}
            doc = known.get(column, "setting" if name == "runs" else "")
            words.append(f'COLUMN {name}."{column}" IS {quoted(doc)}')
    for name, view in views.items():
        words.append(f"{'TABLE' if name in tables else 'VIEW'} {name} IS {quoted(view.doc)}")
    log.execute("BEGIN; " + "".join(f"COMMENT ON {word}; " for word in words) + "COMMIT")
