"""A training as small panels by step, one a thing that may change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lineage.metrics.training import PARTS, TIMES
from lineage.report import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUESTION = "Does training make what is handed over worth more, and by what?"
TIME = "time of a step"
COLUMNS = 4
PLOT = (2.6, 1.9)
MINUTE = 60
SHARES = (0, 0.25, 0.5, 0.75, 1)
MARKED = 12
"""Markers on a line, about."""
Point = tuple[int, float, float | None, float | None]
"""Step, mean, and its bounds; None where there is no interval."""
Lines = dict[str, list[Point]]
"""By name of a line."""


@dataclass(frozen=True)
class Panel:
    """Lines over steps. `shares`: the axis goes from 0 to 1."""

    title: str
    unit: str
    lines: Lines
    shares: bool = False


def training_by_step(training: dict[str, Any]) -> Figure | None:
    """Return small panels by step, one a thing that training may change.

    `training` is `training.json`. None where it has no step.
    """
    steps = training["by_step"]
    if not steps:
        return None
    panels = [panel for panel in _panels(training) if any(panel.lines.values())]
    drawers: dict[str, Callable[[Axes], None]] = {
        panel.title: partial(_draw, panel=panel) for panel in panels
    }
    drawers[TIME] = partial(_times, steps=steps)
    figure, axes = canvas.canvas(QUESTION, list(drawers), columns=COLUMNS, plot=PLOT)
    for number, (axis, draw) in enumerate(zip(axes, drawers.values(), strict=True)):
        draw(axis)
        _finish(axis, steps, named=number == 0)
    return figure


def _panels(summary: dict[str, Any]) -> tuple[Panel, ...]:
    def by_curriculum(key: str) -> Lines:
        points: Lines = {name: [] for name in summary["curricula"]}
        for found in summary["by_curriculum"]:
            points[found["curriculum"]] += _point(found["step"], found[key])
        return points

    def together(keys: dict[str, str], node: str = "") -> Lines:
        points: Lines = {name: [] for name in keys}
        for step in summary["by_step"]:
            for name, key in keys.items():
                points[name] += _point(step["step"], (step[node] if node else step)[key])
        return points

    parts = {part.removeprefix("reward_"): part for part in PARTS}
    shares = {"copied": "copied", "stale": "staleness", "failed": "failed"}
    opened = {"needed / opened": "precision", "opened / needed": "recall"}
    return (
        Panel("reward", "mean over groups", by_curriculum("reward")),
        Panel("parts of the reward", "weighted and signed", together(parts)),
        Panel("length of the memory", "tokens", by_curriculum("memory_tokens")),
        Panel("facts in the memory", "per 100 tokens", by_curriculum("density")),
        Panel("entropy of what is sampled", "nats a token", by_curriculum("entropy")),
        Panel("copied, stale and failed", "share", together(shares), shares=True),
        Panel("opening docs", "share", together(opened, "opened"), shares=True),
    )


def _point(step: int, value: Any) -> list[Point]:
    """Return the point of `value`, a number or an interval; none where it is missing."""
    cell = value if isinstance(value, dict) else {"mean": value, "low": None, "high": None}
    return [] if cell["mean"] is None else [(step, cell["mean"], cell["low"], cell["high"])]


def _draw(axis: Axes, panel: Panel) -> None:
    held = {name: points for name, points in panel.lines.items() if points}
    for number, (name, points) in enumerate(held.items()):
        steps = [step for step, *_ in points]
        means = [mean for _, mean, _, _ in points]
        style = canvas.style(number) | {"markersize": 4}
        every = max(1, len(steps) // MARKED)
        axis.plot(steps, means, label=canvas.cut(name), markevery=every, **style)
        bounds = ((step, low, high) for step, _, low, high in points)
        canvas.band(axis, bounds, style["color"])
    axis.set_ylabel(panel.unit, fontsize=9)
    if panel.shares:
        axis.set_ylim(-0.05, 1.05)
        axis.set_yticks(SHARES)
    canvas.key(axis)


def _times(axis: Axes, steps: Sequence[dict[str, Any]]) -> None:
    spent = {name: [step["time"][name] / MINUTE for step in steps] for name in (*TIMES, "other")}
    above = canvas.stack(axis, [step["step"] for step in steps], spent)
    axis.set_ylabel("minutes", fontsize=9)
    axis.set_ylim(0, max(above) or None)
    canvas.key(axis)


def _finish(axis: Axes, steps: Sequence[dict[str, Any]], named: bool) -> None:
    """Mark where the kind of step changes, in words where `named`, and keep the ticks whole."""
    changes = [after for before, after in pairwise(steps) if before["kind"] != after["kind"]]
    for step in changes:
        axis.axvline(step["step"] - 0.5, color="0.6", linewidth=0.8, zorder=0)
    if named and changes:
        said = ", ".join(f"{step['kind']} from step {step['step']}" for step in changes[:2])
        axis.set_title(said, loc="right", fontsize=8, color="0.35")
    numbers = [step["step"] for step in steps]
    canvas.along(axis, numbers, "training step", 0.5)
