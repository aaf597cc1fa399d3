"""Replay: what an earlier process finished is answered from its journal, not generated again.

An answer comes back as the engine gave it. What the agent made of it (an error in edits, a document
that was opened) is made again, or stands in the log already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lineage.errors import OVERLONG
from lineage.models.protocol import Completion, Engine, Example, Request, TokenCounter, ToolCall
from lineage.steplog.schema import Step


class Replay:
    """An `Engine` that answers requests whose step is in `known` from there."""

    def __init__(self, engine: Engine, known: Mapping[str, Step]) -> None:
        self.engine = engine
        self.known = dict(known)

    async def start(self, versions: Sequence[str]) -> None:
        """The engine behind was started by its owner."""

    async def close(self) -> None:
        """The engine behind is closed by its owner."""

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        """Let the engine behind train an adapter."""
        await self.engine.adapt(name, base, examples, folder, seed)

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Let the engine behind serve one more version."""
        await self.engine.serve(name, base, folder)

    async def counter(self, version: str) -> TokenCounter:
        """Return the counter of the engine behind."""
        return await self.engine.counter(version)

    async def generate(self, request: Request) -> Completion:
        """Return the finished step's completion, or a new one."""
        step = self.known.get(request.id)
        if step is None:
            return await self.engine.generate(request)
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


def _calls(step: Step) -> tuple[ToolCall, ...]:
    """Return the tool call that `step` served; where it opened nothing, the id is ""."""
    if step.kind == "search":
        return (ToolCall("search", {"query": step.detail}),)
    return (ToolCall("open", {"id": step.entry}),) if step.kind == "open" else ()
