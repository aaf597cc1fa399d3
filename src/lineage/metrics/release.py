"""Releases within a lineage: what is left of what was learnt, where a new version takes over.

Only tasks that were met before the release are asked: of these a version knows what it inherited.
What it wrote itself is that of the arm that rebuilds its notes from the raw episodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import duckdb
import pyarrow as pa

from lineage.core.edits import OVERFLOW
from lineage.core.errors import OVERLONG
from lineage.core.intervals import AMOUNT, DIFFERENCE, SHARE
from lineage.metrics.cells import by_measure, means, nothing, ratios, starred
from lineage.metrics.records import Record, records
from lineage.metrics.registry import INTERVAL, TEST, metric
from lineage.metrics.relations import harm, worth
from lineage.metrics.scoring import PROBES

REBUILD = "rebuild"
MEASURES = ("score", "gain", "retention", "harm", "tokens", "cut", "overlong", "seconds")
BY = ("arm", "generation", "writer", "reader")
RELEASED = pa.schema(
    [
        *((name, pa.string()) for name in ("folder", "arm", "writer", "reader", "cold", "own")),
        ("generation", pa.int64()),
    ]
)
BETWEEN = {
    "tokens": "any_value(s.memory_tokens) FILTER (s.kind = 'migrate' AND s.episode = 'migrate')",
    "cut": f"count(*) FILTER (s.phase = 'migrate' AND s.detail = 'drop: {OVERFLOW}')",
    "overlong": f"count(*) FILTER (s.phase = 'probe' AND s.finish_reason = '{OVERLONG}')",
    "seconds": "coalesce(sum(s.engine_seconds ORDER BY s.step_id) FILTER (s.phase = 'migrate'), 0)",
}
"""What a release costs a lineage: amounts of its one generation."""


@metric(*BY, "measure", *INTERVAL, *TEST)
def releases(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return by arm, generation, writer, reader and `measure` what a release leaves.

    The reader takes over from the writer in that generation. On *same* probes of tasks met before:
    `score`, `gain` over the baseline, and `retention`, that gain / the gain of the arm that
    rebuilds, undefined where the interval of the latter holds 0. On all probes `harm`: the share of
    those that the baseline solves that the arm fails. Of the memories after the migration `tokens`
    by the reader's tokenizer, and `cut`, how many entries had no room in its budget; `overlong`
    probes; engine `seconds` of the migration. Only gains have p, excludes_zero and starred.
    """
    found = [one for run in records(log).values() for one in _released(run)]
    if not found:
        return nothing(*BY, "measure", *INTERVAL, *TEST)
    log.register("released", pa.Table.from_pylist(found, RELEASED))
    keys = "c.folder, c.arm, c.generation, c.writer, c.reader, s.pair"
    mine = "s.folder = c.folder AND s.arm = c.arm AND s.generation = c.generation"
    met = f"{PROBES} AND family = 'same' AND met < generation"
    values = worth("released", keys, mine, met)
    harmed = harm("released", keys, mine, PROBES)
    log.register("released_pairs", log.sql(values).to_arrow_table())
    gained = "SELECT * EXCLUDE value, gain AS value FROM released_pairs"
    # An arm that hands nothing over has no migration, and none of its costs.
    spent = {
        name: f"SELECT {keys}, ({sql})::DOUBLE AS value FROM released c JOIN steps s ON {mine} "
        f"GROUP BY ALL HAVING count(*) FILTER (s.phase = 'migrate') > 0 OR {name == 'overlong'}"
        for name, sql in BETWEEN.items()
    }
    tables = (
        means(log, "SELECT * FROM released_pairs", BY, SHARE),
        starred(log, means(log, gained, BY, DIFFERENCE, test=True)),
        ratios(log, "SELECT * FROM released_pairs", BY, DIFFERENCE),
        means(log, harmed, BY, SHARE),
        *(means(log, sql, BY, AMOUNT) for sql in spent.values()),
    )
    for name in ("released", "released_pairs"):
        log.unregister(name)
    return by_measure(tables, MEASURES, BY)


def _released(run: Record) -> Iterator[dict[str, object]]:
    """Yield where versions change in the lineages of `run`, of arms that compare with its baseline.

    Only of a run with several migrations: one alone has nothing that it is told by.
    """
    if len({arm["migration"] for arm in run.defined.values()}) < 2:
        return
    own = next((name for name, arm in run.defined.items() if arm["migration"] == REBUILD), "")
    for name, arm in run.defined.items():
        for generation, (writer, reader) in enumerate(pairwise(arm["versions"]), start=1):
            if writer != reader and run.comparable(name):
                yield {
                    "folder": run.folder,
                    "arm": name,
                    "generation": generation,
                    "writer": writer,
                    "reader": reader,
                    "cold": run.baseline,
                    "own": own,
                }
