"""A run folder as DuckDB views: `steps`, `knowledge`, `snapshots` (each once) and `worlds`."""

from __future__ import annotations

import glob
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lineage.errors import LineageError
from lineage.steplog.schema import PARTITION, SCHEMA_VERSION, STEP_SCHEMA, WORLD_SCHEMA

RUN_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("folder", "run", "experiment", "config_hash")),
        *((name, pa.list_(pa.string())) for name in ("arms", "families", "schedule")),
        *((name, pa.string()) for name in ("baseline", "ceiling", "defined")),
        ("bootstrap", pa.int64()),
        ("confidence", pa.float64()),
    ]
)

SCORE_SQL = """\
SELECT arm, family, avg(score ORDER BY pair) AS score, sum(probes)::BIGINT AS probes
FROM (SELECT arm, family, pair, avg(score ORDER BY step_id) AS score, count(score) AS probes
      FROM read_parquet('{run}/steps/**/*.parquet', hive_partitioning = true)
      WHERE kind = 'probe' GROUP BY ALL)
GROUP BY ALL ORDER BY ALL
"""
"""The means of `metrics.json`. Pairs first: a failed probe must not make its pair weigh less.
Ordered: threads would sum in any order, and the last digit would differ from call to call."""


def connect(run: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection with the views of the finished generations of `run`.

    Raises LineageError where there are none, where a file cannot be read (it is named), or where
    the folder's own path would be read as a column.
    """
    for part in run.parts:
        # DuckDB takes `key=value` anywhere in a path for a partition, before the file's column.
        if part.partition("=")[0] in (*PARTITION, *STEP_SCHEMA.names) and "=" in part:
            raise LineageError(f"{run}: a folder named {part} hides a column: rename it")
    connection = duckdb.connect()
    for name in ("steps", "knowledge", "worlds"):
        files = sorted(run.glob(f"{name}/**/*.parquet"))
        if name == "worlds" and not files:  # a run of schema 1
            connection.register("no_worlds", _no_worlds())
            connection.execute(
                f"CREATE VIEW worlds AS SELECT '{_quoted(run)}' AS folder, * FROM no_worlds"
            )
            continue
        if not files:
            raise LineageError(f"{run} has no finished generation yet (nothing in {name})")
        for file in files:
            check_file(file)
        place = f"{glob.escape(str(run))}/{name}/**/*.parquet".replace("'", "''")
        connection.execute(
            f"CREATE VIEW {name} AS SELECT '{_quoted(run)}' AS folder, *{_added(name, files)} "
            f"FROM read_parquet('{place}', "
            "hive_partitioning = true, union_by_name = true)"
        )
    connection.execute(
        "CREATE VIEW snapshots AS SELECT DISTINCT folder, knowledge, memories, docs, content "
        "FROM knowledge"
    )
    record = read_record(run) if (run / "run.json").exists() else {}
    fields = {name: record.get(name) for name in RUN_SCHEMA.names}
    fields |= {"folder": str(run), "defined": json.dumps(record.get("defined") or {})}
    connection.register("runs", pa.Table.from_pylist([fields], schema=RUN_SCHEMA))
    return connection


def _quoted(run: Path) -> str:
    return str(run).replace("'", "''")


def read_record(run: Path) -> dict[str, Any]:
    """Return `run.json`. Raises LineageError where there is none, or where it is torn."""
    file = run / "run.json"
    if not file.exists():
        raise LineageError(f"{run} is no run folder: it has no run.json")
    try:
        record: dict[str, Any] = json.loads(file.read_bytes())
    except ValueError as error:
        raise LineageError(f"{file} is no whole JSON file: {error}") from error
    return record


def rows(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: object = None
) -> list[dict[str, Any]]:
    """Return the rows of a query as dicts."""
    result = connection.execute(sql, parameters)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _added(name: str, files: list[Path]) -> str:
    """Return the columns of steps that a run of an older schema lacks, as SQL."""
    if name != "steps":
        return ""
    found = set(pq.read_schema(files[-1]).names)
    added = {"category": "''", "facts": "[]::VARCHAR[]", "results": "[]::VARCHAR[]"}
    return "".join(f", {sql} AS {name}" for name, sql in added.items() if name not in found)


def _no_worlds() -> pa.Table:
    fields = [*WORLD_SCHEMA, pa.field("arm", pa.string()), pa.field("generation", pa.int64())]
    return pa.schema(fields).empty_table()


def check_file(file: Path) -> None:
    """Raise LineageError where `file` is torn, or of a newer schema than this lineage reads."""
    try:
        metadata = pq.read_schema(file).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise LineageError(f"{file} is no whole Parquet file: move it away") from error
    found = int(metadata.get(b"lineage.schema_version", b"1"))
    if found > SCHEMA_VERSION:
        raise LineageError(
            f"{file} has schema {found}, this lineage reads up to {SCHEMA_VERSION}: upgrade lineage"
        )
