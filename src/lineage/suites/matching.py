"""Rows of values: read from text, and whether two lists hold the same ones in any order. Pure."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import regex

from lineage.suites.numbers import literal, near

Row = TypeVar("Row")
FENCED = regex.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)(?:\n[ \t]*\1|\Z)", regex.M | regex.S)
NOISE = Decimal("1e-12")
"""What arithmetic on floats leaves of a nought."""
RULE = frozenset("-: ")
"""What the line below a Markdown table's head is made of."""


@dataclass(frozen=True)
class Cell:
    """A value as text, and as a number where it is one."""

    text: str
    value: Decimal | None


def same_rows(
    given: Sequence[Row], reference: Sequence[Row], equal: Callable[[Row, Row], bool]
) -> bool:
    """Whether each row of `reference` is `equal` to one of `given` of its own, and none is left."""
    left = list(given)
    for row in reference:
        # Not by sorting: numbers that are equal within a tolerance may sort either way.
        place = next((i for i, other in enumerate(left) if equal(other, row)), None)
        if place is None:
            return False
        del left[place]
    return not left


def in_order(rows: Sequence[Sequence[Cell]]) -> list[Sequence[Cell]]:
    """Return `rows` sorted, so that `same_rows` finds nearly all of them at once."""
    return sorted(rows, key=lambda row: [(c.value is None, c.value or 0, c.text) for c in row])


def same_row(a: Sequence[Cell], b: Sequence[Cell], tolerance: Decimal) -> bool:
    """Whether two rows hold the same values: numbers within the relative `tolerance`."""
    return len(a) == len(b) and all(_same(x, y, tolerance) for x, y in zip(a, b))


def _same(a: Cell, b: Cell, tolerance: Decimal) -> bool:
    if a.value is None or b.value is None:
        return a.text == b.text
    return near(a.value, b.value, NOISE, tolerance)


def rows_of(text: str) -> list[list[Cell]] | None:
    """Return the rows of values in `text`: JSON, a Markdown table or CSV; None where it is none.

    In a code fence where there is one; else all of the text, or the JSON list that it ends with.
    """
    fenced = FENCED.search(text)
    text = fenced[2] if fenced else text
    try:
        found = _json(text)
    except (ValueError, RecursionError):
        start = text.find("[")
        try:
            found = _json(text[start:].rstrip(" .\n")) if start > 0 else _table(text)
        except (ValueError, RecursionError):
            found = _table(text)
    if found is None:
        return None
    if not isinstance(found, list):
        return [[_cell(found)]]
    return [[_cell(v) for v in row] if isinstance(row, list) else [_cell(row)] for row in found]


def _json(text: str) -> Any:
    # As texts: a whole number of more than 4,300 digits is an error otherwise.
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


def _table(text: str) -> list[list[str]] | None:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    mark = "|" if any("|" in line for line in lines) else ","
    if mark == "|":
        lines = [line.removeprefix("|").removesuffix("|") for line in lines]
    try:
        read = csv.reader(lines, delimiter=mark, skipinitialspace=True)
        rows = [[cell.strip() for cell in row] for row in read]
    except csv.Error:
        return None
    # Below the head of a Markdown table is a rule.
    rules = (n for n, row in enumerate(rows) if mark == "|" and {"-"} <= set("".join(row)) <= RULE)
    rule = next(rules, None)
    return rows[rule + 1 :] if rule is not None else rows or None


def _cell(value: object) -> Cell:
    text = "" if value is None else str(value)
    return Cell(text.lower() if text in ("True", "False") else text, literal(text))
