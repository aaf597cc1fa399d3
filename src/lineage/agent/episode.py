"""One episode: a fresh instance on one task, from its briefing and its own steps alone.

A working episode gets feedback and leaves an `Experience`; a probe gets none and leaves a score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent.briefing import Briefing
from lineage.agent.condense import study
from lineage.agent.desk import Desk
from lineage.agent.echo import echoed
from lineage.agent.history import Experience
from lineage.agent.play import play
from lineage.agent.reading import read
from lineage.core.curriculum import Visit
from lineage.core.tasks import Task


@dataclass(frozen=True)
class Attempt:
    """What became of an episode. `score` is None where engine or suite failed it.

    Where the instance itself did (its prompt was over-long) the score is 0; either way the error is
    in the log. `echoed` is the id of the memory that the answer repeats most, "" where there is
    none; `opened` are the ids of the docs that it read.
    """

    score: float | None
    experience: Experience | None
    doc_tokens: int
    echoed: str
    opened: tuple[str, ...] = ()


async def work(desk: Desk, name: str, briefing: Briefing, visit: Visit) -> Attempt:
    """Work on `visit` and get feedback."""
    return await _attempt(desk, name, briefing, visit, probe=False)


async def probe(desk: Desk, name: str, briefing: Briefing, visit: Visit) -> Attempt:
    """Measure only: no feedback, and nothing that could write Knowledge."""
    return await _attempt(desk, name, briefing, visit, probe=True)


async def _attempt(desk: Desk, name: str, briefing: Briefing, visit: Visit, probe: bool) -> Attempt:
    phase, kind = ("probe", "probe") if probe else ("work", "act")
    task, knowledge = visit.task, briefing.knowledge
    about: dict[str, Any] = {
        "family": visit.family,
        "world": task.world,
        "task": task.id,
        "category": task.category,
        "facts": task.facts,
        "met": visit.met,
        "answer": task.answer,
        "memory_tokens": desk.memory_tokens(knowledge),
        "knowledge_before": knowledge.id,
        "knowledge_after": knowledge.id,
    }
    if task.lesson:
        return await _learn(desk, phase, name, task, about)
    found = await read(desk, name, phase, briefing, task.prompt, about)
    if found.broken is not None:
        desk.write(phase, name, found.steps, kind, **about, **found.broken)
        return Attempt(None, None, found.doc_tokens, "", found.opened)
    context = ""
    if task.context and not probe:
        context, step, fault = await study(
            desk, phase, name, found.steps, task.prompt, task.context, about
        )
        if fault:
            lost = None if fault.broken else 0.0
            desk.write(phase, name, step, kind, score=lost, **about, **fault.columns)
            return Attempt(lost, None, found.doc_tokens, "", found.opened)
        turns = prompts.with_context(found.turns, context)
        found = replace(found, turns=turns, steps=step, answered=None)
    played = await play(desk, phase, name, found, visit, about)
    echo = echoed(knowledge.memories, played.text)
    about |= {"doc_tokens": found.doc_tokens}
    score = played.score
    desk.write(phase, name, played.step, kind, score=score, entry=echo, **about, **played.columns)
    if probe or not played.answered:
        return Attempt(score, None, found.doc_tokens, echo, found.opened)
    feedback = played.feedback
    about |= {"memory_tokens": 0, "doc_tokens": 0}
    desk.write(phase, name, played.next, "feedback", score=score, detail=feedback, **about)
    experience = Experience(
        task.prompt, played.text, feedback, score == 1.0, found.opened, context, played.trace
    )
    return Attempt(score, experience, found.doc_tokens, echo, found.opened)


async def _learn(desk: Desk, phase: str, name: str, task: Task, about: dict[str, Any]) -> Attempt:
    """Read a lesson: nothing is asked, so nothing is scored."""
    context, _, fault = await study(desk, phase, name, 0, "", task.context, about)
    experience = None if fault else Experience("", "", "", True, context=context)
    return Attempt(None, experience, 0, "")
