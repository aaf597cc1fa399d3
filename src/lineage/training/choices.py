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
from lineage.training.ideal import UNKNOWN, Filed, gone_on, ideal_answer, true_text, with_docs

SHUFFLED = 0.4
"""Of the searches of `by_extract` and `by_coverage`: there a doc's place says nothing."""
LINE_CHARS = 96
"""Of an extract, as in the small profile."""
Offer = tuple[Sequence[Doc], dict[str, str], Sequence[str]]
"""The docs that a search finds, what is remarked of them, and which are worth opening, by id."""


def by_title(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    """Choose by titles alone: where no note answers, the first doc that promises an answer."""
    filed = with_docs(world, draw)

    def search(task: Task) -> Offer:
        found = _found(filed, lambda doc: _promises(doc.title, task), draw)
        return found, {}, [doc.id for doc in found[:1] if _promises(doc.title, task)]

    return _searches(world, filed, (0.35, 0.5, 0.15), search, draw)


def by_extract(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    """Choose with an extract of each doc at hand, which tells what a title leaves open."""
    filed = with_docs(world, draw)

    def search(task: Task) -> Offer:
        found = _found_or_shuffled(filed, task, draw)
        shown = extracts(found, task.prompt, LINE_CHARS)
        telling = [t for t in (task, *world.tasks) if ideal_answer(world, [t], task) != UNKNOWN]
        hopes = [without_values(true_text(world, one), LINE_CHARS) for one in telling]
        worth = [doc.id for hope in hopes for doc in found if shown.get(doc.id) == hope]
        return found, shown, worth

    return _searches(world, filed, (0.2, 0.6, 0.2), search, draw)


def by_coverage(suite: Suite, world: World, draw: Random) -> tuple[Turn, ...]:
    """Choose by how much of the task each doc covers: all of it, or what is said of its kin."""
    _, knowledge, shelves = filed = with_docs(world, draw)
    held = {doc.id: shelf for doc, shelf in zip(knowledge.docs, shelves)}
    passages = Passages.of(knowledge)

    def search(task: Task) -> Offer:
        found = _found_or_shuffled(filed, task, draw)
        _, shares = passages.coverage(task.prompt, [doc.id for doc in found])
        whole = [id for id, share in shares.items() if math.isclose(share, 1.0)]
        kin = [id for id in shares if ideal_answer(world, held[id], task) != UNKNOWN]
        worth = (*sorted(whole, key=lambda id: task not in held[id]), *kin)
        return found, covers(shares), worth

    return _searches(world, filed, (0.25, 0.5, 0.25), search, draw)


def _searches(
    world: World,
    filed: Filed,
    weights: tuple[float, float, float],
    search: Callable[[Task], Offer],
    draw: Random,
) -> tuple[Turn, ...]:
    """Return a conversation of four searches: where no note answers, a doc worth it is opened.

    `weights` are how often a task is one that a note answers, one that a doc does, and any.
    """
    noted, knowledge, shelves = filed
    turns: tuple[Turn, ...] = ()
    pools = (noted, [task for of in shelves for task in of], world.tasks)
    for _ in range(4):
        task = draw.choice(draw.choices(pools, weights=weights)[0])
        found, remarks, worth = search(task)
        unknown = ideal_answer(world, noted, task) == UNKNOWN
        choice = worth[0] if unknown and worth else prompts.NO_DOC
        asked = prompts.open_turns(OURS, knowledge, task.prompt, found, remarks=remarks)
        turns = gone_on(turns, asked, choice)
    return turns


def _found(filed: Filed, hopeful: Callable[[Doc], bool], draw: Random) -> list[Doc]:
    """Return the docs as a search ranks them: those that are `hopeful` first."""
    _, knowledge, _ = filed
    docs = draw.sample(knowledge.docs, len(knowledge.docs))
    return sorted(docs, key=lambda doc: not hopeful(doc))[:3]


def _found_or_shuffled(filed: Filed, task: Task, draw: Random) -> list[Doc]:
    """Return the docs that hold `task` first, or in a part of the searches in any order."""
    _, knowledge, shelves = filed
    held = dict(zip(knowledge.docs, shelves))
    found = _found(filed, lambda doc: task in held[doc], draw)
    return draw.sample(found, len(found)) if draw.random() < SHUFFLED else found


def _promises(title: str, task: Task) -> bool:
    """Whether a title lets one hope for an answer: it names the machine, or one of its kind."""
    machine = task.facts[0].split("/")[1]
    return machine in title or (bool(task.group) and machine.split(" ")[0] in title)
