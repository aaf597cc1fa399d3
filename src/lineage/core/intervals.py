"""Intervals over pairs, paired differences and stars, pure. Every mean comes with such an interval.

One method serves all figures: a test of a value, turned round. An interval holds the values that a
two-sided t test over the n pairs does not refuse, where the spread of a pair is that of the value
tested, up to a factor d. With y the mean of the figure on a scale from 0 to 1, and s² its variance
over pairs, these are the v with

    (y - v)² <= t² d v (1 - v) / n,    d = (n s² + k) / (n y (1 - y) + k / d0)

and t the quantile of Student's t with n - 1 degrees of freedom: the score interval of Wilson 1927
with a design effect d (Kish 1965), which surveys use for shares over few clusters (Korn and
Graubard 1998; Franco, Little, Louis and Slud 2019, "Comparative Study of Confidence Intervals for
Proportions in Complex Sample Surveys"). It stays in the range of the figure, has more room on the
side where there is more, and in the middle of the range is Student's interval. k (`PRIOR`) and d0
(`ASSUMED`) are what is known before any pair was seen. Thereby pairs that are all equal have an
interval too, into which that of nearly equal pairs goes over: six scores of 1.00 have [0.64, 1.00],
where 0.61 is what six pairs, each all right or all wrong, would refuse at 5%. It is not exact over
probes, which are not independent within a pair.

Scores, other shares (`SHARE`) and paired gains (`DIFFERENCE`) have this interval. Figures that
nothing bounds above (tokens, rewards) have Student's: amounts (`AMOUNT`) with a spread of their own
too (`PRIOR_AMOUNT`), all others (`FREE`) with none, so that these have no bounds where all pairs
are equal. The ratio
of two gains, or of two amounts, has that of Fieller 1954, which turns round the same test, of
a - v b; the share of a part in its whole is linearised over pairs (Kish 1965), and then a `SHARE`.

`benchmarks/coverage.py` measures how often these hold the truth, and what else was tried does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Range:
    """Which values a figure can have; None where nothing bounds them."""

    low: float | None = None
    high: float | None = None


SHARE = Range(0.0, 1.0)
"""A score, or another share. Of ratios: of a part in its whole."""
DIFFERENCE = Range(-1.0, 1.0)
"""Of two shares: a gain. Of ratios: of two gains over one baseline."""
AMOUNT = Range(0.0)
"""Tokens, seconds, generations. Of ratios: of two amounts."""
FREE = Range()
"""A reward, or a difference of amounts."""
PRIOR = 0.008
"""Sum of squares over pairs that a share is given beside its own; a difference has that of two. By
measurement: with none, intervals of scores near 0 or 1 hold the truth in 85 to 88 of 100 at 24
pairs that are much alike within; with 0.02, those in the middle of the range do in 98 at 6."""
PRIOR_AMOUNT = 0.004
"""Sum of squares that an amount is given beside its own, as a share of its squared mean: as if one
pair were 6% off. By measurement: token counts take few values, and without it those experiments
that miss a rare one make intervals of the tokens that are kept hold the truth in 80 of 100."""
ASSUMED = 0.5
"""Factor d of pairs that show no spread: between pairs that are all right or all wrong, 1, and
pairs of 16 independent probes, 1/16. With 1 a gain of 1.00 in each of six pairs earns no star."""
MIN_STARRED = 5
"""Pairs that a star needs: of fewer, all of one sign would be so by chance in one of 8 or more."""
EQUAL = 1e-12
"""Share of its mean below which the spread of a figure is that of rounding."""
CORRECTIONS = ("none", "holm", "bh")
"""How stars of one table allow for there being many; see `stars`."""


@dataclass(frozen=True)
class Interval:
    """A mean over `n` pairs and its bounds; None where the pairs give none.

    `p` is that of the test that the bounds turn round, of the mean being 0; None where there are no
    bounds, or where 0 is the end of the range.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    p: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether the bounds lie on one side of 0."""
        return excludes_zero(self.low, self.high)


@dataclass(frozen=True)
class Bounds:
    """Bounds and p of several cells, an array each; NaN where a cell has none."""

    low: Numbers
    high: Numbers
    p: Numbers

    @classmethod
    def none(cls, cells: int) -> Bounds:
        """Return the bounds of `cells` that have none."""
        return cls(*(np.full(cells, np.nan) for _ in range(3)))


def interval(values: Mapping[int, float], confidence: float, of: Range) -> Interval:
    """Return the mean of `values` (one a pair) with its interval over pairs.

    Raises ValueError when empty or where a value is not finite.
    """
    if not values:
        raise ValueError("an interval needs a value")
    data = np.array([values[pair] for pair in sorted(values)], dtype=float)
    found = bounds(data[None], confidence, of)
    low, high, p = (optional(side[0]) for side in (found.low, found.high, found.p))
    return Interval(float(data.mean()), low, high, int(data.size), p)


def bounds(data: Numbers, confidence: float, of: Range) -> Bounds:
    """Return the bounds of the mean of each row of `data`, an array of cells x pairs.

    There are none of fewer than two pairs, nor of what nothing bounds and is equal in all pairs, or
    of amounts that are all 0: nothing says then how far the next pair may lie. Values beyond the
    range `of` them are bounded by nothing. Raises ValueError where a value is not finite.
    """
    if not np.isfinite(data).all():
        raise ValueError("an interval needs finite values")
    cells, pairs = data.shape
    if pairs < 2 or not cells:
        return Bounds.none(cells)
    if of.low is None or of.high is None:
        return _student(data, confidence, of)
    beyond = ((data < of.low - EQUAL) | (data > of.high + EQUAL)).any(axis=1)
    width = of.high - of.low
    mean = np.clip((data.mean(axis=1) - of.low) / width, 0.0, 1.0)
    found = _score(mean, data.var(axis=1, ddof=1) / width**2, pairs, confidence, of)
    if beyond.any():
        other = _student(data[beyond], confidence, FREE)
        for name in ("low", "high", "p"):
            getattr(found, name)[beyond] = getattr(other, name)
    return found


def _score(mean: Numbers, variance: Numbers, pairs: int, confidence: float, of: Range) -> Bounds:
    """Return the bounds of `mean` on a scale from 0 to 1, in the units of the range `of` it."""
    assert of.low is not None and of.high is not None
    width = of.high - of.low
    prior = PRIOR / width  # of as many shares as the range is wide, on a scale from 0 to 1
    spread = (pairs * variance + prior) / (pairs * mean * (1 - mean) + prior / ASSUMED)
    by = _quantile(pairs, confidence) ** 2 * spread / pairs
    middle = (mean + by / 2) / (1 + by)
    half = np.sqrt(by * mean * (1 - mean) + by**2 / 4) / (1 + by)
    low = of.low + width * np.clip(np.minimum(middle - half, mean), 0.0, 1.0)
    high = of.low + width * np.clip(np.maximum(middle + half, mean), 0.0, 1.0)
    zero = -of.low / width
    if not 0 < zero < 1:
        return Bounds(low, high, np.full(len(mean), np.nan))
    distance = np.abs(mean - zero) / np.sqrt(spread * zero * (1 - zero) / pairs)
    return Bounds(low, high, 2 * stdtr(pairs - 1, -distance))


def _student(data: Numbers, confidence: float, of: Range) -> Bounds:
    pairs = data.shape[1]
    mean = data.mean(axis=1)
    squares = ((data - mean[:, None]) ** 2).sum(axis=1)
    if of == AMOUNT:
        squares += PRIOR_AMOUNT * mean**2
    error = np.sqrt(squares / (pairs - 1) / pairs)
    error[error <= EQUAL * np.abs(mean)] = np.nan
    half = _quantile(pairs, confidence) * error
    p = 2 * stdtr(pairs - 1, -np.abs(mean) / error)
    low, high = np.clip(mean - half, of.low, of.high), np.clip(mean + half, of.low, of.high)
    return Bounds(low, high, p if of.low is None else np.full(len(mean), np.nan))


def ratio_bounds(
    above: Numbers, below: Numbers, confidence: float, of: Range
) -> tuple[Bounds, NDArray[np.bool_]]:
    """Return the bounds of the ratio of the two means of each cell, and whether it is defined.

    Both are arrays of cells x pairs; `of` says what is divided. A ratio of gains is defined where
    the interval of what is divided by does not hold 0, which takes two pairs. The share of a part,
    and the ratio of two amounts, is defined where there is something to divide by, and has no
    bounds where that could be nothing. Raises ValueError as `bounds`.
    """
    cells, pairs = above.shape
    if not (np.isfinite(above).all() and np.isfinite(below).all()):
        raise ValueError("an interval needs finite values")
    if of == SHARE:
        return _part(above, below, confidence)
    something = below.sum(axis=1) > 0
    if pairs < 2 or not cells:
        return Bounds.none(cells), something & (of == AMOUNT)
    found, single = _fieller(above, below, confidence, of)
    if of == AMOUNT:
        return found, something
    # As the tables of gains have it: a share of a gain is of one that was found.
    under = bounds(below, confidence, of)
    return found, single & (under.low * under.high > 0)


def _part(above: Numbers, below: Numbers, confidence: float) -> tuple[Bounds, NDArray[np.bool_]]:
    """Return the bounds of a part in its whole: those of its share, linearised over pairs."""
    cells, pairs = above.shape
    whole = below.sum(axis=1)
    defined = whole > 0
    if pairs < 2 or not cells:
        return Bounds.none(cells), defined
    share = above.sum(axis=1) / np.where(defined, whole, 1.0)
    left = above - share[:, None] * below
    variance = (left**2).sum(axis=1) / (pairs - 1) / np.where(defined, whole / pairs, 1.0) ** 2
    return _score(np.clip(share, 0.0, 1.0), variance, pairs, confidence, SHARE), defined


def _fieller(
    above: Numbers, below: Numbers, confidence: float, of: Range
) -> tuple[Bounds, NDArray[np.bool_]]:
    """Return the roots v of (a - v b)² = t² var(a - v b) / n, and where they enclose the ratio."""
    pairs = above.shape[1]
    means = above.mean(axis=1), below.mean(axis=1)
    a, b = above - means[0][:, None], below - means[1][:, None]
    sums = [(x * y).sum(axis=1) for x, y in ((a, a), (a, b), (b, b))]
    if of == DIFFERENCE:
        # Of two scores each, one of which, that of the baseline, both share.
        sums = [sums[0] + 2 * PRIOR, sums[1] + PRIOR, sums[2] + 2 * PRIOR]
    elif of == AMOUNT:
        own = [PRIOR_AMOUNT * mean**2 for mean in means]
        sums = [sums[0] + own[0], sums[1], sums[2] + own[1]]
    by = _quantile(pairs, confidence) ** 2 / pairs / (pairs - 1)
    square, cross, plain = (
        means[1] ** 2 - by * sums[2],
        means[0] * means[1] - by * sums[1],
        means[0] ** 2 - by * sums[0],
    )
    single = square > 0
    root = np.sqrt(np.maximum(cross**2 - square * plain, 0.0))
    divisor = np.where(single, square, np.nan)
    low, high = (cross - root) / divisor, (cross + root) / divisor
    equal = root <= np.sqrt(EQUAL) * np.abs(cross)
    low[equal], high[equal] = np.nan, np.nan
    if of.low == 0:
        low = np.maximum(low, 0.0)
    return Bounds(low, high, np.full(len(above), np.nan)), single


def stars(
    cells: Sequence[tuple[float | None, int]], confidence: float, correction: str
) -> list[bool]:
    """Return which of the `cells` of a table, each its p and n, earn a star.

    A cell of too few pairs, or without p, is not tested. Of the others `none` stars each as if it
    stood alone, so that 1 - confidence of those that are 0 are starred by chance; `holm` (1979)
    holds the chance of any such star below that, and `bh` (Benjamini and Hochberg 1995) the share
    of such stars among all. Raises ValueError where `correction` is none of these.
    """
    if correction not in CORRECTIONS:
        raise ValueError(f"{correction!r} is no correction: {', '.join(CORRECTIONS)}")
    places = [place for place, cell in enumerate(cells) if tested(*cell)]
    found = np.array([cells[place][0] for place in places], dtype=float)
    if correction == "holm":
        found = _holm(found)
    elif correction == "bh" and found.size:
        # Only here: to import it takes longer than all else that reads a log.
        from scipy.stats import false_discovery_control

        found = false_discovery_control(found, method="bh")
    earned = {place for place, p in zip(places, found, strict=True) if p < 1 - confidence}
    return [place in earned for place in range(len(cells))]


def tested(p: float | None, n: int) -> bool:
    """Whether a cell is asked for a star at all."""
    return p is not None and n >= MIN_STARRED


def _holm(found: Numbers) -> Numbers:
    order = np.argsort(found)
    steps = np.maximum.accumulate(found[order] * np.arange(found.size, 0, -1))
    adjusted = np.empty_like(found)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _quantile(pairs: int, confidence: float) -> float:
    return float(stdtrit(pairs - 1, (1 + confidence) / 2))


def optional(value: float) -> float | None:
    """Return `value`, None for NaN."""
    return None if np.isnan(value) else float(value)


def excludes_zero(low: float | None, high: float | None) -> bool:
    """Whether both bounds are known, and lie on one side of 0."""
    return low is not None and high is not None and low * high > 0


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
    """Return a - b over the pairs that both have; unpaired values are never compared."""
    return {pair: a[pair] - b[pair] for pair in a if pair in b}
