"""What handoffs keep: of the score and of the tokens, after k of them and from one to the next.

For what they keep of the facts see `facts.fidelity`.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lineage.core.intervals import AMOUNT, DIFFERENCE
from lineage.metrics.cells import means, ratios
from lineage.metrics.facts import HANDOFFS
from lineage.metrics.registry import INTERVAL, metric
from lineage.metrics.relations import differences, scored
from lineage.metrics.transfer import SAME

TOKENS_LEFT = (
    "SELECT folder, arm, generation, pair, avg(memory_tokens) AS value FROM steps "
    "WHERE phase = 'reward' GROUP BY ALL"
)
CHANGE = ("score_change", "score_low", "score_high", "equal_score")
"""What stands beside a compression."""


@metric("measure", "arm", "k", *INTERVAL)
def kept(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return what is left after `k` handoffs, by `measure` (`score`, `tokens`), arm and k.

    `score` is the gain over the baseline on *same* probes, as a share of that of the ceiling arm in
    the same generation: the reader is the same, so it is the Knowledge that differs. `tokens` are
    those of the memories, as a share of what the first generation left. Rows without a mean are
    undefined: the interval of the denominator holds 0. What is left of the facts: `facts.fidelity`.
    """
    scores = scored("arm, generation", SAME)
    cells = (
        f"WITH score AS MATERIALIZED ({scores}), tokens AS MATERIALIZED ({TOKENS_LEFT}), "
        f"gain AS MATERIALIZED ({differences(SAME, ['generation'])}), "
        "place AS (SELECT DISTINCT folder, arm, generation FROM tokens "
        f"SEMI JOIN score USING (folder, arm, generation) WHERE generation IN {HANDOFFS}) "
        "SELECT p.folder, 'score' AS measure, p.arm, p.generation AS k, g.pair, "
        "g.value AS above, w.value AS below FROM place p JOIN runs r USING (folder) "
        "LEFT JOIN gain g USING (folder, arm, generation) LEFT JOIN gain w "
        "ON w.folder = p.folder AND w.arm = r.ceiling AND w.generation = p.generation "
        "AND w.pair = g.pair "
        "UNION ALL SELECT p.folder, 'tokens', p.arm, p.generation, t.pair, t.value, f.value "
        "FROM place p LEFT JOIN tokens t USING (folder, arm, generation) LEFT JOIN tokens f "
        "ON f.folder = p.folder AND f.arm = p.arm AND f.generation = 0 AND f.pair = t.pair"
    )
    divided = {"score": DIFFERENCE, "tokens": AMOUNT}
    return ratios(log, cells, ("measure", "arm", "k"), lambda cell: divided[cell["measure"]])


@metric("arm", "generation", *INTERVAL, *CHANGE)
def compression(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the tokens of the memories after a handoff / before it, by arm and generation.

    Before: what the generation before left. It is read at equal score only, so beside the ratio
    stands how the score on *same* probes changed from that generation to this one, over pairs:
    `score_change` with its bounds, and `equal_score`, whether these hold 0.
    """
    by = ("arm", "generation")
    tokens = ratios(
        log, _with_before(TOKENS_LEFT, "a.value AS above, b.value AS below"), by, AMOUNT
    )
    scores = _with_before(scored("arm, generation", SAME), "a.value - b.value AS value")
    changes = means(log, scores, by, DIFFERENCE)
    keys = ["folder", *by]
    changed = changes.select([*keys, "mean", "low", "high"]).rename_columns([*keys, *CHANGE[:3]])
    found = tokens.join(changed, keys, join_type="left outer")
    found = found.sort_by([(key, "ascending") for key in keys])
    sides = zip(found["score_low"].to_pylist(), found["score_high"].to_pylist(), strict=True)
    equal = [None if low is None else low <= 0 <= high for low, high in sides]
    return found.append_column("equal_score", pa.array(equal, pa.bool_()))


def _with_before(cells: str, values: str) -> str:
    """Return SQL for `values` of each cell a and the cell b of the generation before it."""
    return (
        f"WITH cell AS MATERIALIZED ({cells}) "
        f"SELECT a.folder, a.arm, a.generation, a.pair, {values} FROM cell a JOIN cell b "
        "ON b.folder = a.folder AND b.arm = a.arm AND b.pair = a.pair "
        "AND b.generation = a.generation - 1"
    )
