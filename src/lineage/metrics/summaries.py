"""What the summaries within an episode keep: facts of the record that they still state.

`generation` is null in the cells over all of them.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

import duckdb
import pyarrow as pa

from lineage.core.intervals import SHARE
from lineage.metrics.ground import has_table, homes, prepare, spans, table_of
from lineage.metrics.pooled import pooled
from lineage.metrics.registry import POOLED, metric

AT_ONCE = 4096
"""Summaries read at a time, or more where one pair has more; records have some KiB of text."""
REASON = "no record that was summed up states a fact"
OWN = (
    "steps s JOIN ground_places p USING (folder, lineage, generation) "
    "WHERE s.kind = 'summary' AND s.error = '' AND s.world = p.world"
)
SCHEMA = pa.schema(
    [
        ("folder", pa.string()),
        ("arm", pa.string()),
        ("pair", pa.int64()),
        ("generation", pa.int64()),
        ("turn", pa.string()),
        ("stated", pa.int64()),  # facts that the record states
        ("kept", pa.int64()),  # of these, that the summary states
        ("distorted", pa.int64()),  # of these, that it denies, and does not state
    ]
)
TABLE = "ground_summaries"


@metric("arm", "generation", *POOLED)
def summary_fidelity(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of the facts that a record states which its summary states too."""
    return _share(log, "kept")


@metric("arm", "generation", *POOLED)
def summary_distortion(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of the facts that a record states which its summary contradicts."""
    return _share(log, "distorted")


def _share(log: duckdb.DuckDBPyConnection, column: str) -> pa.Table:
    _prepare(log)
    values = f"SELECT *, {column} / stated AS value FROM {TABLE} WHERE stated > 0"
    return pooled(log, values, SHARE, ("arm", "generation"), REASON)


def _prepare(log: duckdb.DuckDBPyConnection) -> None:
    """Read the summaries of own worlds into a temporary table, unless it is there."""
    prepare(log)
    if has_table(log, TABLE):
        return
    own = f"(SELECT s.pair FROM {OWN})"
    read = [_read(log, first, last) for first, last in spans(log, own, AT_ONCE)]
    log.register("_read", pa.concat_tables([SCHEMA.empty_table(), *read]))
    log.execute(f"CREATE TEMP TABLE {TABLE} AS SELECT * FROM _read")
    log.unregister("_read")


def _read(log: duckdb.DuckDBPyConnection, first: int, last: int) -> pa.Table:
    """Return how the summaries of the pairs from `first` to `last` agree with their records."""
    span: list[object] = [first, last]
    known = homes(log, f"SELECT p.home FROM {OWN} AND s.pair BETWEEN ? AND ?", span)
    found = log.execute(
        "SELECT p.home, s.folder, s.arm, s.pair, s.generation, s.step_id, s.prompt, s.completion "
        f"FROM {OWN} AND s.pair BETWEEN ? AND ? ORDER BY p.home, s.step_id",
        span,
    ).fetchall()
    rows = []
    for number, several in groupby(found, key=itemgetter(0)):
        for _, *about, record, summary in several:
            before, after = (known[number].read(text) for text in (record, summary))
            wrong = after.denied - after.stated
            shares = (before.stated, before.stated & after.stated, before.stated & wrong)
            rows.append((*about, *map(len, shares)))
    return table_of(rows, SCHEMA)
