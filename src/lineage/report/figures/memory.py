"""How an inheritance grows, and how much of it a generation leaves as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import duckdb

from lineage.log.views.connect import rows
from lineage.log.views.sql import CONTENT
from lineage.report import canvas
from lineage.report.lookup import cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROWTH = "How large is what is inherited?"
TURNOVER = "How much of the {what} does a generation leave as it was?"
PARTS = ("kept", "revised", "added", "dropped")
"""Of a generation's entries; the last are gone, and drawn below zero."""
ROOM = 0.6
"""Generations beside the first and the last."""
Entries = Literal["memories", "docs"]
TEXTS = {"memories": "e.text", "docs": "e.title || chr(10) || e.body"}
FIELDS = {"memories": ("id", "text"), "docs": ("id", "title", "body")}
TURNOVER_SQL = """\
WITH began AS (
  SELECT lineage, arg_min(knowledge_before, step_id) AS first FROM steps
  WHERE kind = 'act' AND generation = (SELECT min(generation) FROM steps) GROUP BY ALL),
ends AS (
  SELECT s.arm, s.lineage, s.generation, s.knowledge_after AS left_now, coalesce(
    lag(s.knowledge_after) OVER (PARTITION BY s.lineage ORDER BY s.generation), b.first
  ) AS found_here
  FROM steps s LEFT JOIN began b USING (lineage) WHERE s.phase = 'reward'),
entries AS (
  SELECT knowledge, e.id AS id, {text} AS text FROM (
    SELECT knowledge, unnest(from_json({content}->'$.{entries}', '[{{{fields}}}]')) AS e
    FROM snapshots)),
after AS (SELECT n.*, e.id, e.text FROM ends n JOIN entries e ON n.left_now = e.knowledge),
before AS (SELECT n.*, e.id, e.text FROM ends n JOIN entries e ON n.found_here = e.knowledge),
counts AS (
  SELECT lineage, generation,
    count(*) FILTER (a.text = b.text) AS kept, count(*) FILTER (a.text <> b.text) AS revised,
    count(*) FILTER (b.id IS NULL) AS added, count(*) FILTER (a.id IS NULL) AS dropped
  FROM after a FULL JOIN before b USING (lineage, generation, id) GROUP BY ALL)
SELECT n.arm, n.generation, {parts}, count(*) AS lineages
FROM ends n LEFT JOIN counts c USING (lineage, generation) GROUP BY ALL ORDER BY ALL
"""


def memory_growth(summary: dict[str, Any]) -> Figure | None:
    """Return the tokens of the inherited memories by generation, an arm a line.

    `summary` is `metrics.json` (`memory_size`). None where no arm has memories.
    """
    points: dict[str, list[tuple[int, float]]] = {}
    sizes = cells(summary, "memory_size", "arm", "generation", measure="tokens")
    for (arm, generation), row in sizes.items():
        points.setdefault(arm, []).append((generation, row["mean"]))
    held = {arm: found for arm, found in points.items() if any(tokens for _, tokens in found)}
    if not held:
        return None
    figure, (axis,) = canvas.canvas(GROWTH, [""], plot=(3.6, 2.4))
    for number, arm in enumerate(summary["arms"]):
        if arm in held:
            x, y = zip(*sorted(held[arm]), strict=True)
            axis.plot(x, y, label=canvas.cut(arm), **canvas.style(number))
    highest = max(tokens for found in held.values() for _, tokens in found)
    axis.set_ylim(0, 1.05 * highest)
    canvas.key(axis)
    axis.set_ylabel("tokens of the memories", fontsize=9)
    generations = sorted({g for found in held.values() for g, _ in found})
    canvas.along(axis, generations, "generation", ROOM)
    return figure


def memory_turnover(
    connection: duckdb.DuckDBPyConnection, arms: Sequence[str], entries: Entries = "memories"
) -> Figure | None:
    """Return, by generation and arm, how many entries were kept, revised, added and dropped.

    Against what the generation found; means over the lineages of an arm. `connection` has the
    views of one run (`views.connect`). None where no arm of `arms` ever had such an entry.
    """
    found = rows(connection, turnover_sql(entries))
    by_arm = {arm: [row for row in found if row["arm"] == arm] for arm in arms}
    held = {
        arm: its for arm, its in by_arm.items() if any(row[part] for row in its for part in PARTS)
    }
    if not held:
        return None
    question = TURNOVER.format(what=entries)
    figure, axes = canvas.canvas(question, [canvas.cut(arm) for arm in held], plot=(2.8, 2.2))
    highest = max(sum(row[p] for p in PARTS[:-1]) for its in held.values() for row in its)
    lowest = max(row[PARTS[-1]] for its in held.values() for row in its)
    for axis, its in zip(axes, held.values(), strict=True):
        generations = [row["generation"] for row in its]
        signed = {part: -1 if part == PARTS[-1] else 1 for part in PARTS}
        stacks = {part: [sign * row[part] for row in its] for part, sign in signed.items()}
        canvas.stack(axis, generations, stacks)
        axis.set_ylim(-lowest * 1.1, highest or 1)
        axis.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axis.axhline(0, color=canvas.INK, linewidth=0.8)
        axis.set_ylabel(f"{entries}, mean of lineages", fontsize=9)
        canvas.along(axis, generations, "generation", ROOM)
        canvas.key(axis)
    return figure


def turnover_sql(entries: Entries) -> str:
    """Return the query behind `memory_turnover`: a row an arm and generation."""
    return TURNOVER_SQL.format(
        text=TEXTS[entries],
        entries=entries,
        content=CONTENT,
        fields=", ".join(f'"{field}": "VARCHAR"' for field in FIELDS[entries]),
        parts=", ".join(f"sum(coalesce(c.{part}, 0)) / count(*) AS {part}" for part in PARTS),
    )
