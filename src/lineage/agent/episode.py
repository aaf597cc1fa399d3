"""One episode: a fresh instance on one task, from its inputs and its own steps alone.

A working episode gets feedback and leaves an `Experience`; a probe gets none and leaves a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent.condense import study
from lineage.agent.context import Context
from lineage.agent.echo import echoed
from lineage.agent.history import Experience
from lineage.agent.inputs import Inputs
from lineage.agent.play import play
from lineage.agent.reading import read
from lineage.agent.steps import Steps
from lineage.core.curriculum import TaskInstance
from lineage.core.tasks import FAMILIES, Family


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


def proved(attempts: Sequence[Attempt]) -> frozenset[str]:
    """Return the ids of the memories that right answers repeat."""
    return frozenset(one.echoed for one in attempts if one.score == 1.0 and one.echoed)


async def work(context: Context, name: str, inputs: Inputs, task_instance: TaskInstance) -> Attempt:
    """Work on `task_instance` and get feedback."""
    return await _attempt(context, name, inputs, task_instance, probe=False)


async def probe(
    context: Context, name: str, inputs: Inputs, task_instance: TaskInstance
) -> Attempt:
    """Measure only: no feedback, and nothing that could write Knowledge."""
    return await _attempt(context, name, inputs, task_instance, probe=True)


def outcome(
    probes: Sequence[TaskInstance], attempts: Sequence[Attempt]
) -> tuple[dict[Family, list[float]], float]:
    """Return the scores of `probes` by family, and the tokens of docs that each read, on average.

    `attempts` are what became of them, in the same order.
    """
    scores: dict[Family, list[float]] = {family: [] for family in FAMILIES}
    for task_instance, attempt in zip(probes, attempts, strict=True):
        if attempt.score is not None:
            scores[Family(task_instance.family)].append(attempt.score)
    return scores, sum(attempt.doc_tokens for attempt in attempts) / max(len(attempts), 1)


async def _attempt(
    context: Context, name: str, inputs: Inputs, task_instance: TaskInstance, probe: bool
) -> Attempt:
    phase, kind = ("probe", "probe") if probe else ("work", "act")
    task, knowledge = task_instance.task, inputs.knowledge
    about: dict[str, Any] = {
        "family": task_instance.family,
        "world": task.world,
        "task": task.id,
        "category": task.category,
        "facts": task.facts,
        "met": task_instance.met,
        "answer": task.answer,
        "memory_tokens": context.memory_tokens(knowledge),
        "knowledge_before": knowledge.id,
        "knowledge_after": knowledge.id,
    }
    steps = Steps(context, phase, name, about)
    if task.lesson:
        # Nothing is asked, so nothing is scored.
        kept, fault = await study(steps, "", task.context)
        lesson = None if fault else Experience("", "", "", True, context=kept)
        return Attempt(None, lesson, 0, "")
    found = await read(steps, inputs, task.prompt)
    if found.broken is not None:
        steps.write(kind, **found.broken)
        return Attempt(None, None, found.doc_tokens, "", found.opened)
    kept = ""
    if task.context and not probe:
        kept, fault = await study(steps, task.prompt, task.context)
        if fault:
            lost = None if fault.broken else 0.0
            steps.write(kind, score=lost, **fault.columns)
            return Attempt(lost, None, found.doc_tokens, "", found.opened)
        turns = prompts.with_context(found.turns, kept)
        found = replace(found, turns=turns, answered=None)
    played = await play(steps, found, task_instance)
    echo, score, tokens = echoed(knowledge.memories, played.text), played.score, found.doc_tokens
    steps.write(kind, played.step, score=score, entry=echo, doc_tokens=tokens, **played.columns)
    if probe or not played.answered:
        return Attempt(score, None, tokens, echo, found.opened)
    told = played.feedback
    steps.write("feedback", memory_tokens=0, doc_tokens=0, score=score, detail=told)
    experience = Experience(
        task.prompt, played.text, told, score == 1.0, found.opened, kept, played.trace
    )
    return Attempt(score, experience, tokens, echo, found.opened)
