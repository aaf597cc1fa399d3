"""One episode: a fresh instance on one task, from its briefing and its own steps alone.

A working episode gets feedback and leaves an `Experience`; a probe gets none and leaves a score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lineage.agent.briefing import Briefing
from lineage.agent.desk import Desk
from lineage.agent.echo import echoed
from lineage.agent.history import Experience
from lineage.agent.reading import Read, read
from lineage.curriculum import Visit


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


async def _attempt(
    desk: Desk, name: str, briefing: Briefing, visit: Visit, probe: bool
) -> Attempt:
    phase, kind = ("probe", "probe") if probe else ("work", "act")
    task, knowledge = visit.task, briefing.knowledge
    about: dict[str, Any] = {
        "family": visit.family,
        "world": task.world,
        "task": task.id,
        "facts": task.facts,
        "met": visit.met,
        "answer": task.answer,
        "memory_tokens": desk.memory_tokens(knowledge),
        "knowledge_before": knowledge.id,
        "knowledge_after": knowledge.id,
    }
    found: Read = await read(desk, name, phase, briefing, task.prompt, about)
    completion, columns = found.answered or await desk.ask(
        name, found.steps, found.turns, desk.config.act_tokens
    )
    score = None if completion.error else desk.suite.score(task, completion.text)
    echo = echoed(knowledge.memories, completion.text)
    about |= {"doc_tokens": found.doc_tokens}
    desk.write(phase, name, found.steps, kind, score=score, entry=echo, **about, **columns)
    if probe or score is None:
        return Attempt(score, None, found.doc_tokens, echo)
    feedback = desk.suite.feedback(task, visit.world, score)
    about |= {"memory_tokens": 0, "doc_tokens": 0}
    desk.write(phase, name, found.steps + 1, "feedback", score=score, detail=feedback, **about)
    right = score == 1.0
    experience = Experience(task.prompt, completion.text, feedback, right, found.opened)
    return Attempt(score, experience, found.doc_tokens, echo)
