"""BM25 over titles and bodies, exactly: tantivy parts texts into terms, NumPy scores them.

tantivy's own index is not enough for a run that must go on as if it had never been killed. It
counts deleted documents until a background merge, it adds in 32 bits in an order that depends on
the segments, and it breaks ties by position. Here postings only grow, what was dropped counts for
nothing, and whatever may be among the best is added up exactly. The order is thus the one that a
fresh index of the live entries would give, whatever happened before.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

from lineage.core.plaintext import clean
from lineage.search.ranking import QUERY_CHARS, Entry, Hit, best

BOOSTS = {"title": 1.5, "body": 1.0}
"""A word in a title says what a doc is about; in a body it may be in passing."""

K1, B = 1.2, 0.75
"""tantivy's own, fixed in it."""

QUERY_TERMS = 128
"""Distinct terms of a query that count: the first so many."""

TERM_BYTES = 64
"""Longer words are noise (hashes, base64)."""

SLACK = 1e-9
"""Relative error allowed to a sum in 64 bits: far above that of `QUERY_TERMS` additions."""

GHOSTS = 256
"""Dropped entries that are remembered besides as many as are live."""

# Plurals and verb forms of one word meet (English stems), as do "código" and "CODIGO"; numbers
# and codes stay whole, and whatever is not a letter or digit only separates.
_analyser = (
    TextAnalyzerBuilder(Tokenizer.simple())
    .filter(Filter.remove_long(TERM_BYTES))
    .filter(Filter.lowercase())
    .filter(Filter.ascii_fold())
    .filter(Filter.stemmer("English"))
    .build()
)


def _posting() -> tuple[array[int], array[int]]:
    return array("I"), array("I")


@dataclass(frozen=True)
class _Field:
    """Titles or bodies, by slot: how many terms, the length that counts, and where terms are."""

    terms: array[int] = field(default_factory=lambda: array("I"))
    norms: array[int] = field(default_factory=lambda: array("I"))
    # By term, the slots that have it, in ascending order, and how often.
    postings: dict[str, tuple[array[int], array[int]]] = field(
        default_factory=lambda: defaultdict(_posting)
    )

    def add(self, slot: int, text: str) -> None:
        found = terms(text)
        self.terms.append(len(found))
        self.norms.append(norm(len(found)))
        for term, count in Counter(found).items():
            slots, counts = self.postings[term]
            slots.append(slot)
            counts.append(count)

    def damping(self, live: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return by slot what is added to a count below: more in texts longer than the mean."""
        mean = int(np.array(self.terms)[live].sum()) / max(1, int(live.sum())) or 1.0
        damped: NDArray[np.float64] = K1 * (1 - B + B * np.array(self.norms) / mean)
        return damped


@dataclass(frozen=True)
class _Clause:
    """What one term in one field adds to the score of each slot that has it."""

    slots: NDArray[np.uint32]
    parts: NDArray[np.float64]

    def of(self, wanted: NDArray[np.intp]) -> list[float]:
        """Return the part of each slot that is `wanted`, 0 where it has not the term."""
        aims = wanted.astype(self.slots.dtype)  # else all slots would be copied
        places = np.searchsorted(self.slots, aims).clip(max=len(self.slots) - 1)
        held = self.slots[places] == aims
        found: list[float] = np.where(held, self.parts[places], 0.0).tolist()
        return found


@dataclass(frozen=True)
class _Now:
    """What holds until an entry comes or goes: which slots are live, and the clauses met so far."""

    live: NDArray[np.bool_]
    damping: dict[str, NDArray[np.float64]]
    clauses: dict[tuple[str, str], _Clause] = field(default_factory=dict)


class Bm25:
    """A `Ranker` by BM25, in memory. An entry that shares no word with the query is no hit."""

    def __init__(self) -> None:
        self._live: dict[str, int] = {}
        self._clear()

    def _clear(self) -> None:
        self._shelf: list[Entry] = []  # by slot
        self._slots: dict[Entry, int] = {}
        self._fields = {name: _Field() for name in BOOSTS}
        self._now: _Now | None = None

    def put(self, entries: Iterable[Entry]) -> None:
        """Add `entries`; one whose id is known replaces the old one."""
        for entry in entries:
            if entry not in self._slots:
                self._slots[entry] = len(self._shelf)
                for name, texts in self._fields.items():
                    texts.add(len(self._shelf), getattr(entry, name))
                self._shelf.append(entry)
            self._live[entry.id] = self._slots[entry]
            self._now = None

    def drop(self, ids: Iterable[str]) -> None:
        """Forget the entries of `ids`; unknown ids are ignored."""
        for id in ids:
            self._live.pop(id, None)
            self._now = None

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        """Return at most `k` hits, best first, ties by id in natural order."""
        clauses = self._clauses(query) if k > 0 and self._live else []
        sums = np.zeros(len(self._shelf))
        for clause in clauses:
            everywhere = len(clause.slots) == len(sums)
            sums[slice(None) if everywhere else clause.slots] += clause.parts
        wanted = np.flatnonzero(sums)
        if 0 < k < len(wanted):
            least = np.partition(sums[wanted], -k)[-k] * (1 - SLACK)
            wanted = wanted[sums[wanted] >= least]
        # What adds up to the same in another order must not differ in its last digit.
        columns = zip(*(clause.of(wanted) for clause in clauses))
        ids = (self._shelf[slot].id for slot in wanted)
        scores = {id: math.fsum(parts) for id, parts in zip(ids, columns)}
        return tuple(best(scores, k))

    def _clauses(self, query: str) -> list[_Clause]:
        """Return the clauses of `query` that a live entry meets."""
        now = self._now = self._now or self._settled()
        asked = list(dict.fromkeys(terms(query[:QUERY_CHARS])))[:QUERY_TERMS]
        found = (self._clause(now, name, term) for term in asked for name in BOOSTS)
        return [clause for clause in found if len(clause.slots)]

    def _clause(self, now: _Now, name: str, term: str) -> _Clause:
        if (name, term) not in now.clauses:
            posting = self._fields[name].postings.get(term, _posting())
            slots, counts = map(np.array, posting)
            met = now.live[slots]
            slots, counts = slots[met], counts[met]
            weight = BOOSTS[name] * idf(len(self._live), len(slots)) * (K1 + 1)
            parts = weight * counts / (counts + now.damping[name][slots])
            now.clauses[name, term] = _Clause(slots, parts)
        return now.clauses[name, term]

    def _settled(self) -> _Now:
        """Return what holds now, after clearing up where most slots are not live."""
        if len(self._shelf) - len(self._live) > len(self._live) + GHOSTS:
            entries = [self._shelf[slot] for slot in self._live.values()]
            self._clear()
            self.put(entries)
        live = np.zeros(len(self._shelf), bool)
        live[list(self._live.values())] = True
        return _Now(live, {name: texts.damping(live) for name, texts in self._fields.items()})


def norm(length: int) -> int:
    """Return the length that counts for a field of `length` terms, as tantivy stores it.

    In one byte: exact below 40, then eight steps to each doubling, rounded down.
    """
    extra = length - 24
    shift = max(0, extra.bit_length() - 4) if extra > 0 else 0
    return 24 + (extra >> shift << shift)


def terms(text: str) -> list[str]:
    """Return the terms of `text` in order: lower case, without accents, English stems."""
    found: list[str] = _analyser.analyze(clean(text))
    return found


def idf(documents: int, met: int) -> float:
    """Return how rare a term is that `met` of so many `documents` have, as BM25 weighs it."""
    return math.log1p((documents - met + 0.5) / (met + 0.5))
