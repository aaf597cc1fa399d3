"""What a log holds, counted: no means, so no intervals."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lineage.errors import OVERLONG


def edits(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the edits by what became of them: folder, arm, generation, version, detail, edits."""
    return log.sql(
        "SELECT folder, arm, generation, version, detail, count(*) AS edits FROM steps "
        "WHERE kind = 'edit' GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()


def opens(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how often a doc was asked for and opened.

    Columns: folder, arm, generation, version, asked, opened.
    """
    return log.sql(
        "SELECT folder, arm, generation, version, count(*) AS asked, "
        "count(*) FILTER (entry <> '') AS opened FROM steps "
        "WHERE kind = 'open' GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()


def errors(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the steps with an error: folder, arm, kind, errors."""
    return log.sql(
        "SELECT folder, arm, kind, count(*) AS errors FROM steps "
        "WHERE error <> '' GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()


def unscored(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the probes that were not answered, a row an arm and family, of 0 too.

    `overlong` score 0: the prompt did not fit. `missing` have no score and are in no mean: an
    engine or a suite failed. Columns: folder, arm, family, overlong, missing.
    """
    return log.sql(
        f"SELECT folder, arm, family, count(*) FILTER (finish_reason = '{OVERLONG}' "
        "AND score IS NOT NULL) AS overlong, count(*) FILTER (score IS NULL) AS missing "
        "FROM steps WHERE kind = 'probe' GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()


def totals(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return a row a run: folder, steps, pairs, episodes, errors, tokens by kind, seconds."""
    return log.sql(
        "SELECT folder, count(*) AS steps, count(DISTINCT pair) AS pairs, "
        "count(*) FILTER (kind IN ('act', 'probe')) AS episodes, "
        "count(*) FILTER (error <> '') AS errors, "
        "sum(prompt_tokens)::BIGINT AS prompt_tokens, "
        "sum(cached_tokens)::BIGINT AS cached_tokens, "
        "sum(completion_tokens)::BIGINT AS completion_tokens, "
        "max(ended_at) - min(ended_at) AS seconds FROM steps GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()
