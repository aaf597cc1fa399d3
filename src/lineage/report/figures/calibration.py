"""Skills of the surrogate fitted to a log: what they foretell of held-out pairs, and what was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lineage.report import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lineage.core.intervals import Interval

QUESTION = (
    "Do the fitted skills foretell pairs that they were not fitted on? "
    "Dots: real, crosses: predicted"
)
Curve = Sequence[tuple[str, "Interval", float]]
"""What stands on the x axis, the real mean, and the prediction of it."""
LONGEST = 44
"""Characters of a panel's title."""
APART = 0.14
"""How far the curves of a panel stand apart, so that their intervals do not hide each other."""


def predicted_and_real(panels: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Return a panel for each of `panels`, with its curves by name.

    Points with intervals are real, the crosses on lines what was predicted.
    """
    figure, axes = canvas.canvas(QUESTION, [name.replace("$", r"\$")[:LONGEST] for name in panels])
    for axis, (name, curves) in zip(axes, panels.items(), strict=True):
        places = list(dict.fromkeys(at for curve in curves.values() for at, _, _ in curve))
        for number, (label, curve) in enumerate(curves.items()):
            shift = APART * (number - (len(curves) - 1) / 2)
            color = canvas.style(number)["color"]
            x = [places.index(at) + shift for at, _, _ in curve]
            axis.plot(x, [told for _, _, told in curve], color=color, marker="x", linewidth=0.8)
            axis.plot(x, [r.mean for _, r, _ in curve], "o", color=color, markersize=4, label=label)
            held = [(at, r.low, r.high) for at, (_, r, _) in zip(x, curve, strict=True)]
            bounded = [one for one in held if one[1] is not None]
            if bounded:
                at, low, high = zip(*bounded, strict=True)
                axis.vlines(at, low, high, color=color, linewidth=1.2)
        axis.set_xticks(range(len(places)), places)
        axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
        axis.set_ylim(-0.03, 1.03)
        recall = name.startswith("recall")
        axis.set_xlabel("notes in the prompt" if recall else "generation", fontsize=9)
        axis.set_ylabel("share, mean over pairs", fontsize=9)
        canvas.key(axis)
    return figure
