"""The table that ends a run: by family, the score of each arm and what inheritance is worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table


def show(summary: dict[str, Any], console: Console) -> None:
    """Print the table of `summary` (see `measures.summarise`)."""
    console.print(score_table(summary))
    totals = summary["totals"]
    console.print(
        f"{totals['pairs']} pairs, {totals['episodes']:,} episodes, {totals['steps']:,} steps, "
        f"{totals['errors']} errors, {totals['prompt_tokens']:,} prompt and "
        f"{totals['completion_tokens']:,} completion tokens",
        highlight=False,
    )


def score_table(summary: dict[str, Any]) -> Table:
    """Return the table: a row an arm and family, gain against the baseline; * excludes 0."""
    table = Table(title=f"{summary['run']}: {' > '.join(short(summary['schedule']))}", box=None)
    for name in score_head(summary):
        table.add_column(name, justify="left" if name in ("family", "arm") else "right")
    for family in summary["families"]:
        for row in score_rows(summary):
            if row[0] == family:
                table.add_row(*row)
        table.add_section()
    level = f"{summary['confidence']:.0%}"
    table.caption = f"mean over pairs [{level} interval]; * the interval excludes 0"
    return table


def score_head(summary: dict[str, Any]) -> tuple[str, ...]:
    """Return the heads of the columns of `score_rows`."""
    return ("family", "arm", "score", f"gain over {summary['baseline']}", "of possible")


def score_rows(summary: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield a row of texts for each family and arm."""
    for family in summary["families"]:
        for arm in summary["arms"]:
            score = summary["scores"].get(arm, {}).get(family)
            if score is None:
                continue
            gain = summary["gain"].get(arm, {}).get(family)
            gained = share = ""
            if gain:
                gained = bounds(gain, signed=True) + ("*" if gain["excludes_zero"] else " ")
                if gain["share_of_possible"] is not None:
                    share = f"{gain['share_of_possible']:.0%}"
            yield family, arm, bounds(score), gained, share


def short(schedule: list[str]) -> list[str]:
    """Return the versions of a schedule without what they have in common before the @."""
    families = {name.partition("@")[0] for name in schedule}
    return [name.partition("@")[2] or name for name in schedule] if len(families) == 1 else schedule


def bounds(value: dict[str, Any], signed: bool = False) -> str:
    """Return "0.52 [0.40, 0.63]"."""
    sign = "+" if signed else ""
    text = f"{value['mean']:{sign}.2f}"
    if value["low"] is None:
        return text
    return f"{text} [{value['low']:{sign}.2f}, {value['high']:{sign}.2f}]"
