"""Score over many releases on the calibrated surrogate: a panel a factor, with its assumptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lineage.report import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUESTION = "Does the score still rise, release after release?"
Line = tuple[Sequence[float], Sequence[float] | None, Sequence[float] | None]
"""The mean by generation, and the ends of its band where there is one."""
NOTE_ROW = 0.16
"""Inches that a line of the assumptions takes."""


def score_over_releases(
    panels: Mapping[str, Mapping[str, Line]], goal: float, assumptions: Sequence[str]
) -> Figure:
    """Return a panel for each factor of `panels`, with a line for each of its values.

    `goal` is marked; `assumptions` stand below all, a line each.
    """
    room = canvas.Margin(bottom=0.7 + NOTE_ROW * (len(assumptions) + 1))
    figure, axes = canvas.canvas(QUESTION, list(panels), margin=room)
    for axis, lines in zip(axes, panels.values(), strict=True):
        for number, (label, (mean, low, high)) in enumerate(lines.items()):
            style = canvas.style(number) | {"marker": ""}
            axis.plot(range(len(mean)), mean, label=canvas.cut(label), **style)
            if low is not None and high is not None:
                points = [(float(g), a, b) for g, (a, b) in enumerate(zip(low, high, strict=True))]
                canvas.band(axis, points, style["color"])
        axis.axhline(goal, color="0.4", linewidth=1, linestyle=":")
        axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axis.set_ylim(-0.03, 1.03)
        axis.set_xlabel("generation", fontsize=9)
        axis.set_ylabel("score on same and similar", fontsize=9)
        canvas.key(axis)
    height = figure.get_size_inches()[1]
    for number, text in enumerate(reversed(assumptions)):
        at = (0.12 + NOTE_ROW * number) / height
        figure.text(0.01, at, text.replace("$", r"\$"), fontsize=8, color=canvas.INK, va="bottom")
    return figure
