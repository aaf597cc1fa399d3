"""What an inheritance costs: its size, the tokens and time of probes and handoffs, its reward."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lineage.core.intervals import AMOUNT, FREE
from lineage.log.schema import STEP_SCHEMA
from lineage.metrics.cells import means, named
from lineage.metrics.registry import INTERVAL, metric

PROBES = {
    "prompt_tokens": "sum(prompt_tokens)",  # all that a probe reads, its search and open steps too
    "cached_tokens": "sum(cached_tokens)",
    "completion_tokens": "sum(completion_tokens)",
    "engine_seconds": "sum(engine_seconds ORDER BY step_id)",
}
"""Costs of a probe, over its steps."""
BETWEEN = {
    "handoff_tokens": "sum(prompt_tokens + completion_tokens)",
    "handoff_seconds": (
        "sum(if(engine_seconds > 0, engine_seconds, wall_seconds) ORDER BY step_id)"
    ),
}
"""Costs of a generation's migration, handoff and training: those between tasks."""
REWARD_PARTS = ("reward", *(name for name in STEP_SCHEMA.names if name.startswith("reward_")))


@metric("arm", "generation", "version", "measure", *INTERVAL)
def memory_size(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the size of what each generation left, by arm, generation, version and `measure`.

    `measure` is `tokens` of the memory block, `memories` or `docs`.
    """
    cells = (
        "WITH held AS (SELECT folder, knowledge, any_value(memories) AS memories, "
        "any_value(docs) AS docs FROM knowledge GROUP BY ALL), "
        "size AS (SELECT s.folder, s.arm, s.generation, s.version, s.pair, "
        "avg(s.memory_tokens) AS tokens, avg(k.memories) AS memories, avg(k.docs) AS docs "
        "FROM steps s JOIN held k ON k.folder = s.folder AND k.knowledge = s.knowledge_after "
        "WHERE s.phase = 'reward' GROUP BY ALL) "
        "UNPIVOT size ON tokens, memories, docs INTO NAME measure VALUE value"
    )
    by = ("arm", "generation", "version", "measure")
    return means(log, cells, by, AMOUNT)


@metric("arm", "cost", *INTERVAL)
def costs(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return what a probe and what is between tasks cost, by arm and `cost`."""
    probes = ", ".join(f"{sql} AS {name}" for name, sql in PROBES.items())
    between = ", ".join(f"{sql} AS {name}" for name, sql in BETWEEN.items())
    # Left join: a generation without a handoff costs nothing, which is a value too.
    spent = ", ".join(f"coalesce({name}, 0) AS {name}" for name in BETWEEN)
    cells = (
        f"WITH probe AS (SELECT folder, arm, pair, generation, episode, {probes} FROM steps "
        "WHERE phase = 'probe' GROUP BY ALL), "
        f"between_tasks AS (SELECT folder, arm, pair, generation, {between} FROM steps "
        "WHERE phase IN ('migrate', 'handoff') GROUP BY ALL), "
        f"tenure AS (SELECT folder, arm, pair, generation, {spent} FROM "
        "(SELECT DISTINCT folder, arm, pair, generation FROM steps) "
        "LEFT JOIN between_tasks USING (folder, arm, pair, generation)), "
        f"of_probes AS (SELECT folder, arm, pair, {_means(PROBES, 'generation, episode')} "
        "FROM probe GROUP BY ALL), "
        f"of_tenures AS (SELECT folder, arm, pair, {_means(BETWEEN, 'generation')} "
        "FROM tenure GROUP BY ALL) "
        f"(UNPIVOT of_probes ON {', '.join(PROBES)} INTO NAME cost VALUE value) UNION ALL "
        f"(UNPIVOT of_tenures ON {', '.join(BETWEEN)} INTO NAME cost VALUE value)"
    )
    return means(log, cells, ("arm", "cost"), AMOUNT)


def _means(columns: dict[str, str], order: str) -> str:
    return ", ".join(f"avg({name} ORDER BY {order})::DOUBLE AS {name}" for name in columns)


@metric("arm", "generation", "part", *INTERVAL)
def reward(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the reward of handoffs by arm, generation and `part`, `reward` being the whole.

    A part that is not rewarded has no mean. The parts are those of `lineage.core.reward`.
    """
    parts = ", ".join(
        f"avg({name} ORDER BY step_id) AS {name.removeprefix('reward_')}" for name in REWARD_PARTS
    )
    names = named(*(name.removeprefix("reward_") for name in REWARD_PARTS))
    cells = (
        f"WITH whole AS (SELECT folder, arm, generation, pair, {parts} FROM steps "
        "WHERE reward IS NOT NULL GROUP BY ALL) "
        f"SELECT * FROM whole UNPIVOT INCLUDE NULLS (value FOR part IN ({names}))"
    )
    return means(log, cells, ("arm", "generation", "part"), FREE)
