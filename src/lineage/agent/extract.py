"""What a search shows of a doc beside its title: how well it covers the task, or its nearest line.

A title says what a doc is about, and not what it says of that: whoever sees titles alone cannot
know whether the doc of a machine has its code. Search engines show a passage that depends on the
query (Tombros and Sanderson 1998, "Advantages of query biased summaries in information retrieval").
Here the last word of the line and whatever has a digit are left out, as an index leaves them out:
a value stands there, and a passage that tells it would be a doc opened for nothing. Shorter, and
easier to go by, is how much of the task the doc covers (`lineage.search.relevance`). Pure.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import shorten

from lineage.core.knowledge import Doc
from lineage.search.bm25 import terms
from lineage.search.ranking import QUERY_CHARS
from lineage.search.relevance import weights

LEFT_OUT = "…"
_DIGIT = re.compile(r"\S*\d\S*")


def extracts(docs: Sequence[Doc], query: str, chars: int) -> dict[str, str]:
    """Return by id the line of each of `docs` that has most of `query`, in `chars` characters.

    A word weighs as much as it is rare among the lines of all `docs` (BM25's idf); of lines that
    weigh alike it is the first. A doc none of whose lines has a telling word of `query` has none.
    """
    lines = {doc.id: [line for line in doc.body.splitlines() if line.strip()] for doc in docs}
    said = {line: frozenset(terms(line)) for of in lines.values() for line in of}
    held = Counter(term for words in said.values() for term in words)
    asked = weights(terms(query[:QUERY_CHARS]), held, len(said))

    def near(line: str) -> float:
        return math.fsum(weight for term, weight in asked.items() if term in said[line])

    best = {id: max(of, key=near) for id, of in lines.items() if of}
    return {id: without_values(line, chars) for id, line in best.items() if near(line) > 0}


def covers(shares: Mapping[str, float]) -> dict[str, str]:
    """Return by id how the `shares` of a task (0..1) that docs cover are told."""
    return {id: f"covers {share:.0%}" for id, share in shares.items()}


def together(*remarks: Mapping[str, str]) -> dict[str, str]:
    """Return by id all that is remarked of a doc."""
    ids = dict.fromkeys(id for of in remarks for id in of)
    return {id: "; ".join(of[id] for of in remarks if id in of) for id in ids}


def without_values(line: str, chars: int) -> str:
    """Return `line` without its last word and without what has a digit, in `chars` characters."""
    words = line.split()[:-1]
    kept = (LEFT_OUT if _DIGIT.fullmatch(word) else word for word in words)
    return shorten(" ".join((*kept, LEFT_OUT)), chars, placeholder=f" {LEFT_OUT}")
