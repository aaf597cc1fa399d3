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
from lineage.curriculum import Visit
from lineage.tasks import Task


@dataclass(frozen=True)
class Attempt:
    """What became of an episode. `score` is None where it failed (its error is in the log).

    `echoed` is the id of the memory that the answer repeats most, "" where there is none.
    """

    score: float | None
    experience: Experience | None
    doc_tokens: int
    echoed: str


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
    context = ""
    if task.context and not probe:
        context, step, error = await study(
            desk, phase, name, found.steps, task.prompt, task.context, about
        )
        if error:
            desk.write(phase, name, step, kind, error=error, **about)
            return Attempt(None, None, found.doc_tokens, "")
        turns = prompts.with_context(found.turns, context)
        found = replace(found, turns=turns, steps=step, answered=None)
    played = await play(desk, phase, name, found, visit, about)
    echo = echoed(knowledge.memories, played.text)
    about |= {"doc_tokens": found.doc_tokens}
    score = played.score
    desk.write(phase, name, played.step, kind, score=score, entry=echo, **about, **played.columns)
    if probe or score is None:
        return Attempt(score, None, found.doc_tokens, echo)
    feedback = played.feedback
    about |= {"memory_tokens": 0, "doc_tokens": 0}
    desk.write(phase, name, played.next, "feedback", score=score, detail=feedback, **about)
    experience = Experience(
        task.prompt, played.text, feedback, score == 1.0, found.opened, context, played.trace
    )
    return Attempt(score, experience, found.doc_tokens, echo)


async def _learn(desk: Desk, phase: str, name: str, task: Task, about: dict[str, Any]) -> Attempt:
    """Read a lesson: nothing is asked, so nothing is scored."""
    context, _, error = await study(desk, phase, name, 0, "", task.context, about)
    experience = None if error else Experience("", "", "", True, context=context)
    return Attempt(None, experience, 0, "")
