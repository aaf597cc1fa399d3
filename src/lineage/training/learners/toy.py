"""The learner of the surrogate engine: three skills, each the chance of a decision well taken.

A completion of the surrogate is a list of decisions, told as tokens: 2i + 1 where skill i served
and 2i where it failed. The policy is a Bernoulli variable a skill, so that its gradients fit in a
line and a run of `lineage train` can be followed by hand.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from lineage.core.config import MethodConfig
from lineage.core.errors import LineageError
from lineage.core.files import put_folder
from lineage.core.jsonfile import read_json
from lineage.models.dice import SKILLS
from lineage.models.surrogate import TRAINED
from lineage.training.batch import Batch, Learnt, Sample
from lineage.training.learners.torch_learner import AGAIN, FIGURES, unfinished

LEAST, MOST = 0.01, 0.99
"""Chances end there: a skill of 0 or 1 would never be tried otherwise again."""
GAIN = 16000.0
"""How much faster the toy learns than weights: its three logits stand for millions of them."""


def outcomes(tokens: Iterable[int]) -> list[tuple[str, int]]:
    """Return (skill, outcome) of each token. Raises LineageError for one that tells no decision."""
    found = []
    for token in tokens:
        skill, outcome = divmod(token, 2)
        if not 0 <= skill < len(SKILLS):
            raise LineageError(f"token {token} is no decision: a toy learns from a surrogate only")
        found.append((SKILLS[skill], outcome))
    return found


def clip(chance: float) -> float:
    """Return the chance within its bounds."""
    return min(max(chance, LEAST), MOST)


def gradient(skills: Mapping[str, float], samples: Iterable[Sample]) -> dict[str, float]:
    """Return the policy gradient in the logit of each skill that was used.

    REINFORCE (Williams 1992): the mean over its decisions of advantage x (outcome - chance), which
    is the derivative of the log-probability of a Bernoulli variable in its logit.
    """
    terms: dict[str, list[float]] = {}
    for sample in samples:
        for skill, outcome in outcomes(sample.tokens):
            terms.setdefault(skill, []).append(sample.advantage * (outcome - skills[skill]))
    return {skill: math.fsum(found) / len(found) for skill, found in terms.items()}


def climbed(
    skills: Mapping[str, float], slope: Mapping[str, float], rate: float
) -> dict[str, float]:
    """Return the skills after a step of `rate` x `slope` in their logits."""

    def moved(chance: float, by: float) -> float:
        logit = math.log(chance / (1 - chance)) + by
        return clip(1 / (1 + math.exp(-logit)))

    return {
        skill: moved(clip(chance), rate * slope[skill]) if skill in slope else chance
        for skill, chance in skills.items()
    }


def imitated(
    skills: Mapping[str, float], samples: Iterable[Sample], rate: float
) -> dict[str, float]:
    """Return the skills moved by `rate` towards the share of successes, their likeliest value."""
    shares: dict[str, list[int]] = {}
    for sample in samples:
        for skill, outcome in outcomes(sample.tokens):
            shares.setdefault(skill, []).append(outcome)
    return {
        skill: clip(chance + rate * (fmean(shares[skill]) - chance)) if skill in shares else chance
        for skill, chance in skills.items()
    }


def surprise(skills: Mapping[str, float], samples: Iterable[Sample]) -> float:
    """Return the mean negative log-probability of the decisions, in nats."""
    taken = [pair for sample in samples for pair in outcomes(sample.tokens)]
    return -fmean(math.log(clip(skills[s] if o else 1 - skills[s])) for s, o in taken)


def entropy(skills: Mapping[str, float], samples: Iterable[Sample]) -> float:
    """Return the mean entropy of the decisions, in nats."""
    taken = [skills[skill] for sample in samples for skill, _ in outcomes(sample.tokens)]
    return fmean(-sum(q * math.log(q) for q in (p, 1 - p) if q > 0) for p in taken)


class ToyLearner:
    """A `Learner` of skills. `batch.folder` holds them in `skills.json`."""

    def __init__(self, method: MethodConfig, skills: Mapping[str, float]) -> None:
        """`skills` are the parent's, one for each of SKILLS."""
        self.method, self.skills = method, {name: float(skills[name]) for name in SKILLS}

    async def start(self) -> None:
        """Do nothing: there is nothing to load."""

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    async def learn(self, batch: Batch) -> Learnt:
        """Learn `batch`. Raises LineageError where it is none of a surrogate's."""
        began, target = time.monotonic(), Path(batch.folder)
        if (target / FIGURES).exists():
            return Learnt(**read_json(target / FIGURES, Learnt, AGAIN))
        before = read_skills(Path(batch.start)) if batch.start else self.skills
        samples = [one for group in batch.groups for one in group]
        tokens = sum(len(one.tokens) for one in samples)
        if not tokens:
            raise LineageError(f"step {batch.step} holds no decision to learn from")
        if batch.kind == "grpo":
            slope = gradient(before, samples)
            after = climbed(before, slope, GAIN * self.method.learning_rate)
            loss, norm = 0.0, math.hypot(*slope.values())
        elif batch.kind == "rft":
            warm = self.method.kind == "grpo"
            rate = self.method.warm_learning_rate if warm else self.method.learning_rate
            after = imitated(before, samples, min(GAIN * rate, 1.0))
            loss, norm = surprise(before, samples), math.dist(before.values(), after.values())
        else:
            raise LineageError(f"kind {batch.kind!r} of a batch is unknown: choose from grpo, rft")
        learnt = Learnt(
            loss=loss,
            grad_norm=norm,
            kl=None,
            entropy=entropy(before, samples),
            tokens=tokens,
            seconds=time.monotonic() - began,
        )
        making = unfinished(target)
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        (making / TRAINED).write_text(json.dumps(after))
        (making / FIGURES).write_text(json.dumps(asdict(learnt)))
        put_folder(making, target)
        return learnt


def read_skills(folder: Path) -> dict[str, float]:
    """Return the skills that a step left in `folder`. Raises LineageError where there are none."""
    try:
        found = json.loads((folder / TRAINED).read_text())
        return {name: float(found[name]) for name in SKILLS}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LineageError(f"{folder} holds no skills: remove it and train again") from error
