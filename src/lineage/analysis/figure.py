"""The one figure of a run: score by generation, an arm a line, a panel a family."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from lineage.analysis.terminal import short

# Okabe and Ito's palette, told apart in grey by line and marker as well.
STYLES = (
    ("#0072B2", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#009E73", ":", "^"),
    ("#CC79A7", "-.", "D"),
    ("#E69F00", (0, (5, 1)), "v"),
    ("#56B4E9", (0, (1, 1)), "P"),
)
QUESTION = "Does a successor profit from inherited knowledge?"


def score_figure(summary: dict[str, Any], cache: Path, kind: str) -> bytes:
    """Return the figure as `kind` ("png" or "svg"). Matplotlib keeps its own files in `cache`."""
    os.environ["MPLCONFIGDIR"] = str(cache.absolute() / "matplotlib")
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "lineage"
    from matplotlib import pyplot as plt

    families = summary["families"]
    figure, axes = plt.subplots(
        1, len(families), figsize=(4.2 * len(families), 3.8), sharey=True, layout="constrained"
    )
    for axis, family in zip(axes, families, strict=True):
        _panel(axis, summary, family)
    axes[0].set_ylabel("mean probe score (0 to 1)")
    axes[0].legend(frameon=False, fontsize=9)
    figure.suptitle(QUESTION, fontsize=12)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)
    return buffer.getvalue()


def _panel(axis: Any, summary: dict[str, Any], family: str) -> None:
    versions = short(summary["schedule"])
    for (color, line, marker), arm in zip(STYLES, summary["arms"], strict=False):
        points = [
            point
            for point in summary["by_generation"]
            if (point["arm"], point["family"]) == (arm, family)
        ]
        x = [point["generation"] for point in points]
        y = [point["mean"] for point in points]
        axis.plot(x, y, color=color, linestyle=line, marker=marker, label=arm)
        if all(point["low"] is not None for point in points):
            low, high = [p["low"] for p in points], [p["high"] for p in points]
            axis.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
    for generation in range(1, len(versions)):
        if versions[generation] != versions[generation - 1]:
            axis.axvline(generation - 0.5, color="0.6", linewidth=0.8)
            axis.text(generation - 0.47, 1.02, f"{versions[generation]} ships", fontsize=8)
    axis.set_xticks(range(len(versions)), [f"{g}\n{v}" for g, v in enumerate(versions)])
    axis.set_xlabel("generation and its version")
    axis.set_ylim(-0.04, 1.1)
    axis.set_title(f"{family} tasks", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
