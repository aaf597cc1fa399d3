"""The reward of a handoff and group-relative advantages, by hand and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.core.config import RewardConfig
from lineage.core.reward import advantages, episode_reward, handoff_reward, over_families
from lineage.core.tasks import Family

WEIGHTS = RewardConfig(same=0.5, similar=0.25, dissimilar=0.125, memory=0.5, docs=0.25)
SCORES = st.lists(st.floats(0, 1), max_size=6)


def test_each_part_by_hand() -> None:
    scores = {Family.SAME: [1.0, 0.0], Family.DISSIMILAR: [1.0, 1.0, 0.0, 0.0]}
    reward = handoff_reward(scores, 64, 256, 32.0, WEIGHTS)
    # 0.5 x 1/2, 0.125 x 2/4, -0.5 x 64/256, -0.25 x 32/256: all exact in binary.
    assert (reward.same, reward.similar, reward.dissimilar) == (0.25, None, 0.0625)
    assert (reward.memory, reward.docs) == (-0.125, -0.03125)
    assert reward.total == 0.15625


@given(SCORES, SCORES, SCORES, st.integers(0, 400), st.floats(0, 400))
def test_the_total_is_the_sum_and_costs_never_pay(
    same: list[float], similar: list[float], dissimilar: list[float], tokens: int, docs: float
) -> None:
    scores = dict(zip(Family, (same, similar, dissimilar), strict=True))
    reward = handoff_reward(scores, tokens, 320, docs, WEIGHTS)
    parts = (reward.same, reward.similar, reward.dissimilar, reward.memory, reward.docs)
    assert reward.total == pytest.approx(sum(part or 0.0 for part in parts))
    assert [part is None for part in parts[:3]] == [not s for s in (same, similar, dissimilar)]
    assert reward.memory <= 0 and reward.docs <= 0


def test_an_episode_is_paid_its_family_s_part_by_hand() -> None:
    # One probe of four is of the family, and reads 32 tokens: 8 a probe.
    reward = episode_reward(Family.SIMILAR, 0.5, 32, 0.25, 256, WEIGHTS)
    assert (reward.same, reward.similar, reward.dissimilar) == (None, 0.125, None)
    assert (reward.memory, reward.docs) == (0.0, -0.0078125)


@given(
    st.lists(st.tuples(st.sampled_from(Family), st.floats(0, 1), st.integers(0, 400)), min_size=1)
)
def test_episodes_and_handoffs_are_paid_on_one_scale(
    episodes: list[tuple[Family, float, int]],
) -> None:
    families = [family for family, _, _ in episodes]
    scores = {one: [s for family, s, _ in episodes if family is one] for one in Family}
    read = sum(tokens for _, _, tokens in episodes) / len(episodes)
    whole = handoff_reward(scores, 0, 320, read, WEIGHTS)
    parts = [
        episode_reward(f, score, tokens, families.count(f) / len(families), 320, WEIGHTS)
        for f, score, tokens in episodes
    ]
    assert over_families(parts) == pytest.approx(whole.total)


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, -0.7])
@pytest.mark.parametrize("size", [1, 3, 6, 7, 10])
def test_equal_rewards_teach_nothing(value: float, size: int) -> None:
    # [0.1] * 3 has a mean of 0.10000000000000002 and so a standard deviation that is not 0.
    assert advantages([value] * size) == [0.0] * size


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=16).filter(lambda r: len(set(r)) > 1))
def test_advantages_have_mean_0_and_spread_1(rewards: list[int]) -> None:
    found = advantages([float(reward) for reward in rewards])
    assert sum(found) == pytest.approx(0.0, abs=1e-9)
    assert sum(value**2 for value in found) / len(found) == pytest.approx(1.0)
    order = range(len(rewards))
    assert sorted(order, key=lambda i: rewards[i]) == sorted(order, key=lambda i: found[i])
