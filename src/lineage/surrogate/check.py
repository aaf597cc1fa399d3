"""Whether fitted skills foretell what was held out: scores and recall, predicted against real.

Of each answer the chance to be right is told from its prompt and the skills alone. Pairs of even
number are told by skills fitted on those of odd, and the other way round.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

import numpy as np

from lineage.core.config_engine import SkillConfig
from lineage.core.errors import LineageError
from lineage.core.intervals import SHARE, Interval, interval
from lineage.models.behaviour import recall
from lineage.surrogate.fitting import fit
from lineage.surrogate.outcomes import GUESS, Answer, Outcome

BINS = ((1, 2), (3, 4), (5, 8), (9, 16), (17, None))
"""Numbers of notes and other sentences in the prompt that are looked at together."""
WORK = "work"
EDGE = 0.01
"""Chances nearer to 0 or 1 count as this in the log score, for one surprise would outweigh all."""


@dataclass(frozen=True)
class Point:
    """One point of a curve: the real mean over pairs, and that which was predicted of them.

    Curves of one `panel` belong together. `skills` are the fitted ones, held out; `shipped` those
    that were not fitted.
    """

    panel: str
    curve: str
    at: str
    real: Interval
    skills: float
    shipped: float

    @property
    def within(self) -> bool | None:
        """Whether the prediction lies within the interval; None where there is none."""
        low, high = self.real.low, self.real.high
        return None if low is None or high is None else low <= self.skills <= high


@dataclass(frozen=True)
class Check:
    """What the predictions come to, over `pairs` held-out pairs.

    `log_scores` are nats an answer of the fitted and of the shipped skills: 0 is certainty.
    """

    points: tuple[Point, ...]
    error: float
    shipped_error: float
    within: int
    bounded: int
    log_scores: tuple[float, float]
    answers: int
    pairs: int


def held_out(
    answers: Sequence[Answer],
    outcomes: Sequence[Outcome],
    defaults: Mapping[str, SkillConfig],
    confidence: float,
) -> Check:
    """Return how well skills fitted on one half of the pairs foretell the other.

    Raises LineageError where there are pairs of one half alone.
    """
    halves = {half: [o for o in outcomes if o.pair % 2 == half] for half in (0, 1)}
    if not all(halves.values()):
        raise LineageError("pairs of even and of odd number are needed: each half tells the other")
    other = {half: fit(its, defaults, confidence, resamples=1) for half, its in halves.items()}

    def fitted(answer: Answer) -> SkillConfig:
        found = other[1 - answer.pair % 2].get(answer.version)
        return found.config if found else shipped(answer)

    def shipped(answer: Answer) -> SkillConfig:
        return defaults.get(answer.version, defaults["default"])

    points = tuple(_points(answers, fitted, shipped, confidence))
    bounded = [point.within for point in points if point.within is not None]
    return Check(
        points=points,
        error=mean(abs(p.skills - p.real.mean) for p in points),
        shipped_error=mean(abs(p.shipped - p.real.mean) for p in points),
        within=sum(bounded),
        bounded=len(bounded),
        log_scores=(_log_score(answers, fitted), _log_score(answers, shipped)),
        answers=len(answers),
        pairs=len({(a.folder, a.pair) for a in answers}),
    )


def chance_right(answer: Answer, skill: SkillConfig) -> float:
    """Return the chance that the surrogate with `skill` answers right, given what it has read."""
    by_chance = GUESS * answer.share
    used = {"direct": recall(skill, answer.notes), "kin": skill.infer, "none": 0.0}[answer.source]
    chance = used * answer.right + (1 - used) * by_chance
    if answer.ordered is None:
        return chance
    return skill.obey * answer.ordered + (1 - skill.obey) * chance


def chance_said(answer: Answer, skill: SkillConfig) -> float:
    """Return the chance that it says the value of the note that answers; `right` is of that."""
    used = recall(skill, answer.notes)
    return used + (1 - used) * GUESS * answer.share


def _points(
    answers: Sequence[Answer],
    fitted: Callable[[Answer], SkillConfig],
    shipped: Callable[[Answer], SkillConfig],
    confidence: float,
) -> Iterable[Point]:
    scores: dict[tuple[str, str, int], list[Answer]] = defaultdict(list)
    recalled: dict[tuple[str, str, int], list[Answer]] = defaultdict(list)
    for one in answers:
        scores[f"score of {one.arm}", one.family or WORK, one.generation].append(one)
        if one.source == "direct" and one.right and one.ordered is None:
            recalled[f"recall of {one.version}", "of a note", _bin(one.notes)].append(one)
    for (panel, curve, generation), its in sorted(scores.items()):
        told = [[chance_right(a, skills(a)) for a in its] for skills in (fitted, shipped)]
        real = [a.score for a in its]
        yield _point((panel, curve, str(generation)), its, real, told, confidence)
    for (panel, curve, held), its in sorted(recalled.items()):
        told = [[chance_said(a, skills(a)) for a in its] for skills in (fitted, shipped)]
        real = [float(a.said) for a in its]
        yield _point((panel, curve, _words(held)), its, real, told, confidence)


def _bin(notes: int) -> int:
    return next(n for n, (_, high) in enumerate(BINS) if high is None or notes <= high)


def _words(number: int) -> str:
    low, high = BINS[number]
    return f"{low}+" if high is None else f"{low}-{high}"


def _point(
    where: tuple[str, str, str],
    its: Sequence[Answer],
    real: Sequence[float],
    told: Sequence[Sequence[float]],
    confidence: float,
) -> Point:
    pairs = sorted({(a.folder, a.pair) for a in its})
    number = {pair: place for place, pair in enumerate(pairs)}
    of = [number[a.folder, a.pair] for a in its]
    skills, shipped = (mean(_by_pair(of, values).values()) for values in told)
    return Point(*where, interval(_by_pair(of, real), confidence, SHARE), skills, shipped)


def _by_pair(of: Sequence[int], values: Sequence[float]) -> dict[int, float]:
    found: dict[int, list[float]] = defaultdict(list)
    for pair, value in zip(of, values, strict=True):
        found[pair].append(value)
    return {pair: mean(its) for pair, its in found.items()}


def _log_score(answers: Sequence[Answer], skills: Callable[[Answer], SkillConfig]) -> float:
    told = np.clip([chance_right(a, skills(a)) for a in answers], EDGE, 1 - EDGE)
    real = np.array([a.score for a in answers])
    return float(np.mean(real * np.log(told) + (1 - real) * np.log1p(-told)))
