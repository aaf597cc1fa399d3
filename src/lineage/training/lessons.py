"""Supervised lessons for a codebook worker: conversations with the answers an ideal one gives.

Pure: made from seeds alone. The lessons cover each thing a version does in a lineage: answer
from notes, open a doc, write memories, write a doc, compress. Prompts come from `agent.prompt`,
so what is taught is what is asked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from lineage.agent import prompt as prompts
from lineage.agent.extract import covers, extracts, without_values
from lineage.agent.history import Experience, Past
from lineage.core.knowledge import Doc, Knowledge, Memory, Origin
from lineage.core.prompts import OURS
from lineage.core.seeds import derive, rng
from lineage.core.tasks import Suite, Task, World
from lineage.models.protocol import Turn
from lineage.search.relevance import Passages
from lineage.training.library import title_of

UNKNOWN = "I do not know."
MAX_NOTES = 22
SHUFFLED = 0.4
"""Of the searches of `extract` and `coverage`: there a doc's place says nothing."""
LINE_CHARS = 96
"""Of an extract, as in the small profile."""


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


def ideal_answer(world: World, known: Sequence[Task], task: Task) -> str:
    """Return the best answer to `task` for one who knows the answers of `known`."""
    for other in known:
        kin = task.group and (other.world, other.group) == (task.world, task.group)
        if kin or other.id == task.id:
            return _truth(world, task)
    return UNKNOWN


def _truth(world: World, task: Task) -> str:
    """Return the sentence of the one fact that `task` asks for."""
    return world.fact_texts(task.facts)[0]


def _memories(world: World, tasks: Sequence[Task], draw: Random, first: int = 1) -> Knowledge:
    """Return Knowledge with a memory for each of `tasks`, some as a poor writer leaves them."""
    origin = _origin(draw)
    memories = []
    number = first
    poor = draw.random() < 0.3
    for task in tasks:
        text = _truth(world, task)
        if poor and draw.random() < 0.5:
            text = f"{text} {text} {text}"[: draw.randrange(len(text), 96)]
        memories.append(Memory(f"m{number}", text, origin, origin))
        number += draw.choice((1, 1, 1, 2))
    return Knowledge(memories=tuple(memories), next_id=number)


def _act(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    known = draw.sample(world.tasks, draw.randrange(MAX_NOTES + 1))
    asked = _questions(suite, world, known, draw)
    first = prompts.act_turns(OURS, _memories(world, known, draw), asked[0].prompt)
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


def _filed(world: World, draw: Random) -> tuple[list[Task], Knowledge, list[list[Task]]]:
    """Return noted tasks, Knowledge with notes on them and docs, and the tasks of each doc."""
    tasks = draw.sample(world.tasks, min(len(world.tasks), 34))
    count = draw.randrange(2, 17)
    noted, filed = tasks[:count], tasks[count:]
    shelves = []
    for _ in range(draw.choice((1, 2, 3, 4))):
        size = draw.choice((1, 2, 3, 4, 6))
        # As in a lineage, a doc may hold what the notes say too.
        pool = filed if draw.random() < 0.6 else tasks
        shelves.append(draw.sample(pool, min(size, len(pool))))
    origin = _origin(draw)
    docs = []
    for number, shelf in enumerate(shelves):
        body = "\n".join(_truth(world, t) for t in shelf)
        poor = _truth(world, shelf[0]).partition(" is ")[0]
        title = poor if draw.random() < 0.3 else title_of(shelf)
        docs.append(Doc(f"d{30 + 3 * number}", title, body, origin, origin))
    return noted, _memories(world, noted, draw).evolve(docs=tuple(docs)), shelves


def _origin(draw: Random) -> Origin:
    return Origin(0, draw.choice(("smollm2-135m@r0", "smollm2-135m@r1")), "lesson")


def _found(docs: Sequence[Doc], task: Task, draw: Random) -> list[Doc]:
    """Return `docs` as a search for `task` ranks them: those that promise an answer first."""
    shuffled = draw.sample(list(docs), len(docs))
    return sorted(shuffled, key=lambda doc: not _promises(doc.title, task))[:3]


def _open(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    noted, knowledge, shelves = _filed(world, draw)
    shelved = [task for shelf in shelves for task in shelf]
    turns: list[Turn] = []
    for _ in range(4):
        pool = draw.choices((noted, shelved, world.tasks), weights=(0.35, 0.5, 0.15))[0]
        task = draw.choice(pool)
        found = _found(knowledge.docs, task, draw)
        asked = prompts.open_turns(OURS, knowledge, task.prompt, found)
        choice = prompts.NO_DOC
        if ideal_answer(world, noted, task) == UNKNOWN and _promises(found[0].title, task):
            choice = found[0].id
        turns += (*(asked if not turns else asked[1:]), Turn("assistant", choice))
    return tuple(turns)


Offer = tuple[dict[str, str], Sequence[str]]
"""What is remarked of the docs that were found, by id, and the ids of those worth opening."""


def _extract(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    """Choose with an extract of each doc at hand, which tells what a title leaves open."""
    filed = _filed(world, draw)

    def offer(found: Sequence[Doc], task: Task) -> Offer:
        shown = extracts(found, task.prompt, LINE_CHARS)
        telling = [t for t in (task, *world.tasks) if ideal_answer(world, [t], task) != UNKNOWN]
        hopes = [without_values(_truth(world, one), LINE_CHARS) for one in telling]
        return shown, [doc.id for hope in hopes for doc in found if shown.get(doc.id) == hope]

    return _searches(world, filed, (0.2, 0.6, 0.2), offer, draw)


def _coverage(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    """Choose by how much of the task each doc covers: all of it, or what is said of its kin."""
    noted, knowledge, shelves = filed = _filed(world, draw)
    held = {doc.id: shelf for doc, shelf in zip(knowledge.docs, shelves)}
    docs = [(doc.id, doc.title, doc.body) for doc in knowledge.docs]
    passages = Passages([memory.text for memory in knowledge.memories], docs)

    def offer(found: Sequence[Doc], task: Task) -> Offer:
        _, shares = passages.coverage(task.prompt, [doc.id for doc in found])
        whole = [id for id, share in shares.items() if math.isclose(share, 1.0)]
        kin = [id for id in shares if ideal_answer(world, held[id], task) != UNKNOWN]
        return covers(shares), (*sorted(whole, key=lambda id: task not in held[id]), *kin)

    return _searches(world, filed, (0.25, 0.5, 0.25), offer, draw)


def _searches(
    world: World,
    filed: tuple[list[Task], Knowledge, list[list[Task]]],
    weights: tuple[float, float, float],
    offer: Callable[[Sequence[Doc], Task], Offer],
    draw: Random,
) -> tuple[Turn, ...]:
    """Return a conversation of four searches: where no note answers, a doc worth it is opened.

    `weights` are how often a task is one that a note answers, one that a doc does, and any.
    """
    noted, knowledge, shelves = filed
    held, turns = dict(zip(knowledge.docs, shelves)), list[Turn]()
    pools = (noted, [task for of in shelves for task in of], world.tasks)
    for _ in range(4):
        task = draw.choice(draw.choices(pools, weights=weights)[0])
        docs = draw.sample(knowledge.docs, len(held))
        found = sorted(docs, key=lambda doc: task not in held[doc])[:3]
        if draw.random() < SHUFFLED:
            found = draw.sample(found, len(found))
        remarks, worth = offer(found, task)
        unknown = ideal_answer(world, noted, task) == UNKNOWN
        choice = worth[0] if unknown and worth else prompts.NO_DOC
        asked = prompts.open_turns(OURS, knowledge, task.prompt, found, remarks=remarks)
        turns += (*(asked if not turns else asked[1:]), Turn("assistant", choice))
    return tuple(turns)


def _read(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    noted, knowledge, shelves = _filed(world, draw)
    turns: list[Turn] = []
    for _ in range(3):
        place = draw.randrange(len(shelves))
        doc, shelf = knowledge.docs[place], shelves[place]
        pool = draw.choices((shelf, noted, world.tasks), weights=(0.65, 0.2, 0.15))[0]
        task = draw.choice(pool)
        asked = prompts.act_turns(OURS, knowledge, task.prompt, [doc])
        answer = ideal_answer(world, [*noted, *shelf], task)
        turns += (*(asked if not turns else asked[1:]), Turn("assistant", answer))
    return tuple(turns)


def _history(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    met = draw.sample(world.tasks, draw.randrange(1, 19))
    version = _origin(draw).version
    past = []
    for place, task in enumerate(met):
        shown = _experience(suite, world, task, draw.random() < 0.3, draw)
        solution = _truth(world, task)
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


def _promises(title: str, task: Task) -> bool:
    """Whether a title lets one hope for an answer: it names the machine, or one of its kind."""
    machine = task.facts[0].split("/")[1]
    return machine in title or (bool(task.group) and machine.split(" ")[0] in title)


def _experience(suite: Suite, world: World, task: Task, right: bool, draw: Random) -> Experience:
    truth = _truth(world, task)
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
        truth = _truth(world, task)
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
    origin = _origin(draw)
    held, related = list(met), list[Doc]()
    edit: dict[str, object] = {"op": "write"}
    if draw.random() < 0.5:
        held = [draw.choice(met), *draw.sample([t for t in world.tasks if t not in met], 2)]
        lines = [_truth(world, t) for t in held]
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
    body = [_truth(world, t) for t in held]
    edit |= {"title": title_of(held), "body": body}
    return (*prompts.document_turns(OURS, related, shown, False), _reply(edits=[edit]))


def _compress(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    noted = draw.sample(world.tasks, draw.randrange(12, MAX_NOTES + 2))
    knowledge = _memories(world, noted, draw)
    groups: dict[str, list[int]] = {}
    for place, task in enumerate(noted):
        if task.group:
            groups.setdefault(task.group, []).append(place)
    edits: list[dict[str, object]] = []
    for places in list(groups.values())[: draw.choice((2, 3, 4))]:
        if len(places) > 1:
            # Kin share their value, so one fact speaks for all.
            text = _truth(world, noted[places[0]])
            ids = [knowledge.memories[place].id for place in places[:4]]
            edits.append({"op": "merge", "ids": ids, "text": text})
    if not edits:
        edits = [{"op": "drop", "id": knowledge.memories[0].id}]
    return (*prompts.compress_turns(OURS, knowledge), _reply(edits=edits))


def _rewrite(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    tasks = draw.sample(world.tasks, draw.randrange(1, 17))
    met, noted = tasks[: draw.choice((1, 2, 3, 6))], tasks[6:]
    shown = [_experience(suite, world, task, draw.random() < 0.4, draw) for task in met]
    knowledge = _memories(world, noted, draw)
    notes = [_truth(world, t) for t in (*noted, *met)]
    turns = prompts.handoff_turns(OURS, "rewrite-all", knowledge, shown, False)
    return (*turns, _reply(notes=notes))


def _restate(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    origin = _origin(draw)
    facts = [_truth(world, t) for t in draw.sample(world.tasks, 4)]
    if draw.random() < 0.7:
        memory = Memory("m1", facts[0], origin, origin)
        return (*prompts.restate_turns(OURS, memory), _reply(text=facts[0]))
    doc = Doc("d2", draw.choice(("Notes", facts[0])), "\n".join(facts), origin, origin)
    title = title_of([t for t in world.tasks if _truth(world, t) in facts])
    return (*prompts.restate_turns(OURS, doc), _reply(title=title, body=facts))


def _reply(**value: object) -> Turn:
    return Turn("assistant", json.dumps(value, separators=(",", ":"), ensure_ascii=False))


LESSONS: dict[str, tuple[float, Callable[[Suite, World, Random], tuple[Turn, ...]]]] = {
    "act": (0.25, _act),
    "open": (0.2, _open),
    "extract": (0.0, _extract),
    "coverage": (0.0, _coverage),
    "read": (0.09, _read),
    "history": (0.08, _history),
    "handoff": (0.19, _handoff),
    "document": (0.08, _document),
    "compress": (0.04, _compress),
    "rewrite": (0.05, _rewrite),
    "restate": (0.02, _restate),
}
"""By kind: its share of the lessons, and what makes one. One of share 0 must be asked for."""
