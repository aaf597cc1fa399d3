"""The lineages of one pair as a tree: versions, and the Knowledge that each generation leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from lineage.log.views.connect import rows
from lineage.report import canvas
from lineage.report.sheet import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUESTION = "Who hands what to whom?"
STEP = (0.95, 0.62)
"""Inches between two generations, and between two arms."""
NODE = 15
"""Points across a node."""
MOST_GENERATIONS = 40
"""The first so many generations are drawn."""
FINGER = 34
"""Points across what can be touched of a node that is a link."""
HEX = 6
"""Digits of a Knowledge id that are drawn."""
KEY = "a node: a generation, and below it the memories (m), docs (d)\nand id of the Knowledge \
that it left; filled where that is new"
ROOT = -1
"""Where the root stands: before generation 0."""
GENERATIONS_SQL = """\
SELECT arm, lineage, generation, version, coalesce(knowledge, '') AS knowledge,
       coalesce(memories, 0) AS memories, coalesce(docs, 0) AS docs
FROM generations WHERE pair = ? AND generation < ? ORDER BY arm, generation
"""


@dataclass(frozen=True)
class Node:
    """A generation; `knowledge` is what it left, "" where its arm hands no Knowledge over."""

    arm: str
    lineage: str
    generation: int
    version: str
    knowledge: str
    memories: int
    docs: int


def lineage_tree(
    connection: duckdb.DuckDBPyConnection,
    arms: list[str],
    pair: int = 0,
    links: Mapping[tuple[str, int], str] | None = None,
) -> Figure | None:
    """Return the tree of the lineages of `pair`: a row an arm, a node a generation.

    A node's form and colour is its version. Filled: it left other Knowledge than it found;
    hollow: the same, or none. `links` gives the address of a node by lineage and generation. No
    more than `MOST_GENERATIONS` are drawn. None where the pair has no finished generation.
    """
    drawn = rows(connection, GENERATIONS_SQL, [pair, MOST_GENERATIONS])
    found = [Node(**row) for row in drawn]
    by_arm = {arm: [node for node in found if node.arm == arm] for arm in arms}
    held = {arm: nodes for arm, nodes in by_arm.items() if nodes}
    if not held:
        return None
    last = max(node.generation for nodes in held.values() for node in nodes)
    longest = max(len(canvas.cut(arm)) for arm in held)
    versions = list(dict.fromkeys(n.version for n in sorted(found, key=lambda n: n.generation)))
    figure, (axis,) = canvas.canvas(
        QUESTION,
        [""],
        plot=(STEP[0] * (last + 2), STEP[1] * len(held)),
        margin=canvas.Margin(left=0.3 + 0.085 * longest, bottom=0.55, top=0.35),
    )
    middle = (len(held) - 1) / 2
    for row, nodes in enumerate(held.values()):
        _branch(axis, row, nodes, middle, versions, links or {})
    axis.plot(ROOT, middle, "o", color=canvas.INK, markersize=NODE / 2, zorder=4)
    axis.text(ROOT, middle + 0.3, "start", ha="center", va="center", fontsize=8, color=canvas.INK)
    axis.set_xlim(ROOT - 0.35, last + 0.65)
    axis.set_ylim(len(held) - 0.4, -0.45)
    axis.set_yticks(range(len(held)), [canvas.cut(arm) for arm in held])
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel(KEY, fontsize=8)
    _key(axis, versions)
    return figure


def _branch(
    axis: Axes,
    row: int,
    nodes: list[Node],
    middle: float,
    versions: list[str],
    links: Mapping[tuple[str, int], str],
) -> None:
    first = nodes[0].generation
    # Down from the root, then along: no two branches cross.
    stem: dict[str, Any] = {"color": "0.55", "linewidth": 1.2, "zorder": 1}
    dotted: dict[str, Any] = {} if any(node.knowledge for node in nodes) else {"linestyle": ":"}
    bend = ROOT + 0.45
    axis.plot([ROOT, bend, bend, first], [middle, middle, row, row], **stem, **dotted)
    axis.plot([first, nodes[-1].generation], [row, row], **stem, **dotted)
    before = ""
    for node in nodes:
        color, _, marker = canvas.STYLES[versions.index(node.version) % len(canvas.STYLES)]
        changed = bool(node.memories or node.docs) and node.knowledge != before
        url = links.get((node.lineage, node.generation))
        if url:
            # Nothing to see, but a place that a finger meets.
            unseen: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": "none"}
            axis.plot(node.generation, row, "s", markersize=FINGER, url=url, **unseen)
        axis.plot(
            node.generation,
            row,
            marker=marker,
            linestyle="none",
            markersize=NODE,
            color=color,
            markerfacecolor=color if changed else "white",
            markeredgewidth=1.8,
            zorder=3,
            url=url,
        )
        axis.text(
            node.generation, row, str(node.generation), zorder=4, url=url,
            ha="center", va="center_baseline", fontsize=8, color="white" if changed else canvas.INK,
        )  # fmt: skip
        if node.knowledge:
            holds = f"{node.memories} m" + (f", {node.docs} d" if node.docs else "")
            said = f"{holds}\n{node.knowledge[:HEX]}"
            axis.text(
                node.generation, row + 0.23, said,
                ha="center", va="top", fontsize=7.5, color=canvas.INK, linespacing=1.05, url=url,
            )  # fmt: skip
        before = node.knowledge or before


def _key(axis: Axes, versions: list[str]) -> None:
    """Name the versions' marks above the tree."""
    names = short(versions)
    for number, name in enumerate(names):
        color, _, marker = canvas.STYLES[number % len(canvas.STYLES)]
        mark: dict[str, Any] = {"color": color, "marker": marker, "linestyle": "none"}
        axis.plot([], [], label=canvas.cut(name), markersize=8, **mark)
    axis.legend(
        fontsize=8,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=min(len(names), 4),
        borderaxespad=0,
        handletextpad=0.3,
        columnspacing=1.2,
    )
