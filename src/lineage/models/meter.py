"""The meter: counts what passes to the engine, and keeps its failures apart from what is data.

A failed request is data only where the engine was well: so a failure is held back until the engine
has answered another request. Where nothing else is under way that could tell, it is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

from lineage.core.errors import LineageError
from lineage.models.protocol import Completion, Engine, EngineLayer, Request, Turn

CHECK = (Turn("user", "Say yes."),)
"""What any engine that is well can answer."""


class Meter(EngineLayer):
    """An `EngineLayer` that tells `tell` the tokens of each completion.

    After `most_failures` failed requests in a row, `generate` raises LineageError for all that
    wait: a row of failures is a broken engine, none of them comes back as a completion, and a
    resumed run asks for them again. A prompt that is over-long is none: it comes back at once.
    """

    def __init__(self, engine: Engine, tell: Callable[[int], None], most_failures: int) -> None:
        self.engine, self.tell, self.most_failures = engine, tell, most_failures
        self.failures = 0
        self.gone = ""
        self._open = 0
        self._answers = 0
        self._checks = count()
        self._news = asyncio.Event()

    async def generate(self, request: Request) -> Completion:
        """Return the completion of the engine behind, counted; a failure once it was a single one.

        Raises LineageError where the engine fails for good.
        """
        completion = await self._ask(request)
        since, again = self._answers, True
        while completion.broken and self._answers == since:
            if self.gone:
                raise LineageError(self.gone)
            if self._open:
                # What is under way will tell, and so will another that asks instead of it.
                await self._news.wait()
            elif again and self.failures + 1 < self.most_failures:
                completion = await self._ask(request)
                since, again = self._answers, False
            else:
                # The request itself may be what no engine can answer.
                await self._ask(self._check(request))
                again = True
        return completion

    async def _ask(self, request: Request) -> Completion:
        """Ask the engine; whoever waits hears of what comes of it, an error or a cancel too."""
        if self.gone:
            raise LineageError(self.gone)
        self._open += 1
        try:
            completion = await self.engine.generate(request)
            self.tell(completion.completion_tokens)
            if completion.broken:
                self._failed(completion.error)
            elif not completion.overlong:
                self.failures = 0
                self._answers += 1
            return completion
        finally:
            self._open -= 1
            self._news.set()
            self._news = asyncio.Event()

    def _failed(self, error: str) -> None:
        """Count a failure. Raises LineageError where it is one too many."""
        self.failures += 1
        if self.failures >= self.most_failures and not self.gone:
            self.gone = f"{self.failures} requests in a row failed, the last with: {error}"
        if self.gone:
            raise LineageError(self.gone)

    def _check(self, request: Request) -> Request:
        id = f"check-{next(self._checks)}"
        return Request(id, request.version, CHECK, max_tokens=1, temperature=0.0, seed=0)
