"""Numbers in text: one grammar, read by one parser. Pure, exact, bounded in time.

    line    = { sum | anything else }
    sum     = product { ("+" | dash) product }
    product = signed { ("×" | "*" | "·" | "x" | "/" | "÷" | "\\times" | "\\cdot") signed }
    signed  = power with [ dash | "+" | "minus" | "negative" ] before it
    power   = figure [ ("^" | "**") [ dash | "+" ] figure | superscript ]
    figure  = [ currency ] literal { scale } [ "%" | "percent" | "per cent" ] [ currency ]
            | literal " " literal "/" literal | ½ and its kin
            | "(" sum ")" | "{" sum "}" | "\\frac{" sum "}{" sum "}"
    literal = digits [ ("." | ",") digits ] [ "e" [ dash | "+" ] digits ]
    scale   = hundred | thousand | million | billion | trillion; directly after an amount of money
              also k, m, mn, bn, b, t

A dash is any of Unicode's. It is a sign where its figure follows directly and neither a word nor a
figure stands directly before it, or after "=" and the like; between spaces it takes away from a
figure, and is punctuation after anything else. "Minus" after a figure is no sign. Other operators
have a space on both sides or none.

Digits may stand in groups of three, parted by commas, dots, apostrophes, underscores or any space
("1,23,456" too). "1,234" and "1 234" are groups; "1.234", "3,14" and "0,125" have a decimal sign.

No numbers are: words (H2O, m²), dates and times, ratios, ranges (3/4/2023, 12:30, 3:2, 5-10),
versions (1.2.3), lists without spaces (1,2,3), roots, multiples of π, what follows ±. Units are
words. A line without digits is a number where it says no more than a cardinal in English words.

Not `math-verify`: it brings sympy and antlr, bounds its time by an alarm, which the main thread
alone may set, and looks for formulas. Not `word2number`: unmaintained since 2017, words only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal

import regex

from lineage.suites.cardinals import SCALES, cardinal
from lineage.suites.figures import EXPONENT, value_of
from lineage.suites.tokens import BRACKETS, Tokens

DIGITS = 60
"""Significant digits of what arithmetic gives; a literal keeps all of its own."""
SHORT_SCALES = {"k": 3, "m": 6, "mn": 6, "b": 9, "bn": 9, "t": 12}
EQUALS = frozenset("=≈≃≅≤≥<>(~:")
NEVER = frozenset({"π", "pi", "√", "∞"})
"""After a figure they make it something else."""

CONTEXT = Context(prec=DIGITS, traps=[])
HUNDREDTH = Decimal("0.01")


@dataclass(frozen=True)
class Number:
    """A number as it was written: of 50% `value` is 50, and `percent` true."""

    value: Decimal
    percent: bool = False


def numbers(line: str) -> list[Number]:
    """Return the numbers that `line` holds, in order."""
    tokens = Tokens(line)
    if "number" in tokens.kinds or "junk" in tokens.kinds:
        return [found for found, _ in _sums(tokens)]
    said = cardinal(line)
    return [] if said is None else [Number(Decimal(said))]


def number(text: str) -> Number | None:
    """Return the number that `text` is, None where it is none, or is more than one."""
    tokens = Tokens(regex.sub(r"^\$(.*)\$$", r"\1", text.strip(), flags=regex.DOTALL).rstrip(". "))
    found = _sum(tokens, 0, spaced=True)
    if found and found[1] == len(tokens.kinds):
        return found[0] if found[0].value.is_finite() else None
    said = None if "number" in tokens.kinds else cardinal(text)
    return None if said is None else Number(Decimal(said))


def literal(text: str) -> Decimal | None:
    """Return the value of a cell of a table: a figure with a sign or a currency, and no more."""
    tokens = Tokens(text)
    at = len(tokens.kinds) - 1
    before = sorted(tokens.words[n] for n in range(at) if tokens.kinds[n] != "currency")
    if tokens.kind(at) != "number" or before not in ([], ["-"], ["+"]):
        return None
    value = value_of(tokens.word(at))
    return value.copy_negate() if value is not None and before == ["-"] else value


def close(one: Number, other: Number, absolute: Decimal, relative: Decimal) -> bool:
    """Whether `one` is `other`, within `absolute` or the share `relative` of `other`.

    A percentage is what is written, and the hundredth part of it: 50% is 50, and is 0.5.
    """
    if near(one.value, other.value, absolute, relative):
        return True
    if one.percent == other.percent:
        return False
    return near(_plain(one), _plain(other), absolute, relative)


def near(value: Decimal, right: Decimal, absolute: Decimal, relative: Decimal) -> bool:
    """Whether `value` is `right`, within `absolute` or the share `relative` of `right`."""
    allowed = max(absolute, CONTEXT.multiply(right.copy_abs(), relative))
    return value == right or CONTEXT.subtract(value, right).copy_abs() <= allowed


Found = tuple[Number, int]
"""A number, and the token after it."""
Part = Callable[[Tokens, int, bool], Found | None]
Work = Callable[[Decimal, Decimal], Decimal]
SUMS: dict[str, Work] = {"+": CONTEXT.add, "-": CONTEXT.subtract}
SIGNS = {"+": "+", "-": "-", "minus": "-", "negative": "-"}
PRODUCTS: dict[str, Work] = {"*": CONTEXT.multiply, "/": CONTEXT.divide}


def _sums(tokens: Tokens) -> Iterator[Found]:
    """Yield each longest sum of a line that is a number."""
    at = 0
    while at < len(tokens.kinds):
        hidden = tokens.word(at) in ("√", "±", "+/-")
        found = _sum(tokens, at + hidden)
        if found is None:
            at += 1
            continue
        if found[0].value.is_finite() and not hidden:
            yield found
        at = found[1]


def _sum(tokens: Tokens, at: int, spaced: bool = False) -> Found | None:
    return _chain(tokens, at, spaced, _product, SUMS)


def _product(tokens: Tokens, at: int, spaced: bool = False) -> Found | None:
    return _chain(tokens, at, spaced, _signed, PRODUCTS)


def _chain(
    tokens: Tokens, at: int, spaced: bool, part: Part, works: Mapping[str, Work]
) -> Found | None:
    """Return the longest chain of parts from `at` on, worked out from left to right."""
    left = part(tokens, at, spaced)
    while left and (sign := tokens.word(left[1])) in works and tokens.even(left[1]):
        right = part(tokens, left[1] + 1, False)
        if right is None:
            break
        left = Number(works[sign](_plain(left[0]), _plain(right[0]))), right[1]
    return left


def _signed(tokens: Tokens, at: int, spaced: bool = False) -> Found | None:
    """Return a figure with its sign and its power; `spaced`: a space may stand between."""
    sign = SIGNS.get(tokens.word(at), "")
    if sign and not (spaced or _is_sign(tokens, at)):
        return None
    found = _figure(tokens, at + bool(sign))
    if found is None:
        return None
    base, end = found
    while tokens.word(end) == "^" or (tokens.word(end) == "**" and tokens.even(end)):
        minus = tokens.word(end + 1) == "-"
        exponent = _figure(tokens, end + 1 + (minus or tokens.word(end + 1) == "+"))
        if exponent is None and tokens.word(end) == "**":
            break
        # Powers of powers are no numbers either.
        plain = _plain(exponent[0]) if exponent and end == found[1] else Decimal("NaN")
        base = Number(_power(_plain(base), plain.copy_negate() if minus else plain))
        end = exponent[1] if exponent else end + 1
    return (Number(base.value.copy_negate(), base.percent) if sign == "-" else base), end


def _is_sign(tokens: Tokens, at: int) -> bool:
    """Whether the dash or plus at `at` belongs to the figure after it."""
    before = tokens.kind(at - 1)
    if tokens.kind(at) == "word":
        # As in "7 minus 5", "plus or minus 5" and "a non-negative 5".
        ended = before in ("number", "currency") or tokens.word(at - 1) in (")", "}", "]", "%")
        joined = tokens.word(at - 1) == "-" and not tokens.spaced[at]
        return not (ended or joined or tokens.word(at - 1) == "or")
    if tokens.spaced[at + 1]:
        return before == "sign" and tokens.word(at - 1) in EQUALS
    joined = before in ("number", "junk", "word") or tokens.word(at - 1) in (")", "}", "]", "%")
    return tokens.spaced[at] or not joined


def _figure(tokens: Tokens, at: int) -> Found | None:
    word = tokens.word(at)
    if word == r"\frac":
        return _fraction(tokens, at + 1)
    if word in BRACKETS:
        found = _sum(tokens, at + 1) if at in tokens.closing else None
        closed = found and found[1] == tokens.closing[at]
        return _whole(tokens, found[0], found[1] + 1) if found and closed else None
    money = tokens.kind(at) == "currency"
    at += money
    negative = money and tokens.word(at) == "-" and not tokens.spaced[at + 1]
    at += negative
    if tokens.kind(at) != "number":
        return None
    value = value_of(tokens.word(at))
    if value is None:
        return Number(Decimal("NaN")), at + 1
    value, at = _mixed(tokens, value, at)
    while tokens.word(at).removesuffix("s") in SCALES:
        value = CONTEXT.scaleb(value, SCALES[tokens.word(at).removesuffix("s")])
        at += 1
    if money and tokens.word(at) in SHORT_SCALES and not tokens.spaced[at]:
        value = CONTEXT.scaleb(value, SHORT_SCALES[tokens.word(at)])
        at += 1
    return _whole(tokens, Number(value.copy_negate() if negative else value), at)


def _whole(tokens: Tokens, found: Number, at: int) -> Found:
    """Return a figure with what may stand after it."""
    if tokens.word(at) in ("%", "percent", "pct"):
        return Number(_plain(found), True), at + 1
    if tokens.word(at) == "per" and tokens.word(at + 1) == "cent":
        return Number(_plain(found), True), at + 2
    if tokens.word(at) in NEVER:
        return Number(Decimal("NaN")), at
    if tokens.kind(at) == "currency" and tokens.kind(at + 1) != "number":
        return found, at + 1
    return found, at


def _mixed(tokens: Tokens, value: Decimal, at: int) -> tuple[Decimal, int]:
    """Return a literal, with the fraction that follows it: 2 1/2."""
    tight = not tokens.spaced[min(at + 2, len(tokens.kinds))]
    tight = tight and not tokens.spaced[min(at + 3, len(tokens.kinds))]
    kinds = (tokens.kind(at + 1), tokens.word(at + 2), tokens.kind(at + 3))
    if kinds == ("number", "/", "number") and tight and tokens.word(at).isdigit():
        above, below = value_of(tokens.word(at + 1)), value_of(tokens.word(at + 3))
        if above is not None and below is not None and above < below:
            return CONTEXT.add(value, CONTEXT.divide(above, below)), at + 4
    return value, at + 1


def _fraction(tokens: Tokens, at: int) -> Found | None:
    above = _figure(tokens, at) if tokens.word(at) == "{" else None
    below = _figure(tokens, above[1]) if above and tokens.word(above[1]) == "{" else None
    if above is None or below is None:
        return None
    return _whole(tokens, Number(CONTEXT.divide(_plain(above[0]), _plain(below[0]))), below[1])


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    if not exponent.is_finite() or exponent.adjusted() >= EXPONENT:
        return Decimal("NaN")
    return CONTEXT.power(base, exponent)


def _plain(found: Number) -> Decimal:
    return CONTEXT.multiply(found.value, HUNDREDTH) if found.percent else found.value
