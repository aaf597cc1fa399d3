"""Intervals over pairs: by hand, how often they hold the truth, and when there is a star."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from helpers import ratio
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from lineage.core.config import Correction
from lineage.core.intervals import (
    AMOUNT,
    ASSUMED,
    CORRECTIONS,
    DIFFERENCE,
    FREE,
    MIN_STARRED,
    PRIOR,
    SHARE,
    Interval,
    Range,
    bounds,
    interval,
    paired_difference,
    ratio_bounds,
    stars,
)

PAIRED = st.dictionaries(st.integers(0, 50), st.floats(-1, 1), min_size=2, max_size=12)
EXPERIMENTS, PROBES = 2000, 16


def pairs(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def starred(one: Interval) -> bool:
    """Whether an interval that stands alone earns a star."""
    return one.p is not None and one.excludes_zero and one.n >= MIN_STARRED


@pytest.mark.parametrize("of", [SHARE, DIFFERENCE, AMOUNT, FREE])
def test_one_pair_has_a_mean_and_no_bounds(of: Range) -> None:
    one = interval({4: 0.5}, 0.95, of)
    assert (one.mean, one.low, one.high, one.n, one.p) == (0.5, None, None, 1, None)
    assert not one.excludes_zero and not starred(one)


def test_a_mean_of_scores_has_the_bounds_that_its_test_does_not_refuse() -> None:
    values = pairs(0.5, 0.75, 1.0, 0.25)
    found = interval(values, 0.95, SHARE)
    mean, variance = 0.625, np.var(list(values.values()), ddof=1)
    spread = (4 * variance + PRIOR) / (4 * mean * (1 - mean) + PRIOR / ASSUMED)
    for end in (found.low, found.high):
        assert end is not None
        # At an end the distance from the mean is the quantile of t, in errors of that end.
        error = math.sqrt(spread * end * (1 - end) / 4)
        assert abs(mean - end) / error == pytest.approx(stdtrit(3, 0.975))
    assert found.low is not None and found.high is not None
    assert found.high - mean < mean - found.low, "there is more room below"


def test_what_nothing_bounds_has_the_interval_of_student() -> None:
    found = interval(pairs(3.0, 5.0, 10.0), 0.95, FREE)
    half = stdtrit(2, 0.975) * math.sqrt(13 / 3)
    assert (found.low, found.high) == (pytest.approx(6 - half), pytest.approx(6 + half))
    assert interval(pairs(3.0, 5.0, 10.0), 0.95, AMOUNT).low == 0.0, "tokens are not below 0"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        interval(pairs(0.0, bad), 0.95, SHARE)
    with pytest.raises(ValueError, match="finite"):
        ratio(pairs(0.0, bad), pairs(1.0, 1.0), 0.95, SHARE)


def test_nothing_has_no_interval() -> None:
    with pytest.raises(ValueError, match="needs a value"):
        interval({}, 0.95, SHARE)
    assert bounds(np.empty((0, 5)), 0.95, SHARE).low.size == 0
    assert not ratio_bounds(np.empty((2, 0)), np.empty((2, 0)), 0.95, DIFFERENCE)[1].any()


@given(PAIRED)
def test_bounds_hold_the_mean_and_stay_in_range(values: dict[int, float]) -> None:
    found = interval(values, 0.95, DIFFERENCE)
    assert found.low is not None and found.high is not None
    assert -1 <= found.low <= found.mean + 1e-12 and found.mean - 1e-12 <= found.high <= 1
    assert found.low < found.high


@given(PAIRED)
def test_order_does_not_matter(values: dict[int, float]) -> None:
    turned = dict(reversed(values.items()))
    assert interval(values, 0.95, DIFFERENCE) == interval(turned, 0.95, DIFFERENCE)


@given(PAIRED)
def test_p_agrees_with_the_bounds(values: dict[int, float]) -> None:
    found = interval(values, 0.95, DIFFERENCE)
    assert found.p is not None
    if abs(found.p - 0.05) > 1e-9:
        assert found.excludes_zero == (found.p < 0.05)


@given(st.lists(PAIRED, min_size=1, max_size=3))
def test_a_cell_has_the_bounds_that_it_has_alone(cells: list[dict[int, float]]) -> None:
    size = min(map(len, cells))
    same = [pairs(*[cell[pair] for pair in sorted(cell)][:size]) for cell in cells]
    found = bounds(np.array([list(cell.values()) for cell in same]), 0.9, DIFFERENCE)
    alone = [interval(cell, 0.9, DIFFERENCE) for cell in same]
    assert found.low.tolist() == pytest.approx([one.low for one in alone], abs=1e-12)
    assert found.high.tolist() == pytest.approx([one.high for one in alone], abs=1e-12)


def simulated(mean: float, size: int, *ids: int) -> np.ndarray:
    """Return scores by experiment and pair, each of probes whose chance differs by pair."""
    draw = np.random.default_rng([7, size, int(1000 * mean), *ids])
    chance = draw.beta(7 * mean, 7 * (1 - mean), (EXPERIMENTS, size))  # correlation 1 in 8
    return draw.binomial(PROBES, chance) / PROBES


def holds(values: np.ndarray, truth: float, of: Range) -> float:
    found = bounds(values, 0.95, of)
    return float(((found.low <= truth) & (truth <= found.high)).mean())


@pytest.mark.parametrize("size", [6, 12])
def test_intervals_hold_the_truth_as_often_as_they_say(size: int) -> None:
    assert 0.93 <= holds(simulated(0.5, size), 0.5, SHARE) <= 0.97
    for mean in (0.1, 0.9, 0.98):
        assert holds(simulated(mean, size), mean, SHARE) >= 0.91
    change = simulated(0.7, size) - simulated(0.4, size)
    assert 0.93 <= holds(change, 0.3, DIFFERENCE) <= 0.97
    assert holds(simulated(0.9, size) - simulated(0.02, size), 0.88, DIFFERENCE) >= 0.91


@pytest.mark.parametrize("mean", [0.02, 0.5, 0.9])
def test_few_stars_stand_over_nothing(mean: float) -> None:
    found = bounds(simulated(mean, 6, 0) - simulated(mean, 6, 1), 0.95, DIFFERENCE)
    share = sum(stars([(p, 6)], 0.95, "none")[0] for p in found.p.tolist()) / EXPERIMENTS
    assert share <= 0.06


def test_a_ratio_of_gains_holds_the_truth_as_often_as_it_says() -> None:
    cold = simulated(0.2, 8, 0)
    above, below = simulated(0.5, 8, 1) - cold, simulated(0.8, 8, 2) - cold
    found, defined = ratio_bounds(above, below, 0.95, DIFFERENCE)
    assert defined.mean() > 0.95
    inside = (found.low <= 0.5) & (found.high >= 0.5)
    assert 0.93 <= inside[defined].mean() <= 0.97


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_pairs_have_a_width_that_nearly_equal_ones_go_over_into(value: float) -> None:
    def width(*values: float) -> float:
        found = interval(pairs(*values), 0.95, SHARE)
        assert found.low is not None and found.high is not None
        assert 0 <= found.low <= found.mean <= found.high <= 1
        return found.high - found.low

    equal = width(*[value] * 6)
    # Six pairs, each all right or all wrong, refuse less than 0.05 ** (1 / 6) = 0.61 at 5%.
    assert 0.3 < equal < 0.4
    assert width(*[value] * 5, abs(value - 1e-6)) == pytest.approx(equal, rel=0.01)
    assert width(*[value] * 24) < equal / 2


def test_equal_differences_have_a_width_and_no_star() -> None:
    none = interval(pairs(*[0.0] * 6), 0.95, DIFFERENCE)
    assert none.low is not None and none.high is not None
    assert none.low == -none.high and 0.03 < none.high < 0.15
    assert none.p == 1.0 and not starred(none)


def test_where_nothing_tells_the_spread_there_are_no_bounds() -> None:
    for of, value in ((AMOUNT, 0.0), (FREE, 0.0), (FREE, 0.1)):
        found = interval(pairs(value, value, value), 0.95, of)
        assert (found.low, found.high, found.p) == (None, None, None)


def test_equal_amounts_have_a_width_in_proportion() -> None:
    one, ten = (interval(pairs(*[value] * 6), 0.95, AMOUNT) for value in (50.0, 500.0))
    assert one.low is not None and one.high is not None and ten.low is not None
    assert 48 < one.low < 49.5 and 50.5 < one.high < 52
    assert ten.low == pytest.approx(10 * one.low)
    kept = ratio(pairs(100.0, 110.0, 120.0), pairs(200.0, 220.0, 240.0), 0.95, AMOUNT)
    assert kept is not None
    assert (kept.mean, kept.n) == (0.5, 3)
    assert kept.low is not None and kept.high is not None and kept.low < 0.48 and kept.high > 0.52


def test_a_ratio_of_amounts_over_what_may_be_nothing_has_no_bounds() -> None:
    # There is a ratio, but what it is divided by could be anything down to 0.
    wild = ratio(pairs(1.0, 200.0), pairs(2.0, 90.0), 0.95, AMOUNT)
    assert wild is not None and (wild.low, wild.high, wild.n) == (None, None, 2)


def test_two_pairs_earn_no_star_however_far_they_are_from_zero() -> None:
    for size in range(2, 5):
        few = interval(pairs(*[0.75] * size), 0.95, DIFFERENCE)
        assert not starred(few) and stars([(0.0, size)], 0.95, "none") == [False]
    for gain in (0.25, 0.75, 1.0):
        assert starred(interval(pairs(*[gain] * 5), 0.95, DIFFERENCE))


def test_values_beyond_their_range_are_bounded_by_nothing() -> None:
    values = pairs(0.5, 2.0, 1.0)
    assert interval(values, 0.95, SHARE) == interval(values, 0.95, FREE)


def test_stars_allow_for_the_number_of_cells() -> None:
    ps = [0.001, 0.011, 0.02, 0.045, 0.5]
    cells = [*((p, 6) for p in ps), (0.0001, 4), (None, 12)]
    nothing = [False, False]
    assert stars(cells, 0.95, "none") == [True, True, True, True, False, *nothing]
    # 5 x 0.001, 4 x 0.011 and 3 x 0.02 beside 0.05; 5/2 x 0.011, 5/3 x 0.02, 5/4 x 0.045 for bh.
    assert stars(cells, 0.95, "holm") == [True, True, False, False, False, *nothing]
    assert stars(cells, 0.95, "bh") == [True, True, True, False, False, *nothing]
    assert all(stars([], 0.95, correction) == [] for correction in CORRECTIONS)
    with pytest.raises(ValueError, match="no correction"):
        stars(cells, 0.95, "bonferroni")


def test_conf_knows_the_corrections() -> None:
    assert get_args(Correction) == CORRECTIONS


def test_only_pairs_of_both_are_compared() -> None:
    assert paired_difference({1: 1.0, 2: 0.5}, {2: 0.25, 3: 0.0}) == {2: 0.25}


def test_a_ratio_over_what_may_be_zero_is_undefined() -> None:
    above = dict.fromkeys(range(6), 1.0)
    assert ratio(above, pairs(1.0, -1.0, 0.5, -0.5, 0.2, -0.1), 0.95, DIFFERENCE) is None
    assert ratio({}, {}, 0.95, DIFFERENCE) is None
    assert ratio({0: 1.0}, {0: 1.0}, 0.95, DIFFERENCE) is None


def test_the_share_of_a_part_needs_a_whole_and_stays_in_it() -> None:
    assert ratio(pairs(0.0, 0.0), pairs(0.0, 0.0), 0.95, SHARE) is None
    one = ratio({0: 1.0}, {0: 2.0}, 0.95, SHARE)
    assert one is not None and (one.mean, one.low, one.n) == (0.5, None, 1)
    none = ratio(pairs(*[0.0] * 6), pairs(*[8.0] * 6), 0.95, SHARE)
    assert none is not None and none.low == 0.0
    assert none.high is not None and 0.3 < none.high < 0.4
