"""A table as a value, and how its cells are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LARGE = 20
"""From here on a cell needs no decimals: tokens, not scores."""


@dataclass(frozen=True)
class Sheet:
    """One table. The first `left` columns are names; a row of "" parts two sections."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    left: int = 1


def or_undefined(cell: dict[str, Any] | None) -> str:
    if cell is None or cell["mean"] is None:
        return "undefined"
    return bounds(cell)


def share(cell: dict[str, Any] | None) -> str:
    """Return "85% [80, 90]"."""
    if cell is None or cell["mean"] is None:
        return "undefined"
    if cell["low"] is None:
        return f"{cell['mean']:.0%}"
    return f"{cell['mean']:.0%} [{100 * cell['low']:.0f}, {100 * cell['high']:.0f}]"


def name(version: str) -> str:
    """Return a version's name without what stands before the @."""
    return version.partition("@")[2] or version


def short(schedule: Iterable[str]) -> list[str]:
    """Return the versions of a schedule without what they have in common before the @."""
    versions = list(schedule)
    families = {version.partition("@")[0] for version in versions}
    return [name(version) for version in versions] if len(families) == 1 else versions


def gained(gain: dict[str, Any] | None) -> str:
    """Return a signed gain with its bounds, and * where they exclude 0."""
    if not gain or gain["mean"] is None:
        return ""
    return bounds(gain, signed=True) + ("*" if gain["excludes_zero"] else " ")


def bounds(value: dict[str, Any], signed: bool = False) -> str:
    """Return "0.52 [0.40, 0.63]", and whole numbers where the mean is a large one."""
    if value["mean"] is None:
        return ""
    sign, digits = "+" if signed else "", 0 if abs(value["mean"]) >= LARGE else 2
    text = f"{value['mean']:{sign}.{digits}f}"
    if value["low"] is None:
        return text
    return f"{text} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"
