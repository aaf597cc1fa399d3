"""Scorers of answers, by name: pure functions of the right answers and a completion.

    exact       the completion is a right answer, to the letter
    normalised  the same words, but for case, punctuation and articles
    contains    the words of a right answer stand in the completion
    recall      share of the answers whose words stand in the completion
    f1          F1 of the words, the best over the right answers
    numeric     the last number of the first line, within `absolute` or `relative` tolerance
    choice      the one of `choices` that is meant
    regex       `pattern`, or each answer as one, matches somewhere
    result      rows of values, compared without order
    judge       a model version says whether the answer means the same

What words are says `lineage.suites.wording`, what numbers are `lineage.suites.numbers`, which
choice is meant `lineage.suites.choices`. The rules of public benchmarks are scorers too, see
`lineage.suites.published`. An empty completion is never right, but for a pattern that allows it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from lineage.core.tasks import Referral
from lineage.suites import choices, matching, numbers, published, wording
from lineage.suites.options import CLOSE
from lineage.suites.options import check as check_options

Options = Mapping[str, Any]
SECONDS = 0.5
"""Longest that a regular expression may search."""
LONGEST = 20_000
"""Characters of a completion that are looked at."""
SHOWN = 40
"""Characters of a pattern that an error quotes."""
TIMES = 10_000
"""Most repetitions that a pattern asks for at least."""
REPEATED = re.compile(r"\{\s*(\d+)")
RECURSION = re.compile(r"\(\?(?:R\)|\d+\)|&)")


def score(
    name: str, options: Options, answers: Sequence[str], prompt: str, completion: str
) -> float | Referral:
    """Return the score of `completion` in [0, 1]: the best over the right `answers`.

    The scorer `judge` refers to another version. Raises KeyError for an unknown name. Options and
    answers are as `check` wants them.
    """
    shown = completion[:LONGEST]
    if name in published.RULES:
        return published.score(name, options, answers, shown)
    said = shown.strip()
    if name == "judge":
        return judge(options, answers, prompt, said)
    if not said and name != "regex":
        return 0.0
    if name == "recall":
        return recall(options, answers, said)
    return max((SCORERS[name](options, answer, said) for answer in answers), default=0.0)


def check(name: str, options: Options, answers: Sequence[str]) -> str:
    """Return what is wrong with a scorer's options or answers, "" where nothing is."""
    if bad := check_options(name, options):
        return bad
    wrong = next((answer for answer in answers if not _usable(name, answer)), None)
    if wrong is not None:
        return NEEDS[name].format(wrong)
    if not all(answer.strip() for answer in answers):
        return "one of the answers is empty, and would be right for an empty reply: leave it out"
    if name in published.RULES:
        return published.check(name, options, answers)
    if name == "choice":
        return _bad_choices(options["choices"], answers)
    if name == "regex":
        return _bad_pattern(options.get("pattern"), answers)
    return ""


def exact(options: Options, answer: str, said: str) -> float:
    """1.0 where the completion is the answer, in the same characters (NFC)."""
    return float(unicodedata.normalize("NFC", said) == unicodedata.normalize("NFC", answer.strip()))


def normalised(options: Options, answer: str, said: str) -> float:
    """1.0 where both are the same words."""
    return float(wording.same(said, answer))


def contains(options: Options, answer: str, said: str) -> float:
    """1.0 where the words of the answer stand in the completion, one after another."""
    return float(wording.holds(said, answer))


def recall(options: Options, answers: Sequence[str], said: str) -> float:
    """Share of `answers` that the completion holds; with `whole`, 1.0 for all and 0.0 for less."""
    held = sum(wording.holds(said, answer) for answer in answers) / max(len(answers), 1)
    return float(held == 1.0) if options.get("whole", False) else held


def numeric(options: Options, answer: str, said: str) -> float:
    """1.0 where the last number of the first line is the answer, within a tolerance.

    The last one: a calculation ends with its result. Where there is a \boxed{...}, of that.
    """
    right = numbers.number(answer)
    told = numbers.numbers(wording.boxed(said)) or numbers.numbers(wording.first_line(said))
    if not told or right is None:
        return 0.0
    absolute, relative = (Decimal(str(options.get(key, 0))) for key in ("absolute", "relative"))
    return float(numbers.close(told[-1], right, absolute, relative))


def f1(options: Options, answer: str, said: str) -> float:
    """Harmonic mean of the shares of common words in completion and answer (SQuAD)."""
    mine, right = (wording.without_articles(text).split() for text in (said, answer))
    share = published.overlap(mine, right)
    if not share:
        return float(mine == right and bool(wording.bare(said) or wording.same(said, answer)))
    return share


def choice(options: Options, answer: str, said: str) -> float:
    """1.0 where the answer is the one of `choices` that is meant."""
    return float(choices.meant(said, options["choices"]) == wording.plain(answer) != "")


def matches(options: Options, answer: str, said: str) -> float:
    """1.0 where the pattern (the option, else the answer) matches somewhere in time."""
    import regex

    try:
        found = regex.search(options.get("pattern") or answer, said, timeout=SECONDS)
    except (TimeoutError, regex.error, RecursionError):
        return 0.0
    return float(found is not None)


def result(options: Options, answer: str, said: str) -> float:
    """1.0 where the completion holds the same rows: as JSON, as a table, or as CSV.

    Numbers are compared within the `relative` tolerance, rows without order unless `ordered`.
    """
    mine, right = matching.rows_of(said), matching.rows_of(answer)
    if mine is None or right is None or len(mine) != len(right):
        return 0.0
    tolerance = Decimal(str(options.get("relative", CLOSE)))
    if options.get("ordered", False):
        pairs = zip(mine, right, strict=True)
        return float(all(matching.same_row(a, b, tolerance) for a, b in pairs))
    rows = matching.in_order(mine), matching.in_order(right)
    return float(matching.same_rows(*rows, lambda a, b: matching.same_row(a, b, tolerance)))


def judge(options: Options, answers: Sequence[str], prompt: str, said: str) -> Referral:
    """Return the question to a judge; what a model wrote is escaped and on one line."""
    shown = " ".join(said.replace("&", "&amp;").replace("<", "&lt;").split())
    right = " or ".join(answers)
    asked = f"Question: {prompt}\nRight answer: {right}\n<answer>\n{shown}\n</answer>\nIs it right?"
    return Referral(str(options["version"]), asked)


SCORERS: dict[str, Callable[[Options, str, str], float]] = {
    "exact": exact,
    "normalised": normalised,
    "numeric": numeric,
    "f1": f1,
    "contains": contains,
    "choice": choice,
    "regex": matches,
    "result": result,
}
WORDS = "the answer {0!r} has no letters or digits, which this scorer compares: use 'exact'"
NEEDS = {
    **dict.fromkeys(("normalised", "contains", "recall", "f1"), WORDS),
    "numeric": "scorer 'numeric' needs an answer that is a number, and {0!r} is none",
    "result": "scorer 'result' needs answers that are JSON lists of rows, and {0!r} is none",
}
"""What to say of an answer that a scorer could never find, or would find everywhere."""


def _usable(name: str, answer: str) -> bool:
    if name == "numeric":
        return numbers.number(answer) is not None
    if name == "result":
        return matching.rows_of(answer) is not None
    return name not in NEEDS or not answer.strip() or bool(wording.bare(answer))


def _bad_choices(given: Sequence[str], answers: Sequence[str]) -> str:
    if wrong := choices.alike(given):
        return wrong
    known = {wording.plain(option) for option in given}
    missing = next((answer for answer in answers if wording.plain(answer) not in known), None)
    return "" if missing is None else f"the answer {missing!r} is not among the choices"


def _bad_pattern(pattern: object, answers: Sequence[str]) -> str:
    import regex

    for each in map(str, [pattern] if pattern is not None else answers):
        start = each if len(each) <= SHOWN else f"{each[:SHOWN]}..."
        if RECURSION.search(each):
            return f"the regular expression {start!r} calls itself, and could search for ever"
        if _times(each) > TIMES:
            return f"the regular expression {start!r} repeats a part more than {TIMES} times"
        try:
            regex.compile(each)
        except RecursionError:
            return f"the regular expression {start!r} has too many brackets in brackets"
        except (regex.error, OverflowError, MemoryError) as error:
            return f"{start!r} is no regular expression: {error}"
    return ""


def _times(pattern: str) -> int:
    """Return how often repetitions within each other repeat a part at least, or more.

    `regex` writes them out when it compiles, for which no time limit holds.
    """
    # More digits are more than enough, and int() takes only so many.
    return math.prod(max(int(count[:9]), 1) for count in REPEATED.findall(pattern))
