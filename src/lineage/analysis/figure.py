"""The one figure of a run: score by generation, an arm a line, a panel a family."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from lineage.analysis.sheet import short

# Okabe and Ito's palette without its yellow, which white swallows; black and grey make nine.
STYLES = (
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#009E73", ":", "^"),
    ("#CC79A7", "-.", "D"),
    ("#E69F00", (0, (5, 1)), "v"),
    ("#56B4E9", (0, (1, 1)), "P"),
    ("#000000", (0, (3, 1, 1, 1)), "X"),
    ("#666666", (0, (8, 2)), "<"),
    ("#8C510A", (0, (3, 3)), ">"),
)
QUESTION = "Does a successor profit from inherited knowledge?"
DODGE = 0.05
"""Generations between two arms, so that equal scores do not hide each other."""
LINE = 0.065
"""Score that one direct label takes."""


def score_figure(summary: dict[str, Any], cache: Path, kind: str) -> bytes:
    """Return the figure as `kind` ("png" or "svg"). Matplotlib keeps its own files in `cache`."""
    os.environ["MPLCONFIGDIR"] = str(cache.absolute() / "matplotlib")
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "lineage"
    from matplotlib import pyplot as plt

    families = summary["families"]
    width = 4.2 * len(families)
    figure, axes = plt.subplots(
        1, len(families), figsize=(width, 3.8), sharey=True, layout="constrained", squeeze=False
    )
    for axis, family in zip(axes[0], families, strict=True):
        _panel(axis, summary, family)
    axes[0][0].set_ylabel("mean probe score (0 to 1)")
    figure.suptitle(QUESTION, fontsize=12)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)
    return buffer.getvalue()


def _panel(axis: Any, summary: dict[str, Any], family: str) -> None:
    versions = short(summary["schedule"])
    arms = summary["arms"]
    ends = []
    for number, arm in enumerate(arms):
        # From the tenth arm on the styles come again; the labels still tell them apart.
        color, line, marker = STYLES[number % len(STYLES)]
        points = [p for p in summary["by_generation"] if (p["arm"], p["family"]) == (arm, family)]
        if not points:
            continue
        shift = (number - (len(arms) - 1) / 2) * DODGE
        x = [point["generation"] + shift for point in points]
        y = [point["mean"] for point in points]
        axis.plot(x, y, color=color, linestyle=line, marker=marker, markersize=5)
        for place, point in zip(x, points):
            if point["low"] is not None:
                axis.vlines(place, point["low"], point["high"], color=color, linewidth=1.2)
        ends.append((y[-1], arm, color))
    last = len(versions) - 1
    for place, (_, arm, color) in zip(_spread([end[0] for end in ends]), ends):
        axis.text(last + 0.3, place, arm, color=color, fontsize=9, va="center")
    for generation in range(1, len(versions)):
        if versions[generation] != versions[generation - 1]:
            axis.axvline(generation - 0.5, color="0.6", linewidth=0.8)
            axis.text(generation - 0.47, 1.06, f"{versions[generation]} ships", fontsize=8)
    axis.set_xticks(range(len(versions)), [f"{g}\n{v}" for g, v in enumerate(versions)])
    axis.set_xlabel("generation and its version")
    axis.set_xlim(-0.4, last + 0.4 + 0.28 * len(versions))
    axis.set_ylim(-0.06, 1.14)
    axis.set_title(f"{family} tasks", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def _spread(values: Sequence[float]) -> list[float]:
    """Return where labels at `values` go so that none covers another, in the same order."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    places = list(values)
    for below, above in pairwise(order):
        places[above] = max(places[above], places[below] + LINE)
    # Pushed past the top, they are pushed back down.
    top = 1.1
    for number in reversed(order):
        places[number] = min(places[number], top)
        top = places[number] - LINE
    return places
