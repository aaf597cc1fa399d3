"""Figures as they are written: groups of digits, decimal signs, superscripts. Pure."""

from __future__ import annotations

import unicodedata
from decimal import Decimal

import regex

EXPONENT = 6
"""Most digits of an exponent: what has more is no number."""
DASHES = "-‐‑‒–—―−﹘﹣－"
DASH = rf"[{DASHES}]"
SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"


def folded(line: str) -> str:
    """Return `line` in Unicode's compatible form (NFKC), with 10³ as 10^{3} and 2½ as 2 1⁄2."""
    parts = []
    for text in regex.split(rf"([{SUPERSCRIPTS}]+|[¼-¾⅐-⅞↉])", line):
        form = unicodedata.normalize("NFKC", text)
        if text and text[0] in SUPERSCRIPTS:
            form = f"^{{{form}}}"
        elif len(text) == 1 and "fraction" in unicodedata.decomposition(text):
            form = f" {form}"
        parts.append(form)
    return "".join(c for c in "".join(parts) if unicodedata.category(c) != "Cf")


def value_of(text: str) -> Decimal | None:
    """Return the value of a literal, None where it is unclear."""
    digits, _, exponent = text.casefold().partition("e")
    exponent = "".join("-" if c in DASHES else c for c in exponent)
    plain = ungrouped(digits)
    if plain is None or len(exponent.lstrip("+-")) > EXPONENT:
        return None
    return Decimal(f"{plain}e{exponent}" if exponent else plain)


def ungrouped(digits: str) -> str | None:
    """Return digits without their groups and with a point, None where they are no number."""
    whole, point, rest = digits, "", ""
    signs = [c for c in digits if not c.isdigit()]
    last = signs[-1] if signs else ""
    if last in (".", ",") and signs.count(last) == 1:
        before, _, after = digits.rpartition(last)
        grouped = last == "," and len(signs) == 1 and len(after) == 3
        if not (grouped and 0 < len(before) < 4 and before[0] != "0"):
            whole, point, rest = before, ".", after
    marks = {c for c in whole if not c.isdigit()}
    if marks:
        first, *groups = regex.split(r"\D", whole)
        sizes = [len(group) for group in groups]
        indian = marks == {","} and sizes[-1] == 3 and all(n == 2 for n in sizes[:-1])
        if len(marks) > 1 or not (indian or set(sizes) == {3}) or len(first) > 3:
            return None
        whole = "".join((first, *groups))
    return f"{whole or 0}{point}{rest}"
