"""Supervised lessons on which doc to open, by its title or by what is said beside that. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from lineage.agent import prompt as prompts
from lineage.agent.extract import covers, extracts, without_values
from lineage.core.knowledge import Doc
from lineage.core.prompts import OURS
from lineage.core.tasks import Suite, Task, World
from lineage.models.protocol import Turn
from lineage.search.relevance import Passages
from lineage.training.ideal import UNKNOWN, Filed, ideal_answer, true_text, with_docs

SHUFFLED = 0.4
"""Of the searches of `by_extract` and `by_coverage`: there a doc's place says nothing."""
LINE_CHARS = 96
"""Of an extract, as in the small profile."""
Offer = tuple[dict[str, str], Sequence[str]]
"""What is remarked of the docs that were found, by id, and the ids of those worth opening."""


def by_title(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    """Choose by titles alone: where no note answers, the first doc that promises an answer."""
    noted, knowledge, shelves = with_docs(world, draw)
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


def by_extract(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    """Choose with an extract of each doc at hand, which tells what a title leaves open."""
    filed = with_docs(world, draw)

    def offer(found: Sequence[Doc], task: Task) -> Offer:
        shown = extracts(found, task.prompt, LINE_CHARS)
        telling = [t for t in (task, *world.tasks) if ideal_answer(world, [t], task) != UNKNOWN]
        hopes = [without_values(true_text(world, one), LINE_CHARS) for one in telling]
        return shown, [doc.id for hope in hopes for doc in found if shown.get(doc.id) == hope]

    return _searches(world, filed, (0.2, 0.6, 0.2), offer, draw)


def by_coverage(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    """Choose by how much of the task each doc covers: all of it, or what is said of its kin."""
    _, knowledge, shelves = filed = with_docs(world, draw)
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
    filed: Filed,
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


def _found(docs: Sequence[Doc], task: Task, draw: Random) -> list[Doc]:
    """Return `docs` as a search for `task` ranks them: those that promise an answer first."""
    shuffled = draw.sample(list(docs), len(docs))
    return sorted(shuffled, key=lambda doc: not _promises(doc.title, task))[:3]


def _promises(title: str, task: Task) -> bool:
    """Whether a title lets one hope for an answer: it names the machine, or one of its kind."""
    machine = task.facts[0].split("/")[1]
    return machine in title or (bool(task.group) and machine.split(" ")[0] in title)
