"""What opening is learnt from: an ideal library, and tasks in balance. Pure.

An ideal library is notes and docs made of a world's facts. An untrained version's own docs are so
poor that never opening one is the best policy; opening can only be learnt where it pays. And it is
learnt as a choice where as many tasks ask for a doc as do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from random import Random

from lineage.core.curriculum import TaskInstance
from lineage.core.facts import truth_of
from lineage.core.knowledge import EMPTY, Doc, Knowledge, Memory, Origin
from lineage.core.tasks import Family, Task, World

SOURCES = ("memory", "doc", "neither")
"""What answers a task."""
MOST_NOTED = 8
MOST_FILED = 12
SHELF = 4
"""Facts of one doc."""


def ideal_library(world: World, author: str, draw: Random) -> Knowledge:
    """Return Knowledge of `world`: some facts noted, others filed in docs, the rest left out.

    `author` is the version that the entries say they are by.
    """
    tasks = [task for task in world.tasks if task.facts]
    chosen = draw.sample(tasks, min(len(tasks), MOST_NOTED + MOST_FILED))
    noted = chosen[: draw.randrange(2, MOST_NOTED + 1)]
    filed = chosen[MOST_NOTED:]
    origin = Origin(0, author, "library")
    memories = tuple(
        Memory(f"m{number}", text, origin, origin)
        for number, text in enumerate(_texts(world, noted), start=1)
    )
    shelves = [filed[i : i + SHELF] for i in range(0, len(filed), SHELF)]
    first = len(memories) + 1
    docs = tuple(
        Doc(f"d{number}", title_of(shelf), "\n".join(_texts(world, shelf)), origin, origin)
        for number, shelf in enumerate(shelves, start=first)
    )
    return EMPTY.evolve(memories=memories, docs=docs, next_id=first + len(docs))


def reads_own(number: int, step: int, steps: int) -> bool:
    """Whether group `number` of a `step` reads what a version wrote, as its library grows.

    Of the first step's groups none does, of the last one's all do, in between a share that rises
    evenly. Where there is one step alone, all do. Groups decide in rounds, as long as there are
    sources, so that each source is asked in libraries of both kinds.
    """
    share = Fraction(step, steps - 1) if steps > 1 else Fraction(1)
    turn = number // len(SOURCES)
    return int((turn + 1) * share) > int(turn * share)


def by_source(knowledge: Knowledge, world: World) -> dict[str, tuple[Task, ...]]:
    """Return the tasks of `world` that a memory answers, those that a doc does, and `neither`.

    What answers states all that is asked for. A task of which only kin are stated is in none, and
    one that a doc answers is left out where a memory speaks of its kin: whether they answer it is
    a matter of how clever a reader is.
    """
    truth = truth_of(world.facts)
    noted = [truth.stated(memory.text) for memory in knowledge.memories]
    filed = [truth.stated(doc.text) for doc in knowledge.docs]
    asked = [task for task in world.tasks if task.facts]

    def told(task: Task, texts: Sequence[frozenset[str]]) -> bool:
        return any(text.issuperset(task.facts) for text in texts)

    noted_kin = {task.group for task in asked if task.group and told(task, noted)}
    filed_kin = {task.group for task in asked if task.group and told(task, filed)}
    found: dict[str, list[Task]] = {source: [] for source in SOURCES}
    for task in asked:
        if told(task, noted):
            found["memory"].append(task)
        elif task.group not in noted_kin:
            if told(task, filed):
                found["doc"].append(task)
            elif task.group not in filed_kin:
                found["neither"].append(task)
    return {source: tuple(tasks) for source, tasks in found.items()}


def balanced(knowledge: Knowledge, world: World, draw: Random) -> tuple[TaskInstance, ...]:
    """Return a task of each source (`by_source`), in their order.

    Where a source has none, the next one stands in for it; empty where none has any. As a probe, a
    task that nothing answers is `similar`: it was not met.
    """
    tasks = by_source(knowledge, world)
    found = []
    for place in range(len(SOURCES)):
        sources = (*SOURCES[place:], *SOURCES[:place])
        source = next((one for one in sources if tasks[one]), None)
        if source is not None:
            family = Family.SIMILAR if source == "neither" else Family.SAME
            met = None if source == "neither" else 0
            found.append(TaskInstance(draw.choice(tasks[source]), world, family, met))
    return tuple(found)


def _texts(world: World, tasks: Sequence[Task]) -> list[str]:
    return list(dict.fromkeys(text for task in tasks for text in world.fact_texts(task.facts)))


def title_of(tasks: Sequence[Task]) -> str:
    """Return what the facts of `tasks` are about: the second part of their keys."""
    names = (key.split("/")[1] if "/" in key else key for task in tasks for key in task.facts)
    return ", ".join(dict.fromkeys(names))
