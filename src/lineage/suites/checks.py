"""Checks of a suite's knobs: one line that names the key and what it must be."""

from __future__ import annotations

from lineage.core.errors import LineageError
from lineage.core.tasks import Suite


def require_counts(suite: Suite, *keys: str) -> None:
    """Raise LineageError where the value of one of `keys` is below 1."""
    for key in keys:
        if getattr(suite, key) < 1:
            raise LineageError(f"suite.{key} is {getattr(suite, key)}: it must be 1 or more")


def require_most(keys: str, value: int, most: int) -> None:
    """Raise LineageError where `value`, that of `suite.keys`, is above `most`."""
    if value > most:
        raise LineageError(f"suite.{keys} is {value}: it must be {most} or less")


def require_shares(suite: Suite, *keys: str) -> None:
    """Raise LineageError where the value of one of `keys` is not in [0, 1]."""
    for key in keys:
        if not 0 <= getattr(suite, key) <= 1:
            raise LineageError(f"suite.{key} is {getattr(suite, key)}: it must be between 0 and 1")


def require_choice(suite: Suite, key: str, *options: str) -> None:
    """Raise LineageError where the value of `key` is not one of `options`."""
    if getattr(suite, key) not in options:
        words = ", ".join(options)
        raise LineageError(f"suite.{key} is {getattr(suite, key)!r}: it must be one of {words}")
