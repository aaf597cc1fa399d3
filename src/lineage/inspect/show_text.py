"""What `lineage show` prints. What a model wrote is shown as it is, not obeyed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from lineage.core.text import one_line, say, visible
from lineage.inspect.episode_text import SCORED, cut_line, say_title
from lineage.metrics.training import PARTS
from lineage.report.run_text import show_headline, show_totals
from lineage.report.sheet import NOT_COMPUTED, Sheet, name, short
from lineage.report.terminal import show_sheet
from lineage.report.training_tables import SHORT, WRITTEN

ROWS = 24
"""Rows of a table that are shown unless all are asked for."""
CELL = 48
"""Characters of a completion or an answer in a table."""
COLUMNS = ("memory_tokens", "copied", "staleness", "density")
"""Of what is written, the columns of an alternative: see `report.training_tables`."""


def show_run(
    console: Console, summary: dict[str, Any], found: list[dict[str, Any]], full: bool
) -> None:
    """Print the scores of a run and a row a lineage."""
    show_headline(summary, console)
    show_totals(summary, console)
    by_lineage: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_lineage.setdefault(row["lineage"], []).append(row)
    family = next(iter(summary["families"]), "")
    rows = [
        (
            lineage,
            " ".join(short(row["version"] for row in of)),
            _series([row["memory_tokens"] for row in of], "d"),
            _series([row["scores"].get(family) for row in of], ".2f"),
            _format(of[-1]["docs"], "d"),
            f"{sum(row['errors'] for row in of)}",
        )
        for lineage, of in by_lineage.items()
    ]
    head = ("lineage", "versions", "memory tokens", f"score on {family}", "docs", "errors")
    note = "by generation: tokens of the memories that it left, mean score of its probes"
    _table(console, Sheet("lineages", head, tuple(rows), note, left=2), full)


def show_generation(
    console: Console,
    found: list[dict[str, Any]],
    shown: dict[str, Any],
    families: Sequence[str],
    full: bool,
) -> None:
    """Print a row a lineage of one generation, then what one of them left and did."""
    number = found[0]["generation"]
    rows = tuple(
        (
            row["lineage"],
            name(row["version"]),
            *(_format(row[key], "d") for key in ("memory_tokens", "memories", "docs")),
            f"{row['edits_made']}/{row['edits_refused']}",
            *(_format(row["scores"].get(family), ".2f") for family in families),
            str(row["errors"]),
        )
        for row in found
    )
    head = ("lineage", "version", "tokens", "mem.", "docs", "edits", *map(_short, families), "err.")
    note = (
        "tokens of the memories that it left; edits made/refused; mean score of its probes by "
        "family; err.: steps with an error"
    )
    _table(console, Sheet(f"generation {number}", head, rows, note, left=2), full)
    told = {part for row in found for part, value in row["reward"].items() if value is not None}
    parts = [part for part in found[0]["reward"] if part in told]
    rewards = tuple(
        (row["lineage"], *(_format(row["reward"][part], "+.3f") for part in parts))
        for row in found
        if row["reward"]["reward"] is not None
    )
    if rewards:
        note = "reward is the sum of the parts, which are weighted and signed"
        head = ("lineage", *map(_short, parts))
        _table(console, Sheet("reward", head, rewards, note), full)
    _show_knowledge(console, shown, full)
    _show_edits(console, shown["edits"], full)
    _show_episodes(console, shown["episodes"], full)


def _show_knowledge(console: Console, shown: dict[str, Any], full: bool) -> None:
    memories, docs = shown["memories"], shown["docs"]
    counts = f"{len(memories)} memories, {len(docs)} docs"
    console.print()
    say_title(console, f"what {shown['name']} left: {counts}")
    lines = [_entry(one["id"], one["text"], one["edited"], full) for one in memories] + [
        _entry(one["id"], one["title"], one["edited"], full) for one in docs
    ]
    _some(console, lines, full)


def _entry(id: str, text: str, edited: dict[str, Any], full: bool) -> Text:
    by = f"  generation {edited['generation']}, {name(edited['version'])}"
    line = Text.assemble((f"  {id:<4} ", "yellow"), cut_line(one_line(text), full))
    return line.append(visible(by), "dim")


def _show_edits(console: Console, edits: list[dict[str, Any]], full: bool) -> None:
    if not edits:
        return
    made = sum(edit["made"] for edit in edits)
    console.print()
    say_title(console, f"edits: {made} made, {len(edits) - made} refused")
    lines = []
    for edit in edits:
        line = Text.assemble(
            (f"  {visible(edit['episode']):<7} ", "dim"),
            (visible(edit["detail"]), "" if edit["made"] else "red"),
            f"  {visible(edit['entry'])}",
        )
        lines.append(line.append(f"  {cut_line(one_line(edit['text']), full)}", "dim"))
    _some(console, lines, full)


def _show_episodes(console: Console, episodes: list[dict[str, Any]], full: bool) -> None:
    rows = tuple(
        (
            row["episode"],
            row["family"] or row["phase"],
            _format(row["score"], ".2f"),
            row["task"].removeprefix(f"{row['world']}/")[:CELL],
            (row["completion"] if row["kind"] in SCORED else row["detail"])[:CELL],
            (row["error"] or row["answer"])[:CELL],
        )
        for row in episodes
    )
    head = ("episode", "family", "score", "task", "completion", "right answer, or error")
    sheet = Sheet("episodes", head, rows, "lineage show RUN GENERATION EPISODE shows one", left=6)
    _table(console, sheet, full)


def show_alternatives(console: Console, step: int, found: list[dict[str, Any]], full: bool) -> None:
    """Print the alternatives of a training's step, a row each."""

    def named(row: dict[str, Any]) -> str:
        return f"{row['curriculum']}/{row['pair']}/{row['episode']}"

    parts = [part for part in PARTS if any(row[part] is not None for row in found)]
    rewards = tuple(
        (named(row), *(_format(row[part], "+.3f") for part in ("reward", *parts))) for row in found
    )
    head = ("alternative", "reward", *(_short(part.removeprefix("reward_")) for part in parts))
    note = "reward is the sum of the parts, which are weighted and signed"
    title = f"alternatives of step {step}"
    _table(console, Sheet(f"{title}: reward", head, rewards, note), full)
    written = tuple(
        (
            named(row),
            _format(row["advantage"], "+.2f"),
            "yes" if row["learnt"] else "",
            *(_format(row[key], WRITTEN[key][1]) for key in COLUMNS),
            row["opened"] or row["error"][:CELL],
        )
        for row in found
    )
    heads = (WRITTEN[key][0] for key in COLUMNS)
    note = "ARM/PAIR/EPISODE: lineage show RUN STEP EPISODE --arm ARM --pair PAIR shows one"
    sheet = Sheet(
        f"{title}: what was written",
        ("alternative", "adv.", "learnt", *heads, "opened"),
        written,
        note,
    )
    _table(console, sheet, full)


def _some(console: Console, lines: list[Text], full: bool) -> None:
    shown = lines if full else lines[:ROWS]
    for line in shown:
        say(console, line)
    if len(shown) < len(lines):
        say(console, Text(f"  … {len(lines) - len(shown)} more: --full", "dim"))


def _table(console: Console, sheet: Sheet, full: bool) -> None:
    shown = sheet.rows if full else sheet.rows[:ROWS]
    left = len(sheet.rows) - len(shown)
    note = sheet.note + (f"; {left} more rows: --full" if left else "")
    show_sheet(Sheet(sheet.title, sheet.head, shown, note, sheet.left), console)


def _short(head: str) -> str:
    return SHORT.get(f"reward_{head}", head)


def _series(values: Sequence[float | None], form: str) -> str:
    return " ".join(NOT_COMPUTED if value is None else format(value, form) for value in values)


def _format(value: float | None, form: str) -> str:
    return NOT_COMPUTED if value is None else format(value, form)
