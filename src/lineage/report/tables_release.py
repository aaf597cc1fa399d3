"""The table of a run whose lineages go through releases: what each migration brings along."""

from __future__ import annotations

from typing import Any

from lineage.report.lookup import cells
from lineage.report.sheet import Cell, Sheet, Writer, bounds, gained, name, share, table

SHOWN: dict[str, Writer] = {
    "score": bounds,
    "gain": gained,
    "retention": bounds,
    "harm": share,
    "tokens": bounds,
    "cut": bounds,
    "overlong": bounds,
    "seconds": bounds,
}
"""The measures of `releases` that have a column, and how each is written."""


def releases(summary: dict[str, Any]) -> Sheet:
    """A row a release and arm: what is left of what was learnt before, and what it costs."""
    found = cells(summary, "releases", "generation", "writer", "reader", "arm", "measure")
    places = sorted(dict.fromkeys(place[:3] for place in found))
    rows: list[tuple[tuple[str, ...], list[Cell | None]]] = []
    for place in places:
        for arm in summary["arms"]:
            cell = {measure: found.get((*place, arm, measure)) for measure in SHOWN}
            if any(cell.values()):
                _, writer, reader = place
                rows.append(((f"{name(writer)} to {name(reader)}", arm), list(cell.values())))
    head = ("release", "arm", *SHOWN)
    note = (
        f"same tasks met before the release; gain over {summary['baseline']}; retention: gain / "
        "that of the arm that rebuilds. harm: of all probes solved cold, those failed. tokens of "
        "the memories by the reader's tokenizer, entries cut to its budget, over-long probes, and "
        "engine seconds of the migration: a lineage"
    )
    return table("what does each release leave?", head, rows, list(SHOWN.values()), note)
