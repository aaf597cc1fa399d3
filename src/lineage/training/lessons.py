"""Supervised lessons for a codebook worker: conversations with the answers an ideal one gives.

Pure: made from seeds alone. The lessons cover each thing a version does in a lineage: answer
from notes, open a doc, write memories, write a doc, compress. Prompts come from `agent.prompt`,
so what is taught is what is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from lineage.agent import prompt as prompts
from lineage.agent.history import Experience, Past
from lineage.core.knowledge import Doc, Knowledge, Memory, Origin
from lineage.core.prompts import OURS
from lineage.core.seeds import derive, rng
from lineage.core.tasks import Suite, Task, World
from lineage.models.protocol import Turn
from lineage.training.choices import by_coverage, by_extract, by_title
from lineage.training.ideal import (
    UNKNOWN,
    gone_on,
    ideal_answer,
    some_origin,
    true_text,
    with_docs,
    with_notes,
)
from lineage.training.library import title_of

MAX_NOTES = 22


@dataclass(frozen=True)
class Lesson:
    """A conversation; every assistant turn of it is to be learnt."""

    kind: str
    turns: tuple[Turn, ...]


def lesson(suite: Suite, *ids: str | int, shares: Mapping[str, float] | None = None) -> Lesson:
    """Return the lesson of `ids`: its kind, its world and its draws follow from them alone.

    `shares` are those of the kinds, relative to one another (default: those of `LESSONS`). Raises
    KeyError where one is of no kind.
    """
    draw = rng("lesson", *ids)
    shares = {kind: share for kind, (share, _) in LESSONS.items()} if shares is None else shares
    kind = draw.choices(list(shares), weights=list(shares.values()))[0]
    world = suite.world(derive("lesson-world", *ids), 0)
    return Lesson(kind, LESSONS[kind][1](suite, world, draw))


def _act(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    known = draw.sample(world.tasks, draw.randrange(MAX_NOTES + 1))
    asked = _questions(suite, world, known, draw)
    first = prompts.act_turns(OURS, with_notes(world, known, draw), asked[0].prompt)
    return _answered(first, world, known, asked)


def _answered(
    first: Sequence[Turn], world: World, known: Sequence[Task], asked: Sequence[Task]
) -> tuple[Turn, ...]:
    """Return the conversation in which all is answered; `first` asks the first task."""
    turns = [*first, Turn("assistant", ideal_answer(world, known, asked[0]))]
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


def _read(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    noted, knowledge, shelves = with_docs(world, draw)
    turns: tuple[Turn, ...] = ()
    for _ in range(3):
        place = draw.randrange(len(shelves))
        doc, shelf = knowledge.docs[place], shelves[place]
        pool = draw.choices((shelf, noted, world.tasks), weights=(0.65, 0.2, 0.15))[0]
        task = draw.choice(pool)
        asked = prompts.act_turns(OURS, knowledge, task.prompt, [doc])
        answer = ideal_answer(world, [*noted, *shelf], task)
        turns = gone_on(turns, asked, answer)
    return turns


def _history(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    met = draw.sample(world.tasks, draw.randrange(1, 19))
    version = some_origin(draw).version
    past = []
    for place, task in enumerate(met):
        shown = _experience(suite, world, task, draw.random() < 0.3, draw)
        solution = true_text(world, task)
        past.append(Past(f"g00/w{place:03d}", 0, version, task, shown, solution))
    if draw.random() < 0.5:
        block = prompts.history_block(OURS, past, wrong_answers=False)
        asked = _questions(suite, world, met, draw)
        first = prompts.act_turns(OURS, Knowledge(), asked[0].prompt, transcript=block)
        return _answered(first, world, met, asked)
    near = past[:4]
    block = prompts.history_block(OURS, near, wrong_answers=False)
    known = [p.task for p in near]
    task = draw.choice(known) if draw.random() < 0.7 else draw.choice(world.tasks)
    asked_turns = prompts.act_turns(OURS, Knowledge(), task.prompt, recalled=block)
    return (*asked_turns, Turn("assistant", ideal_answer(world, known, task)))


def _experience(suite: Suite, world: World, task: Task, right: bool, draw: Random) -> Experience:
    truth = true_text(world, task)
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
    knowledge = with_notes(world, noted, draw)
    edits: list[dict[str, object]] = []
    experiences = []
    for task in met:
        truth = true_text(world, task)
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
    # The append-only rules do not allow to change an entry.
    only_adds = all(edit["op"] == "add" for edit in edits)
    rules = draw.choice(("edit", "edit", "append")) if only_adds else "edit"
    return (*prompts.handoff_turns(OURS, rules, knowledge, experiences, False), _reply(edits=edits))


def _document(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    met = draw.sample(world.tasks, draw.choice((1, 2, 3, 4, 6)))
    shown = [_experience(suite, world, task, draw.random() < 0.4, draw) for task in met]
    origin = some_origin(draw)
    held, related = list(met), list[Doc]()
    edit: dict[str, object] = {"op": "write"}
    if draw.random() < 0.5:
        held = [draw.choice(met), *draw.sample([t for t in world.tasks if t not in met], 2)]
        lines = [true_text(world, t) for t in held]
        stale = draw.random() < 0.6
        if stale:
            old = draw.choice([t for t in world.tasks if t.answer != held[0].answer])
            lines[0] = lines[0].replace(held[0].answer, old.answer)
        number = f"d{draw.randrange(2, 60)}"
        related.append(Doc(number, title_of(held), "\n".join(lines), origin, origin))
        if stale:
            edit = {"op": "revise", "id": number}
            held += [task for task in met if task not in held][: 6 - len(held)]
        else:
            held = [task for task in met if task not in held]
    if not held:
        return (*prompts.document_turns(OURS, related, shown, False), _reply(edits=[]))
    body = [true_text(world, t) for t in held]
    edit |= {"title": title_of(held), "body": body}
    return (*prompts.document_turns(OURS, related, shown, False), _reply(edits=[edit]))


def _compress(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    noted = draw.sample(world.tasks, draw.randrange(12, MAX_NOTES + 2))
    knowledge = with_notes(world, noted, draw)
    groups: dict[str, list[int]] = {}
    for place, task in enumerate(noted):
        if task.group:
            groups.setdefault(task.group, []).append(place)
    edits: list[dict[str, object]] = []
    for places in list(groups.values())[: draw.choice((2, 3, 4))]:
        if len(places) > 1:
            # Kin share their value, so one fact speaks for all.
            text = true_text(world, noted[places[0]])
            ids = [knowledge.memories[place].id for place in places[:4]]
            edits.append({"op": "merge", "ids": ids, "text": text})
    if not edits:
        edits = [{"op": "drop", "id": knowledge.memories[0].id}]
    return (*prompts.compress_turns(OURS, knowledge), _reply(edits=edits))


def _rewrite(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    tasks = draw.sample(world.tasks, draw.randrange(1, 17))
    met, noted = tasks[: draw.choice((1, 2, 3, 6))], tasks[6:]
    shown = [_experience(suite, world, task, draw.random() < 0.4, draw) for task in met]
    knowledge = with_notes(world, noted, draw)
    notes = [true_text(world, t) for t in (*noted, *met)]
    turns = prompts.handoff_turns(OURS, "rewrite-all", knowledge, shown, False)
    return (*turns, _reply(notes=notes))


def _restate(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    origin = some_origin(draw)
    facts = [true_text(world, t) for t in draw.sample(world.tasks, 4)]
    if draw.random() < 0.7:
        memory = Memory("m1", facts[0], origin, origin)
        return (*prompts.restate_turns(OURS, memory), _reply(text=facts[0]))
    doc = Doc("d2", draw.choice(("Notes", facts[0])), "\n".join(facts), origin, origin)
    title = title_of([t for t in world.tasks if true_text(world, t) in facts])
    return (*prompts.restate_turns(OURS, doc), _reply(title=title, body=facts))


def _reply(**value: object) -> Turn:
    return Turn("assistant", json.dumps(value, separators=(",", ":"), ensure_ascii=False))


LESSONS: dict[str, tuple[float, Callable[[Suite, World, Random], tuple[Turn, ...]]]] = {
    "act": (0.25, _act),
    "open": (0.2, by_title),
    "extract": (0.0, by_extract),
    "coverage": (0.0, by_coverage),
    "read": (0.09, _read),
    "history": (0.08, _history),
    "handoff": (0.19, _handoff),
    "document": (0.08, _document),
    "compress": (0.04, _compress),
    "rewrite": (0.05, _rewrite),
    "restate": (0.02, _restate),
}
"""By kind: its share of the lessons, and what makes one. One of share 0 must be asked for."""
