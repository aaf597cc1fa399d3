"""One run folder as DuckDB views, and what is asked of them everywhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from lineage.log.record import RECORD
from lineage.log.record import read_record as read_record
from lineage.log.sittings import read_sittings
from lineage.log.views.blank import copy_if_kept
from lineage.log.views.open import make_views, new_connection
from lineage.log.views.places import Opened
from lineage.log.views.settings import read_settings

SCORE_SQL = """\
SELECT arm, family, avg(score ORDER BY pair) AS score, sum(probes)::BIGINT AS probes
FROM (SELECT arm, family, pair, avg(score ORDER BY step_id) AS score, count(score) AS probes
      FROM read_parquet('{run}/steps/**/*.parquet', hive_partitioning = true)
      WHERE kind = 'probe' GROUP BY ALL)
GROUP BY ALL ORDER BY ALL
"""
"""The means of `metrics.json`. Pairs first: a probe that an engine or a suite failed has no score,
and must not make its pair weigh less; one that was over-long scores 0.
Ordered: threads would sum in any order, and the last digit would differ from call to call."""


def connect(
    run: Path, gather: Callable[[duckdb.DuckDBPyConnection], None] | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a connection with the views of the finished generations of `run` (see `views.open`).

    `gather` may put what the datasets hold elsewhere. Columns need not have comments.
    Raises LineageError where there are none, where a file cannot be read (it is named), or where
    the folder's own path would be read as a column.
    """
    log = new_connection()
    record = read_record(run) if (run / RECORD).exists() else {}
    settings = read_settings(run) if (run / "config.yaml").exists() else {}
    opened = [Opened(str(run), record, settings, read_sittings(run))]
    make_views(log, opened, False, [], copy_if_kept, gather and partial(gather, log))
    return log


def rows(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: object = None
) -> list[dict[str, Any]]:
    """Return the rows of a query as dicts."""
    result = connection.execute(sql, parameters)
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
