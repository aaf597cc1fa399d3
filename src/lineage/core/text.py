"""What a model wrote, for a terminal and as JSON: shown as it is, never obeyed."""

from __future__ import annotations

import json
import math
from typing import Any

from rich.console import Console
from rich.text import Text

from lineage.core.console import on_terminal

WIDE = 10_000
"""Columns of an output that is no terminal: other tools search and cut it, nobody folds it."""


def visible(text: str) -> str:
    """Return `text` with every character that is not printable, but line feeds, as an escape.

    So no ANSI escape, no control character, no mark that turns the direction of text round and no
    lone surrogate reaches a terminal.
    """
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text
    )


def one_line(text: str) -> str:
    """Return `text` visible and on one line, for the cell of a table."""
    return visible(" ".join(text.split()))


def say(console: Console, text: Text | str) -> None:
    """Print `text` as one line, however long; what a `str` holds is made visible."""
    shown = Text(visible(text)) if isinstance(text, str) else text
    console.print(shown, soft_wrap=True, highlight=False)


def say_json(console: Console, document: Any) -> None:
    """Print `document` as JSON and nothing else, in ASCII."""
    console.out(json.dumps(strict(document), indent=1, allow_nan=False), highlight=False)


def strict(value: Any) -> Any:
    """Return `value` as every JSON parser takes it: no lone surrogate, no number not finite."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {strict(key): strict(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [strict(one) for one in value]
    return value


def unfolded(console: Console) -> Console:
    """Return `console`, as wide as its tables want to be where it is no terminal."""
    if not on_terminal(console):
        console.width = WIDE
    return console
