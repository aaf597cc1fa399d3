"""Bootstrap intervals: by hand, determinism, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage import metrics
from lineage.metrics import bounds, interval, paired_difference, ratio, ratio_bounds

PAIRED = st.dictionaries(st.integers(0, 50), st.floats(-1, 1), min_size=2, max_size=12)


def test_one_pair_has_a_mean_and_no_bounds() -> None:
    one = interval({4: 0.5}, 100, 0.95, "x")
    assert (one.mean, one.low, one.high, one.n, one.excludes_zero) == (0.5, None, None, 1, False)


def test_two_pairs_by_hand() -> None:
    # Resamples of {0, 1} have means 0, 1/2, 1 with odds 1:2:1; the tails of 90% are the ends.
    two = interval({0: 0.0, 1: 1.0}, 4000, 0.90, "x")
    assert (two.mean, two.low, two.high, two.n) == (0.5, 0.0, 1.0, 2)
    # The quartiles of odds 1:2:1 lie between an end and the middle, inclusive.
    half = interval({0: 0.0, 1: 1.0}, 4000, 0.40, "x")
    assert (half.low, half.high) == (0.5, 0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        interval({0: 0.0, 1: bad}, 100, 0.95, "x")


def test_nothing_has_no_interval() -> None:
    with pytest.raises(ValueError, match="needs a value"):
        interval({}, 100, 0.95, "x")


@given(PAIRED)
def test_bounds_hold_the_mean_and_stay_in_range(values: dict[int, float]) -> None:
    found = interval(values, 200, 0.95, "x")
    assert found.low is not None and found.high is not None
    assert min(values.values()) - 1e-12 <= found.low <= found.high <= max(values.values()) + 1e-12


@given(PAIRED)
def test_neither_order_nor_call_matters(values: dict[int, float]) -> None:
    turned = dict(reversed(values.items()))
    assert interval(values, 50, 0.95, "x", 1) == interval(turned, 50, 0.95, "x", 1)


def test_the_ids_choose_the_resamples() -> None:
    values = {pair: float(pair) for pair in range(9)}
    assert interval(values, 50, 0.95, "x", 1) != interval(values, 50, 0.95, "x", 2)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for trial in range(300):
        values = dict(enumerate(generator.normal(0.2, 1.0, 30).tolist()))
        found = interval(values, 400, 0.90, "coverage", trial)
        assert found.low is not None and found.high is not None
        held += found.low <= 0.2 <= found.high
    # 270 are due; a percentile bootstrap over 30 is a little short, and its error is 5.
    assert 250 <= held <= 285


def test_only_pairs_of_both_are_compared() -> None:
    assert paired_difference({1: 1.0, 2: 0.5}, {2: 0.25, 3: 0.0}) == {2: 0.25}


@pytest.mark.parametrize("at_once", [1, 7, 64, 1 << 20])
def test_bounds_do_not_depend_on_how_many_draws_are_made_at_once(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    generator = np.random.default_rng(1)
    cells = [generator.normal(size=11) for _ in range(3)]
    paired = [np.column_stack([cell, 5.0 + cell[::-1]]) for cell in cells]
    # As the definition says it: one array of all draws.
    drawn = np.random.default_rng(metrics.derive("bootstrap", "x", 1)).integers(0, 11, (101, 11))
    means = [cell[drawn].mean(axis=1) for cell in cells]
    sums = [pairs[drawn].sum(axis=1) for pairs in paired]
    monkeypatch.setattr(metrics, "DRAWS_AT_ONCE", at_once)
    tails = [(1 - 0.9) / 2, 1 - (1 - 0.9) / 2]
    expected = [tuple(np.quantile(row, tails).tolist()) for row in means]
    assert bounds(cells, 101, 0.9, "x", 1) == expected
    expected = [tuple(np.quantile(row[:, 0] / row[:, 1], tails).tolist()) for row in sums]
    assert ratio_bounds(paired, 101, 0.9, "x", 1) == expected


@given(st.lists(PAIRED, min_size=1, max_size=3))
def test_a_cell_has_the_bounds_that_it_has_alone(cells: list[dict[int, float]]) -> None:
    size = min(map(len, cells))
    same = [dict(sorted(cell.items())[:size]) for cell in cells]
    found = bounds([np.array(list(cell.values())) for cell in same], 60, 0.9, "x")
    alone = [interval(cell, 60, 0.9, "x") for cell in same]
    assert found == [(one.low, one.high) for one in alone]


def test_a_ratio_over_what_may_be_zero_is_undefined() -> None:
    above = dict.fromkeys(range(4), 1.0)
    assert ratio(above, {0: 1.0, 1: -1.0, 2: 0.5, 3: -0.5}, 200, 0.95, "x") is None
    (found,) = ratio_bounds([np.array([[1.0, 2.0], [2.0, 4.0]])], 200, 0.95, "x")
    assert found == (0.5, 0.5)
    assert ratio({}, {}, 200, 0.95, "x") is None


def test_cells_of_different_sizes_do_not_share_draws() -> None:
    with pytest.raises(ValueError, match="sizes"):
        bounds([np.zeros(2), np.zeros(3)], 10, 0.95, "x")
