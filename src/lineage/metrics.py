"""Intervals and paired differences, pure. Every mean of lineage comes with such an interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lineage.seeds import derive


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
    generator = np.random.default_rng(derive("bootstrap", *ids))
    chosen = generator.integers(0, data.size, size=(resamples, data.size))
    means = data[chosen].mean(axis=1)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(mean, float(low), float(high), int(data.size))


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
    generator = np.random.default_rng(derive("bootstrap", *ids))
    chosen = generator.integers(0, len(pairs), size=(resamples, len(pairs)))
    sums = data[chosen].sum(axis=1)
    kept = sums[sums[:, 1] != 0]
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(kept[:, 0] / kept[:, 1], [tail, 1.0 - tail])
    mean = float(data[:, 0].sum() / data[:, 1].sum())
    return Interval(mean, float(low), float(high), len(pairs))


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
    """Return a - b over the pairs that both have; unpaired values are never compared."""
    return {pair: a[pair] - b[pair] for pair in a if pair in b}
