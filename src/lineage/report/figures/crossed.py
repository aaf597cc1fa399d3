"""The writer x reader matrix as a picture: what a version's notes are worth to each reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lineage.report import canvas
from lineage.report.figures.retention import COLORS, DARK, PALEST
from lineage.report.lookup import cells
from lineage.report.sheet import name, starred

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUESTION = "What are a version's notes worth to each reader?"
LARGEST = 10
"""In a matrix of more versions no numbers are written."""


def upgrade_matrix(summary: dict[str, Any]) -> Figure | None:
    """Return the gain of each reader with each writer's notes over none as a heat map a family.

    `summary` is `metrics.json` (`upgrade_matrix`). A star is that of the table; what was not
    computed is blank. None where no version read what another wrote.
    """
    found = cells(summary, "upgrade_matrix", "family", "writer", "reader", measure="gain")
    gains = {place: cell for place, cell in found.items() if cell["mean"] is not None}
    families = [one for one in summary["families"] if any(place[0] == one for place in gains)]
    if not families:
        return None
    writers, readers = (list(dict.fromkeys(place[side] for place in found)) for side in (1, 2))
    written = max(len(writers), len(readers)) <= LARGEST
    figure, axes = canvas.canvas(QUESTION, families, plot=(2.6, 2.4))
    for axis, family in zip(axes, families, strict=True):
        grid = [[gains.get((family, w, r)) for r in readers] for w in writers]
        values = [[cell["mean"] if cell else float("nan") for cell in line] for line in grid]
        axis.pcolormesh(values, cmap=COLORS, vmin=PALEST, vmax=1, edgecolor="white", linewidth=0.8)
        for down, line in enumerate(grid):
            for along, cell in enumerate(line):
                if cell and written:
                    axis.text(
                        along + 0.5, down + 0.5,
                        f"{cell['mean']:+.2f}{'*' if starred(cell) else ''}",
                        ha="center", va="center", fontsize=8,
                        color="white" if cell["mean"] >= DARK else "black",
                    )  # fmt: skip
        for axis_of, versions in ((axis.xaxis, readers), (axis.yaxis, writers)):
            shown = canvas.ticks(len(versions))
            names = [canvas.cut(name(versions[place])) for place in shown]
            axis_of.set_ticks([place + 0.5 for place in shown], labels=names)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_xlabel("read by", fontsize=9)
        axis.set_ylabel("written by", fontsize=9)
        axis.invert_yaxis()
    return figure
