"""Intervals and paired differences, pure. Every mean of lineage comes with such an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineage.seeds import derive

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A mean over `n` pairs and its bounds; None where fewer than two pairs give none."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the bounds lie on one side of 0."""
        return self.low is not None and self.high is not None and self.low * self.high > 0


def interval(
    values: Mapping[int, float], resamples: int, confidence: float, *ids: str | int
) -> Interval:
    """Return the mean of `values` (one a pair) with a percentile bootstrap over pairs.

    The resamples are drawn from `ids`, so equal ids over equal pairs draw the same pairs.
    Percentile bootstrap: Efron and Tibshirani 1993, chapter 13. Raises ValueError when empty
    or where a value is not finite.
    """
    if not values:
        raise ValueError("an interval needs a value")
    data = np.array([values[pair] for pair in sorted(values)], dtype=float)
    if not np.isfinite(data).all():
        raise ValueError("an interval needs finite values")
    mean = float(data.mean())
    if data.size < 2:
        return Interval(mean, None, None, int(data.size))
    means = data[_resampled(data.size, resamples, ids)].mean(axis=1)
    return Interval(mean, *_bounds(means, confidence), int(data.size))


def ratio(
    above: Mapping[int, float],
    below: Mapping[int, float],
    resamples: int,
    confidence: float,
    *ids: str | int,
) -> Interval | None:
    """Return mean(above) / mean(below) over the pairs that both have, with a bootstrap over pairs.

    None where the interval of `below` holds 0, or there are no two pairs to tell: the ratio is
    not defined then.
    """
    pairs = sorted(above.keys() & below.keys())
    if len(pairs) < 2:
        return None
    whole = interval({pair: below[pair] for pair in pairs}, resamples, confidence, *ids)
    if not whole.excludes_zero:
        return None
    data = np.array([[above[pair], below[pair]] for pair in pairs], dtype=float)
    sums = data[_resampled(len(pairs), resamples, ids)].sum(axis=1)
    kept = sums[sums[:, 1] != 0]
    mean = float(data[:, 0].sum() / data[:, 1].sum())
    return Interval(mean, *_bounds(kept[:, 0] / kept[:, 1], confidence), len(pairs))


def _resampled(pairs: int, resamples: int, ids: tuple[str | int, ...]) -> Indices:
    """Return which of `pairs` each resample draws: an array of resamples x pairs."""
    generator = np.random.default_rng(derive("bootstrap", *ids))
    return generator.integers(0, pairs, size=(resamples, pairs))


def _bounds(values: Numbers, confidence: float) -> tuple[float, float]:
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return float(low), float(high)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
    """Return a - b over the pairs that both have; unpaired values are never compared."""
    return {pair: a[pair] - b[pair] for pair in a if pair in b}
