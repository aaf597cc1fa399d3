"""`report.html`: one self-contained file, no network; everything a model wrote is escaped."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from lineage.analysis.sheet import Sheet, short
from lineage.analysis.tables import sheets
from lineage.analysis.views import connect, rows

SAMPLES = 2
"""Working episodes, and as many probes, shown of each generation and pair."""
PAIRS = 3
"""Pairs shown."""
LONGEST = 6000
"""Characters of a prompt or a completion that are shown."""
ROOM = 1_600_000
"""Characters of lineages that are shown, so that a phone can open the page."""


def report_html(run: Path, summary: dict[str, Any], figure: bytes) -> str:
    """Return the page for `run`: table, figure, and the lineages with what they handed over."""
    page = Template(files("lineage.analysis").joinpath("report.template.html").read_text("utf-8"))
    config = run / "config.yaml"
    drawing = figure.decode()
    return page.substitute(
        title=text(summary["run"]),
        schedule=text(" → ".join(short(summary["schedule"]))),
        totals=text(
            f"{summary['totals']['pairs']} pairs, {summary['totals']['episodes']} episodes, "
            f"{summary['totals']['errors']} errors"
        ),
        table="".join(drawn(sheet) for sheet in sheets(summary)),
        figure=drawing[drawing.index("<svg") :],
        lineages=_lineages(run, summary),
        config=text(config.read_text(encoding="utf-8") if config.exists() else ""),
    )


def text(value: object) -> str:
    """Return `value` as HTML text: escaped, and every control character made visible."""
    plain = str(value).encode("utf-8", "replace").decode()
    shown = (c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in plain)
    return html.escape("".join(shown))


def drawn(sheet: Sheet) -> str:
    """Return `sheet` as HTML."""
    head = "".join(f"<th>{text(name)}</th>" for name in sheet.head)
    body = "".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in sheet.rows
    )
    note = f"<p><small>{text(sheet.note)}</small></p>" if sheet.note else ""
    return (
        f"<h3>{text(sheet.title)}</h3><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{note}"
    )


def _lineages(run: Path, summary: dict[str, Any]) -> str:
    connection = connect(run)
    connection.execute(
        "CREATE TEMP TABLE shown AS SELECT * FROM steps WHERE pair IN "
        "(SELECT DISTINCT pair FROM steps ORDER BY pair LIMIT ?)",
        [PAIRS],
    )
    ends = rows(
        connection,
        "SELECT p.*, r.memory_tokens, r.reward, k.content "
        "FROM (SELECT arm, pair, lineage, generation, version, "
        "count(*) FILTER (kind IN ('act', 'probe')) AS episodes FROM shown GROUP BY ALL) p "
        "LEFT JOIN (SELECT * FROM shown WHERE phase = 'reward') r USING (lineage, generation) "
        "LEFT JOIN snapshots k ON r.knowledge_after = k.knowledge "
        "ORDER BY p.pair, p.arm, p.generation",
    )
    edits = _grouped(
        rows(
            connection,
            "SELECT lineage, generation, detail, count(*) AS edits FROM shown "
            "WHERE kind = 'edit' GROUP BY ALL ORDER BY ALL",
        )
    )
    samples = _grouped(
        rows(
            connection,
            "SELECT lineage, generation, kind, family, prompt, completion, answer, score, error "
            "FROM shown WHERE kind IN ('act', 'probe') QUALIFY row_number() OVER "
            "(PARTITION BY lineage, generation, kind ORDER BY step_id) <= ? ORDER BY step_id",
            [SAMPLES],
        )
    )
    shown: list[str] = []
    for end in ends:
        key = end["lineage"], end["generation"]
        part = _generation(end, edits.get(key, []), samples.get(key, []))
        if sum(map(len, shown)) + len(part) > ROOM:
            break
        shown.append(part)
    pairs = summary["totals"]["pairs"]
    note = (
        f"<p>Shown: {len(shown)} of {len(ends)} generations of the first {min(PAIRS, pairs)} of "
        f"{pairs} pairs. The rest is in the step log.</p>"
    )
    return note + "".join(shown)


def _grouped(found: list[dict[str, Any]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in found:
        groups.setdefault((row["lineage"], row["generation"]), []).append(row)
    return groups


def _generation(
    end: dict[str, Any], edits: list[dict[str, Any]], samples: list[dict[str, Any]]
) -> str:
    title = f"{end['lineage']}, generation {end['generation']} ({end['version']})"
    body = ""
    if end["content"] is not None:
        content = json.loads(end["content"])
        memories, docs = content["memories"], content["docs"]
        title += f": {len(memories)} memories, {end['memory_tokens']} tokens, {len(docs)} docs"
        # A handoff whose every probe failed has parts but may have no reward.
        if end["reward"] is not None:
            title += f", reward {end['reward']:.2f}"
        body = _knowledge(memories, docs)
    if edits:
        counts = ", ".join(
            f"{edit['detail']} \N{MULTIPLICATION SIGN}{edit['edits']}" for edit in edits
        )
        body += f"<h4>Edits</h4><p>{text(counts)}</p>"
    episodes = "".join(
        f"<details><summary>{text(s['kind'])} {text(s['family'])}: score {text(s['score'])}, "
        f"right answer {text(s['answer'])}</summary><pre>{_cut(s['prompt'])}<b>"
        f"{_cut(s['completion'])}</b>{text(s['error'])}</pre></details>"
        for s in samples
    )
    return (
        f"<details><summary>{text(title)}</summary>{body}"
        f"<h4>Episodes ({len(samples)} of {end['episodes']})</h4>{episodes}</details>"
    )


def _knowledge(memories: list[dict[str, Any]], docs: list[dict[str, Any]]) -> str:
    noted = "".join(
        f"<li><code>{text(m['id'])}</code> {text(m['text'])} "
        f"<small>{text(m['edited']['version'])}, "
        f"generation {text(m['edited']['generation'])}</small></li>"
        for m in memories
    )
    filed = "".join(
        f"<li><code>{text(d['id'])}</code> <b>{text(d['title'])}</b><br>{text(d['body'])}</li>"
        for d in docs
    )
    return f"<h4>Memories</h4><ul>{noted}</ul><h4>Docs</h4><ul>{filed}</ul>"


def _cut(value: str) -> str:
    left = len(value) - LONGEST
    return text(value[:LONGEST]) + (f"<small> … {left} more characters</small>" if left > 0 else "")
