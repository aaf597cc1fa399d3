"""The writer x reader matrix: what Knowledge that one version wrote is worth to another.

A cell comes from an arm whose last generation is served by the reader and all earlier ones by
one writer; only that last generation is scored. Baselines are arms that receive nothing, and
only probes that all sides have a score of are compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import duckdb
import pyarrow as pa

from lineage.core.intervals import DIFFERENCE, SHARE
from lineage.metrics.cells import by_measure, means, nothing, ratios, starred
from lineage.metrics.records import Record, records
from lineage.metrics.registry import INTERVAL, TEST, metric
from lineage.metrics.relations import harm, worth
from lineage.metrics.scoring import PROBES

COLD = "cold"
ORACLE = "oracle"
MEASURES = ("score", "gain", "retention", "harm")
CROSSED = pa.schema(
    [
        *((name, pa.string()) for name in ("folder", "arm", "writer", "reader", "cold", "own")),
        ("last", pa.int64()),
    ]
)
BY = ("arm", "writer", "reader", "family")


@dataclass(frozen=True)
class Crossing:
    """An arm as a cell of the matrix, with the arms that it is compared with ("" for none).

    `last` is the generation that is scored.
    """

    folder: str
    arm: str
    writer: str
    reader: str
    cold: str
    own: str
    last: int


@metric(*BY, "measure", *INTERVAL, *TEST)
def upgrade_matrix(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return by arm, writer, reader, family and `measure` what the writer's Knowledge is worth.

    `score`; `gain` over the reader cold; `retention`: (S of the reader with the writer's Knowledge
    - cold) / (S of the reader with its own - cold), undefined where the interval of the denominator
    holds 0; `harm`: the share of the probes solved cold that are failed with Knowledge. Only gains
    have p, excludes_zero and starred. No rows where a run has fewer than two writers or readers, or
    none that reads another's.
    """
    cells = [cell for run in records(log).values() for cell in crossings(run)]
    if not cells:
        return nothing(*BY, "measure", *INTERVAL, *TEST)
    log.register("crossed", pa.Table.from_pylist([asdict(cell) for cell in cells], CROSSED))
    last = ", ".join(sorted({str(cell.last) for cell in cells}))
    which = f"{PROBES} AND generation IN ({last})"
    keys = "c.folder, c.arm, c.writer, c.reader, s.family, s.pair"
    mine = "s.folder = c.folder AND s.arm = c.arm AND s.generation = c.last"
    asked = ("crossed", keys, mine, which, ["family"])
    log.register("crossed_pairs", log.sql(worth(*asked)).to_arrow_table())
    gained = "SELECT * EXCLUDE value, gain AS value FROM crossed_pairs"
    found = (
        means(log, "SELECT * FROM crossed_pairs", BY, SHARE),
        starred(log, means(log, gained, BY, DIFFERENCE, test=True)),
        ratios(log, "SELECT * FROM crossed_pairs", BY, DIFFERENCE),
        means(log, harm(*asked), BY, SHARE),
    )
    for name in ("crossed", "crossed_pairs"):
        log.unregister(name)
    return by_measure(found, MEASURES, BY)


def crossings(run: Record) -> Iterator[Crossing]:
    """Yield the cells of the matrix of `run`, in the order of its arms; see above for which."""
    served = [
        (name, arm["versions"])
        for name, arm in run.defined.items()
        if arm["receives"] not in (COLD, ORACLE) and len(set(arm["versions"][:-1])) == 1
    ]
    pairs = {(versions[0], versions[-1]) for _, versions in served}
    if len(pairs) < 3 or all(writer == reader for writer, reader in pairs):
        return
    cold = {
        arm["versions"][-1]: name for name, arm in run.defined.items() if arm["receives"] == COLD
    }
    own = {versions[-1]: name for name, versions in served if versions[0] == versions[-1]}
    for name, (writer, *_, reader) in served:
        last = len(run.schedule) - 1
        yield Crossing(
            run.folder, name, writer, reader, cold.get(reader, ""), own.get(reader, ""), last
        )
