"""What the summaries within an episode keep: facts of the record that they still state."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lineage.analysis.ground_log import Cells, GroundLog, Row
from lineage.truth import Said

SUMMARIES = """\
SELECT arm, pair, lineage, generation, world, prompt, completion FROM steps
WHERE kind = 'summary' AND error = '' ORDER BY step_id
"""
REASON = "no record that was summed up states a fact"


def summary_fidelity(log: GroundLog) -> list[Row]:
    """Share of the facts that a record states which its summary states too."""

    def kept(before: Said, after: Said) -> float:
        return len(before.stated & after.stated) / len(before.stated)

    return _over_summaries(log, "summary_fidelity", kept)


def summary_distortion(log: GroundLog) -> list[Row]:
    """Share of the facts that a record states which its summary contradicts, and does not state."""

    def distorted(before: Said, after: Said) -> float:
        return len(before.stated & (after.denied - after.stated)) / len(before.stated)

    return _over_summaries(log, "summary_distortion", distorted)


def _over_summaries(
    log: GroundLog, measure: str, share: Callable[[Said, Said], float]
) -> list[Row]:
    cells = Cells(log, measure, "generation", reason=REASON)
    for row, before, after in _summaries(log):
        if before.stated:
            value = share(before, after)
            cells.add_pooled(row["pair"], [value], row["arm"], row["generation"])
    return cells.rows()


def _summaries(log: GroundLog) -> Iterator[tuple[Row, Said, Said]]:
    """Yield each summary in a lineage's own world, with what its record and itself say."""
    for row in log.rows(SUMMARIES):
        home = log.homes.get((row["lineage"], row["generation"]))
        if home is not None and home.world == row["world"]:
            yield row, home.read(row["prompt"]), home.read(row["completion"])
