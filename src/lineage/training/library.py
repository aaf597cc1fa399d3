"""An ideal library: notes and docs made of a world's facts, to learn opening from. Pure.

An untrained version's own docs are so poor that never opening one is the best policy; opening can
only be learnt where it pays.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from lineage.core.knowledge import EMPTY, Doc, Knowledge, Memory, Origin
from lineage.core.tasks import Task, World

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


def _texts(world: World, tasks: Sequence[Task]) -> list[str]:
    return list(dict.fromkeys(text for task in tasks for text in world.fact_texts(task.facts)))


def title_of(tasks: Sequence[Task]) -> str:
    """Return what the facts of `tasks` are about: the second part of their keys."""
    names = (key.split("/")[1] if "/" in key else key for task in tasks for key in task.facts)
    return ", ".join(dict.fromkeys(names))
