"""The recorder: an engine that remembers what was asked of it, to be learnt from."""

from __future__ import annotations

from dataclasses import dataclass, field

from lineage.models.protocol import Completion, Layer, Request, Sampler


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

    def completions(self, prefix: str, version: str) -> dict[str, Completion]:
        """Return what `version` wrote, by its place (episode and step), in the order of ids.

        `prefix` of episodes is cut off. Failed requests are left out, and so is what a judge said,
        even where the same version judges: its tokens are not asked for.
        """
        return {
            request.id.rpartition(f"/{prefix}")[2]: completion
            for request, completion in sorted(self.taken, key=lambda pair: pair[0].id)
            if request.logprobs and request.version == version and not completion.error
        }

    @property
    def errors(self) -> tuple[str, ...]:
        """What the engine failed; a prompt that was over-long is its asker's fault, and told by
        the reward.
        """
        return tuple(completion.error for _, completion in self.taken if completion.broken)
