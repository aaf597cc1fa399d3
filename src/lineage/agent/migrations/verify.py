"""`verify`: the successor tests each entry on past tasks and drops those that fail.

An entry is tested alone: the successor meets the past tasks that a search by the entry's text
finds, with nothing but that entry, and the world as it is now judges the answers. An entry that
helps with none of them goes. So a stale fact, a poisoned one and a note that this version
cannot read fall alike. An entry about which there is no past task stays.
"""

from __future__ import annotations

import asyncio
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent.budget import fit
from lineage.agent.context import Context
from lineage.agent.migrations.legacy import Legacy
from lineage.agent.play import play
from lineage.agent.proposal import after, log_edits
from lineage.agent.reading import Read
from lineage.agent.steps import Steps
from lineage.core.curriculum import TaskInstance
from lineage.core.edits import Edit, apply
from lineage.core.knowledge import EMPTY, Doc, Knowledge, Memory
from lineage.core.tasks import Task, World


async def verify(context: Context, legacy: Legacy) -> Knowledge:
    """Return the Knowledge without the entries that failed."""
    knowledge = legacy.knowledge
    passed = await asyncio.gather(*(_test(context, legacy, one) for one in knowledge.entries))
    failed = [entry for entry, good in zip(knowledge.entries, passed, strict=True) if not good]
    drops = [Edit("drop", id=entry.id) for entry in failed]
    changes = apply(knowledge, drops, context.origin("verify"), context.limits)
    log_edits(context, "migrate", "verify", changes)
    kept = after(knowledge, changes)
    return await fit(context, "migrate", kept, since=legacy.since)


async def _test(context: Context, legacy: Legacy, entry: Memory | Doc) -> bool:
    """Whether the version answers one past task or more rightly with `entry` alone."""
    tasks = _tasks(context, legacy, entry)
    scores = await asyncio.gather(
        *(_attempt(context, entry, number, task, legacy.world) for number, task in enumerate(tasks))
    )
    known = [score for score in scores if score is not None]
    return not known or max(known) == 1.0


def _tasks(context: Context, legacy: Legacy, entry: Memory | Doc) -> list[Task]:
    """Return the past tasks that `entry` is about, as they are in the world now."""
    now = {task.id: task for task in legacy.world.tasks}
    now |= {p.task.id: p.task for p in legacy.asked}
    past = {p.id: p for p in legacy.askable}
    text = entry.text if isinstance(entry, Memory) else f"{entry.title} {entry.body}"
    entries = tuple(p.entry for p in legacy.askable)
    hits = context.past.search(entries, text, legacy.config.verify_tasks) if entries else ()
    ids = dict.fromkeys(past[hit.id].task.id for hit in hits)
    return [now[id] for id in ids if id in now and not now[id].lesson]


async def _attempt(
    context: Context, entry: Memory | Doc, number: int, task: Task, world: World
) -> float | None:
    alone = EMPTY.evolve(memories=(entry,)) if isinstance(entry, Memory) else EMPTY
    opened = (context.shown(entry),) if isinstance(entry, Doc) else ()
    instructions = context.suite.instructions
    turns = prompts.act_turns(context.texts, alone, task.prompt, opened, instructions=instructions)
    name = f"verify-{entry.id}-{number:02d}"
    about: dict[str, Any] = {
        "entry": entry.id,
        "task": task.id,
        "world": task.world,
        "category": task.category,
        "facts": task.facts,
        "answer": task.answer,
    }
    steps = Steps(context, "migrate", name, about)
    played = await play(steps, Read(turns), TaskInstance(task, world))
    steps.write("migrate", played.step, score=played.score, **played.columns)
    return played.score
