"""What is left of an inheritance after k handoffs: of its score and of its tokens.

For what is left of its facts see `ground.fidelity`.
"""

from __future__ import annotations

from typing import Any

import duckdb

from lineage.analysis.cells import ByPair, by_pair, plain
from lineage.metrics import paired_difference, ratio

AFTER = (1, 2, 4, 8)
"""Handoffs."""


def kept(
    connection: duckdb.DuckDBPyConnection, record: dict[str, Any], arms: list[str]
) -> list[dict[str, Any]]:
    """Return rows of measure (`score`, `tokens`), arm, handoffs `k` and the ratio kept.

    `score` is the gain over the baseline on *same* probes, as a share of that of the ceiling arm in
    the same generation: the reader is the same, so it is the Knowledge that differs. `tokens` are
    those of the memories, as a share of what the first generation left. Rows without a mean are
    undefined: the interval of the denominator holds 0.
    """
    scores = by_pair(
        connection,
        "arm, generation",
        "avg(score ORDER BY step_id)",
        "steps WHERE kind = 'probe' AND family = 'same'",
    )
    tokens = by_pair(
        connection, "arm, generation", "avg(memory_tokens)", "steps WHERE phase = 'reward'"
    )
    gains = {
        (arm, generation): paired_difference(
            values, scores.get((record["baseline"], generation), {})
        )
        for (arm, generation), values in scores.items()
    }
    found = []
    for arm in arms:
        for k in AFTER:
            if (arm, k) in tokens and (arm, k) in gains:
                whole = gains.get((record["ceiling"], k), {})
                found.append(_row(record, "score", arm, k, gains[arm, k], whole))
                found.append(_row(record, "tokens", arm, k, tokens[arm, k], tokens[arm, 0]))
    return found


def _row(
    record: dict[str, Any], measure: str, arm: str, k: int, left: ByPair, whole: ByPair
) -> dict[str, Any]:
    part = ratio(left, whole, record["bootstrap"], record["confidence"], "kept", measure)
    return {"measure": measure, "arm": arm, "k": k, **plain(part)}
