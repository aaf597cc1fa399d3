"""The table that ends a run: by family, the score of each arm and what inheritance is worth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def show(summary: dict[str, Any], console: Console) -> None:
    """Print the table of `summary` (see `measures.summarise`)."""
    console.print(score_table(summary))
    if len(set(summary["schedule"])) > 1:
        console.print(version_table(summary))
    totals = summary["totals"]
    console.print(
        f"{totals['pairs']} pairs, {totals['episodes']:,} episodes, {totals['steps']:,} steps, "
        f"{totals['errors']} errors, {totals['prompt_tokens']:,} prompt and "
        f"{totals['completion_tokens']:,} completion tokens, "
        f"{(totals['seconds'] or 0) / 60:.1f} minutes",
        highlight=False,
    )


def score_table(summary: dict[str, Any]) -> Table:
    """Return the table: a row an arm and family, gain against the baseline; * excludes 0."""
    title = f"{summary['run']}: {' > '.join(short(summary['schedule']))}"
    table = Table(title=escape(title), box=None)
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


def version_table(summary: dict[str, Any]) -> Table:
    """Return the gain of each arm by the version that worked, a column a family."""
    table = Table(title=f"gain over {summary['baseline']}, by version", box=None)
    for name in ("version", "arm", *summary["families"]):
        table.add_column(name, justify="left" if name in ("version", "arm") else "right")
    cells = {(g["version"], g["arm"], g["family"]): g for g in summary["gain_by_version"]}
    for version, arm in dict.fromkeys((v, a) for v, a, _ in cells):
        gains = (cells.get((version, arm, family)) for family in summary["families"])
        table.add_row(version.partition("@")[2] or version, arm, *(_gained(g) for g in gains))
    return table


def _gained(gain: dict[str, Any] | None) -> str:
    if not gain:
        return ""
    return bounds(gain, signed=True) + ("*" if gain["excludes_zero"] else " ")


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
            share = gain and gain["share_of_possible"]
            part = f"{share:.0%}" if share is not None else ""
            yield family, arm, bounds(score), _gained(gain), part


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
    return f"{text} [{value['low']:.2f}, {value['high']:.2f}]"
