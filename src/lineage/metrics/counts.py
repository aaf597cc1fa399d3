"""What a log holds, counted: no means, so no intervals."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lineage.core.errors import OVERLONG
from lineage.metrics.registry import metric

IDLE = 60.0
"""Seconds without any request under way after which nobody was working: the run was stopped.

An engine is asked again within a second or two; starting one takes longer than this."""
_WORKED = f"""\
about AS (
    SELECT folder, list_sum([one.seconds FOR one IN sittings]) AS timed, CASE
        WHEN coalesce(len(sittings), 0) = 0 THEN 'infinity'::DOUBLE
        WHEN sittings[1].seconds IS NULL THEN coalesce(sittings[2].began, 'infinity'::DOUBLE)
        ELSE 0 END AS untimed_until
    FROM runs
),
untimed AS (
    SELECT folder, ended_at, ended_at - coalesce(wall_seconds, 0) AS asked_at
    FROM steps JOIN about USING (folder) WHERE ended_at > 0 AND ended_at < untimed_until
),
gaps AS (
    SELECT *, asked_at - max(ended_at) OVER (
        PARTITION BY folder ORDER BY asked_at, ended_at
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS idle
    FROM untimed
),
told AS (
    SELECT folder, max(ended_at) - min(asked_at)
        - coalesce(sum(idle ORDER BY asked_at) FILTER (idle > {IDLE}), 0) AS seconds
    FROM gaps GROUP BY folder
),
worked AS (
    SELECT folder, CASE WHEN timed IS NOT NULL OR seconds IS NOT NULL
        THEN coalesce(timed, 0) + coalesce(seconds, 0) END AS seconds
    FROM about LEFT JOIN told USING (folder)
),
met AS (
    SELECT folder, coalesce(list_sum(map_values(faults)), CASE WHEN faults IS NOT NULL THEN 0 END)
        ::BIGINT AS faults FROM runs
)"""


@metric("arm", "generation", "version", "detail", "edits")
def edits(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the edits by what became of them (`detail`)."""
    return log.sql(
        "SELECT folder, arm, generation, version, detail, count(*) AS edits FROM steps "
        "WHERE kind = 'edit' GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()


@metric("arm", "generation", "version", "asked", "opened")
def opens(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how often a doc was asked for and opened."""
    return log.sql(
        "SELECT folder, arm, generation, version, count(*) AS asked, "
        "count(*) FILTER (entry <> '') AS opened FROM steps "
        "WHERE kind = 'open' GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()


@metric("arm", "kind", "errors")
def errors(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the steps with an error, by arm and kind."""
    return log.sql(
        "SELECT folder, arm, kind, count(*) AS errors FROM steps "
        "WHERE error <> '' GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()


@metric("arm", "family", "overlong", "missing")
def unscored(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the probes that were not answered, a row an arm and family, of 0 too.

    `overlong` score 0: the prompt did not fit. `missing` have no score and are in no mean: an
    engine or a suite failed.
    """
    return log.sql(
        f"SELECT folder, arm, family, count(*) FILTER (finish_reason = '{OVERLONG}' "
        "AND score IS NOT NULL) AS overlong, count(*) FILTER (score IS NULL) AS missing "
        "FROM steps WHERE kind = 'probe' GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()


@metric("fault", "count")
def faults(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how often what failed while the run went on, and was mended: no step was lost."""
    return log.sql(
        "SELECT folder, one.key AS fault, one.value AS count FROM "
        "(SELECT folder, unnest(map_entries(faults)) AS one FROM runs) ORDER BY ALL"
    ).to_arrow_table()


@metric(
    *("steps", "pairs", "episodes", "errors", "faults"),
    *("prompt_tokens", "cached_tokens", "completion_tokens", "seconds"),
)
def totals(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return a row a run: how much was done, and the seconds that it took.

    `seconds` is the working time of all its sittings together, without the pauses between them: as
    the run noted it (`sittings` of the view `runs`), and of sittings that nobody timed by their
    steps, from the first request to the last answer without what was idle for over `IDLE` seconds.
    Null where neither is known: no step says when it ended. `faults` is what failed and was mended
    meanwhile; null where an older version noted none.
    """
    return log.sql(
        f"WITH {_WORKED} SELECT folder, count(*) AS steps, count(DISTINCT pair) AS pairs, "
        "count(*) FILTER (kind IN ('act', 'probe')) AS episodes, "
        "count(*) FILTER (error <> '') AS errors, any_value(met.faults) AS faults, "
        "sum(prompt_tokens)::BIGINT AS prompt_tokens, "
        "sum(cached_tokens)::BIGINT AS cached_tokens, "
        "sum(completion_tokens)::BIGINT AS completion_tokens, "
        "any_value(worked.seconds) AS seconds "
        "FROM steps LEFT JOIN worked USING (folder) LEFT JOIN met USING (folder) "
        "GROUP BY ALL ORDER BY ALL"
    ).to_arrow_table()
