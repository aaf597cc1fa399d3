"""What a text says about a world's facts: which it states as they are, which it contradicts.

Pure, and the same for every suite: it reads only the sentences of the facts. "The code of pump
Birch is 4821." has the stem "The code of pump Birch is ", the value "4821" and a tail ".". A text
states a fact where the value follows the stem, and denies it where another word does. A stem that
ends the text or a line, or that punctuation follows, says nothing: notes are cut off there. So
"is unknown" and "is not 4821" deny the fact too: a reader would not learn the value from them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from lineage.core.tasks import Fact

# A word may go on after a hyphen or slash, and after a point or comma where a digit follows:
# "north-east" is not "north", and "3.5" is not "3".
_ENDS = re.compile(r"(?!\w|[-/]\w|[.,:]\d)")
_STARTS = re.compile(r"(?<!\w)")
_WORD = re.compile(r"[-+]?\w+(?:[-/]\w+|[.,:]\d\w*)*")
_MORE_WORDS = re.compile(r"\s\w")
_TAIL_OF_WHOLE = " .!?"
_HEAD = 8
"""Characters of a phrase, or fewer, that are looked for in a text before the whole of it is."""


@dataclass(frozen=True)
class Said:
    """What one text says: keys of facts that it states as they are, and of those it denies.

    Several sentences of one text may do both for one key; then both hold it.
    """

    stated: frozenset[str]
    denied: frozenset[str]


@dataclass(frozen=True)
class _Claim:
    """What must follow a phrase to state the fact `key`; `value` is "" where the phrase is all."""

    key: str
    value: str
    tail: str


class Truth:
    """What texts say about a world's facts.

    A fact whose value is no whole word of its sentence, or begins it, can only be stated by the
    whole sentence, and is never denied. Where facts share a stem their tails tell them apart, and
    a value that one of them has denies none of the others.
    """

    def __init__(self, facts: Iterable[Fact]) -> None:
        claims: dict[str, list[_Claim]] = defaultdict(list)
        for fact in facts:
            phrase, claim = _split(fact)
            if phrase:
                claims[phrase].append(claim)
        self._claims = dict(claims)
        self._shared = {
            phrase: len({claim.tail for claim in several}) > 1 for phrase, several in claims.items()
        }
        lengths = sorted({len(phrase) for phrase in claims}, reverse=True)
        # At one place of a text, the longest phrase and those that it begins with.
        self._nested = {
            phrase: [
                phrase[:length]
                for length in lengths
                if length <= len(phrase) and phrase[:length] in claims
            ]
            for phrase in claims
        }
        # Not a pattern of all phrases: to compile one for each world takes longer than to read.
        # How they begin is much the same in all worlds of a suite.
        head = min(_HEAD, lengths[-1]) if lengths else 0
        self._headed: dict[str, list[str]] = defaultdict(list)
        for phrase in sorted(claims, key=len, reverse=True):
            self._headed[phrase[:head]].append(phrase)
        self._heads = _pattern(tuple(sorted(self._headed))) if head else None

    def stated(self, text: str) -> frozenset[str]:
        """Return the keys of the facts that `text` states as they are."""
        return self.read(text).stated

    def read(self, text: str) -> Said:
        """Return both in one reading; letter case and runs of white space do not count.

        A value may stand on the line after its stem, but any other word there denies nothing.
        """
        stated: set[str] = set()
        denied: set[str] = set()
        text, breaks = _flat(text)
        for start, longest in self._phrases(text):
            for phrase in self._nested[longest]:
                end = start + len(phrase)
                true, false = self._read_after(text, phrase, end)
                if end - 1 in breaks:
                    false = set()
                stated |= true
                denied |= false
                if true or false:
                    # A shorter phrase may still be followed by its value, but words that a
                    # longer one explains are no other value of it.
                    stated |= self._stated_by_shorter(text, phrase, start)
                    break
        return Said(frozenset(stated), frozenset(denied))

    def _phrases(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield where phrases begin, each with the longest that does; they may overlap."""
        for match in self._heads.finditer(text) if self._heads else ():
            for phrase in self._headed[match[1]]:
                if text.startswith(phrase, match.start()):
                    yield match.start(), phrase
                    break

    def _read_after(self, text: str, phrase: str, end: int) -> tuple[set[str], set[str]]:
        """Return what `text` says of the facts of `phrase`, which ends at `end`."""
        claims = self._claims[phrase]
        strict = self._shared[phrase]
        stated = {claim.key for claim in claims if _states(text, claim, end, strict)}
        if stated and not strict:
            return stated, set()
        values = {(claim.value, claim.tail) for claim in claims}
        denied = set()
        for claim in claims:
            other = _other(text, claim, end, strict)
            if other and (other, claim.tail) not in values:
                denied.add(claim.key)
        return stated, denied - stated

    def _stated_by_shorter(self, text: str, phrase: str, start: int) -> set[str]:
        return {
            claim.key
            for shorter in self._nested[phrase]
            if shorter != phrase
            for claim in self._claims[shorter]
            if _states(text, claim, start + len(shorter), self._shared[shorter])
        }


@lru_cache(maxsize=64)
def truth_of(facts: tuple[Fact, ...]) -> Truth:
    """Return the `Truth` of `facts`, made once for the many texts that are read about a world."""
    return Truth(facts)


@lru_cache(maxsize=64)
def _pattern(heads: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds each of `heads`, all of one length, where a word may begin."""
    # Literals only, and zero-width: no text makes it backtrack, and phrases may overlap.
    return re.compile(rf"(?<!\w)(?=({'|'.join(map(re.escape, heads))}))")


def normalised(text: str) -> str:
    """Return `text` in one letter case, with single spaces."""
    return " ".join(text.casefold().split())


def _flat(text: str) -> tuple[str, set[int]]:
    """Return `text` normalised, and where in that a space stands for the end of a line."""
    lines = [line for line in map(normalised, text.splitlines()) if line]
    breaks, length = set(), 0
    for line in lines:
        breaks.add(length + len(line))
        length += len(line) + 1
    return " ".join(lines), breaks


def _split(fact: Fact) -> tuple[str, _Claim]:
    """Return the phrase that announces `fact`, and what must follow it."""
    text, value = normalised(fact.text), normalised(fact.value)
    # The last one: names come before values ("Pump 4 stands in zone 4").
    start = max(_places(text, value), default=0)
    if start == 0:
        return text.rstrip(_TAIL_OF_WHOLE), _Claim(fact.key, "", "")
    tail = text[start + len(value) :].rstrip(_TAIL_OF_WHOLE)
    return text[:start], _Claim(fact.key, value, tail)


def _places(text: str, value: str) -> Iterator[int]:
    """Yield where `value` stands in `text` as whole words; no two places overlap."""
    start = text.find(value) if value else -1
    while start >= 0:
        end = start + len(value)
        whole = _STARTS.match(text, start) and _ENDS.match(text, end)
        if whole:
            yield start
        start = text.find(value, end if whole else start + 1)


def _states(text: str, claim: _Claim, end: int, strict: bool) -> bool:
    if not text.startswith(claim.value, end):
        return False
    end += len(claim.value)
    if strict and not _tail_follows(text, claim, end):
        return False
    return _ENDS.match(text, end) is not None


def _tail_follows(text: str, claim: _Claim, end: int) -> bool:
    if claim.tail:
        return text.startswith(claim.tail, end)
    return _MORE_WORDS.match(text, end) is None


def _other(text: str, claim: _Claim, end: int, strict: bool) -> str:
    """Return what stands at `end` instead of the value of `claim`, "" where nothing does.

    It is as many words as the value, or fewer where the text has fewer.
    """
    if not claim.value:
        return ""
    start = end
    for count in range(len(claim.value.split())):
        word = _WORD.match(text, end + (count > 0))
        if word is None:
            break
        end = word.end()
    if strict and not _tail_follows(text, claim, end):
        return ""
    return text[start:end]
