"""The lineages of a report: a tree a pair, and below it what each generation left and did.

Every generation of the tree is a link to its section, which CSS shows when it is the target of
the address: nothing runs. Knowledge comes first; episodes get the room that is left.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import duckdb

from lineage.log.views.connect import rows
from lineage.report.figures import lineage_tree, panels_svg
from lineage.report.figures.tree import MOST_GENERATIONS
from lineage.report.lookup import totals
from lineage.report.page import text

SAMPLES = 2
"""Working episodes, and as many probes, shown of each generation."""
LONGEST = 6000
"""Characters of a prompt, a completion or a doc that are shown."""
MOST_EDITS = 40
"""Edits of a generation that are shown."""
ROOM = 1_600_000
"""Characters of generations that are shown, so that a phone can open the page."""
EPISODES_ROOM = 0.4
"""The part of it that is kept for episodes."""
GENERATIONS_SQL = """\
SELECT g.pair, g.lineage, g.generation, g.version, coalesce(a.episodes, 0) AS episodes,
       g.memory_tokens, g.reward, k.content
FROM generations g LEFT JOIN snapshots k USING (folder, knowledge)
LEFT JOIN (SELECT lineage, generation, count(*) AS episodes FROM steps
           WHERE kind IN ('act', 'probe') GROUP BY ALL) a USING (lineage, generation)
WHERE g.pair IN ({pairs}) AND g.generation < {most} ORDER BY g.pair, g.arm, g.generation
"""
EDITS_SQL = """\
SELECT lineage, generation, detail, entry, completion[:{longest}] AS completion,
       length(completion) AS completion_length,
       count(*) OVER (PARTITION BY lineage, generation) AS edits
FROM steps WHERE kind = 'edit' AND pair IN ({pairs}) AND generation < {most}
QUALIFY row_number() OVER (PARTITION BY lineage, generation ORDER BY step_id) <= {most_edits}
ORDER BY step_id
"""
SAMPLES_SQL = """\
WITH shown AS (
  SELECT lineage, generation, episode FROM steps
  WHERE kind IN ('act', 'probe') AND pair IN ({pairs}) AND generation < {most}
  QUALIFY row_number() OVER (PARTITION BY lineage, generation, kind ORDER BY step_id) <= {samples})
SELECT lineage, generation, episode, kind, family, detail, answer, score, error,
       prompt[:{longest}] AS prompt, length(prompt) AS prompt_length,
       completion[:{longest}] AS completion, length(completion) AS completion_length
FROM steps JOIN shown USING (lineage, generation, episode)
WHERE phase IN ('work', 'probe') AND pair IN ({pairs}) ORDER BY step_id
"""
Row = dict[str, Any]
Key = tuple[str, int]


@dataclass
class Story:
    """What is told of one generation: its row, and what of it found room."""

    row: Row
    id: str
    told: str
    episodes: list[list[Row]]
    shown: list[str] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """Its lineage and generation."""
        return self.row["lineage"], self.row["generation"]


def tell(connection: duckdb.DuckDBPyConnection, summary: dict[str, Any], most_pairs: int) -> str:
    """Return the lineages of the first `most_pairs` pairs as HTML, in bounded room."""
    found = connection.execute("SELECT DISTINCT pair FROM steps ORDER BY pair").fetchall()
    pairs = [int(pair) for (pair,) in found][:most_pairs]
    stories, all_generations = _stories(connection, pairs)
    trees = "".join(_pair(connection, summary["arms"], pair, stories) for pair in pairs)
    of_episodes = sum(story.row["episodes"] for story in stories)
    shown = sum(len(story.shown) for story in stories)
    return (
        f"<p>Choose a generation in a tree to read what it left and did. Shown: {len(stories)} of "
        f"{all_generations} generations of the first {len(pairs)} of {totals(summary)['pairs']} "
        f"pairs, with {shown} of their {of_episodes} episodes. The rest is in the step log. "
        '<a href="#all">Show all of them</a>, to search or to print.</p>'
        f'<div id="all">{trees}</div>'
    )


def _pair(
    connection: duckdb.DuckDBPyConnection, arms: list[str], pair: int, stories: list[Story]
) -> str:
    mine = [story for story in stories if story.row["pair"] == pair]
    links = {story.key: f"#{story.id}" for story in mine}
    tree = lineage_tree(connection, arms, pair, links)
    if tree is None:
        return ""
    (drawing,) = panels_svg(tree, f"tree{pair}", f"the lineages of pair {pair}", whole=True)
    ids = {story.key: story.id for story in mine}
    sections = "".join(_section(story, ids, f"pair{pair}") for story in mine)
    return f'<h3 id="pair{pair}">Pair {pair}</h3><div class="scroll">{drawing}</div>{sections}'


def _stories(connection: duckdb.DuckDBPyConnection, pairs: list[int]) -> tuple[list[Story], int]:
    """Return what finds room, and how many generations there are."""
    names = ", ".join(map(str, pairs))
    bounds = {
        "pairs": names,
        "most": MOST_GENERATIONS,
        "most_edits": MOST_EDITS,
        "samples": SAMPLES,
        "longest": LONGEST,
    }
    ends = rows(connection, GENERATIONS_SQL.format(**bounds))
    edits: dict[Key, list[Row]] = {}
    for row in rows(connection, EDITS_SQL.format(**bounds)):
        edits.setdefault((row["lineage"], row["generation"]), []).append(row)
    episodes: dict[Key, dict[str, list[Row]]] = {}
    for row in rows(connection, SAMPLES_SQL.format(**bounds)):
        of = episodes.setdefault((row["lineage"], row["generation"]), {})
        of.setdefault(row["episode"], []).append(row)
    room = ROOM * (1 - EPISODES_ROOM)
    stories: list[Story] = []
    for number, row in enumerate(ends):
        key = row["lineage"], row["generation"]
        told = _knowledge(row) + _edits(edits.get(key, []))
        if len(told) > room:
            continue
        room -= len(told)
        stories.append(Story(row, f"g{number}", told, list(episodes.get(key, {}).values())))
    room += ROOM * EPISODES_ROOM
    # The first episode of each generation before the second of any.
    for number in range(2 * SAMPLES):
        for story in stories:
            if number < len(story.episodes):
                part = _episode(story.episodes[number])
                if len(part) <= room:
                    room -= len(part)
                    story.shown.append(part)
    (count,) = rows(connection, f"SELECT count(*) AS n FROM generations WHERE pair IN ({names})")
    return stories, count["n"]


def _section(story: Story, ids: dict[Key, str], tree: str) -> str:
    row = story.row
    lineage, generation = story.key
    title = f"{lineage}, generation {generation} ({row['version']})"
    ways = [f'<a href="#{tree}">↑ the tree</a>']
    for other, arrow in ((generation - 1, "← generation {}"), (generation + 1, "generation {} →")):
        if (lineage, other) in ids:
            ways.append(f'<a href="#{ids[lineage, other]}">{arrow.format(other)}</a>')
    return (
        f'<section class="generation" id="{story.id}"><h3>{text(title)}</h3>'
        f"<nav>{' '.join(ways)}</nav>{story.told}"
        f"<h4>Episodes ({len(story.shown)} of {row['episodes']})</h4>{''.join(story.shown)}"
        "</section>"
    )


def _knowledge(row: Row) -> str:
    if row["content"] is None:
        return "<p>It hands no Knowledge over.</p>"
    content = json.loads(row["content"])
    memories, docs = content["memories"], content["docs"]
    told = f"{len(memories)} memories, {row['memory_tokens']} tokens, {len(docs)} docs"
    # A handoff whose every probe failed has parts but may have no reward.
    if row["reward"] is not None:
        told += f", reward {row['reward']:.2f}"
    noted = "".join(
        f"<li><code>{text(m['id'])}</code> {cut(m['text'])} {_provenance(m)}</li>" for m in memories
    )
    filed = "".join(
        f"<details><summary><code>{text(d['id'])}</code> {text(d['title'])} {_provenance(d)}"
        f"</summary><pre>{cut(d['body'])}</pre></details>"
        for d in docs
    )
    return (
        f"<p>It left {told}.</p>"
        + (f'<h4>Memories</h4><ul class="entries">{noted}</ul>' if noted else "")
        + (f"<h4>Docs</h4>{filed}" if filed else "")
    )


def _provenance(entry: dict[str, Any]) -> str:
    edited = entry["edited"]
    return f"<small>{text(edited['version'])}, generation {text(edited['generation'])}</small>"


def _edits(edits: list[Row]) -> str:
    if not edits:
        return ""
    made = "".join(
        f"<li><code>{text(edit['entry'])}</code> <b>{text(edit['detail'])}</b> "
        f"{_shown(edit, 'completion')}</li>"
        for edit in edits
    )
    left = edits[0]["edits"] - len(edits)
    more = f"<p><small>… {left} more edits</small></p>" if left > 0 else ""
    return (
        f"<h4>Edits ({edits[0]['edits']})</h4>"
        "<details><summary>each edit, and what came of it</summary>"
        f'<ul class="entries">{made}</ul>{more}</details>'
    )


def _episode(steps: list[Row]) -> str:
    """Return an episode: what was asked and answered, and the steps that led there."""
    acted = next((step for step in steps if step["kind"] in ("act", "probe")), steps[-1])
    what = f"{acted['kind']} {acted['family']}".strip()
    score = "no score" if acted["score"] is None else f"score {acted['score']:.2f}"
    head = f"{what} {acted['episode']}: {score}, right answer {acted['answer']}"
    if acted["error"]:
        head += ", failed"
    body = ""
    for step in steps:
        body += f"<h5>{text(step['kind'])} {cut(step['detail'])}</h5>"
        if step["prompt"]:
            opened = " open" if step is acted else ""
            body += (
                f"<details{opened}><summary>prompt</summary>"
                f"<pre>{_shown(step, 'prompt')}</pre></details>"
            )
        if step["completion"]:
            body += f"<pre><b>{_shown(step, 'completion')}</b></pre>"
        if step["error"]:
            body += f"<pre>{cut(step['error'])}</pre>"
    return f"<details><summary>{cut(head)}</summary>{body}</details>"


def _shown(step: Row, what: str) -> str:
    return cut(step[what], step[f"{what}_length"])


def cut(value: str, length: int | None = None) -> str:
    """Return `value` as HTML, no longer than `LONGEST`; `length` is what it had before a cut."""
    left = (len(value) if length is None else length) - LONGEST
    return text(value[:LONGEST]) + (f"<small> … {left} more characters</small>" if left > 0 else "")
