"""Finding the answer in what a model wrote: values for blanks, or a statement."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lineage.suites.warehouse.conventions import BLANK

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)")
_WORD = re.compile(r"\w+")
_FENCE = re.compile(r"```(?:\w+[ \t]*\n|\s)?(.*?)(?:```|$)", re.DOTALL)
_ANSWER = re.compile(r"\s*ANSWER\b[:\s]*", re.IGNORECASE)


def fragments(completion: str, options: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """Return the values for the blanks that the first line of `completion` names, in order.

    `options` are each blank's possible values. Where a blank takes a number any number is one;
    else only a word among its options is. None where there are more or fewer values than blanks.
    """
    lines = completion.strip().splitlines()
    line = lines[0] if lines else ""
    words = {option.lower(): option for each in options for option in each if not _number(option)}
    found = [
        (m.start(), words[m[0].lower()]) for m in _WORD.finditer(line) if m[0].lower() in words
    ]
    if any(_number(each[0]) for each in options):
        found += [(match.start(), match[0]) for match in _NUMBER.finditer(line)]
    values = tuple(value for _, value in sorted(found))
    if len(options) == 1:
        values = tuple(dict.fromkeys(values))
    fits = len(values) == len(options) and all(
        _number(value) == _number(each[0]) for value, each in zip(values, options)
    )
    return values if fits else None


def filled(sql: str, values: Sequence[str]) -> str:
    """Return `sql` with its blanks replaced by `values`, in order."""
    for value in values:
        sql = sql.replace(BLANK, value, 1)
    return sql


def statement(action: str) -> tuple[str, bool]:
    """Return the SQL of `action`, and whether it is given as the answer ("ANSWER ...").

    SQL may stand in a ``` fence, with the word ANSWER inside or before it.
    """
    fence = _FENCE.search(action)
    before, inside = (action[: fence.start()], fence[1]) if fence else ("", action)
    final = _ANSWER.match(before) is not None
    if marked := _ANSWER.match(inside):
        inside, final = inside[marked.end() :], True
    return inside.strip(), final


def _number(option: str) -> bool:
    return _NUMBER.fullmatch(option) is not None
