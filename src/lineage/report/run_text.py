"""What ends a run, in the terminal: what was found, its tables, and how much was run."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from lineage.report.answer import answer, explained
from lineage.report.headline import MINUTE, faults_words, provenance
from lineage.report.lookup import totals
from lineage.report.sheet import NOT_COMPUTED
from lineage.report.tables import more, scores
from lineage.report.terminal import plain, show_banner, show_sheet


def show_summary(summary: dict[str, Any], console: Console) -> None:
    """Print what was found and the tables of `summary` (see `metrics.summarise`)."""
    show_headline(summary, console)
    for sheet in more(summary):
        show_sheet(sheet, console)
    console.print()
    show_totals(summary, console)


def show_headline(summary: dict[str, Any], console: Console) -> None:
    """Print the answer, what the words of it mean, the scores, and where these come from."""
    show_banner(summary.get("engine"), summary["schedule"], console)
    console.print(plain(answer(summary)), style="bold", highlight=False)
    console.print(plain(explained(summary)), style="dim", highlight=False)
    show_sheet(scores(summary), console)
    console.print(plain(provenance(summary)), style="dim", highlight=False)


def show_totals(summary: dict[str, Any], console: Console) -> None:
    """Print in a line how much was run, and at what cost."""
    whole = totals(summary)
    seconds = whole["seconds"]
    untimed = f"{NOT_COMPUTED} minutes: no step says when it ended"
    console.print(
        f"{whole['pairs']} pairs, {whole['episodes']:,} episodes, {whole['steps']:,} steps, "
        f"{whole['errors']} errors, {faults_words(summary)}, {whole['prompt_tokens']:,} prompt and "
        f"{whole['completion_tokens']:,} completion tokens, "
        + (untimed if seconds is None else f"{seconds / MINUTE:.1f} minutes"),
        highlight=False,
    )
