"""The table that ends a run: by family, the score of each arm and what inheritance is worth."""

from __future__ import annotations

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
    for name in ("family", "arm", "score", f"gain over {summary['baseline']}", "of possible"):
        table.add_column(name, justify="left" if name in ("family", "arm") else "right")
    for family in summary["families"]:
        for arm in summary["arms"]:
            score = summary["scores"].get(arm, {}).get(family)
            if score is None:
                continue
            gain = summary["gain"].get(arm, {}).get(family)
            share = gain and gain["share_of_possible"]
            table.add_row(
                family,
                arm,
                bounds(score),
                bounds(gain, signed=True) + ("*" if gain["excludes_zero"] else " ") if gain else "",
                f"{share:.0%}" if share is not None else "",
            )
        table.add_section()
    table.caption = "mean over pairs [95% interval]; * the interval excludes 0"
    return table


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
