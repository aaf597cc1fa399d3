"""Intervals and paired differences, pure. Every mean of lineage comes with such an interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineage.seeds import derive

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]
Bounds = tuple[float, float] | tuple[None, None]
DRAWS_AT_ONCE = 1 << 20
"""Numbers drawn before they are used: a bootstrap of any size takes some 20 MiB."""


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
        return _excludes_zero(self.low, self.high)


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
    ((low, high),) = bounds([data], resamples, confidence, *ids)
    return Interval(float(data.mean()), low, high, int(data.size))


def bounds(
    cells: Sequence[Numbers], resamples: int, confidence: float, *ids: str | int
) -> list[Bounds]:
    """Return the bootstrap bounds of the mean of each of `cells`: as many values, one a pair.

    All cells see the same draws, which are those of `interval` with the same `ids`: a cell has the
    bounds that it has alone. Bounds are None where there are fewer than two values. Raises
    ValueError where the cells differ in size or where a value is not finite.
    """
    size = _size(cells)
    if size < 2:
        return [(None, None)] * len(cells)
    means = np.empty((len(cells), resamples))
    for place, drawn in _draws(size, resamples, ids):
        for row, data in zip(means, cells, strict=True):
            row[place] = data[drawn].mean(axis=1)
    return [_tails(row, confidence) for row in means]


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
    data = np.array([[above[pair], below[pair]] for pair in pairs], dtype=float).reshape(-1, 2)
    (found,) = ratio_bounds([data], resamples, confidence, *ids)
    if found is None:
        return None
    return Interval(float(data[:, 0].sum() / data[:, 1].sum()), *found, len(pairs))


def ratio_bounds(
    cells: Sequence[Numbers], resamples: int, confidence: float, *ids: str | int
) -> list[tuple[float, float] | None]:
    """Return the bootstrap bounds of the ratio of the two means of each of `cells`.

    A cell is an array of pairs x 2, what is divided and what by; all have as many pairs, and see
    the same draws. None where the interval of the second mean holds 0, or there are no two pairs:
    the ratio is not defined then. Raises ValueError as `bounds` does.
    """
    size = _size(cells)
    wholes = bounds([data[:, 1] for data in cells], resamples, confidence, *ids)
    sums = np.empty((len(cells), resamples, 2))
    defined = [_excludes_zero(*whole) for whole in wholes]
    if not any(defined):
        return [None] * len(cells)
    for place, drawn in _draws(size, resamples, ids):
        # A running sum adds in one order whatever the shape of the draws; `sum` goes by blocks.
        by_pair = np.ascontiguousarray(drawn.T)
        for row, data in zip(sums, cells, strict=True):
            for side in (0, 1):
                row[place, side] = data[:, side][by_pair].cumsum(axis=0)[-1]
    return [
        _ratio_tails(row, confidence) if has else None
        for row, has in zip(sums, defined, strict=True)
    ]


def _ratio_tails(sums: Numbers, confidence: float) -> tuple[float, float]:
    kept = sums[sums[:, 1] != 0]
    return _tails(kept[:, 0] / kept[:, 1], confidence)


def _size(cells: Sequence[Numbers]) -> int:
    sizes = {len(data) for data in cells}
    if len(sizes) > 1:
        raise ValueError("cells of different sizes do not share draws")
    if not all(np.isfinite(data).all() for data in cells):
        raise ValueError("an interval needs finite values")
    return sizes.pop() if sizes else 0


def _draws(
    pairs: int, resamples: int, ids: tuple[str | int, ...]
) -> Iterator[tuple[slice, Indices]]:
    """Yield which of `pairs` each resample draws, as arrays of some resamples x pairs.

    Together they are what one array of all would be: a generator goes on where it stopped.
    """
    generator = np.random.default_rng(derive("bootstrap", *ids))
    rows = max(1, DRAWS_AT_ONCE // pairs)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        yield slice(start, stop), generator.integers(0, pairs, size=(stop - start, pairs))


def _tails(values: Numbers, confidence: float) -> tuple[float, float]:
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return float(low), float(high)


def _excludes_zero(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low * high > 0


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> dict[int, float]:
    """Return a - b over the pairs that both have; unpaired values are never compared."""
    return {pair: a[pair] - b[pair] for pair in a if pair in b}
