"""The metrics of a run as a long table: one row a figure, for files that are read and compared.

Each function takes a summary (see `metrics.summarise`) and yields rows. A row has `measure`, what
the figure is by (`arm`, `family`, `version`, `writer` and so on), then `mean`, `low`, `high`
and `n`, the pairs behind it; then `starred` where the measure says whether it differs from 0, and
`reason` where it says why there is no mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lineage.metrics.keeping import AFTER

Row = dict[str, Any]
Summary = Mapping[str, Any]

DOC_MEASURES = (
    "recall",
    "reciprocal_rank",
    "precision",
    "opened_when_needed",
    "opened_in_vain",
)
FIRST, LATER = "0", "from 1 on"
"""Generations: the one that inherited nothing, and all others."""
COSTS = (
    "prompt_tokens",
    "cached_tokens",
    "engine_seconds",
    "handoff_tokens",
    "handoff_seconds",
)


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
    for arm in summary["arms"]:
        for family in summary["families"]:
            by = {"arm": arm, "family": family}
            score = summary["scores"].get(arm, {}).get(family)
            gain = summary["gain"].get(arm, {}).get(family)
            if score is not None:
                yield row("score", score, **by)
            if gain is not None:
                yield row("gain", gain, **by)
                share = {"mean": gain["share_of_possible"], "reason": gain["share_reason"]}
                yield row("share_of_possible", {**share, "n": gain["n"]}, **by)


def gains_by_version(summary: Summary) -> Iterator[Row]:
    """Yield the gain over the baseline by version that was probed, arm and family."""
    for cell in summary["gain_by_version"]:
        yield row("gain", cell, **{key: cell[key] for key in ("version", "arm", "family")})


def gains_by_inheritance(summary: Summary) -> Iterator[Row]:
    """Yield the gain over the baseline with generation 0, which inherited nothing, apart."""
    for cell in sorted(summary.get("gain_by_inheritance", ()), key=lambda c: not c["inherited"]):
        told = LATER if cell["inherited"] else FIRST
        yield row("gain", cell, generations=told, arm=cell["arm"], family=cell["family"])


def doc_search(summary: Summary) -> Iterator[Row]:
    """Yield how well docs are found and opened, by arm, over all families."""
    found = summary["ground"]["doc_search"]
    cells = {(cell["arm"], cell["measure"]): cell for cell in found if cell["family"] is None}
    for arm in summary["arms"]:
        for measure in DOC_MEASURES:
            if (arm, measure) in cells:
                yield row(measure, cells[arm, measure], arm=arm)


def costs(summary: Summary) -> Iterator[Row]:
    """Yield what a probe and what stands between the tasks of a generation cost, by arm."""
    for arm in summary["arms"]:
        found = summary["costs"].get(arm, {})
        for measure in COSTS:
            if measure in found:
                yield row(measure, found[measure], arm=arm)


def crossed(summary: Summary) -> Iterator[Row]:
    """Yield what one version's Knowledge is worth to another, by family, writer and reader."""
    for cell in summary["matrix"]:
        by = {key: cell[key] for key in ("family", "writer", "reader")}
        for measure in ("score", "gain", "retention", "harm"):
            yield row(measure, cell[measure], **by)


def kept(summary: Summary) -> Iterator[Row]:
    """Yield the shares of the score, of the tokens and of the facts kept, by arm and handoffs."""
    facts = (
        {**cell, "measure": "facts", "k": cell["handoffs"]}
        for cell in summary["ground"]["fidelity"]
        if cell["generation"] == 0 and cell["handoffs"] in AFTER
    )
    cells = {(cell["measure"], cell["arm"], cell["k"]): cell for cell in summary["kept"]}
    cells |= {(cell["measure"], cell["arm"], cell["k"]): cell for cell in facts}
    for measure in ("score", "tokens", "facts"):
        for arm in summary["arms"]:
            for k in AFTER:
                if (measure, arm, k) in cells:
                    yield row(f"{measure}_kept", cells[measure, arm, k], arm=arm, k=k)


def notes(summary: Summary) -> Iterator[Row]:
    """Yield what the notes hold against the world as it is, by arm, over all generations."""
    ground = summary["ground"]
    measures = {
        "signal_density": _pooled(ground["signal_density"]),
        "facts_held": _pooled(ground["facts_held"], by="any"),
        "staleness": _pooled(ground["staleness"], entries="memories"),
        "duplication": _pooled(ground["duplication"]),
    }
    for arm in summary["arms"]:
        for measure, cells in measures.items():
            if arm in cells:
                yield row(measure, cells[arm], arm=arm)


def _pooled(found: Iterable[Row], **which: str) -> dict[str, Row]:
    return {
        cell["arm"]: cell
        for cell in found
        if cell["generation"] is None and all(cell[key] == value for key, value in which.items())
    }
