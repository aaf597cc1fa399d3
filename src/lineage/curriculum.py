"""The curriculum: which tasks a pair of arms meets, generation by generation.

Pure, and no arm's: it follows from experiment, suite and pair alone, so every arm of a pair meets
the same tasks in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lineage.config import ExperimentConfig
from lineage.errors import LineageError
from lineage.seeds import derive, rng
from lineage.tasks import Family, Suite, Task, World

HELD_OUT = 0.5
"""Share of a group's tasks that no generation works on: kin of met tasks, for *similar* probes."""


@dataclass(frozen=True)
class Visit:
    """One task to be met: in which world, as which family ("" while working), first met when."""

    task: Task
    world: World
    family: str = ""
    met: int | None = None


@dataclass(frozen=True)
class Plan:
    """One generation's tasks. `world` is the lineage's own world as it is then."""

    world: World
    work: tuple[Visit, ...]
    probes: tuple[Visit, ...]


def plans(
    suite: Suite, config: ExperimentConfig, generations: int, pair: int
) -> tuple[Plan, ...]:
    """Return the plan of each generation.

    Raises LineageError where the world has too few tasks for the schedule.
    """
    ids = (config.name, config.seed, pair)
    home_seed = derive("home", *ids)
    draw = rng("curriculum", *ids)
    fresh, kin = _split(suite.world(home_seed, 0), draw)
    again = round(config.revisit * config.episodes)
    working = min(generations, config.working_generations or generations)
    needed = config.episodes + (working - 1) * (config.episodes - again)
    if needed > len(fresh):
        raise LineageError(
            f"the world of suite {suite.name!r} has {len(fresh)} tasks to work on and "
            f"{working} generations need {needed}: make the world larger "
            "(suite.machines_per_kind) or experiment.episodes smaller"
        )
    met: dict[str, int] = {}
    made = []
    for generation in range(generations):
        world = suite.world(home_seed, generation)
        now = {task.id: task for task in world.tasks}
        old = draw.sample(sorted(met), min(again, len(met))) if generation < working else []
        new = fresh[: config.episodes - len(old)] if generation < working else []
        fresh = fresh[len(new) :]
        met |= dict.fromkeys(new, generation)
        work = tuple(Visit(now[id], world, "", met[id]) for id in (*old, *new))
        own = rng("probes", *ids, generation)
        probes = (
            *_same(world, now, met, config.probes.same, own),
            *_similar(world, now, met, kin, config.probes.similar, own),
            *_dissimilar(suite, config.probes.dissimilar, own, (*ids, generation)),
        )
        made.append(Plan(world, work, probes))
    return tuple(made)


def _split(world: World, draw: Random) -> tuple[list[str], list[str]]:
    """Return the ids of tasks to work on, shuffled, and of those kept for *similar* probes."""
    groups: dict[str, list[str]] = {}
    for task in world.tasks:
        groups.setdefault(task.group, []).append(task.id)
    kept = []
    for name, group in sorted(groups.items()):
        if name:
            kept += draw.sample(group, round(len(group) * HELD_OUT))
    if not kept:
        # A suite without rules: any other task of the world is as similar as it gets.
        everything = [task.id for task in world.tasks]
        kept = draw.sample(everything, max(1, len(everything) // 4))
    fresh = [task.id for task in world.tasks if task.id not in set(kept)]
    draw.shuffle(fresh)
    return fresh, kept


def _same(
    world: World, now: dict[str, Task], met: dict[str, int], count: int, draw: Random
) -> list[Visit]:
    """Return probes of tasks met before, spread evenly over the generations that met them."""
    shuffled = draw.sample(sorted(met), len(met))
    turn: dict[int, int] = {}
    rank = {}
    for id in shuffled:
        rank[id] = turn[met[id]] = turn.get(met[id], -1) + 1
    chosen = sorted(shuffled, key=lambda id: (rank[id], -met[id]))[:count]
    return [Visit(now[id], world, Family.SAME, met[id]) for id in chosen]


def _similar(
    world: World,
    now: dict[str, Task],
    met: dict[str, int],
    kin: list[str],
    count: int,
    draw: Random,
) -> list[Visit]:
    """Return probes of tasks never met: first those whose kin was met, then any."""
    known = {now[id].group for id in met}
    shuffled = draw.sample(kin, len(kin))
    chosen = sorted(shuffled, key=lambda id: now[id].group not in known)[:count]
    return [Visit(now[id], world, Family.SIMILAR) for id in chosen]


def _dissimilar(
    suite: Suite, count: int, draw: Random, ids: tuple[str | int, ...]
) -> list[Visit]:
    """Return probes in other worlds, each in one of its own."""
    visits = []
    for number in range(count):
        world = suite.world(derive("elsewhere", *ids, number), 0)
        visits.append(Visit(draw.choice(world.tasks), world, Family.DISSIMILAR))
    return visits
