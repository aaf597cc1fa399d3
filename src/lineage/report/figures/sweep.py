"""What was swept against what came of it: a key along the axis, a second one by colour."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log10
from statistics import fmean
from typing import TYPE_CHECKING, Any

from lineage.report import canvas
from lineage.report.headline import STAND_IN
from lineage.report.sweep import Result, Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = len(canvas.STYLES)
"""More values than these of a second key are no lines that could be told apart."""
MOST_PANELS = 6
"""Of two keys each, and of one key each."""
WIDE = 20
"""Times that the largest value of a key is its smallest, from which on a step is a factor."""
DODGE, ROOM = 0.012, 0.08
"""Of what an axis spans: between two lines at one value, and beside the first and the last."""
PLOT = (3.2, 2.4)
LETTER, GAP = 0.075, 0.08
"""Inches that a letter of a value takes, and between two values."""
LONGEST_VALUE = 11
"""Characters of a value that are drawn: more of the last one would reach into the next panel."""


@dataclass(frozen=True)
class Scale:
    """Where the values of a key stand along an axis: by size where all are numbers, else in turn.

    `factor`: by size as a factor, which the name of the axis says.
    """

    places: dict[str, float]
    names: dict[str, str]
    factor: bool = False

    def of(self, value: Any) -> float:
        """Return the place of a value."""
        return self.places[json.dumps(value)]

    @property
    def width(self) -> float:
        """From the first place to the last; 1 where there is one."""
        return (max(self.places.values()) - min(self.places.values())) or 1.0


def sweep_scores(sweep: Sweep) -> Figure | None:
    """Return each measure against the first key that varies, a value of the second a line.

    Lines that do not run alike are an interaction of the two. Where more keys vary, or there are
    too few points to a line, the headline against each key, all points of a value above each other.
    None where no point has a figure.
    """
    shown, varied = _shown(sweep), _varied(sweep)
    if not shown or not varied:
        return None
    lines = _lines(shown, varied)
    if lines is None:
        few = varied[:MOST_PANELS]
        figure, axes = canvas.canvas(
            _question(sweep, few), [canvas.cut(key) for key in few], plot=PLOT
        )
        for axis, key in zip(axes, few, strict=True):
            _panel(axis, sweep, key, sweep.headline, {"": shown}, joined=False)
        return figure
    kind = sweep.headline.partition(" ")[0]
    names = dict.fromkeys(name for one in shown for name in one.measures)
    measures = [name for name in names if name.startswith(f"{kind} ")]
    figure, axes = canvas.canvas(
        _question(sweep, varied), [canvas.cut(name) for name in measures], plot=PLOT
    )
    for axis, measure in zip(axes, measures, strict=True):
        _panel(axis, sweep, varied[0], measure, lines, joined=True)
    # One scale for all, so that panels can be read against each other.
    low, high = min(a.get_ylim()[0] for a in axes), max(a.get_ylim()[1] for a in axes)
    for axis in axes:
        axis.set_ylim(low, high)
        if len(lines) > 1:
            canvas.key(axis)
    return figure


def sweep_interactions(sweep: Sweep) -> Figure | None:
    """Return the headline by every two of the keys: means over the points that have both values.

    None where fewer than three keys vary: then `sweep_scores` shows it, with intervals.
    """
    shown, varied = _shown(sweep), _varied(sweep)
    if len(varied) < 3:
        return None
    twos = [
        two
        for two in combinations(varied, 2)
        if 1 < len({json.dumps(one.values[two[1]]) for one in shown}) <= MOST_LINES
    ][:MOST_PANELS]
    if not twos:
        return None
    titles = [f"{canvas.cut(a)} and {canvas.cut(b)}" for a, b in twos]
    asked = f"Do two keys act together in {sweep.headline}?"
    figure, axes = canvas.canvas(asked, titles, plot=PLOT)
    for axis, (along, by) in zip(axes, twos, strict=True):
        scale = _scale([one.values[along] for one in shown])
        for number, (name, points) in enumerate(_by(shown, by).items()):
            found: dict[float, list[float]] = {}
            for one in points:
                known = found.setdefault(scale.of(one.values[along]), [])
                known.append(one.mean(sweep.headline) or 0.0)
            places = sorted(found)
            means = [fmean(found[place]) for place in places]
            axis.plot(places, means, label=name, **canvas.style(number))
        _finish(axis, scale, along, sweep.headline)
        axis.set_ylabel("mean of the points", fontsize=9)
        canvas.key(axis)
    return figure


def _shown(sweep: Sweep) -> list[Result]:
    """Return the points with a figure, in the order of the sweep."""
    return [one for one in sweep.finished if one.mean(sweep.headline) is not None]


def _question(sweep: Sweep, keys: Sequence[str]) -> str:
    what = " and ".join(canvas.cut(key) for key in keys[:2]) if len(keys) < 3 else "each key"
    asked = f"what {'do' if len(keys) == 2 else 'does'} {what} change?"
    if sweep.engine == STAND_IN:
        return f"Stand-in, no language model: {asked}"
    return f"W{asked[1:]}"


def _varied(sweep: Sweep) -> list[str]:
    """Return the keys that have several values among the points with a figure, in order.

    All keys where none has: a single point is shown too.
    """
    shown = _shown(sweep)
    several = [
        key for key in sweep.keys if len({json.dumps(one.values.get(key)) for one in shown}) > 1
    ]
    return several or list(sweep.keys[:1])


def _lines(shown: Sequence[Result], varied: Sequence[str]) -> dict[str, list[Result]] | None:
    """Return the points by the value of the second key; None where they make no lines."""
    if len(varied) == 1:
        return {"": list(shown)}
    if len(varied) > 2:
        return None
    found = _by(shown, varied[1])
    joined = len(found) <= MOST_LINES and 2 * len(found) <= len(shown)
    return found if joined else None


def _by(shown: Sequence[Result], key: str) -> dict[str, list[Result]]:
    """Return the points by their value of `key`, as it is named, in the order of the values."""
    scale = _scale([one.values[key] for one in shown])
    found: dict[str, list[Result]] = {}
    for one in sorted(shown, key=lambda one: scale.of(one.values[key])):
        found.setdefault(canvas.cut(f"{key.rpartition('.')[2]}={one.values[key]}"), []).append(one)
    return found


def _scale(values: Sequence[Any]) -> Scale:
    known = {json.dumps(value): value for value in values}
    numbers = {
        text: float(value)
        for text, value in known.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    names = {text: _shortened(str(value)) for text, value in known.items()}
    if len(numbers) < len(known):
        return Scale({text: float(place) for place, text in enumerate(known)}, names)
    least, most = min(numbers.values()), max(numbers.values())
    if least > 0 and most / least >= WIDE:
        return Scale({text: log10(value) for text, value in numbers.items()}, names, factor=True)
    return Scale(numbers, names)


def _panel(
    axis: Axes,
    sweep: Sweep,
    key: str,
    measure: str,
    lines: dict[str, list[Result]],
    joined: bool,
) -> None:
    scale = _scale([one.values[key] for points in lines.values() for one in points])
    best = sweep.ranked[0]
    for number, (name, points) in enumerate(lines.items()):
        shift = (number - (len(lines) - 1) / 2) * DODGE * scale.width
        known = sorted(
            (one for one in points if one.mean(measure) is not None),
            key=lambda one: scale.of(one.values[key]),
        )
        x = [scale.of(one.values[key]) + shift for one in known]
        if not joined:
            x = _beside(x, DODGE * scale.width)
        y = [one.mean(measure) or 0.0 for one in known]
        style = canvas.style(number) | ({} if joined else {"linestyle": "none"})
        axis.plot(x, y, label=name or None, **style)
        for place, mean, one in zip(x, y, known, strict=True):
            low, high = (one.measures[measure][side] for side in ("low", "high"))
            if low is not None and high is not None:
                axis.vlines([place], [low], [high], color=style["color"], linewidth=1.2)
            if one is best and measure == sweep.headline:
                ring: dict[str, Any] = {"markerfacecolor": "none", "color": canvas.INK}
                axis.plot([place], [mean], marker="o", markersize=11, **ring)
    _finish(axis, scale, key, measure)


def _beside(places: Sequence[float], apart: float) -> list[float]:
    """Return `places` with those that are the same next to each other, so much `apart`."""
    met: Counter[float] = Counter()
    found = []
    for place in places:
        found.append(place + (met[place] - (places.count(place) - 1) / 2) * apart)
        met[place] += 1
    return found


def _apart(name: str, other: str) -> float:
    return LETTER * (len(name) + len(other)) / 2 + GAP


def _shortened(value: str) -> str:
    """Return `value`, or its beginning and its end: values of a key often begin alike."""
    side = LONGEST_VALUE // 2
    return canvas.cut(value if len(value) <= LONGEST_VALUE else f"{value[:side]}…{value[-side:]}")


def _finish(axis: Axes, scale: Scale, key: str, measure: str) -> None:
    """Name the axes, and those values whose names do not touch."""
    first, last = min(scale.places.values()), max(scale.places.values())
    room = ROOM * scale.width
    unit = (last - first + 2 * room) / PLOT[0]
    named: list[tuple[float, str]] = []
    for text, place in sorted(scale.places.items(), key=lambda item: item[1]):
        name = scale.names[text]
        if not named or place - named[-1][0] >= unit * _apart(name, named[-1][1]):
            named.append((place, name))
    axis.set_xticks([place for place, _ in named], [name for _, name in named])
    axis.set_xlim(first - room, last + room)
    axis.set_xlabel(f"{canvas.cut(key)}{' (as a factor)' if scale.factor else ''}", fontsize=9)
    axis.set_ylabel(canvas.cut(measure), fontsize=9)
    if measure.startswith("gain"):
        axis.axhline(0, color="0.6", linewidth=0.8, zorder=0)
