"""Scorers of answers, by name: pure functions of the right answers and a completion.

    exact       the completion is a right answer, to the letter
    normalised  the same without case, punctuation and articles (SQuAD, Rajpurkar et al. 2016)
    numeric     the last number of the first line, within `absolute` or `relative` tolerance
    f1          token F1 after that normalisation, the best over the right answers (SQuAD)
    contains    a right answer, normalised, is part of the completion, normalised
    recall      share of the answers that are part of the completion, but for case
    choice      the only one of `choices` that the first line names
    regex       `pattern`, or each answer as one, matches somewhere
    result      rows of values, compared without order
    judge       a model version says whether the answer means the same
"""

from __future__ import annotations

import csv
import json
import math
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lineage.suites.matching import same_rows
from lineage.tasks import Referral

Options = Mapping[str, Any]
NUMBER = re.compile(r"[-+−]?\$?\s?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
ARTICLES = re.compile(r"\b(a|an|the)\b")
SECONDS = 0.5
"""Longest that a regular expression may search."""
LONGEST = 20_000
"""Characters of a completion that are looked at."""


def score(
    name: str, options: Options, answers: Sequence[str], prompt: str, completion: str
) -> float | Referral:
    """Return the score of `completion` in [0, 1]: the best over the right `answers`.

    The scorer `judge` refers to another version. Raises KeyError for an unknown name.
    """
    said = completion[:LONGEST].strip()
    if name == "judge":
        return judge(options, answers, prompt, said)
    if name == "recall":
        return recall(options, answers, said)
    return max(SCORERS[name](options, answer, said) for answer in answers)


def check(name: str, options: Options, answers: Sequence[str]) -> str:
    """Return what is wrong with a scorer's options or answers, "" where nothing is."""
    unknown = options.keys() - OPTIONS[name]
    if unknown:
        known = ", ".join(sorted(OPTIONS[name])) or "none"
        return f"scorer {name!r} has no option {min(unknown)!r} (it has {known})"
    if name == "numeric" and not all(math.isfinite(_number(answer)) for answer in answers):
        return "scorer 'numeric' needs an answer that is a number"
    if name == "choice":
        choices = options.get("choices")
        if not isinstance(choices, list) or not all(isinstance(c, str) and c for c in choices):
            return "scorer 'choice' needs the option 'choices', a list of texts"
        if not all(plain(answer) in map(plain, choices) for answer in answers):
            return f"the answer {answers[0]!r} is not among the choices"
    if name == "judge" and not isinstance(options.get("version"), str):
        return "scorer 'judge' needs the option 'version', the name of a model version"
    if name == "regex":
        return _bad_pattern(options.get("pattern"), answers)
    if name == "result" and any(_rows(answer) is None for answer in answers):
        return "scorer 'result' needs answers that are JSON lists of rows"
    return ""


def plain(text: str) -> str:
    """Return `text` after `without_articles`, or with them where nothing else is said: "A"."""
    return without_articles(text) or bare(text)


def without_articles(text: str) -> str:
    """Return `text` in lower case without punctuation, articles and extra space (SQuAD)."""
    return " ".join(ARTICLES.sub(" ", bare(text)).split())


def bare(text: str) -> str:
    """Return `text` in lower case without punctuation and extra space."""
    return " ".join("".join(c for c in text.lower() if c not in string.punctuation).split())


def exact(options: Options, answer: str, said: str) -> float:
    """1.0 where the completion is the answer."""
    return float(said == answer.strip())


def normalised(options: Options, answer: str, said: str) -> float:
    """1.0 where both are the same text after `plain`."""
    return float(plain(said) == plain(answer))


def contains(options: Options, answer: str, said: str) -> float:
    """1.0 where the answer is part of the completion, both after `plain`."""
    return float(_holds(said, answer))


def recall(options: Options, answers: Sequence[str], said: str) -> float:
    """Share of `answers` that the completion holds; with `whole`, 1.0 for all and 0.0 for less."""
    held = sum(answer.lower() in said.lower() for answer in answers) / len(answers)
    return float(held == 1.0) if options.get("whole", False) else held


def numeric(options: Options, answer: str, said: str) -> float:
    """1.0 where the last number of the first line is the answer, within a tolerance.

    The last one: a calculation ends with its result. Commas and $ do not count.
    """
    found = NUMBER.findall(said.split("\n", 1)[0])
    if not found:
        return 0.0
    value, right = _number(found[-1]), _number(answer)
    allowed = max(float(options.get("absolute", 0)), abs(right) * float(options.get("relative", 0)))
    return float(abs(value - right) <= allowed)


def f1(options: Options, answer: str, said: str) -> float:
    """Harmonic mean of the shares of common tokens in completion and answer (SQuAD)."""
    mine, right = without_articles(said).split(), without_articles(answer).split()
    common = sum((Counter(mine) & Counter(right)).values())
    if not common:
        return float(mine == right)
    return 2 * common / (len(mine) + len(right))


def choice(options: Options, answer: str, said: str) -> float:
    """1.0 where the first line names the answer and no other choice."""
    line = said.split("\n", 1)[0]
    named = {plain(option) for option in options["choices"] if _names(line, option)}
    # "not applicable" holds "applicable": of nested choices the longest is meant.
    meant = {
        one
        for one in named
        if not any(one != other and f" {one} " in f" {other} " for other in named)
    }
    return float(meant == {plain(answer)})


def _names(line: str, option: str) -> bool:
    if not without_articles(option):
        # The letter A, and no article: as it is written.
        return bool(re.search(rf"(?<!\w){re.escape(option.strip())}(?!\w)", line))
    return _holds(line, option)


def _holds(said: str, words: str) -> bool:
    """Whether `words` are part of `said`, both after `plain`; an article counts as such."""
    shown = plain(said) if without_articles(words) else bare(said)
    return f" {plain(words)} " in f" {shown} "


def matches(options: Options, answer: str, said: str) -> float:
    """1.0 where the pattern (the option, else the answer) matches somewhere in time."""
    import regex

    try:
        found = regex.search(options.get("pattern") or answer, said, timeout=SECONDS)
    except TimeoutError:
        return 0.0
    return float(found is not None)


def result(options: Options, answer: str, said: str) -> float:
    """1.0 where the completion holds the same rows: as JSON, as a table, or as CSV.

    Numbers are compared within the `relative` tolerance, rows without order unless `ordered`.
    """
    mine, right = _rows(said), _rows(answer)
    if mine is None or right is None or len(mine) != len(right):
        return 0.0
    tolerance = float(options.get("relative", 1e-6))
    if options.get("ordered", False):
        return float(all(_same(a, b, tolerance) for a, b in zip(mine, right, strict=True)))
    return float(same_rows(mine, right, lambda a, b: _same(a, b, tolerance)))


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
OPTIONS: dict[str, frozenset[str]] = {
    **dict.fromkeys(SCORERS, frozenset[str]()),
    "numeric": frozenset({"absolute", "relative"}),
    "choice": frozenset({"choices"}),
    "regex": frozenset({"pattern"}),
    "result": frozenset({"relative", "ordered"}),
    "judge": frozenset({"version"}),
    "recall": frozenset({"whole"}),
}


def _number(text: str) -> float:
    try:
        return float(text.replace(",", "").replace("$", "").replace("−", "-").replace(" ", ""))
    except ValueError:
        return math.nan


def _bad_pattern(pattern: object, answers: Sequence[str]) -> str:
    import regex

    for each in [pattern] if pattern is not None else answers:
        try:
            regex.compile(str(each))
        except regex.error as error:
            return f"{each!r} is no regular expression: {error}"
    return ""


def _rows(text: str) -> list[list[str]] | None:
    """Return rows of values from JSON, a Markdown table or CSV; None where it is none."""
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        lines = [line.strip().strip("|") for line in text.strip().splitlines() if line.strip()]
        mark = "|" if any("|" in line for line in lines) else ","
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=mark)]
        # The rule below a Markdown table's head, and the head.
        rule = next((n for n, row in enumerate(rows) if set("".join(row)) <= set("-: ")), None)
        return rows[rule + 1 :] if rule is not None else rows or None
    if not isinstance(found, list):
        return [[_cell(found)]]
    return [[_cell(v) for v in row] if isinstance(row, list) else [_cell(row)] for row in found]


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _same(a: Sequence[str], b: Sequence[str], tolerance: float) -> bool:
    return len(a) == len(b) and all(
        x == y or math.isclose(_number(x), _number(y), rel_tol=tolerance, abs_tol=tolerance)
        for x, y in zip(a, b)
    )
