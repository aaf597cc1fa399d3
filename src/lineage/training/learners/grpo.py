"""Group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300), by TRL's trainer.

Completions at the same place of all rollouts of a group are compared. With r the ratio of a token's
probabilities after and before, and A its sample's advantage, the loss is

    - mean over samples of the mean over a sample's tokens of min(r A, clip(r, 1 - c, 1 + c) A)

plus `method.beta` times the KL divergence to the parent, averaged alike. c is `method.clip`.

- The mean over samples of means over tokens is GRPO's own. DAPO (Yu et al. 2025, arXiv 2503.14476)
  takes one mean over all tokens of a batch; Dr. GRPO (Liu et al. 2025, arXiv 2503.20783) sums a
  sample's tokens and divides by a constant, since dividing by its length lets long wrong answers
  off lightly. Both weigh a sample by its length, and here the samples of a step are of many kinds:
  the choice of a doc is a few tokens, the notes of a handoff are dozens. Per token, writing would
  drown choosing. Length does not run away either: each kind is bounded in tokens, and memories
  have a price.
- Advantages come divided by the standard deviation of their group, unlike Dr. GRPO's: see
  `lineage.training.advantages`.
- One c serves both sides. DAPO's is higher above (clip-higher), so that rare tokens can rise.
- Both DAPO and Dr. GRPO leave the KL divergence out, and so does `beta` at 0, as configured.

The probabilities at which the samples were drawn do not correct the loss. They are raw, whereas
what was drawn from was cut by a grammar and sharpened by the temperature, so their ratio to ours
is no importance weight. The policy before a batch stands for the one that sampled it: on the first
of `method.epochs` passes over the batch r is 1 in value and gives the gradient, and nothing is
clipped. Each pass is a step of the optimiser, so that from the second on r tells how far the
policy has moved, and the clip binds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import pstdev
from typing import Any

from lineage.core.config import MethodConfig
from lineage.core.reward import EQUAL, differ
from lineage.training.advantages import group_advantages, shared_out
from lineage.training.exploring import explored, samples_of
from lineage.training.learners.toy import climbed, gradient
from lineage.training.values import Batch, Group, Learnt, Sample, Samples, sample

ZERO = 1e-6
"""So near to zero must the advantages of a group sum, which are float sums themselves."""


def advantages(groups: Sequence[Group], most: int, shares: Mapping[str, float]) -> Samples:
    """Return a group of samples for each place where all rollouts completed something.

    A place that some rollouts lack (one compressed, another had no need to) is left out, and so are
    groups with a failed rollout or without any difference in reward. Of each curriculum come first
    those groups, all of one size, that have its largest spread of rewards. Before them come
    those that explored, as `lineage.training.exploring` says: what a doc costs in vain is a small
    spread, and must be learnt as well.
    """
    found = samples_of(groups)
    telling = sorted(
        (group for group in groups if not explored(group) and _spread(group) > 0),
        # Spreads that only rounding tells apart are equal: then ids decide.
        key=lambda group: (-round(_spread(group) / EQUAL), group.id),
    )
    for group in telling:
        values = [value for value in group_advantages(group) if value is not None]
        first, *others = (rollout.completions for rollout in group.rollouts)
        for place in sorted(set(first).intersection(*others)):
            samples = (sample(group, i, place, value) for i, value in enumerate(values))
            found.append((group.curriculum, tuple(samples)))
    size = max((len(samples) for _, samples in found), default=1)
    return shared_out(found, most // size, shares)


def _spread(group: Group) -> float:
    """Return how far the rewards are apart; 0.0 where they cannot be compared."""
    rewards = [one.reward.total for one in group.rollouts if one.reward is not None]
    whole = len(rewards) == len(group.rollouts) and len(rewards) > 1
    return pstdev(rewards) if whole and differ(rewards) else 0.0


def learn(
    model: Any, tokenizer: Any, batch: Batch, method: MethodConfig, parent: str, folder: Path
) -> Learnt:
    """Make `method.epochs` passes over `batch`: see `lineage.training.learners.Algorithm`.

    Each pass is one step of the optimiser. The KL divergence is taken to the policy of `parent`.
    Raises ValueError where the advantages of a group that has worse samples too do not sum to zero:
    no group is so (one that explored has better ones alone).
    """
    # Imported here: TRL takes seconds to load and warns of a vLLM that is not used.
    from lineage.training.learners.given import learn_given

    for group in batch.groups:
        even = math.fsum(one.advantage for one in group)
        worse = any(one.advantage < 0 for one in group)
        if worse and abs(even) > ZERO:
            raise ValueError("the advantages of a group do not sum to zero")
    return learn_given(
        model, tokenizer, batch, method, parent, folder, loss_type="grpo", epsilon=method.clip
    )


def learn_toy(
    skills: Mapping[str, float], samples: Sequence[Sample], rate: float
) -> tuple[dict[str, float], float, float]:
    """Climb the gradient of the skills' logits: see `lineage.training.learners.Algorithm`."""
    slope = gradient(skills, samples)
    return climbed(skills, slope, rate), 0.0, math.hypot(*slope.values())
