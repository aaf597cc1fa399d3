"""What an arm costs: tokens that a probe reads and writes, its time, and what comes before it."""

from __future__ import annotations

from typing import Any

import duckdb

from lineage.analysis.cells import by_pair, measured, plain

PROBES = {
    "prompt_tokens": "prompt_tokens",  # all that a probe reads, its search and open steps too
    "cached_tokens": "cached_tokens",
    "completion_tokens": "completion_tokens",
    "engine_seconds": "engine_seconds",
}
"""Columns summed over the steps of a probe."""
BETWEEN = {
    "handoff_tokens": "prompt_tokens + completion_tokens",
    "handoff_seconds": "if(engine_seconds > 0, engine_seconds, wall_seconds)",
}
"""Summed over a generation's migration, handoff and training: what an arm costs between tasks."""


def costs(
    connection: duckdb.DuckDBPyConnection, record: dict[str, Any], arms: list[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return by arm each cost a probe, and each cost a generation, with intervals over pairs."""
    found: dict[str, dict[str, dict[str, Any]]] = {arm: {} for arm in arms}
    for name, column in PROBES.items():
        source = (
            f"(SELECT arm, pair, generation, episode, sum({column} ORDER BY step_id) AS total "
            "FROM steps WHERE phase = 'probe' GROUP BY ALL)"
        )
        _fill(found, name, by_pair(connection, "arm", _mean("episode"), source), record)
    for name, column in BETWEEN.items():
        # Left join: a generation without a handoff costs nothing, which is a value too.
        source = (
            "(SELECT g.arm, g.pair, g.generation, '' AS episode, "
            f"coalesce(sum({column} ORDER BY step_id) FILTER "
            "(phase IN ('migrate', 'handoff')), 0) AS total FROM steps g GROUP BY ALL)"
        )
        _fill(found, name, by_pair(connection, "arm", _mean("episode"), source), record)
    return found


def _mean(last: str) -> str:
    return f"avg(total ORDER BY generation, {last})"


def _fill(
    found: dict[str, dict[str, dict[str, Any]]],
    name: str,
    cells: dict[tuple[Any, ...], dict[int, float]],
    record: dict[str, Any],
) -> None:
    for (arm,), values in cells.items():
        if arm in found:
            found[arm][name] = plain(measured(values, record, "cost", name))
