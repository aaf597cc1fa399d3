"""The tables of a training as values, and how the terminal shows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console

from lineage.metrics.training import OPENED, PARTS
from lineage.report.sheet import Sheet, bounds
from lineage.report.terminal import show_sheet

WRITTEN = {
    "memory_tokens": ("memory", ".0f"),
    "completion_tokens": ("written", ".0f"),
    "entropy": ("entropy", ".2f"),
    "copied": ("copied", ".0%"),
    "staleness": ("stale", ".0%"),
    "density": ("facts/100", ".2f"),
}
SHORT = {"reward_dissimilar": "dissim."}
"""Heads that a terminal of 80 columns has no room for otherwise."""
MINUTE = 60


def show_training(summary: dict[str, Any], console: Console) -> None:
    """Print the tables of `summary` (see `training.summarise_training`) and what to look at."""
    for sheet in (_rewards(summary), _written(summary), _times(summary)):
        show_sheet(sheet, console)
    for line in summary["signs"]:
        console.print(f"look at its samples: {line}", markup=False, highlight=False)


def training_sheets(summary: dict[str, Any]) -> Iterator[Sheet]:
    """Yield every table of `summary` that has rows."""
    several = summary["curricula"] if len(summary["curricula"]) > 1 else ()
    found = (
        *(_rewards(summary), _written(summary)),
        *(sheet(summary, name) for name in several for sheet in (_rewards, _written)),
        *(_times(summary), _learning(summary), _errors(summary)),
    )
    return (sheet for sheet in found if sheet.rows)


def _times(summary: dict[str, Any]) -> Sheet:
    """A row a part of the time, with its share of the whole."""
    parts = summary["time"]["parts"]
    rows = tuple(
        (name, f"{part['seconds'] / MINUTE:.1f}", _format(part["share"], ".0%"))
        for name, part in parts.items()
    )
    whole = ("whole", f"{summary['time']['seconds'] / MINUTE:.1f}", "")
    return Sheet("where does the time go?", ("part", "minutes", "share"), (*rows, whole))


def _points(summary: dict[str, Any], curriculum: str) -> list[dict[str, Any]]:
    """Return the figures of a curriculum by step; "": of all of them together."""
    found = summary["by_curriculum"] if curriculum else summary["by_step"]
    return [point for point in found if point.get("curriculum", "") == curriculum]


def _titled(title: str, curriculum: str) -> str:
    return f"{curriculum}: {title}" if curriculum else title


def _rewards(summary: dict[str, Any], curriculum: str = "") -> Sheet:
    """A row a step: reward and its parts."""
    points = _points(summary, curriculum)
    parts = [part for part in PARTS if any(point[part] is not None for point in points)]
    kinds = {step["step"]: step["kind"] for step in summary["by_step"]}
    failed = any(point["failed"] for point in points)
    rows = tuple(
        (
            str(point["step"]),
            kinds[point["step"]],
            bounds(point["reward"]),
            *(_format(point[part], "+.2f") for part in parts),
            *((_format(point["failed"], ".0%"),) if failed else ()),
        )
        for point in points
    )
    names = (SHORT.get(part, part.removeprefix("reward_")) for part in parts)
    head = ("step", "kind", "reward", *names, *(("failed",) if failed else ()))
    note = f"mean over groups [{summary['confidence']:.0%} interval]; parts are weighted and signed"
    return Sheet(_titled("reward by step", curriculum), head, rows, note, left=2)


def _written(summary: dict[str, Any], curriculum: str = "") -> Sheet:
    """A row a step: what was written and opened, and how long it took."""
    points = _points(summary, curriculum)
    columns = {key: v for key, v in WRITTEN.items() if any(p[key] is not None for p in points)}
    asked = any(point["opened"][key] for point in points for key in OPENED)
    opens = {"precision": "right", "recall": "found"} if asked else {}
    timed = any("seconds" in point for point in points)
    rows = tuple(
        (
            str(point["step"]),
            *(_format(point[key], form) for key, (_, form) in columns.items()),
            *(_format(point["opened"][key], ".0%") for key in opens),
            *((f"{point['seconds']:.0f}",) if timed else ()),
        )
        for point in points
    )
    head = (
        "step",
        *(words for words, _ in columns.values()),
        *opens.values(),
        *(("seconds",) if timed else ()),
    )
    note = (
        "memory: tokens in the successor's prompt; written: tokens of an alternative; entropy: "
        "nats a token; copied: share of word triples that the history shows; stale: share of "
        "memories that contradict the world; facts/100: recoverable facts per 100 tokens"
    )
    if opens:
        note += "; right: needed, of the docs opened; found: opened, of the docs needed"
    return Sheet(_titled("what is written, by step", curriculum), head, rows, note)


def _learning(summary: dict[str, Any]) -> Sheet:
    columns = {
        "samples": ",.0f",
        "tokens_learnt": ",.0f",
        "tokens_generated": ",.0f",
        "loss": ".4f",
        "grad_norm": ".3f",
        "kl": ".4f",
        "policy_entropy": ".2f",
    }
    rows = tuple(
        (str(step["step"]), step["version"], *(_format(step[k], f) for k, f in columns.items()))
        for step in summary["by_step"]
    )
    head = ("step", "version", *(key.replace("_", " ") for key in columns))
    return Sheet("what was learnt from, by step", head, rows, left=2)


def _errors(summary: dict[str, Any]) -> Sheet:
    rows = tuple((str(row["alternatives"]), row["error"]) for row in summary["errors"])
    return Sheet("why did alternatives fail?", ("alternatives", "error"), rows, left=2)


def _format(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
