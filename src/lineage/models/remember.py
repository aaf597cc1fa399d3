"""A layer that asks an engine the same thing once: for runs that hardly differ in what they ask."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from lineage.models.protocol import Completion, Engine, EngineLayer, Request


class Remember(EngineLayer):
    """An `EngineLayer` that answers what was asked before as it was then.

    Only a request that is the same in all but its id counts: version, turns, seed and all. So two
    arms with one prompt have one answer, which a batch of another make-up might else change. What
    an engine failed is asked again. With `any_seed` greedy requests count as the same whatever
    their seeds, which are not used.
    """

    def __init__(self, engine: Engine, any_seed: bool = False) -> None:
        self.engine, self.any_seed = engine, any_seed
        self.known: dict[str, asyncio.Future[Completion]] = {}

    async def generate(self, request: Request) -> Completion:
        """Return the completion; whoever asks the same meanwhile waits for it."""
        greedy = self.any_seed and request.temperature == 0
        asked = (replace(request, seed=0) if greedy else request).digest
        while (known := self.known.get(asked)) is not None:
            await asyncio.wait([known])
            if not known.cancelled() and not known.result().broken:
                return known.result()
        mine = self.known[asked] = asyncio.get_running_loop().create_future()
        try:
            completion = await self.engine.generate(request)
        except BaseException:
            del self.known[asked]
            mine.cancel()
            raise
        if completion.broken:
            del self.known[asked]
        mine.set_result(completion)
        return completion
