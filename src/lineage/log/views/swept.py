"""The values of a sweep's keys in one of its points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lineage.core import plainyaml


def swept(
    keys: Sequence[str], overrides: Sequence[str], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the value of each of `keys`: as the point's `settings` have it, by dotted key.

    Where they do not, because the point has not begun or the key is a group of `conf/`, it is what
    its `overrides` say; None where these do not either.
    """
    given = dict(one.partition("=")[::2] for one in overrides)
    said = {plain(key): value for key, value in given.items()}
    return {
        plain(key): settings[plain(key)] if plain(key) in settings else _value(said.get(plain(key)))
        for key in keys
    }


def plain(key: str) -> str:
    """Return the key of an override without the signs by which it adds what was not there."""
    return key.lstrip("+")


def _value(text: str | None) -> Any:
    try:
        return None if text is None else plainyaml.parse(text)
    except ValueError:
        return text
