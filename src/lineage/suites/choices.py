"""Which of several choices an answer means. Pure.

What decides, the first that names a choice:

    1. the last \\boxed{...}
    2. what follows "answer is", "answer:", "choose", ... ("The answer is B because A is wrong.")
    3. the line's first words ("Yes, there is no confounder.", "B: because A is wrong")
    4. the only choice that the line names ("I would say it is B.")

Where 2 and 3 differ nothing is meant, unless the first word was a part of the sentence ("B is
tempting; the answer is C"). A choice that another is listed with ("yes or no", "A, B", "A/B") is
not meant, nor in 4 one after "not". Of nested choices the longest is named ("not applicable").

A choice of a single letter is named by its capital, or by its small letter where nothing else is
said, before punctuation, or after "option" and the like. But "A" before a word is an article, and
"I" a pronoun, unless a verb or a conjunction follows ("A is right", "A because ..."); "no" within
a sentence is a determiner in the same way ("there is no confounder"). "B is wrong" names nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import regex

from lineage.suites import wording
from lineage.suites.wording import Word

CUE = regex.compile(
    r"""(?xi)
    \b(?: (?:answer|option|choice|solution|label|conclusion|result)s?\b [\s*_`"”]*
          (?:\w+\s+){0,4}? (?:(?:is|are|was|be)\b(?!')|:|=)
        | (?:answer|choose|chose|pick|select|answered|antwort|lösung|réponse|respuesta|resposta
             |risposta|ответ)\b (?:\s+(?:is|ist|est|es|é|è|with)\b)?+(?!') )
    | 答案(?:是|为|為)? | 答え(?:は)? | 정답(?:은)?
    """
)
NAMING = frozenset(("option", "choice", "answer", "letter", "choose", "pick", "select"))
"""Words after which a small letter is a choice."""
PASSED = wording.ARTICLES | NAMING
GOING_ON = frozenset(
    """
    is isnt was are because since as and or but for so would should could can seems looks
    appears has does follows holds then if it its that there this they we he she you given due
    according when while
    """.split()  # noqa: SIM905
)
"""Words that no article and no pronoun stands before."""
OR = frozenset(
    "or and oder und или и ou et o y e og och of en 或 和 と".split()  # noqa: SIM905
)
NOT = frozenset(
    "not never neither nor isnt arent wasnt cannot nicht kein keine pas не 不 没 非".split()  # noqa: SIM905
)


WRONG = frozenset({"not", "wrong", "incorrect", "false"})


@dataclass(frozen=True)
class Mention:
    """A choice that a line names from word `first` up to word `after`."""

    choice: str
    first: int
    after: int


def meant(said: str, options: Sequence[str]) -> str:
    """Return which of `options` is meant by `said`, in `lineage.suites.wording`'s plain form.

    "" where none is, or more than one.
    """
    box = wording.boxed(said)
    if box and (found := _meant(box, tuple(options))):
        return found
    return _meant(wording.first_line(said), tuple(options))


def alike(options: Sequence[str]) -> str:
    """Return which two of `options` could not be told apart, or which is empty; "" where none."""
    seen: dict[str, str] = {}
    for option in options:
        form = wording.plain(option)
        if not form:
            return f"the choice {option!r} has no letters or digits: use the scorer 'exact'"
        if form in seen:
            return (
                f"the choices {seen[form]!r} and {option!r} are the same but for case, "
                "punctuation and articles: word one of them otherwise"
            )
        seen[form] = option
    return ""


def _meant(text: str, options: tuple[str, ...]) -> str:
    line = wording.written(text)
    told = wording.words(line)
    named = [m for m in _mentions(line, told, _keys(options)) if not _denied(told, m)]
    if not named:
        return ""
    at_start = named[0] if all(w.text in wording.ARTICLES for w in told[: named[0].first]) else None
    cued = _cued(line, told, named)
    listed = {
        mention
        for one, other in pairwise(named)
        if one.choice != other.choice and _listed(line, told, one, other)
        for mention in (one, other)
    }
    if cued is not None:
        goes_on = at_start and not _before_punctuation(line, told[at_start.after - 1])
        if at_start and at_start.choice != cued.choice and not goes_on:
            return ""
        return "" if cued in listed else cued.choice
    if at_start is not None:
        return "" if at_start in listed else at_start.choice
    left = {m.choice for m in named if not (m.first and told[m.first - 1].text in NOT)}
    return left.pop() if len(left) == 1 else ""


@lru_cache(maxsize=256)
def _keys(options: tuple[str, ...]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return the words of each choice, the longest first, by their first word."""
    keys: dict[str, list[tuple[str, ...]]] = {}
    for option in options:
        key = tuple(wording.plain(option).split())
        if key:
            keys.setdefault(key[0], []).append(key)
    return {first: tuple(sorted(each, key=len, reverse=True)) for first, each in keys.items()}


def _mentions(
    line: str, told: Sequence[Word], keys: dict[str, tuple[tuple[str, ...], ...]]
) -> Iterator[Mention]:
    """Yield what is named, in order; where choices overlap, the first and longest."""
    after = 0
    for first, word in enumerate(told):
        if first < after:
            continue
        for key in keys.get(word.text, ()):
            end = _end(told, first, key)
            if end and (len(key) > 1 or _is_choice(line, told, first)):
                yield Mention(" ".join(key), first, end)
                after = end
                break


def _end(told: Sequence[Word], first: int, key: tuple[str, ...]) -> int:
    """Return the word after `key` where it stands at `first`, articles in it aside; else 0."""
    at = first
    for n, part in enumerate(key):
        while n and at < len(told) and told[at].text in wording.ARTICLES and part != told[at].text:
            at += 1
        if at >= len(told) or told[at].text != part:
            return 0
        at += 1
    return at


def _denied(told: Sequence[Word], one: Mention) -> bool:
    """Whether a line says "B is wrong", "B isn't", or the like."""
    after = [word.text for word in told[one.after : one.after + 2]]
    return after[:1] == ["isnt"] or (len(after) > 1 and after[0] == "is" and after[1] in WRONG)


def _is_choice(line: str, told: Sequence[Word], at: int) -> bool:
    """Whether a word that is a choice stands for it, and is no article, pronoun or the like."""
    word = told[at]
    if word.text == "no":  # "there is no confounder"
        goes_on = at + 1 < len(told) and told[at + 1].text not in GOING_ON
        return not (goes_on and _goes_on(line, told, at) and not _before_punctuation(line, word))
    return len(word.text) > 1 or _is_letter(line, told, at)


def _is_letter(line: str, told: Sequence[Word], at: int) -> bool:
    """Whether a word of one sign is a choice, and no article, pronoun or the like."""
    word = told[at]
    if regex.match(r"[-‐‑]\p{L}", line, pos=word.end):
        return False  # A-level
    if not word.raw.isascii() or not word.raw.isalpha() or len(told) == 1:
        return True
    ends = _before_punctuation(line, word)
    before = told[at - 1].text if at else ""
    after = told[at + 1].text if at + 1 < len(told) else ""
    article = word.text in ("a", "i") and not ends and after not in GOING_ON
    if word.raw.isupper():
        return not article or before in NAMING or (word.text == "a" and _goes_on(line, told, at))
    named = not at or before in ("is", "be", "its") or _alone(line, word)
    return before in NAMING or (ends and named)


def _goes_on(line: str, told: Sequence[Word], at: int) -> bool:
    """Whether a sentence goes on before word `at`: a capital there is no article's."""
    return at > 0 and not regex.search(r"[.!?:;\"'(\[]", line[told[at - 1].end : told[at].start])


def _alone(line: str, word: Word) -> bool:
    """Whether a word stands in brackets, quotes or emphasis of its own."""
    around = line[word.start - 1 : word.start] + line[word.end : word.end + 1]
    return len(around) == 2 and not any(c.isspace() or c.isalnum() for c in around)


def _before_punctuation(line: str, word: Word) -> bool:
    """Whether punctuation, or the end of the line, follows a word: more than a space."""
    rest = line[word.end : word.end + 3].lstrip()
    return not rest or not (rest[0].isalnum() or rest[0] in "'$\\+")


def _cued(line: str, told: Sequence[Word], named: Sequence[Mention]) -> Mention | None:
    """Return the last mention that nothing but articles parts from a cue before it."""
    at = {mention.first: mention for mention in named}
    starts = [word.start for word in told]
    found = None
    for match in CUE.finditer(line):
        place = bisect_left(starts, match.end())
        while place not in at and place < len(told) and told[place].text in PASSED:
            place += 1
        found = at.get(place, found)
    return found


def _listed(line: str, told: Sequence[Word], one: Mention, other: Mention) -> bool:
    """Whether two choices are given one beside the other: "A or B", "A, B", "A/B"."""
    between = [w.text for w in told[one.after : other.first] if w.text not in wording.ARTICLES]
    if between:
        return len(between) == 1 and between[0] in OR
    return _before_punctuation(line, told[other.after - 1])
