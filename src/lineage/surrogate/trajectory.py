"""Score over many releases: what cadence, jump, migration, writer and memory do to it.

A release adds to each skill of its reader (`recall`, `infer`) the share `jump` of what lacks to 1,
and where the writer is trained to `write` and `edit` as well. The score is the mean over families
*same* and *similar*: tasks of the lineage's own world. All courses meet the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from lineage.core.config_engine import SkillConfig
from lineage.core.config_trajectory import TrajectoryConfig
from lineage.core.seeds import derive
from lineage.surrogate.setting import Setting
from lineage.surrogate.vectorised import simulate

READER, WRITER = ("recall", "infer"), ("write", "edit")
"""Skills that each release adds to, and those that only a trained writer gains."""
TAIL = 0.025
"""Share of the draws beyond each end of a band."""
END = 6
"""The end is the last of so many parts of the generations: one alone says little."""
FEWER = 4
"""How many times fewer lineages a draw has where every combination is looked at."""


@dataclass(frozen=True)
class Course:
    """One way that releases go; see `TrajectoryConfig`."""

    cadence: int
    jump: float
    migration: str
    writer: str
    budget: int


@dataclass(frozen=True)
class Curve:
    """The score by generation: the mean, and the band of the draws (None: one draw alone)."""

    factor: str
    label: str
    course: Course
    mean: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...] | None


@dataclass(frozen=True)
class Needed:
    """What must be so for the goal: the least jump that reaches it, None where none does.

    `share` is that of the draws that reach it at this jump, or at the largest.
    """

    course: Course
    jump: float | None
    share: float


def grown(skill: SkillConfig, jump: float, releases: int, writer: str) -> SkillConfig:
    """Return `skill` after so many releases."""
    left = (1 - jump) ** releases
    names = (*READER, *WRITER) if writer == "trained" else READER
    gained = {name: 1 - (1 - np.array(getattr(skill, name))) * left for name in names}
    values = {name: value.tolist() for name, value in gained.items()}
    return replace(skill, **values)


def scores(
    base: Setting, course: Course, skills: Sequence[SkillConfig], lineages: int, seed: int
) -> NDArray[np.float64]:
    """Return the score by draw of the skills and generation, of so many lineages a draw."""
    generations = len(base.versions)
    releases = -(-generations // course.cadence)
    by_version = [
        [grown(skill, course.jump, number, course.writer) for skill in skills]
        for number in range(releases)
    ]
    setting = replace(
        base,
        migration=course.migration,
        budget=course.budget,
        versions=tuple(number // course.cadence for number in range(generations)),
        skills=tuple(several[0] for several in by_version),
        authors=base.authors[:1] * releases,
    )
    draw = np.random.default_rng(derive("trajectory", seed))
    found = []
    for one in simulate(setting, lineages * len(skills), draw, by_version):
        score = np.nanmean([one.same, one.similar], axis=0)
        found.append(score.reshape(lineages, len(skills)).mean(axis=0))
    return np.array(found).T


def vary(wanted: TrajectoryConfig) -> Iterator[tuple[str, str, Course]]:
    """Yield factor, label and course: each factor varied alone, the others at their first."""
    first = Course(
        wanted.cadences[0],
        wanted.jumps[0],
        wanted.migrations[0],
        wanted.writers[0],
        wanted.budgets[0],
    )
    for cadence in wanted.cadences:
        yield "release every ... generations", str(cadence), replace(first, cadence=cadence)
    for jump in wanted.jumps:
        yield "jump of a release", f"{jump:g}", replace(first, jump=jump)
    for migration in wanted.migrations:
        yield "migration", migration, replace(first, migration=migration)
    for writer in wanted.writers:
        yield "writer", writer, replace(first, writer=writer)
    for budget in wanted.budgets:
        yield "memory, in tokens", str(budget), replace(first, budget=budget)


def curves(
    base: Setting, wanted: TrajectoryConfig, skills: Sequence[SkillConfig], seed: int
) -> Iterator[Curve]:
    """Yield the curve of each course of `vary`; bands are over `skills`, draws of a fit."""
    known: dict[Course, NDArray[np.float64]] = {}
    for factor, label, course in vary(wanted):
        if course not in known:
            known[course] = scores(base, course, skills, wanted.lineages, seed)
        found = known[course]
        low = high = None
        if len(skills) > 1:
            low, high = (_told(side) for side in np.quantile(found, (TAIL, 1 - TAIL), axis=0))
        yield Curve(factor, label, course, _told(found.mean(axis=0)), low, high)


def needed(
    base: Setting, wanted: TrajectoryConfig, skills: Sequence[SkillConfig], seed: int
) -> Iterator[Needed]:
    """Yield what each combination of the others needs to be at the goal at the end."""
    lineages = max(wanted.lineages // FEWER, 1)
    combined = product(wanted.budgets, wanted.migrations, wanted.writers, sorted(wanted.cadences))
    for budget, migration, writer, cadence in combined:
        ended = dict[float, NDArray[np.float64]]()
        most = max(wanted.jumps)
        # Where the largest does not reach it none is looked for.
        for jump in (most, *sorted(wanted.jumps)):
            course = Course(cadence, jump, migration, writer, budget)
            if jump not in ended:
                found = scores(base, course, skills, lineages, seed)
                ended[jump] = found[:, -max(found.shape[1] // END, 1) :].mean(axis=1)
            reached = bool(ended[jump].mean() >= wanted.goal)
            if reached and jump == most and len(ended) < len({*wanted.jumps}):
                continue
            if reached or jump == most:
                share = float((ended[jump] >= wanted.goal).mean())
                yield Needed(course, jump if reached else None, share)
                break


def _told(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
