"""Retention: how each generation does on the tasks that each earlier one first met."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

from lineage.report import canvas
from lineage.report.lookup import cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUESTION = "Is what was learnt early still known later?"
COLORS = "Blues"
"""One hue, so that grey and all kinds of sight keep the order; dark is high."""
PALEST = -0.12
"""A score of 0 stands a little above the palest, so that it is no gap."""
LARGEST = 12
"""In a matrix of more generations no numbers are written, and a scale is drawn instead."""
MOST = 60
"""Generations that are drawn; of more of them, every second, third, … one."""
DARK = 0.55
"""From this score on a number is white."""
STEPS = 11
NEVER = -1
"""Stands for tasks that no generation met."""


def retention_matrix(summary: dict[str, Any]) -> Figure | None:
    """Return S[g, t] as a heat map an arm: mean probe score of generation g on tasks met in t.

    `summary` is `metrics.json` (`retention`). None where no task was met again.
    """
    scores = {
        (arm, generation, NEVER if met is None else met): row["mean"]
        for (arm, generation, met), row in cells(
            summary, "retention", "arm", "generation", "met"
        ).items()
        if row["mean"] is not None
    }
    arms = [arm for arm in summary["arms"] if any(cell[0] == arm for cell in scores)]
    columns = sorted({met for _, _, met in scores})
    rows = sorted({generation for _, generation, _ in scores})
    if len(rows) < 2:
        return None
    each = ceil(max(len(rows), len(columns)) / MOST)
    rows, columns = rows[::each], columns[::each]
    written = max(len(rows), len(columns)) <= LARGEST
    titles = [canvas.cut(arm) for arm in arms]
    if not written:
        titles.append("scale")
    figure, axes = canvas.canvas(QUESTION, titles, plot=(2.6, 2.4))
    for axis, arm in zip(axes, arms):
        grid = [[scores.get((arm, g, met), float("nan")) for met in columns] for g in rows]
        axis.pcolormesh(grid, cmap=COLORS, vmin=PALEST, vmax=1, edgecolor="white", linewidth=0.8)
        for down, line in enumerate(grid):
            for along, score in enumerate(line):
                if written and score == score:
                    color = "white" if score >= DARK else "black"
                    said = f"{score:.2f}".removeprefix("0") if len(columns) > 6 else f"{score:.2f}"
                    axis.text(
                        along + 0.5, down + 0.5, said,
                        ha="center", va="center", fontsize=8, color=color,
                    )  # fmt: skip
        across, down_ticks = canvas.ticks(len(columns)), canvas.ticks(len(rows))
        names = ["never" if met == NEVER else str(met) for met in columns]
        axis.set_xticks([place + 0.5 for place in across], [names[place] for place in across])
        axis.set_yticks(
            [place + 0.5 for place in down_ticks], [str(rows[place]) for place in down_ticks]
        )
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_xlabel("generation that first met the task", fontsize=9)
        only = f" (1 in {each})" if each > 1 else ""
        axis.set_ylabel(f"generation that is asked{only}", fontsize=9)
        axis.invert_yaxis()
    if not written:
        scale = [[step / (STEPS - 1)] for step in range(STEPS)]
        axes[-1].pcolormesh(scale, cmap=COLORS, vmin=PALEST, vmax=1, edgecolor="white")
        places = range(0, STEPS, 5)
        axes[-1].set_yticks([p + 0.5 for p in places], [f"{p / (STEPS - 1):.1f}" for p in places])
        axes[-1].set_xticks([])
        axes[-1].set_xlim(0, 5)
        axes[-1].spines[:].set_visible(False)
        axes[-1].set_ylabel("mean probe score (0 to 1)", fontsize=9)
    return figure
