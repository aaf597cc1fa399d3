"""The figures of published tables as long tables: one row a figure, to be read and compared.

Each function takes a summary (see `metrics.summarise`) and yields rows. A row has `measure`, what
the figure is by (`arm`, `family`, `version`, `writer` and so on), then `mean`, `low`, `high`
and `n`, the pairs behind it; then `starred` where the metric says whether it differs from 0, and
`reason` where it says why there is no mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lineage.metrics.docsearch import MEASURES
from lineage.report.lookup import Row, Summary, rows_of
from lineage.report.tables import COSTS
from lineage.report.tables_release import SHOWN

FIRST, LATER = "0", "from 1 on"
"""Generations: the one that inherited nothing, and all others."""


def starred(cell: Mapping[str, Any]) -> bool | None:
    """Return whether a figure differs from 0 beyond chance; None where that is not asked."""
    found = cell.get("starred", cell.get("excludes_zero"))
    return None if found is None else bool(found)


def row(measure: str, cell: Mapping[str, Any], **by: str | int) -> Row:
    """Return the row of one cell: a mean with `low`, `high` and `n`."""
    bounds = {name: cell.get(name) for name in ("mean", "low", "high")}
    made: Row = {"measure": measure, **by, **bounds, "n": cell["n"]}
    mark, reason = starred(cell), cell.get("reason")
    if mark is not None:
        made["starred"] = mark
    if reason:
        made["reason"] = reason
    return made


def scores(summary: Summary) -> Iterator[Row]:
    """Yield score, gain over the baseline and share of the possible, by arm and family."""
    yield from _figures("score", rows_of(summary, "scores"), "arm", "family")
    gains = rows_of(summary, "inheritance_gain")
    yield from _figures("gain", gains, "arm", "family")
    for cell in gains:
        share = {"mean": cell["share_of_possible"], "reason": cell["share_reason"], "n": cell["n"]}
        yield row("share_of_possible", share, arm=cell["arm"], family=cell["family"])


def gains_by_version(summary: Summary) -> Iterator[Row]:
    """Yield the gain over the baseline by version that was probed, arm and family."""
    yield from _figures("gain", rows_of(summary, "gain_by_version"), "version", "arm", "family")


def gains_by_inheritance(summary: Summary) -> Iterator[Row]:
    """Yield the gain over the baseline with generation 0, which inherited nothing, apart."""
    for inherited, told in ((True, LATER), (False, FIRST)):
        for cell in rows_of(summary, "gain_by_inheritance", inherited=inherited):
            yield row("gain", cell, generations=told, arm=cell["arm"], family=cell["family"])


def doc_search(summary: Summary) -> Iterator[Row]:
    """Yield how well docs are found and opened, by arm, over all families."""
    for measure in MEASURES:
        yield from _figures(
            measure, rows_of(summary, "doc_search", measure=measure, family=None), "arm"
        )


def costs(summary: Summary) -> Iterator[Row]:
    """Yield what a probe and what stands between the tasks of a generation cost, by arm."""
    for cost in COSTS:
        yield from _figures(cost, rows_of(summary, "costs", cost=cost), "arm")


def crossed(summary: Summary) -> Iterator[Row]:
    """Yield what one version's Knowledge is worth to another, by family, writer and reader."""
    for measure in ("score", "gain", "retention", "harm"):
        found = rows_of(summary, "upgrade_matrix", measure=measure)
        yield from _figures(measure, found, "family", "writer", "reader")


def released(summary: Summary) -> Iterator[Row]:
    """Yield what each release leaves and costs, by writer, reader and arm."""
    for measure in SHOWN:
        found = rows_of(summary, "releases", measure=measure)
        yield from _figures(measure, found, "writer", "reader", "arm")


def kept(summary: Summary) -> Iterator[Row]:
    """Yield the shares of the score, of the tokens and of the facts kept, by arm and handoffs."""
    for measure in ("score", "tokens"):
        yield from _figures(
            f"{measure}_kept", rows_of(summary, "kept", measure=measure), "arm", "k"
        )
    for cell in rows_of(summary, "fidelity", generation=0):
        yield row("facts_kept", cell, arm=cell["arm"], k=cell["handoffs"])


def notes(summary: Summary) -> Iterator[Row]:
    """Yield what the notes hold against the world as it is, by arm, over all generations."""
    asked: dict[str, dict[str, str]] = {
        "signal_density": {},
        "facts_held": {"by": "any"},
        "staleness": {"entries": "memories"},
        "duplication": {},
    }
    for metric, which in asked.items():
        yield from _figures(metric, rows_of(summary, metric, generation=None, **which), "arm")


def _figures(measure: str, cells: list[Row], *by: str) -> Iterator[Row]:
    for cell in cells:
        yield row(measure, cell, **{name: cell[name] for name in by})
