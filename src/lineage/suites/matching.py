"""Rows in any order: whether two lists hold the same ones. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")


def same_rows(
    given: Sequence[Row], reference: Sequence[Row], equal: Callable[[Row, Row], bool]
) -> bool:
    """Whether each row of `reference` is `equal` to one of `given` of its own, and none is left."""
    left = list(given)
    for row in reference:
        # Not by sorting: numbers that are equal within a tolerance may sort either way.
        place = next((i for i, other in enumerate(left) if equal(other, row)), None)
        if place is None:
            return False
        del left[place]
    return not left
