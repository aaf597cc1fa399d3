"""The recorder: an engine that remembers what was asked of it, for credit."""

from __future__ import annotations

from dataclasses import dataclass, field

from lineage.models.layer import Layer
from lineage.models.protocol import Completion, Request, Sampler


@dataclass(frozen=True)
class Decision:
    """One completion that may get credit. `key` is its place in the alternative: episode, step."""

    key: str
    prompt: str
    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass
class Recorder(Layer):
    """A `Layer` that keeps each request with its completion."""

    engine: Sampler
    taken: list[tuple[Request, Completion]] = field(default_factory=list)

    async def generate(self, request: Request) -> Completion:
        """Return the completion of the engine behind, and remember it."""
        completion = await self.engine.generate(request)
        self.taken.append((request, completion))
        return completion

    def decisions(self, prefix: str, version: str) -> tuple[Decision, ...]:
        """Return what `version` decided, in the order of ids; `prefix` of episodes is cut off.

        Failed requests decided nothing. What a judge said is no decision, even where the same
        version judges: its tokens are not asked for.
        """
        return tuple(
            Decision(
                request.id.rpartition(f"/{prefix}")[2],
                completion.prompt,
                completion.text,
                completion.tokens,
                completion.logprobs,
            )
            for request, completion in sorted(self.taken, key=lambda pair: pair[0].id)
            if request.logprobs and request.version == version and not completion.error
        )

    @property
    def errors(self) -> tuple[str, ...]:
        """What the engine failed; a prompt that was over-long is its asker's fault, and told by
        the reward.
        """
        return tuple(completion.error for _, completion in self.taken if completion.broken)
