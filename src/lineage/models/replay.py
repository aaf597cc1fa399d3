"""Replay: what an earlier process finished is answered from its journal, not generated again.

Only where the same is asked: with a prompt or a schema that has changed since, it is asked again.
An answer comes back as the engine gave it. What the agent made of it (an error in edits, a document
that was opened) is made again.
"""

from __future__ import annotations

from collections.abc import Mapping

from lineage.core.errors import OVERLONG
from lineage.core.plaintext import clean
from lineage.log.journal import Answer
from lineage.log.schema import Step
from lineage.models.protocol import Completion, Layer, Request, Sampler, ToolCall


class Replay(Layer):
    """A `Layer` that answers requests whose step is in `answered` from there."""

    def __init__(self, engine: Sampler, answered: Mapping[str, Answer]) -> None:
        self.engine = engine
        self.answered = dict(answered)

    async def generate(self, request: Request) -> Completion:
        """Return the finished step's completion, or a new one."""
        answer = self.answered.get(request.id)
        if answer is None or not _answers(answer, request):
            return await self.engine.generate(request)
        step = answer.step
        return Completion(
            text=step.completion,
            prompt=step.prompt,
            finish_reason=step.finish_reason,
            prompt_tokens=step.prompt_tokens,
            completion_tokens=step.completion_tokens,
            cached_tokens=step.cached_tokens,
            engine_seconds=step.engine_seconds,
            # A step's error may be its agent's; of an engine that failed there is no answer.
            error=step.error if step.finish_reason in ("", OVERLONG) else "",
            calls=_calls(step) if request.tools else (),
            tokens=step.tokens,
            logprobs=step.logprobs,
        )


def _answers(answer: Answer, request: Request) -> bool:
    """Whether the same was asked for `answer`.

    An answer without a digest is of a generation's own rows: then its seed and its prompt tell, in
    which a template has put the turns in order.
    """
    if answer.asked:
        return answer.asked == request.digest
    prompt, at = answer.step.prompt, 0
    for turn in request.turns:
        # A template may trim a turn, and a log has no lone surrogates.
        text = clean(turn.content).strip()
        at = prompt.find(text, at)
        if at < 0:
            return False
        at += len(text)
    return answer.step.seed == request.seed


def _calls(step: Step) -> tuple[ToolCall, ...]:
    """Return the tool call that `step` served; where it opened nothing, the id is ""."""
    if step.kind == "search":
        return (ToolCall("search", {"query": step.detail}),)
    return (ToolCall("open", {"id": step.entry}),) if step.kind == "open" else ()
