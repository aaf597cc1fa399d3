"""What a training was worth: parent and new version in worlds that neither was trained on.

Handoffs are measured in whole lineages, each version reading what it wrote itself; episodes on
ideal libraries. Both versions meet the same worlds and tasks, so differences are paired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lineage.core.config import Config
from lineage.core.curriculum import plans
from lineage.core.intervals import (
    AMOUNT,
    DIFFERENCE,
    FREE,
    SHARE,
    Interval,
    Range,
    interval,
    paired_difference,
    stars,
)
from lineage.core.reward import Reward, over_families
from lineage.log.reader import finished, read_steps
from lineage.runs.lineage import place_of
from lineage.runs.loop import all_of
from lineage.runs.progress import Display
from lineage.suites import make_suite
from lineage.training.diagnostics import diagnose
from lineage.training.rollout import Sampling, roll_out
from lineage.training.schooling import AFTER, BEFORE, held_out, live, school, worlds_only
from lineage.training.values import Group, Rollout

Values = dict[str, dict[int, dict[str, float]]]
"""By measure and world: the value of each generation, probe or episode, by its name."""
OPENED = {"needed": 1.0, "missed": 0.0, "vain": 0.0, "spared": 1.0}
"""Whether it was right to open, or not to."""
SHARES = SHARE, DIFFERENCE
SIDES = BEFORE, AFTER
WRITTEN = "signal density", "staleness"
RANGES: dict[str, tuple[Range, Range]] = {
    "reward": (FREE, FREE),
    "memory tokens": (AMOUNT, FREE),
    "doc tokens": (AMOUNT, FREE),
    "signal density": (AMOUNT, FREE),
}
"""By measure: which values it can have, and its gain; all others are shares."""


async def measure_gain(sampling: Sampling, display: Display) -> list[dict[str, Any]]:
    """Return what `train.name`, which the engine serves, gained over its parent.

    Each row, a measure of a curriculum over the same worlds, is one of `held-out.json`.
    """
    config, courses = sampling.config, sampling.config.train.curricula

    async def measure(course: str) -> list[Values]:
        place = sampling.folder / "held-out" / course
        if config.curricula[course].trains == "handoff":
            run = held_out(config, course)
            await live(run, place, sampling.engine)
            return [_lineages(run, place, arm) for arm in SIDES]
        return await all_of(_episodes(sampling, course, place, arm) for arm in SIDES)

    display.note(f"held-out worlds: {', '.join(courses)}")
    values = await all_of(map(measure, courses))
    return [row for course, of in zip(courses, values) for row in _gains(config, course, *of)]


def _gains(config: Config, course: str, before: Values, after: Values) -> list[dict[str, Any]]:
    log = config.log
    rows: list[dict[str, Any]] = []
    changes: list[Interval] = []
    for name in (name for name in before if name in after):
        old, new = _of_both(before[name], after[name])
        if old:
            of, change = RANGES.get(name, SHARES)
            sides = (_plain(interval(side, log.confidence, of)) for side in (old, new))
            rows.append({"curriculum": course, "measure": name, **dict(zip(SIDES, sides))})
            changes.append(interval(paired_difference(new, old), log.confidence, change))
    earned = stars([(one.p, one.n) for one in changes], log.confidence, log.correction)
    for row, one, star in zip(rows, changes, earned, strict=True):
        excludes = one.excludes_zero
        tested = {"p": one.p, "excludes_zero": excludes, "starred": star and excludes}
        row["gain"] = _plain(one) | tested
    return rows


def _plain(found: Interval) -> dict[str, Any]:
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}


def _lineages(config: Config, run: Path, arm: str) -> Values:
    """Return the measures of one arm of a held-out run, by pair."""
    suite, generations = make_suite(config.suite), len(config.schedule.versions)
    found = _nothing()
    for pair in range(config.experiment.lineages):
        for generation, plan in enumerate(plans(suite, config.experiment, generations, pair)):
            place = place_of(arm, pair, generation)
            left = finished(run, place)
            assert left is not None, "the run is finished"
            for step in read_steps(run, place):
                place_in = f"{generation:02d}/{step.episode}"
                if step.phase == "reward" and step.reward is not None:
                    found["reward"][pair][place_in] = step.reward
                    found["memory tokens"][pair][place_in] = float(step.memory_tokens)
                    told = diagnose(left, step.memory_tokens, "", plan.world)
                    for name, value in zip(WRITTEN, (told.density, told.staleness)):
                        if value is not None:
                            found[name][pair][place_in] = value
                elif step.kind == "probe" and step.score is not None:
                    found[step.family][pair][place_in] = step.score
    return found


async def _episodes(sampling: Sampling, course: str, place: Path, arm: str) -> Values:
    """Return the measures of episodes on ideal libraries, by world."""
    config, train = sampling.config, sampling.config.train
    source = worlds_only(school(config, course, held_out=True))
    probes = train.probes.same + train.probes.similar + train.probes.dissimilar
    ideal = replace(config.curricula[course], library="ideal", explore=False)
    sampling = replace(
        sampling,
        # The same draws for both versions: nothing in their ids tells them apart.
        config=replace(
            config,
            train=replace(train, name=f"{train.name}-held-out"),
            curricula={**config.curricula, course: ideal},
        ),
        folder=place / arm,
        sources={course: source},
        serving=train.parent if arm == BEFORE else train.name,
    )
    groups = [
        Group(course, world * probes + number, number, history)
        for world, history in enumerate(source.histories)
        for number in range(probes)
    ]
    found = _nothing()
    rewards: dict[int, list[Reward]] = defaultdict(list)
    for group in [room.group for room in await roll_out(sampling, groups, 1)]:
        world, (rollout,) = group.number // probes, group.rollouts
        if rollout.reward is not None:
            rewards[world].append(rollout.reward)
        for name, value in _acted(rollout).items():
            found[name][world][f"{group.number:03d}"] = value
    # A world of which an episode failed has no reward: the sum over families would lack one.
    whole = {world: {"": over_families(of)} for world, of in rewards.items() if len(of) == probes}
    return {"reward": whole, **found}


def _acted(rollout: Rollout) -> dict[str, float]:
    """Return the measures of one episode."""
    attempt, opened = rollout.attempt, rollout.diagnostics.opened
    if attempt is None or attempt.score is None:
        return {}
    found = {"score": attempt.score, "doc tokens": float(attempt.doc_tokens)}
    if opened:
        found["opened rightly"] = OPENED[opened]
        kind = "needed" if opened in ("needed", "missed") else "not needed"
        found[f"opened when {kind}"] = float(opened in ("needed", "vain"))
    return found


def _nothing() -> Values:
    return defaultdict(lambda: defaultdict(dict))


def _of_both(
    before: Mapping[int, Mapping[str, float]], after: Mapping[int, Mapping[str, float]]
) -> tuple[dict[int, float], dict[int, float]]:
    """Return the mean of each world on either side, over what both sides have a value of.

    What an engine failed on one side is missing in both: means over unlike probes do not compare.
    """
    old, new = dict[int, float](), dict[int, float]()
    for pair in before.keys() & after.keys():
        names = [name for name in before[pair] if name in after[pair]]
        if names:
            old[pair] = sum(before[pair][name] for name in names) / len(names)
            new[pair] = sum(after[pair][name] for name in names) / len(names)
    return old, new
