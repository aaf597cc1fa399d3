"""Skills by maximum likelihood, with intervals over pairs, and which of them a log cannot tell.

With p the skill, an outcome succeeds with probability p + (1 - p) (chance + slope p); recall is
linear in log2 of the number of notes between the four numbers at which it is told. Each skill, and
recall at each number, is given one success and one failure beside its own, the uniform prior of
Laplace (Beta(1, 1)): so none is 0 or 1, which no dice could show.

An interval is the bootstrap's over pairs, in which those two weigh as much as a draw of the
exponential distribution says (the proper Bayesian bootstrap of Muliere and Secchi 1996): so skills
that never fail have one too. Its tails are those that allow for few pairs (Hesterberg 2015, "What
Teachers Should Know About the Bootstrap", 5.3): Phi(-sqrt(n / (n - 1)) t).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, stdtrit

from lineage.core.config_engine import SkillConfig
from lineage.core.seeds import derive
from lineage.surrogate.outcomes import Outcome

Numbers = NDArray[np.float64]
NOTES = (2, 4, 8, 16)
"""Numbers of notes at which recall is told."""
SKILLS = ("infer", "write", "edit", "open", "obey")
"""The other skills that have outcomes in a log."""
UNTOLD = ("finetune", "token_letters")
"""Those that have none: what a trained version remembers its weights say, and no prompt."""
LEAST = 10.0
"""Outcomes that a skill needs; one that is told at two numbers of notes counts for both in part."""
RESAMPLES = 400
EDGE, FAR, STEPS = 1e-6, 14.0, 100
"""What counts as nothing, the farthest logit, and the most steps of the search."""


@dataclass(frozen=True)
class Fitted:
    """A skill: its chance and interval (None: fewer than two pairs), of how many outcomes.

    `value` None is n/a: the log cannot tell, and the `default` stays.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    outcomes: float
    default: float


@dataclass(frozen=True)
class Skills:
    """The fitted skills of a version; `draws` are those of the resamples, one row each."""

    version: str
    default: SkillConfig
    fitted: tuple[Fitted, ...]
    draws: Numbers

    @property
    def config(self) -> SkillConfig:
        """The skills as conf has them: those that are n/a at their defaults."""
        return _config(
            self.default, [f.default if f.value is None else f.value for f in self.fitted]
        )

    def drawn(self, number: int) -> SkillConfig:
        """Return the skills of resample `number`."""
        return _config(self.default, self.draws[number % len(self.draws)])


def names() -> tuple[str, ...]:
    """Return the names of the chances of a version, in the order of `Skills.fitted`."""
    return (*(f"recall at {number}" for number in NOTES), *SKILLS)


def fit(
    outcomes: Sequence[Outcome],
    defaults: Mapping[str, SkillConfig],
    confidence: float,
    resamples: int = RESAMPLES,
) -> dict[str, Skills]:
    """Return the skills of each version that has outcomes; `defaults` has an entry `default`."""
    by_version: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        by_version[one.version].append(one)
    return {
        version: _fit(
            version, its, defaults.get(version, defaults["default"]), confidence, resamples
        )
        for version, its in sorted(by_version.items())
    }


def recall_weights(places: Numbers) -> Numbers:
    """Return how much recall at each of `NOTES` counts at `places`, a row each that sums to 1."""
    return np.clip(1.0 - np.abs(places[:, None] - np.arange(len(NOTES))), 0.0, 1.0)


@dataclass(frozen=True)
class _Cells:
    """Outcomes that are alike, counted: `counts` by pair, and per cell what is the same."""

    counts: Numbers
    success: Numbers
    chance: Numbers
    slope: Numbers
    weights: Numbers

    @classmethod
    def of(
        cls, found: Sequence[Outcome], pairs: Mapping[tuple[str, int], int], recall: bool
    ) -> _Cells:
        rows = [
            (float(o.success), round(o.chance, 2), round(o.slope, 2), round(o.place, 2))
            for o in found
        ]
        kinds = {row: place for place, row in enumerate(sorted(set(rows)))}
        counts = np.zeros((len(pairs), len(kinds)))
        for one, row in zip(found, rows, strict=True):
            counts[pairs[one.folder, one.pair], kinds[row]] += 1
        table = np.array(list(kinds), dtype=float).reshape(-1, 4)
        weights = recall_weights(table[:, 3]) if recall else np.ones((len(table), 1))
        return cls(counts, table[:, 0], table[:, 1], table[:, 2], weights)


def _fit(
    version: str,
    found: Sequence[Outcome],
    default: SkillConfig,
    confidence: float,
    resamples: int,
) -> Skills:
    clusters = sorted({(o.folder, o.pair) for o in found})
    pairs = {cluster: place for place, cluster in enumerate(clusters)}
    draw = np.random.default_rng(derive("calibrate", version))
    picked = draw.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), resamples)
    tail = _tail(len(pairs), confidence)
    fitted, drawn = list[Fitted](), list[Numbers]()
    for skill in ("recall", *SKILLS):
        its = _told(found, skill)
        held = np.array(default.recall if skill == "recall" else [getattr(default, skill)])
        cells = _Cells.of(its, pairs, skill == "recall")
        known = cells.counts.sum(axis=0) @ cells.weights
        told = known >= LEAST
        prior = np.ones((1 + resamples, 2, len(held)))
        prior[1:] = draw.exponential(size=prior[1:].shape)
        every = np.vstack([np.ones((1, len(pairs))), picked])
        whole, draws = np.split(_maximum(cells, every, prior, held, told), [1])
        whole = whole[0]
        bounds = np.quantile(draws, (tail, 1 - tail), axis=0) if len(pairs) > 1 else None
        labels = [f"recall at {n}" for n in NOTES] if skill == "recall" else [skill]
        for at, label in enumerate(labels):
            low, high = (None, None)
            if told[at] and bounds is not None:
                low, high = float(bounds[0, at]), float(bounds[1, at])
            value = float(whole[at]) if told[at] else None
            fitted.append(Fitted(label, value, low, high, float(known[at]), float(held[at])))
        drawn.append(draws)
    return Skills(version, default, tuple(fitted), np.hstack(drawn))


def _told(found: Sequence[Outcome], skill: str) -> list[Outcome]:
    """Return the outcomes of `skill`; of writing those about notes, or else about docs.

    The surrogate writes both alike. Where a model does not (see `effects`) it is notes that count:
    every prompt holds them.
    """
    its = [o for o in found if o.skill == skill]
    notes = [o for o in its if not o.doc]
    return notes if len(notes) >= LEAST else its


def _tail(pairs: int, confidence: float) -> float:
    """Return the share of resamples beyond each bound."""
    if pairs < 2:
        return 0.0
    quantile = stdtrit(pairs - 1, (1 - confidence) / 2)
    return float(ndtr(np.sqrt(pairs / (pairs - 1)) * quantile))


def _maximum(
    cells: _Cells, by_pair: Numbers, prior: Numbers, held: Numbers, told: NDArray[np.bool_]
) -> Numbers:
    """Return the chances of greatest likelihood, a row for each of `by_pair` (weights of pairs).

    Those not `told` are as `held`. `prior` has the weights of a success and of a failure beside
    those seen, by row. The way there is Fisher's scoring in logits, all rows at once.
    """
    chances = np.tile(held, (len(by_pair), 1))
    if not told.any():
        return chances
    counts, weights = by_pair @ cells.counts, cells.weights[:, told]
    wins, losses = prior[:, 0, told], prior[:, 1, told]
    logits = np.tile(logit(np.clip(held[told], 0.1, 0.9)), (len(by_pair), 1))
    for _ in range(STEPS):
        chances[:, told] = free = expit(logits)
        skill = chances @ cells.weights.T
        luck = cells.chance + cells.slope * skill
        success = np.clip(skill + (1 - skill) * luck, EDGE, 1 - EDGE)
        slope = 1 - luck + (1 - skill) * cells.slope
        seen = counts * slope / (success * (1 - success))
        turn = free * (1 - free)
        rise = ((seen * (cells.success - success)) @ weights) * turn
        rise += wins * (1 - free) - losses * free
        bend = np.einsum("rc,ck,cl->rkl", seen * slope, weights, weights)
        bend *= turn[:, :, None] * turn[:, None, :]
        bend += np.eye(weights.shape[1]) * ((wins + losses) * turn + EDGE)[:, :, None]
        step = np.clip(np.linalg.solve(bend, rise[:, :, None])[:, :, 0], -1.0, 1.0)
        logits = np.clip(logits + step, -FAR, FAR)
        if np.abs(step).max() < EDGE:
            break
    chances[:, told] = expit(logits)
    return chances


def _config(default: SkillConfig, chances: Sequence[float] | Numbers) -> SkillConfig:
    values = [float(chance) for chance in chances]
    recall, (infer, write, edit, opened, obey) = values[: len(NOTES)], values[len(NOTES) :]
    return replace(
        default, recall=recall, infer=infer, write=write, edit=edit, open=opened, obey=obey
    )
