"""`report.html`: one self-contained file, no network; everything a model wrote is escaped."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from lineage.analysis.terminal import score_head, score_rows, short
from lineage.analysis.views import connect, rows

SAMPLES = 3
"""Episodes shown of each generation and pair."""
PAIRS = 3
"""Pairs shown in full."""


def report_html(run: Path, summary: dict[str, Any], figure: bytes) -> str:
    """Return the page for `run`: table, figure, and the lineages with what they handed over."""
    page = Template(files("lineage.analysis").joinpath("report.template.html").read_text())
    drawing = figure.decode()
    return page.substitute(
        title=text(summary["run"]),
        schedule=text(" → ".join(short(summary["schedule"]))),
        totals=text(
            f"{summary['totals']['pairs']} pairs, {summary['totals']['episodes']} episodes, "
            f"{summary['totals']['errors']} errors"
        ),
        table=_table(summary),
        figure=drawing[drawing.index("<svg") :],
        lineages=_lineages(run, summary),
        config=text((run / "config.yaml").read_text() if (run / "config.yaml").exists() else ""),
    )


def text(value: object) -> str:
    """Return `value` as HTML text: escaped, and every control character made visible."""
    plain = str(value).encode("utf-8", "replace").decode()
    shown = (c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in plain)
    return html.escape("".join(shown))


def _table(summary: dict[str, Any]) -> str:
    head = "".join(f"<th>{text(name)}</th>" for name in score_head(summary))
    body = "".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>"
        for row in score_rows(summary)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _lineages(run: Path, summary: dict[str, Any]) -> str:
    connection = connect(run)
    ends = rows(
        connection,
        "SELECT DISTINCT s.arm, s.pair, s.lineage, s.generation, s.version, k.content, "
        "s.memory_tokens, s.reward FROM steps s JOIN knowledge k "
        "ON s.knowledge_after = k.knowledge AND s.lineage = k.lineage "
        "WHERE s.phase = 'reward' AND s.pair < ? ORDER BY s.arm, s.pair, s.generation",
        [PAIRS],
    )
    samples = rows(
        connection,
        "SELECT lineage, generation, kind, family, prompt, completion, answer, score, error "
        "FROM steps WHERE kind IN ('act', 'probe') AND pair < ? "
        "QUALIFY row_number() OVER (PARTITION BY lineage, generation ORDER BY step_id) <= ? "
        "ORDER BY lineage, generation, step_id",
        [PAIRS, SAMPLES],
    )
    shown = []
    for end in ends:
        own = [
            s
            for s in samples
            if (s["lineage"], s["generation"]) == (end["lineage"], end["generation"])
        ]
        shown.append(_generation(end, own))
    note = (
        f"<p>Shown: the first {PAIRS} pairs of {summary['totals']['pairs']}, "
        f"{SAMPLES} episodes of each generation.</p>"
    )
    return note + "".join(shown)


def _generation(end: dict[str, Any], samples: list[dict[str, Any]]) -> str:
    content = json.loads(end["content"])
    memories = "".join(
        f"<li><code>{text(m['id'])}</code> {text(m['text'])} "
        f"<small>{text(m['edited']['version'])}, "
        f"generation {m['edited']['generation']}</small></li>"
        for m in content["memories"]
    )
    docs = "".join(
        f"<li><code>{text(d['id'])}</code> <b>{text(d['title'])}</b><br>{text(d['body'])}</li>"
        for d in content["docs"]
    )
    episodes = "".join(
        f"<details><summary>{text(s['kind'])} {text(s['family'])}: score {text(s['score'])}, "
        f"right answer {text(s['answer'])}</summary><pre>{text(s['prompt'])}<b>"
        f"{text(s['completion'])}</b>{text(s['error'])}</pre></details>"
        for s in samples
    )
    return (
        f"<details><summary>{text(end['lineage'])}, generation {end['generation']} "
        f"({text(end['version'])}): {len(content['memories'])} memories, "
        f"{end['memory_tokens']} tokens, {len(content['docs'])} docs, "
        f"reward {end['reward']:.2f}</summary>"
        f"<h4>Memories</h4><ul>{memories}</ul><h4>Docs</h4><ul>{docs}</ul>"
        f"<h4>Episodes</h4>{episodes}</details>"
    )
