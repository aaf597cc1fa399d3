"""Credit: which completions a step learns from, and how much each is worth. Pure.

All decisions of an alternative share its advantage, those that choose and open docs with those
that answer. `grpo` compares decisions at the same place of all alternatives (Shao et al. 2024,
arXiv 2402.03300); `rft` imitates the best alternative (STaR, Zelikman et al. 2022, arXiv
2203.14465; RAFT, Dong et al. 2023, arXiv 2304.06767).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import pstdev

from lineage.reward import Reward, advantages, differ
from lineage.training.batch import Sample
from lineage.training.recorder import Decision
from lineage.training.rollout import Alternative, Group

Groups = tuple[tuple[Sample, ...], ...]


def group_advantages(group: Group) -> list[float | None]:
    """Return the advantage of each alternative; None for one that failed."""
    rewards = [a.reward.total for a in group.alternatives if a.reward is not None]
    values = iter(advantages(rewards))
    return [next(values) if a.reward is not None else None for a in group.alternatives]


def compared(groups: Sequence[Group], most: int) -> Groups:
    """Return what GRPO learns from: a group of samples for each place where all decided.

    A place that some alternatives lack (one compressed, another had no need to) is left out, and
    so are groups with a failed alternative or without any difference in reward. Those with the
    largest spread of rewards come first, until there are `most` samples.
    """
    telling = sorted(
        (group for group in groups if _spread(group) > 0),
        key=lambda group: (-_spread(group), group.id),
    )
    found: list[tuple[Sample, ...]] = []
    for group in telling:
        values = advantages([_reward(a).total for a in group.alternatives])
        rows = [{d.key: d for d in a.decisions} for a in group.alternatives]
        shared = set(rows[0]).intersection(*rows[1:])
        found += [
            tuple(_sample(row[key], value) for row, value in zip(rows, values, strict=True))
            for key in sorted(shared)
        ]
    kept, count = [], 0
    for samples in found:
        if count + len(samples) <= most:
            kept.append(samples)
            count += len(samples)
    return tuple(kept)


def chosen(groups: Sequence[Group], most: int) -> Groups:
    """Return what rejection sampling imitates: the decisions of each group's best alternative.

    A group in which nothing was answered rightly teaches nothing. The same answer to the same
    prompt is imitated once. Groups take turns, so that `most` samples are of as many as can be.
    """
    queues = [list(best.decisions) for group in groups if (best := _best(group)) is not None]
    seen: set[tuple[str, tuple[int, ...]]] = set()
    kept: list[tuple[Sample, ...]] = []
    for place in range(max(map(len, queues), default=0)):
        for decision in (queue[place] for queue in queues if place < len(queue)):
            name = decision.prompt, decision.tokens
            if decision.tokens and name not in seen and len(kept) < most:
                seen.add(name)
                kept.append((_sample(decision, 1.0),))
    return tuple(kept)


def _best(group: Group) -> Alternative | None:
    """Return the alternative of the highest reward, the first of equals; None for nothing right."""
    worked = [a for a in group.alternatives if a.reward is not None and _earned(a.reward)]
    return max(worked, key=lambda a: _reward(a).total, default=None)


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


def _sample(decision: Decision, advantage: float) -> Sample:
    return Sample(decision.prompt, decision.tokens, decision.logprobs, advantage)
