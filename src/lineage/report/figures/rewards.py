"""What a handoff is rewarded for: by generation of a run, and by step of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lineage.metrics import training
from lineage.report import canvas
from lineage.report.lookup import cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BY_GENERATION = "What is a handoff rewarded for?"
BY_STEP = "Which part of the reward does training raise?"
PARTS = tuple(name.removeprefix("reward_") for name in training.PARTS)
ROOM = 0.1
"""Of the axis, above and below what is drawn."""
MARKED = 12
"""Markers on a line, about; the rest of a long one is dashes."""


def reward_by_generation(summary: dict[str, Any]) -> Figure | None:
    """Return the parts of the reward by generation, stacked, and their sum; an arm a panel.

    `summary` is `metrics.json` (`reward`). None where no handoff has a reward.
    """
    parts: dict[tuple[str, int], dict[str, Any]] = {}
    for (arm, generation, part), cell in cells(
        summary, "reward", "arm", "generation", "part"
    ).items():
        parts.setdefault((arm, generation), {"generation": generation})[part] = cell["mean"]
    by_arm = {arm: [row for (of, _), row in parts.items() if of == arm] for arm in summary["arms"]}
    held = {arm: its for arm, its in by_arm.items() if its}
    if not held:
        return None
    figure, axes = canvas.canvas(BY_GENERATION, [canvas.cut(arm) for arm in held], plot=(2.8, 2.2))
    above = max(_sum(row, 1) for its in held.values() for row in its)
    below = max(_sum(row, -1) for its in held.values() for row in its)
    shown = [p for p in PARTS if any(row.get(p) for its in held.values() for row in its)]
    for axis, its in zip(axes, held.values(), strict=True):
        places = [row["generation"] for row in its]
        canvas.stack(axis, places, {p: [row.get(p) or 0.0 for row in its] for p in shown}, PARTS)
        sums = [(row["generation"], row["reward"]) for row in its if row["reward"] is not None]
        if sums:
            mark: dict[str, Any] = {"color": "black", "markeredgecolor": "white", "label": "sum"}
            axis.plot(*zip(*sums, strict=True), "D", **mark)
        axis.axhline(0, color=canvas.INK, linewidth=0.8)
        room = ROOM * (above + below or 1)
        axis.set_ylim(-below - room, above + room)
        axis.set_ylabel("reward, weighted", fontsize=9)
        canvas.along(axis, places, "generation", 0.6)
        canvas.key(axis)
    return figure


def reward_by_step(training: dict[str, Any]) -> Figure | None:
    """Return the reward and its parts by training step; the interval is that over groups.

    `training` is `training.json`. None where no step has a reward.
    """
    steps = [step for step in training["by_step"] if step["reward"]["mean"] is not None]
    if not steps:
        return None
    figure, (axis,) = canvas.canvas(BY_STEP, [""], plot=(3.6, 2.6))
    numbers = [step["step"] for step in steps]
    every = max(1, len(steps) // MARKED)
    for number, part in enumerate(PARTS):
        values = [(step["step"], step.get(f"reward_{part}")) for step in steps]
        known = [(step, value) for step, value in values if value is not None]
        if any(value for _, value in known):
            x, y = zip(*known, strict=True)
            axis.plot(x, y, label=part, markevery=every, **canvas.style(number))
    means = [step["reward"]["mean"] for step in steps]
    whole: dict[str, Any] = {"color": canvas.INK, "linewidth": 2, "marker": ".", "markevery": every}
    axis.plot(numbers, means, label="reward: the sum", **whole)
    bounds = ((step["step"], step["reward"]["low"], step["reward"]["high"]) for step in steps)
    canvas.band(axis, bounds, canvas.INK)
    axis.axhline(0, color="0.6", linewidth=0.8, zorder=0)
    canvas.key(axis)
    canvas.along(axis, numbers, "training step", 0.5)
    axis.set_ylabel("reward, weighted; mean of groups", fontsize=9)
    return figure


def _sum(row: dict[str, Any], sign: int) -> float:
    return sum(max(0.0, sign * (row.get(part) or 0.0)) for part in PARTS)
