"""The curriculum: which tasks a pair of arms meets, generation by generation.

Pure, and no arm's: it follows from experiment, suite and pair alone, so every arm of a pair meets
the same tasks in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from lineage.core.config import ExperimentConfig, ProbeConfig
from lineage.core.errors import LineageError
from lineage.core.seeds import derive, rng
from lineage.core.tasks import Family, Suite, Task, World

HELD_OUT = 0.5
"""Share of a group's tasks that no generation works on: kin of met tasks, for *similar* probes."""
HELD_OUT_OF_ALL = 0.25
"""Share of all tasks of a world that are kept for these where the suite has no groups."""
TRIES = 200
"""Draws of another world before there is taken to be none: a file of tasks may have few."""


@dataclass(frozen=True)
class TaskInstance:
    """One task to be met: in which world, as which family ("" while working), first met when."""

    task: Task
    world: World
    family: str = ""
    met: int | None = None


@dataclass(frozen=True)
class Plan:
    """One generation's tasks. `world` is the lineage's own world as it is then.

    `met` tells when each task was first met, up to this generation; `kin` are the ids of tasks that
    no generation works on.
    """

    world: World
    work: tuple[TaskInstance, ...]
    probes: tuple[TaskInstance, ...]
    met: Mapping[str, int] = field(default_factory=dict)
    kin: tuple[str, ...] = ()


def plans(suite: Suite, config: ExperimentConfig, generations: int, pair: int) -> tuple[Plan, ...]:
    """Return the plan of each generation.

    Raises LineageError where the world has too few tasks for the schedule.
    """
    ids = (config.name, config.seed, pair)
    home_seed = derive("home", *ids)
    draw = rng("curriculum", *ids)
    home = suite.world(home_seed, 0)
    most = config.working_generations
    working = generations if most is None else min(generations, most)
    fresh, kin = _split(home, draw) if working else ([], _questions(home))
    again = round(config.revisit * config.episodes)
    needed = config.episodes + (working - 1) * (config.episodes - again) if working else 0
    if needed > len(fresh):
        raise LineageError(
            f"the world of suite {suite.name!r} has {len(fresh)} tasks to work on and "
            f"{working} generations need {needed}: make the world larger ({suite.larger}), or "
            "experiment.episodes or experiment.working_generations smaller"
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
        work = tuple(TaskInstance(now[id], world, "", met[id]) for id in (*old, *new))
        plan = Plan(world, work, (), met | _learnt(world, met), tuple(kin))
        probes = draw_probes(suite, plan, config.probes, *ids, generation)
        made.append(replace(plan, probes=probes))
    return tuple(made)


def draw_probes(
    suite: Suite, plan: Plan, counts: ProbeConfig, *ids: str | int
) -> tuple[TaskInstance, ...]:
    """Return probes of each family after the work of `plan`: a function of `ids`.

    Raises LineageError where the suite has no other world.
    """
    world, draw = plan.world, rng("probes", *ids)
    now = {task.id: task for task in world.tasks}
    return (
        *_same(world, now, plan.met, counts.same, draw),
        *_similar(world, now, plan.met, plan.kin, counts.similar, draw),
        *_dissimilar(suite, world, counts.dissimilar, draw, ids),
    )


def _split(world: World, draw: Random) -> tuple[list[str], list[str]]:
    """Return the ids of tasks to work on, shuffled, and of those kept for *similar* probes.

    Where there are lessons they are the work, and all questions are for probes. Tasks that have
    an order are worked on in it.
    """
    lessons = [task.id for task in world.tasks if task.lesson]
    if lessons:
        draw.shuffle(lessons)
        return _ordered(world, lessons), _questions(world)
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
        kept = draw.sample(everything, max(1, int(len(everything) * HELD_OUT_OF_ALL)))
    fresh = [task.id for task in world.tasks if task.id not in set(kept)]
    draw.shuffle(fresh)
    return _ordered(world, fresh), kept


def _questions(world: World) -> list[str]:
    return [task.id for task in world.tasks if not task.lesson]


def _ordered(world: World, ids: list[str]) -> list[str]:
    """Return `ids` by the order of their tasks; those without one stay last, as they are."""
    order = {task.id: task.order for task in world.tasks}
    last = float("inf")
    return sorted(ids, key=lambda id: last if (place := order[id]) is None else place)


def _learnt(world: World, met: dict[str, int]) -> dict[str, int]:
    """Return the questions whose lessons were all read, each with the generation of the last."""
    return {
        task.id: max(met[id] for id in task.needs)
        for task in world.tasks
        if task.needs and not task.lesson and all(id in met for id in task.needs)
    }


def _same(
    world: World, now: dict[str, Task], met: Mapping[str, int], count: int, draw: Random
) -> list[TaskInstance]:
    """Return probes of tasks met before, spread evenly over the generations that met them.

    A question about lessons counts as met when the last of them was read.
    """
    questions = [id for id in sorted(met) if not now[id].lesson]
    shuffled = draw.sample(questions, len(questions))
    turn: dict[int, int] = {}
    rank = {}
    for id in shuffled:
        rank[id] = turn[met[id]] = turn.get(met[id], -1) + 1
    chosen = sorted(shuffled, key=lambda id: (rank[id], -met[id]))[:count]
    return [TaskInstance(now[id], world, Family.SAME, met[id]) for id in chosen]


def _similar(
    world: World,
    now: dict[str, Task],
    met: Mapping[str, int],
    kin: Sequence[str],
    count: int,
    draw: Random,
) -> list[TaskInstance]:
    """Return probes of tasks never met: first those whose kin was met, then any."""
    known = {now[id].group for id in met}
    kin = [id for id in kin if id not in met]
    shuffled = draw.sample(kin, len(kin))
    chosen = sorted(shuffled, key=lambda id: now[id].group not in known)[:count]
    return [TaskInstance(now[id], world, Family.SIMILAR) for id in chosen]


def _dissimilar(
    suite: Suite, home: World, count: int, draw: Random, ids: tuple[str | int, ...]
) -> list[TaskInstance]:
    """Return probes in other worlds, each in one of its own where there are enough."""
    task_instances = []
    for number in range(count):
        world = _elsewhere(suite, home, (*ids, number))
        questions = [task for task in world.tasks if not task.lesson]
        task_instances.append(TaskInstance(draw.choice(questions), world, Family.DISSIMILAR))
    return task_instances


def _elsewhere(suite: Suite, home: World, ids: tuple[str | int, ...]) -> World:
    """Return another world than `home`. Raises LineageError where none is found."""
    world = suite.world(derive("elsewhere", *ids), 0)
    for again in range(TRIES):
        if world.id != home.id:
            return world
        world = suite.world(derive("elsewhere", *ids, again), 0)
    raise LineageError(
        f"suite {suite.name!r} has no world but {home.id!r}: set experiment.probes.dissimilar=0"
    )
