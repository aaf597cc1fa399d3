"""How reliable the search for docs is: what is found, and what is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lineage.report import canvas
from lineage.report.lookup import cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUESTION = "Are docs found and opened when they are needed?"
MEASURES = {
    "recall": "needed facts found",
    "reciprocal_rank": "1 / rank of the\nfirst needed doc",
    "precision": "opened docs that\nwere needed",
    "opened_when_needed": "opened when needed",
    "opened_in_vain": "opened in vain\n(less is better)",
}
"""The measures of `doc_search`, best read from the top; in words."""
DODGE = 0.16
"""Rows between two arms, at most."""
WIDEST = 0.6
"""Rows between the first arm and the last."""


def doc_search_reliability(summary: dict[str, Any]) -> Figure | None:
    """Return each measure of doc search with its interval over pairs, an arm a mark.

    `summary` is `metrics.json` (`doc_search`), over all families. None where no arm had docs to
    search.
    """
    every = cells(summary, "doc_search", "arm", "measure", family=None)
    found = {place: cell for place, cell in every.items() if cell["mean"] is not None}
    arms = [arm for arm in summary["arms"] if any(place[0] == arm for place in found)]
    measures = [measure for measure in MEASURES if any(place[1] == measure for place in found)]
    if not measures:
        return None
    margin = canvas.Margin(left=1.55, top=0.35)
    height = 0.5 * len(measures)
    figure, (axis,) = canvas.canvas(QUESTION, [""], plot=(2.9, height), margin=margin)
    dodge = min(DODGE, WIDEST / len(arms))
    for place, arm in enumerate(arms):
        known = [(row, found[arm, m]) for row, m in enumerate(measures) if (arm, m) in found]
        shift = (place - (len(arms) - 1) / 2) * dodge
        style = canvas.style(summary["arms"].index(arm)) | {"linestyle": "none"}
        y = [row + shift for row, _ in known]
        axis.plot([cell["mean"] for _, cell in known], y, label=canvas.cut(arm), **style)
        for at, (_, cell) in zip(y, known, strict=True):
            if cell["low"] is not None:
                axis.hlines(at, cell["low"], cell["high"], color=style["color"], linewidth=1.2)
    for row in range(1, len(measures)):
        axis.axhline(row - 0.5, color="0.85", linewidth=0.8, zorder=0)
    axis.set_yticks(range(len(measures)), [MEASURES[measure] for measure in measures])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(measures) - 0.5, -0.5)
    axis.set_xlim(-0.03, 1.03)
    axis.set_xlabel("share (0 to 1)", fontsize=9)
    axis.legend(
        fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0
    )
    return figure
