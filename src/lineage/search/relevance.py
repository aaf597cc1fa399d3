"""How much of a query a text answers, on one scale for all queries: what `opening=gate` decides by.

A score of BM25 tells the docs of one search apart, and says nothing across searches: it grows with
the words of the query and with the number of docs. Coverage does not. It is the share of the
query's words, each as heavy as it is rare, that one passage holds:

    coverage(q, p) = sum of idf(t) over t in q and p / sum of idf(t) over t in q
    idf(t) = ln(1 + (N - n + 0.5) / (n + 0.5))       N passages, of which n hold t

idf is BM25's (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond",
2009). A passage is a note, or a line of a doc under the doc's title: facts are said in a sentence,
and a doc that holds the words of a question in several sentences answers none of it. A passage that
says nothing beyond the query, such as a note that was cut off, covers none of it. A word that no
passage holds is the rarest of all, so that a question about what nobody wrote down is covered
badly. Words that only make a question or a sentence weigh nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from lineage.core.knowledge import Knowledge
from lineage.search.bm25 import QUERY_TERMS, idf, terms
from lineage.search.ranking import QUERY_CHARS

EMPTY_WORDS = frozenset(
    word
    for text in (
        "a an and are as at be been but by can could did do does for from had has have how i if in",
        "into is it its me my no not of on or our please should so such than that the their them",
        "then there these they this those to us was we were what when where which who whom whose",
        "why will with would you your answer give name question say state tell",
    )
    for word in terms(text)
)
"""Stems of words that say nothing of what is asked for."""


def weights(query: Iterable[str], held: Mapping[str, int], passages: int) -> dict[str, float]:
    """Return how much each telling one of the terms of a `query` weighs, in their order: its idf.

    `held` are how many of the `passages` hold a term. Of many terms as many count as in a search.
    """
    asked = list(dict.fromkeys(query))[:QUERY_TERMS]
    return {term: idf(passages, held.get(term, 0)) for term in asked if term not in EMPTY_WORDS}


class Passages:
    """The passages of some notes and docs, from which the relevance to any query is told."""

    def __init__(self, notes: Iterable[str], docs: Iterable[tuple[str, str, str]]) -> None:
        """`docs` are ids, titles and bodies."""
        self._notes = [frozenset(terms(note)) for note in notes]
        self._docs = {
            id: [frozenset(terms(f"{title}\n{line}")) for line in _lines(body)]
            for id, title, body in docs
        }
        passages = [*self._notes, *(line for lines in self._docs.values() for line in lines)]
        self._held = Counter(term for passage in passages for term in passage)
        self._passages = len(passages)

    @classmethod
    def of(cls, knowledge: Knowledge) -> Self:
        """Return those of the memories and docs of `knowledge`."""
        docs = ((doc.id, doc.title, doc.body) for doc in knowledge.docs)
        return cls((memory.text for memory in knowledge.memories), docs)

    def through(self, query: str, docs: Sequence[str], gate: float) -> list[str]:
        """Return those of `docs` (ids) that are worth `gate` or more, the worthiest first.

        Of equal worth the order is kept. One that is worth nothing is never among them.
        """
        worth = self.worth(query, docs)
        passed = [id for id in docs if worth[id] >= gate and worth[id] > 0]
        return sorted(passed, key=lambda id: -worth[id])

    def worth(self, query: str, docs: Sequence[str]) -> dict[str, float]:
        """Return what each of `docs` (ids) covers of `query` where no note covers as much, else 0.

        Shares in 0..1; where `query` has no telling word all are 0.
        """
        noted, covered = self.coverage(query, docs)
        return {id: share if share > noted else 0.0 for id, share in covered.items()}

    def coverage(self, query: str, docs: Sequence[str]) -> tuple[float, dict[str, float]]:
        """Return what the best note covers of `query`, and what each of `docs` (ids) does.

        Shares in 0..1; where `query` has no telling word all are 0.
        """
        found = dict.fromkeys(terms(query[:QUERY_CHARS]))
        asked = weights(found, self._held, self._passages)
        whole = math.fsum(asked.values())

        def best(passages: Sequence[frozenset[str]]) -> float:
            if not whole:
                return 0.0
            telling = (p for p in passages if p - EMPTY_WORDS - found.keys())
            covered = (math.fsum(w for t, w in asked.items() if t in p) for p in telling)
            return max(covered, default=0.0) / whole

        return best(self._notes), {id: best(self._docs[id]) for id in docs}


def _lines(body: str) -> list[str]:
    """Return the lines of a doc that say something; a doc without any is its title alone."""
    return [line for line in body.splitlines() if line.strip()] or [""]
