"""The policy of the surrogate engine: three skills, each the chance of a decision well taken.

A completion of the surrogate is a list of decisions, told as tokens: 2i + 1 where skill i served
and 2i where it failed. The policy is a Bernoulli variable a skill, so that its gradients fit in a
line and a run of `lineage train` can be followed by hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean

from lineage.core.errors import LineageError
from lineage.models.dice import SKILLS
from lineage.training.values import Sample

LEAST, MOST = 0.01, 0.99
"""Chances end there: a skill of 0 or 1 would never be tried otherwise again."""


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
