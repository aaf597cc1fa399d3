"""One episode: a fresh instance on one task, from its Knowledge and its own steps alone.

A working episode gets feedback and leaves an `Experience`; a probe gets none and leaves a score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent.desk import Desk
from lineage.agent.prompt import Experience
from lineage.curriculum import Visit
from lineage.knowledge import Knowledge
from lineage.models.protocol import Turn


@dataclass(frozen=True)
class Attempt:
    """What became of an episode. `score` is None where it failed (its error is in the log)."""

    score: float | None
    experience: Experience | None
    doc_tokens: int


async def work(desk: Desk, name: str, knowledge: Knowledge, visit: Visit) -> Attempt:
    """Work on `visit` and get feedback."""
    return await _attempt(desk, name, knowledge, visit, probe=False)


async def probe(desk: Desk, name: str, knowledge: Knowledge, visit: Visit) -> Attempt:
    """Measure only: no feedback, and nothing that could write Knowledge."""
    return await _attempt(desk, name, knowledge, visit, probe=True)


async def _attempt(
    desk: Desk, name: str, knowledge: Knowledge, visit: Visit, probe: bool
) -> Attempt:
    phase, kind = ("probe", "probe") if probe else ("work", "act")
    task = visit.task
    about: dict[str, Any] = {
        "family": visit.family,
        "world": task.world,
        "task": task.id,
        "met": visit.met,
        "answer": task.answer,
        "memory_tokens": desk.memory_tokens(knowledge),
        "knowledge_before": knowledge.id,
        "knowledge_after": knowledge.id,
    }
    turns, doc_tokens, step = await _open(desk, name, phase, knowledge, task.prompt, about)
    completion, columns = await desk.ask(name, step, turns, desk.config.act_tokens)
    score = None if completion.error else desk.suite.score(task, completion.text)
    about |= {"doc_tokens": doc_tokens}
    desk.write(phase, name, step, kind, score=score, **about, **columns)
    if probe or score is None:
        return Attempt(score, None, doc_tokens)
    feedback = desk.suite.feedback(task, visit.world, score)
    about |= {"memory_tokens": 0, "doc_tokens": 0}
    desk.write(phase, name, step + 1, "feedback", score=score, detail=feedback, **about)
    experience = Experience(task.prompt, completion.text, feedback, right=score == 1.0)
    return Attempt(score, experience, doc_tokens)


async def _open(
    desk: Desk, name: str, phase: str, knowledge: Knowledge, prompt: str, about: dict[str, Any]
) -> tuple[tuple[Turn, ...], int, int]:
    """Let the instance open a doc, where there are any.

    Returns the turns that ask for the answer, the tokens of the doc in them, and their step.
    """
    if not (desk.config.docs and knowledge.docs):
        return prompts.act_turns(knowledge, prompt), 0, 0
    asked = prompts.open_turns(knowledge, prompt)
    choices = (*(doc.id for doc in knowledge.docs), prompts.NO_DOC)
    longest = max(desk.count(choice) for choice in choices) + 1
    completion, columns = await desk.ask(name, 0, asked, longest, choices=choices)
    doc = next((d for d in knowledge.docs if d.id == completion.text), None)
    entry, title = (doc.id, doc.title) if doc else ("", "")
    desk.write(phase, name, 0, "open", entry=entry, detail=title, **about, **columns)
    turns = prompts.opened_turns(asked, doc.id if doc else prompts.NO_DOC, doc, prompt)
    return turns, desk.count(doc.body) if doc else 0, 1
