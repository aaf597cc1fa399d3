"""Advantages: how much each rollout is worth beside the others of its group. Pure.

All completions of a rollout share its advantage, those that choose and open docs with those that
answer, unless its group explored (`lineage.training.exploring`). Which of them a step learns from
is the algorithm's affair: see `lineage.training.learners`.

A curriculum gets of the samples of a step what its `share` says. Spreads of rewards do not compare
between curricula: an episode is paid for one answer, right or wrong, a handoff for the mean over
its probes, so that the widest spreads of all would be those of episodes.

Advantages are (reward - mean) / standard deviation of the group, as in GRPO and in DAPO (Yu et al.
2025, arXiv 2503.14476). Dr. GRPO (Liu et al. 2025, arXiv 2503.20783) takes the mean off and does
not divide, for the division makes groups that are nearly all right, or nearly all wrong, weigh as
much as the undecided ones. It is kept here because it is what puts curricula on one scale: without
it a group weighs as its spread does, which is a matter of how many probes a reward is the mean of.
What it costs is bounded by the choice: of each curriculum the widest spreads come first, and a
group without a difference is left out, as in DAPO's dynamic sampling, but no other is sampled in
its place. How a sample's tokens and the samples are averaged is told in `learners.grpo`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from lineage.core.reward import advantages
from lineage.training.exploring import credit_of, explored
from lineage.training.syllabus import quotas
from lineage.training.values import Group, Sample, Samples


def group_advantages(group: Group) -> list[float | None]:
    """Return the advantage of each rollout; None for one that failed.

    Where the group explored it is the credit of what the rollout chose, in units of the reward.
    """
    if explored(group):
        return [credit_of(group, number) for number in range(len(group.rollouts))]
    rewards = [None if one.reward is None else one.reward.total for one in group.rollouts]
    values = iter(advantages([reward for reward in rewards if reward is not None]))
    return [None if reward is None else next(values) for reward in rewards]


def shared_out(
    found: Sequence[tuple[str, tuple[Sample, ...]]], most: int, shares: Mapping[str, float]
) -> Samples:
    """Return the first of each curriculum, as many as its quota of `most`, in their order."""
    left = quotas(most, Counter(course for course, _ in found), shares)
    kept: list[tuple[Sample, ...]] = []
    for course, samples in found:
        if left[course]:
            left[course] -= 1
            kept.append(samples)
    return tuple(kept)
