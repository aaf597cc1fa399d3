"""Supervised lessons for a codebook worker: conversations with the answers an ideal one gives.

Pure: made from seeds alone. The lessons cover each thing a version does in a lineage: answer
from notes, open a doc, write memories, write a doc, compress. Prompts come from `agent.prompt`,
so what is taught is what is asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from lineage.agent import prompt as prompts
from lineage.agent.prompt import Experience
from lineage.knowledge import Doc, Knowledge, Memory, Origin
from lineage.models.protocol import Turn
from lineage.seeds import derive, rng
from lineage.tasks import Suite, Task, World

UNKNOWN = "I do not know."
MAX_NOTES = 22
SHARES = {"act": 0.42, "open": 0.26, "handoff": 0.22, "document": 0.07, "compress": 0.03}


@dataclass(frozen=True)
class Lesson:
    """A conversation; every assistant turn of it is to be learnt."""

    kind: str
    turns: tuple[Turn, ...]


def lesson(suite: Suite, *ids: str | int) -> Lesson:
    """Return the lesson of `ids`: its kind, its world and its draws follow from them alone."""
    draw = rng("lesson", *ids)
    kind = draw.choices(list(SHARES), weights=list(SHARES.values()))[0]
    world = suite.world(derive("lesson-world", *ids), 0)
    makers = {
        "act": _act,
        "open": _open,
        "handoff": _handoff,
        "document": _document,
        "compress": _compress,
    }
    return Lesson(kind, makers[kind](suite, world, draw))


def ideal_answer(world: World, known: Sequence[Task], task: Task) -> str:
    """Return the best answer to `task` for one who knows the answers of `known`."""
    for other in known:
        kin = task.group and (other.world, other.group) == (task.world, task.group)
        if kin or other.id == task.id:
            return world.fact_texts(task.facts)[0]
    return UNKNOWN


def title_of(tasks: Sequence[Task]) -> str:
    """Return the title of a doc about `tasks`: the subjects of their questions."""
    subjects = (task.facts[0].split("/")[1] for task in tasks)
    return ", ".join(dict.fromkeys(subjects))


def _memories(world: World, tasks: Sequence[Task], draw: Random, first: int = 1) -> Knowledge:
    """Return Knowledge with a memory for each of `tasks`, some as a poor writer leaves them."""
    origin = Origin(0, draw.choice(("smollm2-135m@r0", "smollm2-135m@r1")), "lesson")
    memories = []
    number = first
    poor = draw.random() < 0.3
    for task in tasks:
        text = world.fact_texts(task.facts)[0]
        if poor and draw.random() < 0.5:
            text = f"{text} {text} {text}"[: draw.randrange(len(text), 96)]
        memories.append(Memory(f"m{number}", text, origin, origin))
        number += draw.choice((1, 1, 1, 2))
    return Knowledge(memories=tuple(memories), next_id=number)


def _act(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    known = draw.sample(world.tasks, draw.randrange(MAX_NOTES + 1))
    asked = _questions(suite, world, known, draw)
    turns = list(prompts.act_turns(_memories(world, known, draw), asked[0].prompt))
    turns.append(Turn("assistant", ideal_answer(world, known, asked[0])))
    for task in asked[1:]:
        turns.append(Turn("user", task.prompt))
        turns.append(Turn("assistant", ideal_answer(world, known, task)))
    return tuple(turns)


def _questions(suite: Suite, world: World, known: list[Task], draw: Random) -> list[Task]:
    """Return five questions: mostly known ones, then kin of known ones, some out of reach."""
    groups = {task.group for task in known if task.group}
    kin = [t for t in world.tasks if t.group in groups and t not in known]
    other = suite.world(derive("other", draw.random().hex()), 0).tasks
    free = [task for task in other[:8] if not task.group]
    strange = [t for t in (*world.tasks, *free) if t not in known and t not in kin]
    asked = []
    for _ in range(5):
        pools = [(known, 0.6), (kin, 0.25), (strange, 0.15)]
        open_pools = [(pool, weight) for pool, weight in pools if pool]
        pool = draw.choices([p for p, _ in open_pools], weights=[w for _, w in open_pools])[0]
        asked.append(draw.choice(pool))
    return asked


def _open(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    tasks = draw.sample(world.tasks, min(len(world.tasks), 26))
    noted, filed = tasks[: draw.randrange(3, 13)], tasks[12:]
    size = draw.choice((3, 4, 5, 6))
    shelves = [filed[i : i + size] for i in range(0, len(filed), size)][: draw.choice((1, 2, 3))]
    origin = Origin(0, draw.choice(("smollm2-135m@r0", "smollm2-135m@r1")), "lesson")
    docs = []
    for number, shelf in enumerate(shelves):
        body = " ".join(world.fact_texts([t.facts[0] for t in shelf]))
        poor = world.fact_texts(shelf[0].facts)[0].partition(" is ")[0]
        title = poor if draw.random() < 0.3 else title_of(shelf)
        docs.append(Doc(f"d{30 + 3 * number}", title, body, origin, origin))
    knowledge = _memories(world, noted, draw).evolve(docs=tuple(docs))
    shelved = [task for shelf in shelves for task in shelf]
    task = draw.choice(draw.choices((noted, shelved, world.tasks), weights=(0.3, 0.55, 0.15))[0])
    choice, doc, known = prompts.NO_DOC, None, list(noted)
    if ideal_answer(world, noted, task) == UNKNOWN:
        for candidate, shelf in zip(docs, shelves, strict=True):
            if _promises(candidate.title, task):
                choice, doc = candidate.id, candidate
                known += shelf
                break
    asked = prompts.open_turns(knowledge, task.prompt)
    turns = prompts.opened_turns(asked, choice, doc, task.prompt)
    return (*turns, Turn("assistant", ideal_answer(world, known, task)))


def _promises(title: str, task: Task) -> bool:
    """Whether a title lets one hope for an answer: it names the machine, or one of its kind."""
    machine = task.facts[0].split("/")[1]
    return machine in title or (bool(task.group) and machine.split(" ")[0] in title)


def _experience(suite: Suite, world: World, task: Task, right: bool, draw: Random) -> Experience:
    truth = world.fact_texts(task.facts)[0]
    if right:
        answer = truth
    else:
        wrong = draw.choice([t for t in world.tasks if t.answer != task.answer])
        false = truth.replace(task.answer, wrong.answer)
        answer = draw.choice((UNKNOWN, UNKNOWN, false))
    return Experience(task.prompt, answer, suite.feedback(task, world, float(right)), right)


def _handoff(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    tasks = draw.sample(world.tasks, draw.randrange(1, MAX_NOTES))
    met = tasks[: draw.choice((1, 1, 1, 2, 3))]
    noted = tasks[len(met) :]
    knowledge = _memories(world, noted, draw)
    edits: list[dict[str, object]] = []
    experiences = []
    for task in met:
        truth = world.fact_texts(task.facts)[0]
        known = ideal_answer(world, noted, task) != UNKNOWN
        stale = draw.random() < 0.25 and not known
        experiences.append(_experience(suite, world, task, known and draw.random() < 0.8, draw))
        if stale:
            old = draw.choice([t for t in world.tasks if t.answer != task.answer])
            text = truth.replace(task.answer, old.answer)
            note = Memory(f"m{knowledge.next_id}", text, Origin(0, "", ""), Origin(0, "", ""))
            place = draw.randrange(len(knowledge.memories) + 1)
            memories = (*knowledge.memories[:place], note, *knowledge.memories[place:])
            knowledge = knowledge.evolve(memories=memories, next_id=knowledge.next_id + 1)
            edits.append({"op": "revise", "id": note.id, "text": truth})
        elif not known:
            edits.append({"op": "add", "text": truth})
            noted = [*noted, task]
    return (*prompts.handoff_turns(knowledge, experiences, False), _reply(edits=edits))


def _document(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    met = draw.sample(world.tasks, draw.randrange(3, 7))
    shown = [_experience(suite, world, task, draw.random() < 0.4, draw) for task in met]
    body = " ".join(world.fact_texts(t.facts)[0] for t in met)
    return (*prompts.document_turns(shown, False), _reply(title=title_of(met), body=body))


def _compress(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    noted = draw.sample(world.tasks, draw.randrange(14, MAX_NOTES + 4))
    knowledge = _memories(world, noted, draw)
    spare = []
    groups: set[str] = set()
    for memory, task in zip(knowledge.memories, noted, strict=True):
        if task.group in groups:
            spare.append(memory.id)
        elif task.group:
            groups.add(task.group)
    oldest = [m.id for m in knowledge.memories if m.id not in spare]
    dropped = (spare + oldest)[: draw.choice((1, 2, 3))]
    edits = [{"op": "drop", "id": id} for id in dropped]
    return (*prompts.compress_turns(knowledge), _reply(edits=edits))


def _reply(**value: object) -> Turn:
    return Turn("assistant", json.dumps(value, separators=(",", ":"), ensure_ascii=False))
