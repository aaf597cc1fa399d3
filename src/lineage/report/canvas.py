"""What all pictures share: styles that differ in grey too, panels of equal size, bytes.

Matplotlib is imported where it is used: a run that draws nothing does not wait for it. pyplot is
never used, so that no picture is held after its caller is done with it.
"""

from __future__ import annotations

import html
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette without its yellow, which white swallows; black, grey and brown make nine.
STYLES: tuple[tuple[str, Any, str], ...] = (
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
"""Colour, dashes and marker. From the tenth thing on they come again."""
HATCHES = ("", "///", "--", "\\\\\\", "xx", "||", "++")
"""Of bars, so that they differ in grey too. Dots would make an SVG ten times as large."""
INK = "#222222"
HEAD = 0.3
"""Inches above all panels: the question."""
KEY_ROW, KEY_MARK, KEY_LETTER = 0.17, 0.45, 0.07
"""Inches that a row of a panel's key takes, and a mark and a letter in it."""
LONGEST_NAME = 22
"""Characters of a name that are drawn."""
MOST_TICKS = 9
DPI = 150
UNDATED = dict.fromkeys(("Date", "Creator", "Format", "Type"))
"""What an SVG says of itself: nothing, so that the same figure gives the same bytes."""
POINTS = 72
"""To the inch; an SVG's units."""


@dataclass(frozen=True)
class Margin:
    """Inches between the plot of a panel and the edges of its cell."""

    left: float = 0.8
    right: float = 0.2
    bottom: float = 0.7
    top: float = 0.35


def use_cache(cache: Path) -> None:
    """Let matplotlib keep its own files below `cache`; only before it is first imported.

    Where the environment names a folder for them already, they are kept there.
    """
    os.environ.setdefault("MPLCONFIGDIR", str(cache.absolute() / "matplotlib"))


def canvas(
    question: str,
    titles: Sequence[str],
    *,
    columns: int = 3,
    plot: tuple[float, float] = (3.2, 2.4),
    margin: Margin | None = None,
) -> tuple[Figure, list[Axes]]:
    """Return a figure under `question` with a panel a title; `plot` is a panel's size in inches.

    Panels are cells of one grid, each with its own axes and labels, so that a page can lay them
    out anew (see `panels_svg`).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    edge = margin or Margin()
    across = min(columns, len(titles))
    down = ceil(len(titles) / across)
    width, height = edge.left + plot[0] + edge.right, edge.top + plot[1] + edge.bottom
    whole = (across * width, HEAD + down * height)
    figure = Figure(figsize=whole, facecolor="none")
    FigureCanvasAgg(figure)
    corner = {"x": 0.1 / whole[0], "y": 1 - 0.1 / whole[1], "ha": "left", "va": "top"}
    figure.suptitle(question, fontsize=12, color=INK, **corner)
    axes = []
    for number, title in enumerate(titles):
        row, column = divmod(number, across)
        left = column * width + edge.left
        bottom = whole[1] - HEAD - (row + 1) * height + edge.bottom
        box = (left / whole[0], bottom / whole[1], plot[0] / whole[0], plot[1] / whole[1])
        axis = figure.add_axes(box, facecolor="none")
        # Where it would go anyway: without `y` matplotlib measures all labels to find that out.
        axis.set_title(title, fontsize=10, loc="left", color=INK, y=1.0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=9)
        axes.append(axis)
    return figure, axes


def picture_bytes(figure: Figure, kind: str) -> bytes:
    """Return `figure` as `kind` ("png" or "svg") with its question, on white.

    The same figure gives the same bytes.
    """
    import matplotlib as mpl

    buffer = io.BytesIO()
    fixed: dict[str, Any] = {"svg.hashsalt": "lineage", "svg.fonttype": "path"}
    with mpl.rc_context(fixed):
        figure.savefig(
            buffer,
            format=kind,
            dpi=DPI,
            facecolor="white",
            metadata=UNDATED if kind == "svg" else {"Software": None},
        )
    return buffer.getvalue()


def panels_svg(figure: Figure, name: str, label: str, whole: bool = False) -> tuple[str, ...]:
    """Return `figure` as SVG elements for a page, a panel each (or all in one, where `whole`).

    The question is left to the page. `name` keeps the ids of several pictures apart; the first
    element holds the drawing, the others show another part of it. Text stays text. `label` is
    what a screen reader says.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", facecolor="none", metadata=UNDATED)
    text = buffer.getvalue()
    drawing = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    # Groups are named alike in every picture, and nothing asks for them by name.
    drawing = re.sub(r'<g id="[^"]*"', "<g", re.sub(r"<!--.*?-->\s*", "", drawing))
    # A link leads to another place of the page, not to another window.
    drawing = drawing.replace(' target="_blank"', "")
    shown = []
    for number, (x, y, width, height) in enumerate(_cells(figure, whole)):
        content = f'<use href="#{name}"/>' if number else f'<g id="{name}">{drawing}</g>'
        what = html.escape(label if not number else f"{label} ({number + 1})")
        role = "" if whole else ' role="img"'
        shown.append(
            f'<svg{role} aria-label="{what}" '
            f'viewBox="{x:g} {y:g} {width:g} {height:g}" '
            f'style="--width: {width / POINTS:.2f}">{content}</svg>'
        )
    return tuple(shown)


def _cells(figure: Figure, whole: bool) -> list[tuple[float, float, float, float]]:
    """Return where the panels are, in the units of an SVG: left, top, width, height."""
    width, height = (float(size) * POINTS for size in figure.get_size_inches())
    head = HEAD * POINTS
    if whole:
        return [(0, head, width, height - head)]
    corners = [(round(a.get_position().x0, 6), round(a.get_position().y0, 6)) for a in figure.axes]
    lefts = sorted({x for x, _ in corners})
    tops = sorted({y for _, y in corners}, reverse=True)
    across, down = width / len(lefts), (height - head) / len(tops)
    return [
        (lefts.index(x) * across, head + tops.index(y) * down, across, down) for x, y in corners
    ]


def style(number: int) -> dict[str, Any]:
    """Return the keywords of line `number`: an arm's is its place among those of the run."""
    color, dashes, marker = STYLES[number % len(STYLES)]
    return {"color": color, "linestyle": dashes, "marker": marker, "markersize": 5}


def bar_style(number: int) -> dict[str, Any]:
    """Return the keywords of the bars that are number `number` of a stack."""
    color = STYLES[number % len(STYLES)][0]
    hatch = HATCHES[number % len(HATCHES)]
    return {"color": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0.5}


def stack(
    axis: Axes,
    places: Sequence[float],
    parts: Mapping[str, Sequence[float]],
    names: Sequence[str] = (),
) -> list[float]:
    """Draw `parts` as stacked bars at `places`: what adds above zero, what takes away below it.

    The style of a part is that of its place in `names` (else in `parts`). Return how high the
    stacks are.
    """
    above, below = [0.0] * len(places), [0.0] * len(places)
    order = list(names or parts)
    for name, values in parts.items():
        bottom = [a if v >= 0 else b for v, a, b in zip(values, above, below, strict=True)]
        axis.bar(places, values, bottom=bottom, label=name, **bar_style(order.index(name)))
        above = [a + max(v, 0.0) for a, v in zip(above, values, strict=True)]
        below = [b + min(v, 0.0) for b, v in zip(below, values, strict=True)]
    return above


def band(
    axis: Axes, points: Iterable[tuple[float, float | None, float | None]], color: str
) -> None:
    """Draw the intervals (x, low, high) round a line, where there are any.

    Round a single point, which has no width, as a stroke.
    """
    held = [point for point in points if point[1] is not None]
    if not held:
        return
    places, lows, highs = zip(*held, strict=True)
    if len(held) == 1:
        axis.vlines(places, lows, highs, color=color, linewidth=1.2)
    else:
        axis.fill_between(places, lows, highs, color=color, alpha=0.15, linewidth=0)


def along(axis: Axes, places: Sequence[int], name: str, room: float) -> None:
    """Let the x axis be that of `places`, generations or steps in order, with `room` beside."""
    axis.set_xticks([places[place] for place in ticks(len(places))])
    axis.set_xlim(places[0] - room, places[-1] + room)
    axis.set_xlabel(name, fontsize=9)


def key(axis: Axes) -> None:
    """Name what is drawn in `axis`, in room of its own above it: no line runs through a name."""
    names = axis.get_legend_handles_labels()[1]
    if not names:
        return
    figure: Any = axis.get_figure()
    box = axis.get_position()
    width, height = (box.width, box.height) * figure.get_size_inches()
    letters = sum(map(len, names)) / len(names)
    columns = max(1, int(width / (KEY_MARK + KEY_LETTER * letters)))
    share = (ceil(len(names) / columns) + 0.5) * KEY_ROW / height
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + (high - low) * share / (1 - share))
    axis.legend(
        fontsize=8, frameon=False, loc="upper left", ncols=columns,
        columnspacing=1, handlelength=1.8, borderaxespad=0.1, labelspacing=0.3,
    )  # fmt: skip


def cut(name: str) -> str:
    """Return `name` no longer than can be drawn, its signs of mathematics taken as they are."""
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return short.replace("$", r"\$")


def ticks(count: int) -> list[int]:
    """Return which of `count` places are named on an axis, so that names do not touch."""
    return list(range(0, count, ceil(count / MOST_TICKS)))


def spread(values: Sequence[float], least: float, top: float) -> list[float]:
    """Return where labels at `values` go, in the same order: `least` apart, none above `top`."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    places = list(values)
    for below, above in pairwise(order):
        places[above] = max(places[above], places[below] + least)
    # Pushed past the top, they are pushed back down.
    for number in reversed(order):
        places[number] = min(places[number], top)
        top = places[number] - least
    return places
