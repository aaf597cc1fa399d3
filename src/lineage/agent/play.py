"""Acting on a task until there is a score: one answer, or turns in the suite's environment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from lineage.agent import prompt as prompts
from lineage.agent.condense import hold
from lineage.agent.context import Context
from lineage.agent.history import Trace
from lineage.agent.reading import Read
from lineage.agent.steps import Steps
from lineage.core.curriculum import TaskInstance
from lineage.core.tasks import Environment, Observation, Referral, Task
from lineage.models.protocol import Completion

T = TypeVar("T")
YES, NO = "yes", "no"
NO_TURNS = Trace()


@dataclass(frozen=True)
class Played:
    """How the acting ended: its last completion, which the caller logs as step `step`.

    `columns` are the completion's own, with the environment's last words and any error. `score`
    is None where engine or suite failed, and 0 where the instance did: its prompt was over-long.
    `feedback` is what the suite says to an answer.
    """

    text: str
    columns: dict[str, Any]
    score: float | None
    step: int
    trace: Trace = NO_TURNS
    feedback: str = ""

    @property
    def answered(self) -> bool:
        """Whether it ended in an answer that has a score."""
        return self.score is not None and not self.columns.get("error")


async def play(steps: Steps, found: Read, task_instance: TaskInstance) -> Played:
    """Act on `task_instance` after what was `found`; each action but the last is logged here.

    A suite that fails costs this episode alone: its error is in the columns.
    """
    played = await _play(steps, found, task_instance)
    if not played.answered or played.score is None:
        return played
    task, world = task_instance.task, task_instance.world
    try:
        feedback = steps.context.suite.feedback(task, world, played.score)
    except Exception as error:
        return replace(played, score=None, columns=played.columns | {"error": _failure(error)})
    return replace(played, feedback=feedback)


async def _play(steps: Steps, found: Read, task_instance: TaskInstance) -> Played:
    context, task, world = steps.context, task_instance.task, task_instance.world
    try:
        environment = await _call(context, context.suite.environment, task, world)
    except Exception as error:
        return Played("", {"error": _failure(error)}, None, steps.take())
    if environment is None:
        return await _answer(steps, found, task)
    try:
        return await _turns(steps, found, environment)
    finally:
        await _call(context, environment.close)


async def _answer(steps: Steps, found: Read, task: Task) -> Played:
    context = steps.context
    completion, columns = found.answered or await steps.ask(found.turns, context.config.act_tokens)
    if completion.error:
        return Played(completion.text, columns, _unanswered(completion), steps.take())
    try:
        score = await _after(steps, columns, context.suite.score, task, completion.text)
    except Exception as error:
        failed = {"error": _failure(error)}
        return Played(completion.text, columns | failed, None, steps.take())
    if not isinstance(score, Referral):
        return Played(completion.text, columns, score, steps.take())
    # The answer's own step is written after the judge's: what is finished must survive a crash.
    steps.hold(columns)
    step = steps.take()
    judged, why = await _judged(steps, score)
    return Played(completion.text, columns | {"error": why}, judged, step)


async def _judged(steps: Steps, referral: Referral) -> tuple[float | None, str]:
    """Return the judge's score, or None and why there is none."""
    completion, columns = await steps.ask(
        prompts.judge_turns(steps.context.texts, referral.prompt),
        max(steps.context.count(word) for word in (YES, NO)) + 1,
        choices=(YES, NO),
        version=referral.version,
    )
    steps.write("judge", detail=referral.version, **columns)
    if completion.error:
        return None, f"judge: {completion.error}"
    return float(completion.text == YES), ""


async def _turns(steps: Steps, found: Read, environment: Environment) -> Played:
    context, config, trace, spent = steps.context, steps.context.config, Trace(), 0
    # What was said before the environment was shown is no move in it.
    text, columns = "", dict[str, Any]()
    first = shown = await _observe(context, _call(context, environment.begin))
    for turn in range(1, config.turns + 1):
        if shown.error:
            break
        trace, fault = await hold(steps, found.turns[-1].content, trace)
        if fault:
            return Played("", fault.columns, None, steps.take(), trace)
        turns = prompts.conversation(found.turns, first.text, trace)
        completion, columns = await steps.ask(turns, config.act_tokens, choices=shown.choices)
        text = completion.text
        if completion.error:
            return Played(text, columns, _unanswered(completion), steps.take(), trace)
        spent += completion.completion_tokens
        last = turn == config.turns or spent + config.act_tokens > config.episode_tokens
        shown = await _observe(context, _after(steps, columns, environment.act, text, last))
        columns |= {"detail": shown.text}
        if shown.error or shown.score is not None:
            break
        if last:
            shown = _Shown(error="suite: the environment gave no score after its last turn")
            break
        steps.write("turn", **columns)
        trace = trace.then(text, shown.text)
    columns |= {"error": shown.error}
    return Played(text, columns, shown.score, steps.take(), trace)


def _unanswered(failed: Completion) -> float | None:
    """Return the score of what was not answered: 0 where the instance asked too much."""
    return 0.0 if failed.overlong else None


@dataclass(frozen=True)
class _Shown:
    """An observation of bounded length, or why there is none."""

    text: str = ""
    score: float | None = None
    choices: tuple[str, ...] = ()
    error: str = ""


async def _observe(context: Context, call: Awaitable[Observation]) -> _Shown:
    """Return what a call of an environment shows."""
    try:
        seen = await call
    except Exception as error:
        return _Shown(error=_failure(error))
    most = context.config.observation_chars
    text = seen.text if len(seen.text) <= most else f"{seen.text[:most]} [cut]"
    return _Shown(text, seen.score, seen.choices)


async def _call(context: Context, function: Callable[..., T], *inputs: Any) -> T:
    """Call a suite; a thread waits where that may take a while, not the other lineages."""
    if context.suite.blocking:
        return await asyncio.to_thread(function, *inputs)
    return function(*inputs)


async def _after(
    steps: Steps, columns: dict[str, Any], function: Callable[..., T], *inputs: Any
) -> T:
    """Call a suite about an answer, which is made durable first where that may take a while."""
    if steps.context.suite.blocking:
        steps.hold(columns)
    return await _call(steps.context, function, *inputs)


def _failure(error: Exception) -> str:
    """Return a suite's own error as the log has it, on one line."""
    return " ".join(f"suite: {type(error).__name__}: {error}".split())
