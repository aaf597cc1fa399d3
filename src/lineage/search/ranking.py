"""What can be found, what is found, and in which order: the values that every ranker shares."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

QUERY_CHARS = 20_000
"""A query is read up to here: a whole transcript pasted into it must not cost seconds."""


@dataclass(frozen=True)
class Entry:
    """One text that can be found, known by its id."""

    id: str
    title: str
    body: str


@dataclass(frozen=True)
class Hit:
    """The id of an entry that was found, and how well it fits: comparable within one search."""

    id: str
    score: float


class Ranker(Protocol):
    """Ranks entries by how well they fit a text. The ranking is a function of the entries now."""

    def put(self, entries: Iterable[Entry]) -> None:
        """Add `entries`; one whose id is known replaces the old one."""

    def drop(self, ids: Iterable[str]) -> None:
        """Forget the entries of `ids`; unknown ids are ignored."""

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        """Return at most `k` hits, best first, ties by id in natural order.

        `query` is any text, never a query language.
        """


def best(scores: dict[str, float], k: int) -> list[Hit]:
    """Return the `k` best of `scores` (by id), best first, ties by id in natural order."""
    order = sorted(scores, key=lambda id: (-scores[id], natural(id)))
    return [Hit(id, scores[id]) for id in order[:k]]


def natural(id: str) -> tuple[tuple[str | tuple[int, str], ...], str]:
    """Return the key that sorts d2 before d10: digits by value, everything else as text."""
    parts = re.split("([0-9]+)", id)
    # By length, then as text, because a number may have more digits than `int` reads.
    numbers = ((len(digits), digits) for digits in (p.lstrip("0") for p in parts[1::2]))
    texts = iter(parts[::2])
    key: list[str | tuple[int, str]] = [next(texts)]
    for number, text in zip(numbers, texts, strict=True):
        key += (number, text)
    return tuple(key), id
