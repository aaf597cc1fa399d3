"""What a training was worth: parent and new version in worlds that neither was trained on.

Handoffs are measured in whole lineages, each version reading what it wrote itself; episodes on
ideal libraries. Both versions meet the same worlds and tasks, so differences are paired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lineage.core.config import Config
from lineage.core.curriculum import Plan, plans
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
from lineage.core.knowledge import Knowledge
from lineage.core.reward import Reward, over_families
from lineage.log.reader import finished, read_steps
from lineage.models.protocol import Engine
from lineage.runs.lineage import place_of
from lineage.runs.progress import Display
from lineage.suites import make_suite
from lineage.training.guards import measure
from lineage.training.rollout import Draw, Group, Rollouts, Spent
from lineage.training.schooling import AFTER, BEFORE, held_out, live, school, worlds_only

Values = dict[str, dict[int, dict[str, float]]]
"""By measure and world: the value of each generation, probe or episode, by its name."""
OPENED = {"needed": 1.0, "missed": 0.0, "vain": 0.0, "spared": 1.0}
"""Whether it was right to open, or not to."""
SHARES = SHARE, DIFFERENCE
RANGES: dict[str, tuple[Range, Range]] = {
    "reward": (FREE, FREE),
    "memory tokens": (AMOUNT, FREE),
    "signal density": (AMOUNT, FREE),
}
"""By measure: which values it can have, and its gain; all others are shares."""


@dataclass(frozen=True)
class Gain:
    """One measure of one curriculum, before and after, over the same worlds."""

    curriculum: str
    measure: str
    before: dict[str, Any]
    after: dict[str, Any]
    gain: dict[str, Any]


async def measure_gain(
    config: Config, folder: Path, engine: Engine, config_hash: str, display: Display
) -> list[Gain]:
    """Return what `train.name`, which `engine` serves, gained over its parent, by curriculum."""
    found = []
    for course in config.train.curricula:
        display.note(f"held-out worlds: {course}")
        place = folder / "held-out" / course
        if config.curricula[course].trains == "handoff":
            run = held_out(config, course)
            await live(run, place, engine)
            values = {arm: _lineages(run, place, arm) for arm in (BEFORE, AFTER)}
        else:
            values = {
                BEFORE: await _episodes(config, course, place, engine, config_hash, BEFORE),
                AFTER: await _episodes(config, course, place, engine, config_hash, AFTER),
            }
        found += _gains(config, course, values[BEFORE], values[AFTER])
    return found


def _gains(config: Config, course: str, before: Values, after: Values) -> list[Gain]:
    log = config.log
    sides: dict[str, tuple[dict[str, Any], ...]] = {}
    changes: dict[str, Interval] = {}
    for name in (name for name in before if name in after):
        old, new = _of_both(before[name], after[name])
        if old:
            of, change = RANGES.get(name, SHARES)
            sides[name] = tuple(_plain(interval(side, log.confidence, of)) for side in (old, new))
            changes[name] = interval(paired_difference(new, old), log.confidence, change)
    cells = [(change.p, change.n) for change in changes.values()]
    earned = stars(cells, log.confidence, log.correction)
    return [
        Gain(course, name, sides[name][0], sides[name][1], _plain(change) | _tested(change, star))
        for (name, change), star in zip(changes.items(), earned, strict=True)
    ]


def _plain(found: Interval) -> dict[str, Any]:
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}


def _tested(found: Interval, star: bool) -> dict[str, Any]:
    excludes = found.excludes_zero
    return {"p": found.p, "excludes_zero": excludes, "starred": star and excludes}


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
                    for name, value in _written(left, step.memory_tokens, plan).items():
                        found[name][pair][place_in] = value
                elif step.kind == "probe" and step.score is not None:
                    found[step.family][pair][place_in] = step.score
    return found


def _written(knowledge: Knowledge, tokens: int, plan: Plan) -> dict[str, float]:
    found = measure(knowledge, max(tokens, 1), "", plan.world)
    values = {"signal density": found.density, "staleness": found.staleness}
    return {name: value for name, value in values.items() if value is not None}


async def _episodes(
    config: Config, course: str, place: Path, engine: Engine, config_hash: str, arm: str
) -> Values:
    """Return the measures of episodes on ideal libraries, by world."""
    train = config.train
    source = worlds_only(school(config, course, held_out=True))
    probes = train.probes.same + train.probes.similar + train.probes.dissimilar
    ideal = replace(config.curricula[course], library="ideal")
    rollouts = Rollouts(
        # The same draws for both versions: nothing in their ids tells them apart.
        config=replace(
            config,
            train=replace(train, name=f"{train.name}-held-out"),
            curricula={**config.curricula, course: ideal},
        ),
        folder=place / arm,
        config_hash=config_hash,
        engine=engine,
        count=await engine.counter(train.parent),
        sources={course: source},
        temperature=0.0,
    )
    draws = [
        Draw(course, pair * probes + number, number, history)
        for pair, history in enumerate(source.histories)
        for number in range(probes)
    ]
    serving = train.parent if arm == BEFORE else train.name
    groups = await rollouts.sample(0, serving, draws, 1, Spent())
    found = _nothing()
    rewards: dict[int, list[Reward]] = defaultdict(list)
    for draw, group in zip(draws, groups, strict=True):
        world = draw.number // probes
        rewards[world] += [a.reward for a in group.alternatives if a.reward is not None]
        for name, value in _acted(group).items():
            found[name][world][f"{draw.number:03d}"] = value
    # A world of which an episode failed has no reward: the sum over families would lack one.
    whole = {world: {"": over_families(of)} for world, of in rewards.items() if len(of) == probes}
    return {"reward": whole, **found}


def _acted(group: Group) -> dict[str, float]:
    """Return the measures of one episode."""
    (only,) = group.alternatives
    if only.score is None:
        return {}
    found = {"score": only.score}
    if only.opened:
        found["opened rightly"] = OPENED[only.opened]
        kind = "needed" if only.opened in ("needed", "missed") else "not needed"
        found[f"opened when {kind}"] = float(only.opened in ("needed", "vain"))
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
