"""The toy policy: a surrogate's skills as Bernoulli decisions, trained like a language model's.

It goes through the same rollouts, rewards, credit and checkpoints as the real thing, in
milliseconds and the same on every machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from lineage.config import MethodConfig
from lineage.files import atomic_write
from lineage.models.dice import SKILLS
from lineage.models.surrogate import TRAINED
from lineage.training.batch import Batch, Learnt, Sample

LOWEST, HIGHEST = 0.01, 0.99
"""A skill never becomes certain: there would be nothing left to compare."""
SPEED = 8000.0
"""The toy has three parameters and no curvature: it takes so much larger steps than a LoRA."""


class ToyLearner:
    """A `Learner` of the skills of one surrogate version."""

    def __init__(self, method: MethodConfig, skills: Mapping[str, float]) -> None:
        self.method = method
        self.skills = {name: skills[name] for name in SKILLS}

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to stop."""

    async def learn(self, batch: Batch) -> Learnt:
        """Learn `batch` and leave its folder."""
        before = self.skills
        if batch.start:
            before = json.loads((Path(batch.start) / TRAINED).read_text())
        samples = [sample for group in batch.groups for sample in group]
        if batch.kind == "grpo":
            after = ascend(before, samples, SPEED * self.method.learning_rate)
        else:
            rft = self.method.kind == "rft"
            rate = self.method.learning_rate if rft else self.method.warm_learning_rate
            after = imitate(before, samples, min(SPEED * rate, 1.0))
        atomic_write(Path(batch.folder) / TRAINED, json.dumps(after).encode())
        moved = math.sqrt(sum((after[name] - before[name]) ** 2 for name in SKILLS))
        return Learnt(
            loss=0.0,
            grad_norm=moved,
            kl=None,
            entropy=sum(_entropy(after[name]) for name in SKILLS) / len(SKILLS),
            tokens=sum(len(sample.tokens) for sample in samples),
            seconds=0.0,
        )


def ascend(skills: Mapping[str, float], samples: Iterable[Sample], rate: float) -> dict[str, float]:
    """Return the skills after one step of REINFORCE on their logits (Williams 1992).

    The score of a decision with outcome o, taken with chance p, is o - p; a skill's gradient is the
    mean of advantage x score over its decisions.
    """
    sums, counts = dict.fromkeys(SKILLS, 0.0), dict.fromkeys(SKILLS, 0)
    for sample in samples:
        for name, outcome in _outcomes(sample):
            sums[name] += sample.advantage * (outcome - skills[name])
            counts[name] += 1
    return {
        name: _bounded(_sigmoid(_logit(skills[name]) + rate * sums[name] / max(counts[name], 1)))
        for name in SKILLS
    }


def imitate(
    skills: Mapping[str, float], samples: Iterable[Sample], rate: float
) -> dict[str, float]:
    """Return the skills moved by `rate` (0 to 1) towards the share of successes in `samples`."""
    taken: dict[str, list[int]] = {name: [] for name in SKILLS}
    for sample in samples:
        for name, outcome in _outcomes(sample):
            taken[name].append(outcome)
    return {
        name: _bounded(
            skills[name] + rate * (sum(outcomes) / len(outcomes) - skills[name])
            if outcomes
            else skills[name]
        )
        for name, outcomes in taken.items()
    }


def _outcomes(sample: Sample) -> Iterable[tuple[str, int]]:
    return ((SKILLS[token // 2], token % 2) for token in sample.tokens)


def _bounded(value: float) -> float:
    return min(max(value, LOWEST), HIGHEST)


def _logit(chance: float) -> float:
    bounded = _bounded(chance)
    return math.log(bounded / (1.0 - bounded))


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))


def _entropy(chance: float) -> float:
    return -chance * math.log(chance) - (1.0 - chance) * math.log(1.0 - chance)
