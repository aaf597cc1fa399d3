"""What each version makes of a memory: a receipt's scores, one under another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lineage.report import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUESTION = "What does each version make of the memory?"
ROW = 0.28
"""Inches that a score takes."""


def memory_by_version(scores: Sequence[tuple[str, str, Any]]) -> Figure | None:
    """Return a point for each of `scores` with its interval as a line, the first one on top.

    Each is a version, what it receives, and its score as a dict of mean, low and high, or None
    where it was not computed. None where no score was.
    """
    known = [(version, received, score) for version, received, score in scores if score]
    if not known:
        return None
    versions = list(dict.fromkeys(version for version, _, _ in known))
    figure, (axis,) = canvas.canvas(
        QUESTION,
        [""],
        plot=(4.2, ROW * len(known)),
        margin=canvas.Margin(left=1.8, right=2.4),
    )
    for number, version in enumerate(versions):
        look = canvas.style(number) | {"linestyle": ""}
        at = [place for place, one in enumerate(known) if one[0] == version]
        means = [known[place][2]["mean"] for place in at]
        axis.plot(means, at, label=canvas.cut(version), **look)
        for place in at:
            score = known[place][2]
            if score["low"] is not None:
                axis.hlines(place, score["low"], score["high"], color=look["color"], linewidth=1.5)
    axis.set_yticks(range(len(known)), [canvas.cut(received) for _, received, _ in known])
    axis.set_ylim(len(known) - 0.5, -0.5)
    axis.set_xlim(-0.03, 1.03)
    axis.set_xlabel("score", fontsize=9)
    axis.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
