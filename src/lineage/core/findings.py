"""What is odd about Knowledge: entries that say the same, entries that contradict. Pure.

Both go by words alone. Two notes contradict where they say of one subject ("The port of staging is
8080.") two values, or where one tells to do what the other forbids. So a finding is something to
look at; none is missing only where notes are written that plainly.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from lineage.core.knowledge import Doc, Knowledge, Memory

ALIKE = 0.8
"""Share of the words of two entries that both have, from which on they are near duplicates."""
LONGEST_VALUE = 6
"""Words of a value; what is longer is an explanation, and two of them may both be right."""
DUPLICATE, CONTRADICTION = "duplicate", "contradiction"

_WORD = re.compile(r"[\w.:/@#+-]*\w")
_IS = re.compile(r"^(.{3,80}?)( is | are | = |: )(.+)$")
_ORDERS = re.compile(
    r"^(?:please )?(always|never|do not|don't|must not|must never|must|avoid|use|prefer) (.+)$"
)
_FORBID = frozenset(("never", "do not", "don't", "must not", "must never", "avoid"))
_VERBS = frozenset(("use", "using", "prefer", "run", "running", "do", "be"))
_NO_SUBJECT = frozenset(
    """
    it this that these those there here he she they we you i which who what
    note notes todo tip warning important step example rule fix lesson why how reminder
    """.split()  # noqa: SIM905
)
"""Words that alone are no subject: two notes that begin with one are about two things."""
_SMALL = frozenset(("the", "a", "an", "our", "is", "are", "of", "to", "in", "for", "and"))


@dataclass(frozen=True)
class Finding:
    """What `kind` of oddity it is, the ids of the entries that it is about, and why."""

    kind: str
    entries: tuple[str, ...]
    why: str


def findings(knowledge: Knowledge) -> tuple[Finding, ...]:
    """Return the duplicates among memories and among docs, then the contradictions of memories."""
    same = (*_duplicates(knowledge.memories), *_duplicates(knowledge.docs))
    return (*same, *_contradictions(knowledge))


def _duplicates(entries: tuple[Memory, ...] | tuple[Doc, ...]) -> Iterator[Finding]:
    """Yield each entry that says what an earlier one does, with the first of those.

    Only pairs that share a rare word are compared: of sets that are alike by `ALIKE`, the rarest
    words of both meet (prefix filtering, Bayardo, Ma and Srikant 2007, Scaling Up All Pairs
    Similarity Search).
    """
    bags = {one.id: frozenset(_words(one.text)) for one in entries}
    often: dict[str, int] = defaultdict(int)
    for words in bags.values():
        for word in words:
            often[word] += 1
    shelf: dict[str, list[str]] = defaultdict(list)
    for one in entries:
        words = bags[one.id]
        ranked = sorted(words, key=lambda w: (often[w], w))
        rare = ranked[: len(words) - int(ALIKE * len(words) + 0.999) + 1]
        met = dict.fromkeys(other for word in rare for other in shelf[word])
        for other in met:
            both = len(words & bags[other])
            share = both / len(words | bags[other])
            if share >= ALIKE:
                why = "say the same" if share == 1 else f"share {share:.0%} of their words"
                yield Finding(DUPLICATE, (other, one.id), why)
                break
        for word in rare:
            shelf[word].append(one.id)


def _contradictions(knowledge: Knowledge) -> Iterator[Finding]:
    """Yield pairs of memories: of each subject or order, the first with each that differs."""
    said: dict[tuple[str, ...], tuple[str, str]] = {}
    for memory in knowledge.memories:
        claim = _order(memory.text) or _claim(memory.text)
        if claim is None:
            continue
        subject, value = claim
        first, known = said.setdefault(subject, (memory.id, value))
        if value != known:
            about = " ".join(subject[1:])
            yield Finding(CONTRADICTION, (first, memory.id), f'of "{about}": {known}; {value}')


def _claim(text: str) -> tuple[tuple[str, ...], str] | None:
    """Return the subject of a note and the value that it has, None where it tells none."""
    match = _IS.match(_plain(text))
    if match is None:
        return None
    value = match[3].strip(" .!")
    # What stands before a colon may be the heading of several notes, and is part of the subject.
    if match[2] == ": " and len(value.split()) > 1:
        under = _claim(match[3])
        return (("is", match[1], *under[0][1:]), under[1]) if under else None
    words = [word for word in match[1].split() if word not in _SMALL]
    if not words or (len(words) == 1 and words[0] in _NO_SUBJECT) or "://" in match[0]:
        return None
    # "is a" says of what kind a thing is, and it may be of several.
    if len(value.split()) > LONGEST_VALUE or value.startswith(("a ", "an ")):
        return None
    return ("is", *words), value


def _order(text: str) -> tuple[tuple[str, ...], str] | None:
    """Return what a note is an order about and which, None where it is none."""
    match = _ORDERS.match(_plain(text).split(". ")[0].split("; ")[0])
    if match is None:
        return None
    words = [word for word in match[2].strip(" .!").split() if word not in _SMALL]
    while words and words[0] in _VERBS:
        words = words[1:]
    return (("do", *words), "never" if match[1] in _FORBID else "always") if words else None


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[*_`\"]", "", text).casefold().split())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
