"""A layer: a sampler over another, such as the replay of a log over an engine."""

from __future__ import annotations

from lineage.models.protocol import Sampler, TokenCounter


class Layer:
    """A `Sampler` over `engine`: a subclass says what becomes of a request on its way there."""

    engine: Sampler

    async def counter(self, version: str) -> TokenCounter:
        """Return the counter of the engine behind."""
        return await self.engine.counter(version)
