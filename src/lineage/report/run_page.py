"""`report.html`: one self-contained file, no network; everything a model wrote is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from lineage.core.errors import LineageError
from lineage.core.jsonfile import ODD, read_json, what
from lineage.log.views.connect import connect
from lineage.report import figures
from lineage.report.answer import answer, explained
from lineage.report.generations import tell
from lineage.report.headline import banner, engine_words, faults_words, provenance, versions_words
from lineage.report.lookup import totals
from lineage.report.page import configuration, drawn, page, pictured, text, warned
from lineage.report.tables import more, scores

PAIRS = 3
"""Pairs whose lineages are shown."""
LINKS = {
    "worth": "What is it worth?",
    "how": "How does it come about?",
    "tables": "More tables",
    "lineages": "What was handed over",
    "configuration": "Configuration",
}
"""Where the top of the page leads to."""


def report_html(
    run: Path, summary: dict[str, Any], log: duckdb.DuckDBPyConnection | None = None
) -> str:
    """Return the page for `run`: tables, pictures, and the lineages with what they handed over.

    `summary` is that of `metrics.summarise`, `log` a connection with the views of the run (None:
    one is made). Raises LineageError where the run cannot be read.
    """
    connection = connect(run) if log is None else log
    whole = totals(summary)
    warning = banner(summary.get("engine"), summary["schedule"])
    how = pictured(
        [
            figures.retention_matrix(summary),
            figures.reward_by_generation(summary),
            figures.memory_growth(summary),
            figures.memory_turnover(connection, summary["arms"], "memories"),
            figures.memory_turnover(connection, summary["arms"], "docs"),
            figures.doc_search_reliability(summary),
            *_trainings(run),
        ],
        "how",
    )
    sections = {
        "worth": f"{drawn(scores(summary))}<p><small>{text(provenance(summary))}</small></p>"
        + pictured(
            [figures.upgrade_matrix(summary), figures.score_by_generation(summary)], "worth"
        ),
        "how": how,
        "tables": "".join(map(drawn, more(summary))),
        "lineages": tell(connection, summary, PAIRS),
    }
    shown = {name: title for name, title in LINKS.items() if sections.get(name, "-")}
    return page(
        summary["run"],
        warned(warning),
        f'<p class="answer">{text(answer(summary))}</p>',
        f"<p><small>{text(explained(summary))}</small></p>",
        f"<p>Engine: {text(engine_words(summary.get('engine')))}. Versions by generation: "
        f"{text(versions_words(summary))}. {whole['pairs']} pairs, {whole['episodes']} episodes, "
        f"{whole['errors']} errors, {faults_words(summary)}.</p>",
        "<nav>"
        + " ".join(f'<a href="#{name}">{title}</a>' for name, title in shown.items())
        + "</nav>",
        *(
            f'<h2 id="{name}">{LINKS[name]}</h2>{content}'
            for name, content in sections.items()
            if content
        ),
        configuration(run),
    )


def _trainings(run: Path) -> list[Any]:
    """Return a picture of each training of the run that is finished, by name of its version."""
    found = []
    for file in sorted(run.glob("training/*/training.json")):
        remedy = f"lineage report {file.parent} makes it again"
        found_in = read_json(file, dict[str, Any], remedy)
        try:
            figure = figures.reward_by_step(found_in)
        except ODD as error:
            raise LineageError(f"{file} is damaged ({what(error)}): {remedy}") from error
        if figure is not None:
            figure.suptitle(f"{figure.get_suptitle()} ({file.parent.name})")
            found.append(figure)
    return found
