"""What lessons are made of: what an ideal worker answers, and the notes and docs it reads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from lineage.core.knowledge import Doc, Knowledge, Memory, Origin
from lineage.core.tasks import Task, World
from lineage.models.protocol import Turn
from lineage.training.library import title_of

UNKNOWN = "I do not know."
Filed = tuple[list[Task], Knowledge, list[list[Task]]]
"""Noted tasks, Knowledge with notes on them and with docs, and the tasks of each doc."""


def ideal_answer(world: World, known: Sequence[Task], task: Task) -> str:
    """Return the best answer to `task` for one who knows the answers of `known`."""
    for other in known:
        kin = task.group and (other.world, other.group) == (task.world, task.group)
        if kin or other.id == task.id:
            return true_text(world, task)
    return UNKNOWN


def true_text(world: World, task: Task) -> str:
    """Return the sentence of the one fact that `task` asks for."""
    return world.fact_texts(task.facts)[0]


def some_origin(draw: Random) -> Origin:
    """Return who wrote the entries of a lesson: any version may have."""
    return Origin(0, draw.choice(("smollm2-135m@r0", "smollm2-135m@r1")), "lesson")


def with_notes(world: World, tasks: Sequence[Task], draw: Random, first: int = 1) -> Knowledge:
    """Return Knowledge with a memory for each of `tasks`, some as a poor writer leaves them."""
    origin = some_origin(draw)
    memories = []
    number = first
    poor = draw.random() < 0.3
    for task in tasks:
        text = true_text(world, task)
        if poor and draw.random() < 0.5:
            text = f"{text} {text} {text}"[: draw.randrange(len(text), 96)]
        memories.append(Memory(f"m{number}", text, origin, origin))
        number += draw.choice((1, 1, 1, 2))
    return Knowledge(memories=tuple(memories), next_id=number)


def with_docs(world: World, draw: Random) -> Filed:
    """Return Knowledge with notes and docs; some docs hold what the notes say too."""
    tasks = draw.sample(world.tasks, min(len(world.tasks), 34))
    count = draw.randrange(2, 17)
    noted, filed = tasks[:count], tasks[count:]
    shelves = []
    for _ in range(draw.choice((1, 2, 3, 4))):
        size = draw.choice((1, 2, 3, 4, 6))
        # As in a lineage, a doc may hold what the notes say too.
        pool = filed if draw.random() < 0.6 else tasks
        shelves.append(draw.sample(pool, min(size, len(pool))))
    origin = some_origin(draw)
    docs = []
    for number, shelf in enumerate(shelves):
        body = "\n".join(true_text(world, t) for t in shelf)
        poor = true_text(world, shelf[0]).partition(" is ")[0]
        title = poor if draw.random() < 0.3 else title_of(shelf)
        docs.append(Doc(f"d{30 + 3 * number}", title, body, origin, origin))
    return noted, with_notes(world, noted, draw).evolve(docs=tuple(docs)), shelves


def gone_on(turns: tuple[Turn, ...], asked: Sequence[Turn], reply: str) -> tuple[Turn, ...]:
    """Return the conversation of `turns` with what is `asked` next and the `reply` to it.

    Only the first of what is asked keeps its system turn.
    """
    return (*turns, *(asked[1:] if turns else asked), Turn("assistant", reply))
