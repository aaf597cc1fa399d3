"""A run folder as DuckDB views: `steps` and `knowledge`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from lineage.errors import LineageError
from lineage.steplog.schema import SCHEMA_VERSION

SCORE_SQL = """\
SELECT arm, family, avg(score) AS score, count(score) AS probes
FROM read_parquet('{run}/steps/**/*.parquet', hive_partitioning = true)
WHERE kind = 'probe' GROUP BY ALL ORDER BY ALL
"""


def connect(run: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection with the views of the finished generations of `run`.

    Raises LineageError where there are none, or where a file cannot be read (it is named).
    """
    files = sorted(run.glob("steps/**/*.parquet"))
    if not files:
        raise LineageError(f"{run} has no finished generation yet")
    for file in files:
        _check(file)
    connection = duckdb.connect()
    for name in ("steps", "knowledge"):
        place = str(run / name / "**" / "*.parquet").replace("'", "''")
        connection.execute(
            f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{place}', "
            "hive_partitioning = true, union_by_name = true)"
        )
    return connection


def read_record(run: Path) -> dict[str, Any]:
    """Return `run.json`. Raises LineageError where there is none."""
    file = run / "run.json"
    if not file.exists():
        raise LineageError(f"{run} is no run folder: it has no run.json")
    record: dict[str, Any] = json.loads(file.read_bytes())
    return record


def rows(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: object = None
) -> list[dict[str, Any]]:
    """Return the rows of a query as dicts."""
    result = connection.execute(sql, parameters)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _check(file: Path) -> None:
    try:
        metadata = pq.read_schema(file).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise LineageError(f"{file} is no whole Parquet file: move it away") from error
    found = int(metadata.get(b"lineage.schema_version", b"1"))
    if found > SCHEMA_VERSION:
        raise LineageError(
            f"{file} has schema {found}, this lineage reads up to {SCHEMA_VERSION}: upgrade lineage"
        )
