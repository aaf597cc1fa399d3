"""What to do with a memory at an upgrade, from scores on the same tasks. Pure.

The new version was asked each task without memory, with the memory as it is, and with each of its
migrations; the old one without and as it is. All differences are paired by task, and have the
interval of `core.intervals` over tasks. Those that decide are tested together, so that of the
differences that are called real few are not (false discovery rate: Benjamini and Hochberg 1995).

That a memory is worth nothing is never concluded from a test that found nothing: its interval must
lie within the smallest difference that matters (equivalence: Schuirmann 1987). What lies neither
there nor beyond 0 these tasks cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lineage.core.intervals import DIFFERENCE, Interval, interval, paired_difference, stars
from lineage.core.power import tasks_needed

Scores = Mapping[int, float]
"""By number of the task."""
CORRECTION = "bh"


class Kind(StrEnum):
    """What to do."""

    KEEP = "keep"
    MIGRATE = "migrate"
    REBUILD = "rebuild"
    ANEW = "start anew"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True)
class Rules:
    """What counts: the smallest difference that matters, and how sure it must be."""

    margin: float
    confidence: float
    power: float


@dataclass(frozen=True)
class Measured:
    """Scores by arm; `migrated` has those of the new version, by migration."""

    old_without: Scores
    old: Scores
    without: Scores
    as_it_is: Scores
    migrated: Mapping[str, Scores]


@dataclass(frozen=True)
class Contrast:
    """One difference: its interval, and whether it is real."""

    of: str
    over: str
    found: Interval
    real: bool

    @property
    def better(self) -> bool:
        """Whether it is real, and above 0."""
        return self.real and self.found.mean > 0

    @property
    def worse(self) -> bool:
        """Whether it is real, and below 0."""
        return self.real and self.found.mean < 0

    def within(self, margin: float) -> bool:
        """Whether the whole interval is nearer to 0 than `margin`."""
        low, high = self.found.low, self.found.high
        return low is not None and high is not None and -margin < low and high < margin


@dataclass(frozen=True)
class Verdict:
    """What to do, `by` which migration, told by which contrast; `more` tasks would tell.

    `contrasts` are all that were tested together.
    """

    kind: Kind
    told_by: Contrast | None
    contrasts: tuple[Contrast, ...] = ()
    by: str = ""
    more: int = 0


OLD_GAIN, GAIN = ("old as it is", "old without"), ("as it is", "without")


def judge(measured: Measured, rules: Rules) -> Verdict:
    """Return what `measured` says by `rules`; with no task that was asked twice, nothing."""
    sides = {
        GAIN: (measured.as_it_is, measured.without),
        OLD_GAIN: (measured.old, measured.old_without),
    }
    for name, scores in measured.migrated.items():
        sides[name, "as it is"] = scores, measured.as_it_is
        sides[name, "without"] = scores, measured.without
    differences = {names: paired_difference(*two) for names, two in sides.items()}
    tested = contrasts({n: d for n, d in differences.items() if d}, rules.confidence)
    gain = tested.get(GAIN)
    every = tuple(tested.values())
    if gain is None:
        return Verdict(Kind.UNKNOWN, None, every)
    best = _best(tested, list(measured.migrated))
    if best is not None:
        over = "as it is" if gain.better else "without"
        return Verdict(Kind.MIGRATE, tested[best, over], every, by=best)
    if gain.better:
        return Verdict(Kind.KEEP, gain, every)
    if gain.worse or gain.within(rules.margin):
        old = tested.get(OLD_GAIN)
        kind = Kind.REBUILD if old is not None and old.better else Kind.ANEW
        return Verdict(kind, gain, every)
    told = list(differences[GAIN].values())
    needed = tasks_needed(told, rules.margin, rules.confidence, rules.power)
    return Verdict(Kind.UNKNOWN, gain, every, more=max(needed - gain.found.n, 1))


def contrasts(
    differences: Mapping[tuple[str, str], Scores], confidence: float
) -> dict[tuple[str, str], Contrast]:
    """Return each of `differences` (by what is compared with what) with its interval, tested.

    They are tested together. Raises ValueError where one is empty.
    """
    found = {names: interval(d, confidence, DIFFERENCE) for names, d in differences.items()}
    real = stars([(one.p, one.n) for one in found.values()], confidence, CORRECTION)
    return {
        names: Contrast(*names, one, is_real)
        for (names, one), is_real in zip(found.items(), real, strict=True)
    }


def _best(tested: Mapping[tuple[str, str], Contrast], names: list[str]) -> str | None:
    """Return the migration with the highest score that is better than what there is without it.

    That is the memory as it is, or no memory where the memory as it is is not known to be worth
    something.
    """
    over = "as it is" if tested[GAIN].better else "without"
    found = [one for name in names if (one := tested.get((name, over))) is not None and one.better]
    # The first of equals.
    return max(found, key=lambda one: one.found.mean).of if found else None
