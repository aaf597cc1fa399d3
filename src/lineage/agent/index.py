"""An index of the docs: a line a doc, after the memories in a prompt, that says where to look.

It is made of the docs wherever it is shown, and is kept nowhere. So it is as current as they are, a
line goes with its doc, and nothing that counts memories or their facts takes it for one. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from textwrap import shorten

from lineage.agent.prompt import escape, fence
from lineage.agent.sections import heading, sections
from lineage.core.config import AgentConfig
from lineage.core.edits import fewest, going
from lineage.core.knowledge import Doc
from lineage.models.protocol import TokenCounter
from lineage.search.bm25 import terms
from lineage.search.relevance import EMPTY_WORDS

SHARED = 0.5
"""What a line adds to the title stands in more than this share of the doc's sentences."""
ADDED = 3
"""Words that a line adds, at most."""
KEPT = 4096
"""Docs of which is remembered what they are about: generations have them in common."""
_SENTENCES = re.compile(r"\n|(?<=[.!?])\s")
_WORDS = re.compile(r"\b[^\W\d]+\b")


@dataclass(frozen=True)
class Index:
    """The `block` of a prompt, "" where it has no line, its tokens, and the docs left out of it."""

    block: str = ""
    tokens: int = 0
    left_out: tuple[Doc, ...] = ()


def index_of(docs: Sequence[Doc], agent: AgentConfig, budget: int, count: TokenCounter) -> Index:
    """Return the index of `docs` within its share of a memory `budget` (tokens by `count`).

    Where not all have room the lines go of the docs that were not edited for longest.
    """
    if not (agent.docs and agent.index_share and docs):
        return Index()
    most, order = int(agent.index_share * budget), going(docs)

    def without(gone: int) -> Index:
        kept = {doc.id for doc in order[gone:]}
        block = index_block([doc for doc in docs if doc.id in kept], agent.memory_chars)
        return Index(block, count(block) if block else 0, tuple(order[:gone]))

    whole = without(0)
    if whole.tokens <= most:
        return whole
    return without(fewest(len(order), lambda gone: without(gone).tokens <= most))


def index_block(docs: Sequence[Doc], chars: int) -> str:
    """Return the lines of all `docs`, each within so many characters, "" where there are none."""
    lines = [f"{doc.id}: {escape(about(doc, chars))}" for doc in docs]
    return fence("docs", [doc.edited.version for doc in docs], lines) if docs else ""


@lru_cache(maxsize=KEPT)
def about(doc: Doc, chars: int) -> str:
    """Return in `chars` characters what `doc` is about: its title, and what that leaves unsaid.

    That are its headings or, where it has none, a few words that most of its sentences share. The
    last word of a sentence is none of them, and no number is: there stands the value of a fact,
    and an index says where a fact is found, not what it is.
    """
    said = set(terms(doc.title))
    more = [one for one in map(heading, sections(doc.body)) if not said.issuperset(terms(one))]
    if not more and (words := _shared(doc.body, said)):
        more = [", ".join(words)]
    return shorten("; ".join((doc.title, *dict.fromkeys(more))), chars, placeholder=" …")


def _shared(body: str, said: set[str]) -> list[str]:
    """Return the words that most sentences of `body` share, in order, but for what was `said`."""
    parts = (part.lower().strip().rpartition(" ")[0] for part in _SENTENCES.split(body))
    sentences = [dict.fromkeys(_WORDS.findall(part)) for part in parts if part]
    held = Counter(word for one in sentences for word in one)
    shared = (word for word in held if held[word] > SHARED * len(sentences))
    return [word for word in shared if not (said | EMPTY_WORDS).issuperset(terms(word))][:ADDED]
