"""Score by generation: an arm a line, a family a panel."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lineage.report import canvas
from lineage.report.headline import STAND_IN
from lineage.report.lookup import rows_of
from lineage.report.sheet import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUESTION = "Does a successor profit from inherited knowledge?"
STANDS_IN = "Stand-in, no language model: does a successor profit from inherited knowledge?"
FIRST = 0
"""The generation that has only what it wrote itself: it stands apart."""
DODGE = 0.05
"""Generations between two arms, so that equal scores do not hide each other."""
WIDEST = 0.5
"""Generations between the first arm and the last, at most."""
LINE = 0.07
"""Score that one direct label takes."""
TOP = 1.1
PLOT = (3.6, 2.6)
LETTER = 0.085
"""Inches that a letter of a direct label takes."""
MOST_SHIPPED = 4
"""More changes of version than these are lines without words: the axis names them."""


def score_by_generation(summary: dict[str, Any]) -> Figure | None:
    """Return mean probe scores with their intervals over pairs (`scores_by_generation`).

    Generation 0 inherits nothing and stands apart: its probes read what it wrote itself.
    `summary` is `metrics.json`. None where no probe has a score.
    """
    shown = {point["family"] for point in rows_of(summary, "scores_by_generation")}
    families = [family for family in summary["families"] if family in shown]
    if not families:
        return None
    question = STANDS_IN if summary.get("engine") == STAND_IN else QUESTION
    figure, axes = canvas.canvas(question, [f"{canvas.cut(f)} tasks" for f in families], plot=PLOT)
    for axis, family in zip(axes, families, strict=True):
        _panel(axis, summary, family)
    return figure


def _panel(axis: Axes, summary: dict[str, Any], family: str) -> None:
    arms, found = summary["arms"], rows_of(summary, "scores_by_generation")
    versions = _versions(summary)
    dodge = min(DODGE, WIDEST / max(1, len(arms) - 1))
    ends: list[tuple[float, int]] = []
    for number, arm in enumerate(arms):
        points = [point for point in found if (point["arm"], point["family"]) == (arm, family)]
        if not points:
            continue
        shift = (number - (len(arms) - 1) / 2) * dodge
        x = [point["generation"] + shift for point in points]
        y = [point["mean"] for point in points]
        style = canvas.style(number)
        apart = int(points[0]["generation"] == FIRST)
        axis.plot(x[apart:], y[apart:], **style)
        hollow = style | {"linestyle": "none", "markerfacecolor": "none"}
        axis.plot(x[:apart], y[:apart], **hollow)
        held = [
            (place, point["low"], point["high"])
            for place, point in zip(x, points, strict=True)
            if point["low"] is not None
        ]
        if held:
            places, lows, highs = zip(*held, strict=True)
            axis.vlines(places, lows, highs, color=style["color"], linewidth=1.2)
        ends.append((y[-1], number))
    if any(point["generation"] == FIRST for point in found):
        axis.axvspan(FIRST - 0.5, FIRST + 0.5, color="0.5", alpha=0.12, linewidth=0, zorder=0)
        upright: dict[str, Any] = {"rotation": 90, "ha": "left", "va": "top", "color": "0.35"}
        axis.text(FIRST - 0.46, 0.98, "inherits nothing", fontsize=7, **upright)
    last = len(versions) - 1
    _name(axis, [canvas.cut(arm) for arm in arms], ends, last)
    changes = [g for g, (old, new) in enumerate(pairwise(versions), start=1) if old != new]
    for generation in changes:
        axis.axvline(generation - 0.5, color="0.6", linewidth=0.8, zorder=0)
        if len(changes) <= MOST_SHIPPED:
            said = f" {canvas.cut(versions[generation])} ships"
            axis.text(generation - 0.5, 1.07, said, fontsize=8, va="bottom", color="0.35")
    shown = canvas.ticks(len(versions))
    axis.set_xticks(shown, [f"{g}\n{canvas.cut(versions[g])}".strip() for g in shown])
    named = "generation, and the version that works in it"
    axis.set_xlabel(named if any(versions) else "generation (versions differ by arm)", fontsize=9)
    axis.set_ylim(-0.06, 1.16)
    axis.set_ylabel("mean probe score (0 to 1)", fontsize=9)


def _versions(summary: dict[str, Any]) -> list[str]:
    """Return the version of each generation; "" where the arms are served by different ones."""
    served = {tuple(arm["versions"]) for arm in summary["defined"].values()}
    if len(served) > 1:
        return [""] * len(summary["schedule"])
    return short(summary["schedule"])


def _name(axis: Axes, arms: list[str], ends: list[tuple[float, int]], last: int) -> None:
    """Write each arm's name beside the end of its line, with its marker for who sees no colour."""
    longest = max((len(arms[number]) for _, number in ends), default=0)
    reserved = 0.3 + LETTER * longest
    first, edge = -WIDEST, last + WIDEST
    unit = (edge - first) / (PLOT[0] - reserved)
    axis.set_xlim(first, edge + reserved * unit)
    for place, (_, number) in zip(canvas.spread([y for y, _ in ends], LINE, TOP), ends):
        color, _, marker = canvas.STYLES[number % len(canvas.STYLES)]
        axis.plot(edge + 0.06 * unit, place, color=color, marker=marker, markersize=5)
        axis.text(
            edge + 0.17 * unit, place, arms[number], fontsize=9, va="center", color=canvas.INK
        )
