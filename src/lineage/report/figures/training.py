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


@dataclass(frozen=True)
class Line:
    """One line of a panel."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """Lines over steps. `shares`: the axis goes from 0 to 1."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    shares: bool = False


def training_by_step(training: dict[str, Any]) -> Figure | None:
    """Return small panels by step, one a thing that training may change.

    `training` is `training.json`. None where it has no step.
    """
    steps = training["by_step"]
    if not steps:
        return None
    panels = [panel for panel in _panels(training) if panel.lines]
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
    def by_curriculum(key: str) -> tuple[Line, ...]:
        points: dict[str, list[Point]] = {name: [] for name in summary["curricula"]}
        for found in summary["by_curriculum"]:
            points[found["curriculum"]] += _point(found["step"], found[key])
        return _lines(points)

    def together(keys: dict[str, str], node: str = "") -> tuple[Line, ...]:
        points: dict[str, list[Point]] = {name: [] for name in keys}
        for step in summary["by_step"]:
            for name, key in keys.items():
                points[name] += _point(step["step"], (step[node] if node else step)[key])
        return _lines(points)

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


def _lines(points: dict[str, list[Point]]) -> tuple[Line, ...]:
    return tuple(Line(name, tuple(found)) for name, found in points.items() if found)


def _draw(axis: Axes, panel: Panel) -> None:
    for number, line in enumerate(panel.lines):
        steps = [step for step, *_ in line.points]
        means = [mean for _, mean, _, _ in line.points]
        style = canvas.style(number) | {"markersize": 4}
        every = max(1, len(steps) // MARKED)
        axis.plot(steps, means, label=canvas.cut(line.name), markevery=every, **style)
        held = [(step, low, high) for step, _, low, high in line.points if low is not None]
        if held:
            x, lows, highs = zip(*held, strict=True)
            canvas.band(axis, x, lows, highs, style["color"])
    axis.set_ylabel(panel.unit, fontsize=9)
    if panel.shares:
        axis.set_ylim(-0.05, 1.05)
        axis.set_yticks(SHARES)
    canvas.key(axis)


def _times(axis: Axes, steps: Sequence[dict[str, Any]]) -> None:
    numbers = [step["step"] for step in steps]
    bottom = [0.0] * len(steps)
    for number, name in enumerate((*TIMES, "other")):
        heights = [step["time"][name] / MINUTE for step in steps]
        axis.bar(
            numbers,
            heights,
            bottom=bottom,
            label=name,
            **canvas.bar_style(number),
        )
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axis.set_ylabel("minutes", fontsize=9)
    axis.set_ylim(0, max(bottom) or None)
    canvas.key(axis)


def _finish(axis: Axes, steps: Sequence[dict[str, Any]], named: bool) -> None:
    """Mark where the kind of step changes, in words where `named`, and keep the ticks whole."""
    changes = [after for before, after in pairwise(steps) if before["kind"] != after["kind"]]
    for step in changes:
        axis.axvline(step["step"] - 0.5, color="0.6", linewidth=0.8, zorder=0)
    if named and changes:
        said = ", ".join(f"{step['kind']} from step {step['step']}" for step in changes[:2])
        axis.set_title(said, loc="right", fontsize=8, color="0.35")
    canvas.numbered(axis, [step["step"] for step in steps], "training step", 0.5)
