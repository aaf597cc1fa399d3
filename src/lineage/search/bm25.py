"""BM25 over titles and bodies: tantivy finds the candidates, and what they score is exact.

tantivy alone is not enough for a run that must go on as if it had never been killed. It counts
deleted documents until a background merge, it adds in 32 bits in an order that depends on the
segments, and it breaks ties by position. So the index here only grows, a dropped entry stays
in it as a ghost, and each candidate is scored again from its text and from counts of what is
live. Candidates are fetched until nothing further down can reach the k-th best. The order is
thus the one that a fresh index of the live entries would give, whatever happened before.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tantivy import (
    Document,
    Filter,
    Index,
    Occur,
    Query,
    SchemaBuilder,
    Searcher,
    TextAnalyzerBuilder,
    Tokenizer,
)

from lineage.search.ranking import QUERY_CHARS, Entry, Hit, best, readable

BOOSTS = {"title": 1.5, "body": 1.0}
"""A word in a title says what a doc is about; in a body it may be in passing."""

K1, B = 1.2, 0.75
"""tantivy's own, fixed in it."""

QUERY_TERMS = 128
"""Distinct terms of a query that count: the first so many."""

TERM_BYTES = 64
"""Longer words are noise (hashes, base64); tantivy would drop them at 64 KiB."""

HEAP_BYTES = 32_000_000
"""Of the writer while it writes; what does not fit goes into a further segment."""

FETCHED = 32
"""Candidates that a search scores at first, besides the hits it is asked for."""

SLACK = 1e-3
"""Relative error allowed to tantivy's 32-bit sums: far above that of `QUERY_TERMS` additions."""

GHOSTS = 256
"""Dropped entries that the index may hold besides as many as are live, before it is rebuilt."""

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
_ANALYSER = "lineage"
_SLOT = "slot"


def _schema() -> SchemaBuilder:
    builder = SchemaBuilder().add_integer_field(_SLOT, fast=True)
    for field in BOOSTS:
        builder.add_text_field(field, tokenizer_name=_ANALYSER, index_option="freq")
    return builder.build()


_SCHEMA = _schema()


@dataclass(frozen=True)
class _Clause:
    """One term in one field: its weight in the score, and the field's live mean length."""

    field: str
    term: str
    weight: float
    mean: float

    def score(self, terms: list[str]) -> float:
        """Return what this clause adds for a text of `terms`."""
        count = terms.count(self.term)
        return self.weight * count / (count + K1 * (1 - B + B * norm(len(terms)) / self.mean))


class Bm25:
    """A `Ranker` by BM25, in memory. An entry that shares no word with the query is no hit."""

    def __init__(self) -> None:
        self._live: dict[str, int] = {}
        self._clear()

    def _clear(self) -> None:
        self._index = Index(_SCHEMA)
        self._index.register_tokenizer(_ANALYSER, _analyser)
        self._shelf: list[Entry] = []  # by slot: what the index holds or, at the end, will hold
        self._slots: dict[Entry, int] = {}
        self._written = 0
        self._lengths = dict.fromkeys(BOOSTS, 0)  # terms of all slots, by field
        self._buried = dict.fromkeys(BOOSTS, 0)  # terms of the ghosts among them
        self._ghosts: dict[str, Counter[str]] = {field: Counter() for field in BOOSTS}

    def put(self, entries: Iterable[Entry]) -> None:
        """Add `entries`; one whose id is known replaces the old one."""
        for entry in entries:
            old, new = self._live.get(entry.id), self._slots.get(entry)
            if new is not None and new == old:
                continue
            if old is not None:
                self._bury(old, 1)
            if new is None:
                new = self._add(entry)
            else:
                self._bury(new, -1)
            self._live[entry.id] = new

    def drop(self, ids: Iterable[str]) -> None:
        """Forget the entries of `ids`; unknown ids are ignored."""
        for id in ids:
            slot = self._live.pop(id, None)
            if slot is not None:
                self._bury(slot, 1)

    def search(self, query: str, k: int) -> tuple[Hit, ...]:
        """Return at most `k` hits, best first, ties by id in natural order."""
        self._write()
        searcher = self._index.searcher()
        clauses, weights = self._clauses(searcher, query)
        if k < 1 or not clauses:
            return ()
        wanted = Query.boolean_query(
            [
                (Occur.Should, Query.boost_query(_term(clause.field, clause.term), weight))
                for clause, weight in zip(clauses, weights, strict=True)
            ]
        )
        # The most by which a live score can exceed the one that tantivy gives it.
        stretch = max(clause.mean / self._mean(clause.field) for clause in clauses)
        stretch = max(1.0, stretch) * (1 + SLACK)
        scores: dict[str, float] = {}
        limit = min(k + FETCHED, len(self._shelf))
        while True:
            hits = searcher.search(wanted, limit=limit, count=False).hits
            for slot in searcher.fast_field_values(_SLOT, [address for _, address in hits]):
                entry = self._shelf[slot]
                if entry.id not in scores and self._live.get(entry.id) == slot:
                    scores[entry.id] = _score(entry, clauses)
            top = best(scores, k)
            if len(hits) < limit or limit == len(self._shelf):
                return tuple(top)
            if len(top) == k and hits[-1][0] * stretch < top[-1].score:
                return tuple(top)
            limit = min(4 * limit, len(self._shelf))

    def _clauses(self, searcher: Searcher, query: str) -> tuple[list[_Clause], list[float]]:
        """Return the clauses of `query` that something live meets, and tantivy's boost of each.

        The boost makes up for the ghosts that tantivy counts among the documents.
        """
        all, live = len(self._shelf), len(self._live)
        clauses, boosts = [], []
        for term in list(dict.fromkeys(_terms(query[:QUERY_CHARS])))[:QUERY_TERMS]:
            for field, boost in BOOSTS.items():
                met = searcher.doc_freq(field, term)
                met_live = met - self._ghosts[field][term]
                if met_live:
                    rarity = boost * _idf(live, met_live)
                    mean = (self._lengths[field] - self._buried[field]) / live
                    clauses.append(_Clause(field, term, rarity * (K1 + 1), mean))
                    boosts.append(rarity / _idf_32(all, met))
        return clauses, boosts

    def _mean(self, field: str) -> float:
        """Return the mean length of `field` as tantivy sees it: with the ghosts."""
        return self._lengths[field] / len(self._shelf)

    def _add(self, entry: Entry) -> int:
        self._slots[entry] = len(self._shelf)
        self._shelf.append(entry)
        for field in BOOSTS:
            self._lengths[field] += len(_terms(getattr(entry, field)))
        return self._slots[entry]

    def _bury(self, slot: int, sign: int) -> None:
        """Count the entry in `slot` among the ghosts (sign 1), or no longer (sign -1)."""
        for field in BOOSTS:
            terms = _terms(getattr(self._shelf[slot], field))
            self._buried[field] += sign * len(terms)
            for term in set(terms):
                self._ghosts[field][term] += sign

    def _write(self) -> None:
        """Bring the index up to date; rebuild it where most of it is ghosts."""
        if len(self._shelf) - len(self._live) > len(self._live) + GHOSTS:
            entries = [self._shelf[slot] for slot in self._live.values()]
            self._live = {}
            self._clear()
            self.put(entries)
        if self._written == len(self._shelf):
            return
        # A writer for each batch: one that waits would hold six threads a ranker.
        writer = self._index.writer(HEAP_BYTES, num_threads=1)
        for slot in range(self._written, len(self._shelf)):
            document = Document()
            document.add_integer(_SLOT, slot)
            for field in BOOSTS:
                document.add_text(field, readable(getattr(self._shelf[slot], field)))
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._written = len(self._shelf)


def norm(length: int) -> int:
    """Return the length that counts for a field of `length` terms, as tantivy stores it.

    In one byte: exact below 40, then eight steps to each doubling, rounded down.
    """
    extra = length - 24
    shift = max(0, extra.bit_length() - 4) if extra > 0 else 0
    return 24 + (extra >> shift << shift)


def _score(entry: Entry, clauses: list[_Clause]) -> float:
    terms = {field: _terms(getattr(entry, field)) for field in BOOSTS}
    return math.fsum(clause.score(terms[clause.field]) for clause in clauses)


def _terms(text: str) -> list[str]:
    terms: list[str] = _analyser.analyze(readable(text))
    return terms


def _term(field: str, term: str) -> Query:
    return Query.term_query(_SCHEMA, field, term, index_option="freq")


def _idf(documents: int, met: int) -> float:
    return math.log1p((documents - met + 0.5) / (met + 0.5))


def _idf_32(documents: int, met: int) -> float:
    """Return what tantivy makes of it: far off for a word that nearly every document has."""
    odds = np.float32(documents - met + 0.5) / np.float32(met + 0.5)
    # Nothing is left of it from some 8 million documents on.
    return float(np.log(np.float32(1) + odds)) or math.inf
