"""The one error for users, and the advice in it; and the one failure that is the agent's own."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

OVERLONG = "overlong"
"""Why nothing was written where a prompt does not fit its version's window: a finish reason."""
FEW = 12
"""So many options are still listed where none is near."""


class LineageError(Exception):
    """A fault that the user can mend. Its message is one line that says what to change."""


def first_line(error: Exception) -> str:
    """Return the first line of what `error` says, or its kind."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def last_line(error: Exception) -> str:
    """Return the last line of what `error` says, or its kind; of a remote one that is the cause."""
    lines = (line.strip() for line in reversed(str(error).splitlines()))
    return next(filter(None, lines), type(error).__name__)


def nearest(word: str, options: Sequence[str]) -> str:
    """Return how an error ends: with the option nearest to `word`, else with the few there are."""
    close = get_close_matches(word, options, n=1, cutoff=0.5)
    if close:
        return f": did you mean {close[0]!r}?"
    return f": choose from {', '.join(sorted(options))}" if 0 < len(options) <= FEW else ""
