"""The terminal that a command writes to: what it can show, and whether anybody looks on.

Colour may be forced where no terminal is (FORCE_COLOR in CI): then nothing moves all the same.
"""

from __future__ import annotations

import codecs
import sys
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console

PLAIN = {
    "…": "...", "→": "->", "│": "|", "─": "-", "−": "-", "–": "-", "—": "-", "×": "x",
    "≥": ">=", "≤": "<=", "·": ".", "‘": "'", "’": "'", "“": '"', "”": '"', "\xa0": " ",
}
"""How signs of ours are written where the output has none but ASCII."""
ERRORS = "lineage.plain"
"""The name of the handler of characters that an output cannot hold, as `open` takes it."""


def plain(error: UnicodeError) -> tuple[str, int]:
    """Return what stands for characters that an output cannot hold, and where to go on.

    See `codecs.register_error`. A sign of `PLAIN` is written so, all else as an escape.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    written = (PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost)
    return "".join(written), error.end


def fit_streams() -> None:
    """Let standard output and error hold any text, whatever their encoding."""
    codecs.register_error(ERRORS, plain)
    for stream in (sys.stdout, sys.stderr):
        # A test's or a notebook's has no encoding to fit.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=ERRORS)


def on_terminal(console: Console) -> bool:
    """Whether somebody looks on: the output is a terminal, not one that colour was forced on."""
    return console.is_terminal and console.file.isatty()


def spinner(console: Console) -> str:
    """Return the name of the spinner that the output can show."""
    return "dots" if console.encoding.startswith("utf") else "line"


def busy(console: Console, what: str) -> AbstractContextManager[object]:
    """Say `what` is being done as long as the context lasts, where somebody looks on."""
    if not on_terminal(console):
        return nullcontext()
    return console.status(what, spinner=spinner(console))
