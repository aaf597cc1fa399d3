"""Credit: which completions a step learns from, and how much each is worth. Pure.

All decisions of an alternative share its advantage, those that choose and open docs with those
that answer. `grpo` compares decisions at the same place of all alternatives (Shao et al. 2024,
arXiv 2402.03300); `rft` imitates the best alternative (STaR, Zelikman et al. 2022, arXiv
2203.14465; RAFT, Dong et al. 2023, arXiv 2304.06767).

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
from statistics import pstdev

from lineage.core.reward import EQUAL, Reward, advantages, differ
from lineage.models.recorder import Decision
from lineage.training.batch import Sample
from lineage.training.rollout import Alternative, Group
from lineage.training.syllabus import quotas

Groups = tuple[tuple[Sample, ...], ...]


def group_advantages(group: Group) -> list[float | None]:
    """Return the advantage of each alternative; None for one that failed."""
    rewards = [a.reward.total for a in group.alternatives if a.reward is not None]
    values = iter(advantages(rewards))
    return [next(values) if a.reward is not None else None for a in group.alternatives]


def compared(groups: Sequence[Group], most: int, shares: Mapping[str, float]) -> Groups:
    """Return what GRPO learns from: a group of samples for each place where all decided.

    A place that some alternatives lack (one compressed, another had no need to) is left out, and
    so are groups with a failed alternative or without any difference in reward. There are at most
    `most` samples, and each curriculum has its share of them: those groups, all of one size, that
    have its largest spread of rewards.
    """
    telling = sorted(
        (group for group in groups if _spread(group) > 0),
        # Spreads that only rounding tells apart are equal: then ids decide.
        key=lambda group: (-round(_spread(group) / EQUAL), group.id),
    )
    found: list[tuple[str, tuple[Sample, ...]]] = []
    for group in telling:
        values = advantages([_reward(a).total for a in group.alternatives])
        rows = [{d.key: d for d in a.decisions} for a in group.alternatives]
        shared = set(rows[0]).intersection(*rows[1:])
        for key in sorted(shared):
            samples = (
                _sample(group, number, row[key], value)
                for number, (row, value) in enumerate(zip(rows, values, strict=True))
            )
            found.append((group.curriculum, tuple(samples)))
    size = max((len(samples) for _, samples in found), default=1)
    return _within(found, most // size, shares)


def chosen(groups: Sequence[Group], most: int, shares: Mapping[str, float]) -> Groups:
    """Return what rejection sampling imitates: the decisions of each group's best alternative.

    A group in which nothing was answered rightly teaches nothing. The same answer to the same
    prompt is imitated once. Of `most` samples each curriculum has its share; its groups take
    turns, so that they are of as many as can be.
    """
    queues = [(group, *found) for group in groups if (found := _best(group)) is not None]
    seen: set[tuple[str, tuple[int, ...]]] = set()
    samples: list[tuple[str, tuple[Sample, ...]]] = []
    for place in range(max((len(best.decisions) for _, _, best in queues), default=0)):
        for group, number, best in queues:
            for decision in best.decisions[place : place + 1]:
                name = decision.prompt, decision.tokens
                if decision.tokens and name not in seen:
                    seen.add(name)
                    samples.append((group.curriculum, (_sample(group, number, decision, 1.0),)))
    return _within(samples, most, shares)


def source_of(group: Group, number: int) -> str:
    """Return the name by which samples tell that they are of alternative `number` of `group`."""
    return f"{group.id}/a{number:02d}"


def _within(
    found: Sequence[tuple[str, tuple[Sample, ...]]], most: int, shares: Mapping[str, float]
) -> Groups:
    """Return the first of each curriculum, as many as its quota of `most`, in their order."""
    left = quotas(most, Counter(course for course, _ in found), shares)
    kept: list[tuple[Sample, ...]] = []
    for course, samples in found:
        if left[course]:
            left[course] -= 1
            kept.append(samples)
    return tuple(kept)


def _best(group: Group) -> tuple[int, Alternative] | None:
    """Return the alternative of the highest reward, with its number; None for nothing right.

    Of equals it is the first.
    """
    worked = [
        (number, alternative)
        for number, alternative in enumerate(group.alternatives)
        if alternative.reward is not None and _earned(alternative.reward)
    ]
    return max(worked, key=lambda pair: _reward(pair[1]).total, default=None)


def _earned(reward: Reward) -> bool:
    """Whether a probe of any family was answered rightly."""
    return any((reward.same, reward.similar, reward.dissimilar))


def _spread(group: Group) -> float:
    rewards = [a.reward.total for a in group.alternatives if a.reward is not None]
    whole = len(rewards) == len(group.alternatives) and len(rewards) > 1
    return pstdev(rewards) if whole and differ(rewards) else 0.0


def _reward(alternative: Alternative) -> Reward:
    assert alternative.reward is not None
    return alternative.reward


def _sample(group: Group, number: int, decision: Decision, advantage: float) -> Sample:
    source = source_of(group, number)
    return Sample(decision.prompt, decision.tokens, decision.logprobs, advantage, source)
