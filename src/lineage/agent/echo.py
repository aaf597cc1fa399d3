"""Which memory an answer repeats. Pure: an observable stand-in for "which memory was used"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lineage.core.knowledge import Memory

LEAST = 0.6
"""Share of an answer's words that a memory must hold, so that small words alone are no echo."""


def echoed(memories: Sequence[Memory], answer: str) -> str:
    """Return the id of the memory that holds most of the words of `answer`'s first line.

    Among equals it is the one with the fewest other words, then the oldest; "" where no memory
    holds `LEAST` of them.
    """
    said = _words(answer.strip().split("\n", 1)[0])
    if not said:
        return ""
    best, found = (LEAST, 0.0), ""
    for memory in memories:
        words = _words(memory.text)
        shared = len(said & words) / len(said)
        rank = (shared, -float(len(words - said)))
        if shared >= LEAST and (not found or rank > best):
            best, found = rank, memory.id
    return found


def share(text: str, other: str) -> float:
    """Return the share of the words of `text` that `other` holds; 0 where it has none."""
    words = _words(text)
    return len(words & _words(other)) / len(words) if words else 0.0


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
