"""The card of a trained version: its record, `training.json`, as a page of Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

BYTES = 2
"""A parameter's, as bfloat16."""
MEGABYTE = 1_000_000
PICTURE = "curve.png"


def card(record: Mapping[str, Any], limits: str) -> str:
    """Return the model card of `record`, which `ship` made; `limits` is its last section."""
    parameters, data = record["parameters"], record["seeds"].items()
    size = f"{parameters * BYTES / MEGABYTE:.1f} MB"
    about = {
        "parent": f"`{record['parent']}`",
        "base model": record["base"],
        "method": _settings(record["method"]),
        "training": _settings(record["train"], leave_out=("name", "parent", "curricula")),
        "curricula": "; ".join(f"**{k}**: {_settings(v)}" for k, v in record["curricula"].items()),
        "data": "; ".join(f"{use}: worlds hashed from {of}" for use, of in data),
        "reward": _settings(record["reward"]),
        "agent": _settings(record["agent"]),
        "cost": f"{record['minutes']:.0f} minutes, {record['steps']} steps, on {record['device']}",
        "libraries": ", ".join(f"{name} {found}" for name, found in record["libraries"].items()),
        "size": f"{size}: {parameters:,} parameters as bfloat16",
        "licence": record["licence"],
    }
    sections = (
        f"# {record['name']}",
        f"A LoRA on {record['base']}, trained from `{record['parent']}` to write memories and docs "
        "that its successors profit from. `training.json` has the whole record.",
        _table(("", ""), about.items()),
        f"## Reward before and after\n\n{_gains(record)}",
        f"## Curve\n\n![What each step of training changed]({PICTURE})",
        f"## Limits\n\n{limits.strip()}",
    )
    return "\n\n".join(sections) + "\n"


def _gains(record: Mapping[str, Any]) -> str:
    if not record["heldout"]:
        return "Not measured: `train.held_out` was 0."
    head = ("measure", "worlds", record["parent"], record["name"], "gain")
    rows = (
        (
            one["measure"],
            str(one["pairs"]),
            _bounds(**one["before"]),
            _bounds(**one["after"]),
            _bounds(**one["gain"], sign="+"),
        )
        for one in record["heldout"]
    )
    return (
        "Worlds that training never drew, paired; mean "
        f"[{record['confidence']:.0%} interval over worlds].\n\n{_table(head, rows)}"
    )


def _bounds(mean: float, low: float | None, high: float | None, sign: str = "") -> str:
    text = f"{mean:{sign}.2f}"
    return text if low is None or high is None else f"{text} [{low:.2f}, {high:.2f}]"


def _settings(tree: Mapping[str, Any], leave_out: Iterable[str] = ()) -> str:
    shown = (f"{key} {_value(v)}" for key, v in tree.items() if key not in set(leave_out))
    return ", ".join(shown)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_value(inner)}" for key, inner in value.items()) + ")"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(_value(inner) for inner in value) + ")"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [_row(head), _row(("---",) * len(head)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    # A bar would end the cell, a line break the table.
    return "| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in cells) + " |"
