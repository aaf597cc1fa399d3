"""The reward of a handoff, pure and part by part.

`R(h) = sum over families of weight x mean probe score - memory x memory tokens / budget
- docs x doc tokens read a probe / budget`; a training curriculum may also charge for stale
memories. An episode that is trained alone is paid its family's part of that sum. Advantages are
relative to the group sampled from one history (GRPO, Shao et al. 2024, arXiv 2402.03300).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from lineage.core.config import RewardConfig
from lineage.core.tasks import Family

EQUAL = 1e-9
"""Rewards no further apart are equal: sums of floats round, and 0.1 + 0.2 is not 0.3."""


@dataclass(frozen=True)
class Reward:
    """The parts, weighted and signed: `total` is their sum. None: no probe of that family."""

    same: float | None
    similar: float | None
    dissimilar: float | None
    memory: float
    docs: float
    stale: float = 0.0

    @property
    def total(self) -> float:
        """The reward."""
        parts = (self.same, self.similar, self.dissimilar, self.memory, self.docs)
        return self.stale + sum(part for part in parts if part is not None)


def handoff_reward(
    scores: Mapping[Family, Sequence[float]],
    memory_tokens: int,
    budget: int,
    doc_tokens: float,
    weights: RewardConfig,
    stale: float = 0.0,
) -> Reward:
    """Return the reward of a handoff whose probes scored `scores`, by family.

    `budget` is the memory budget in tokens; `doc_tokens` are those read a probe, on average;
    `stale` is what memories that contradict the world cost.
    """

    def part(family: Family, weight: float) -> float | None:
        values = scores.get(family, ())
        return weight * (sum(values) / len(values)) if values else None

    return Reward(
        same=part(Family.SAME, weights.same),
        similar=part(Family.SIMILAR, weights.similar),
        dissimilar=part(Family.DISSIMILAR, weights.dissimilar),
        memory=-weights.memory * memory_tokens / budget,
        docs=-weights.docs * doc_tokens / budget,
        stale=-stale,
    )


def episode_reward(
    family: Family,
    score: float,
    doc_tokens: int,
    share: float,
    budget: int,
    weights: RewardConfig,
) -> Reward:
    """Return what an episode is worth that stands for all probes of `family` after a handoff.

    It is that family's part of `handoff_reward`: `share`, 0..1, is the family's among the probes,
    and so its share of the mean of doc tokens that is paid for. A point of score thus counts as
    much as in a handoff, and costs as many doc tokens; see `over_families`.
    """
    return handoff_reward({family: [score]}, 0, budget, share * doc_tokens, weights)


def over_families(rewards: Sequence[Reward]) -> float:
    """Return the reward of a handoff, but for its memories, whose probes are these episodes.

    The sum over families of the mean of `rewards`, each of one family's episode.
    """
    totals: dict[tuple[bool, ...], list[float]] = {}
    for one in rewards:
        family = tuple(part is None for part in (one.same, one.similar, one.dissimilar))
        totals.setdefault(family, []).append(one.total)
    return sum(fmean(values) for values in totals.values())


def over_horizon(rewards: Sequence[Reward], discount: float) -> Reward:
    """Return the reward of a handoff for the generations after it, the next one first.

    Part by part the mean of `rewards`, the j-th weighted with discount ** j: a note that only the
    grandchildren need is worth something too. A part is None where no generation has it.
    """

    def mean(parts: Sequence[float | None]) -> float | None:
        pairs = [(discount**j, part) for j, part in enumerate(parts) if part is not None]
        whole = sum(weight for weight, _ in pairs)
        return sum(weight * part for weight, part in pairs) / whole if whole else None

    return Reward(
        same=mean([r.same for r in rewards]),
        similar=mean([r.similar for r in rewards]),
        dissimilar=mean([r.dissimilar for r in rewards]),
        memory=mean([r.memory for r in rewards]) or 0.0,
        docs=mean([r.docs for r in rewards]) or 0.0,
        stale=mean([r.stale for r in rewards]) or 0.0,
    )


def differ(rewards: Sequence[float]) -> bool:
    """Whether some of `rewards` are not equal, however the sums of their parts were rounded."""
    return bool(rewards) and max(rewards) - min(rewards) > EQUAL


def advantages(rewards: Sequence[float]) -> list[float]:
    """Return (reward - mean) / standard deviation over the group; zeros where all are equal."""
    if not differ(rewards):
        return [0.0] * len(rewards)
    values = np.asarray(rewards, dtype=float)
    return [float(value) for value in (values - values.mean()) / values.std()]
