"""Opening by a threshold: what a gate on the coverage of docs opens, over all thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lineage.report import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lineage.core.intervals import Interval

QUESTION = "From which coverage on should a doc be opened?"
CURVES = {
    "when_needed": "opened when needed",
    "in_vain": "opened in vain (less is better)",
    "precision": "opened docs that were needed",
}
"""The shares that are drawn, in words."""


def opening_by_threshold(
    curves: Mapping[str, Sequence[tuple[float, Interval | None]]], chosen: float
) -> Figure:
    """Return each share of `curves` over the thresholds, with its interval as a band.

    `curves` are by the names of `CURVES`, thresholds ascending; `chosen` is marked.
    """
    figure, (axis,) = canvas.canvas(
        QUESTION, [""], plot=(4.2, 2.6), margin=canvas.Margin(right=2.6)
    )
    for number, (name, words) in enumerate(CURVES.items()):
        known = [(at, share) for at, share in curves[name] if share is not None]
        style = canvas.style(number)
        at = [one for one, _ in known]
        axis.plot(at, [share.mean for _, share in known], label=words, **style)
        banded = [(one, s.low, s.high) for one, s in known if s.low is not None]
        if banded:
            where, low, high = zip(*banded, strict=True)
            axis.fill_between(where, low, high, color=style["color"], alpha=0.15, linewidth=0)
    axis.axvline(chosen, color="0.4", linewidth=1, linestyle=":")
    axis.set_xlim(0, 1)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("gate: least share of the task's telling words", fontsize=9)
    axis.set_ylabel("share of episodes", fontsize=9)
    axis.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
