"""The purse of a run: what models behind an API cost, kept within `run.most_usd`.

Nothing that was paid for is lost when it stops: what is in flight is answered and logged first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from lineage.core.config_engine import PriceConfig
from lineage.core.errors import LineageError
from lineage.models.protocol import Completion, Engine, EngineLayer, Request

MILLION = 1e6


def usd(price: PriceConfig, prompt: float, completion: float, cached: float = 0.0) -> float:
    """Return what so many tokens cost in USD; `cached` are those of `prompt` that a cache had."""
    again = price.prompt if price.cached is None else price.cached
    fresh = max(prompt - cached, 0.0)
    return (fresh * price.prompt + cached * again + completion * price.completion) / MILLION


class Purse(EngineLayer):
    """An `EngineLayer` over one that serves some versions for money.

    `remote` are the versions behind an API; `prices` those of them whose price is known. `spent`
    is in USD, from what an earlier process `spent` on. A request goes out where it fits in what is
    left if its answer is as long as it may be, with what a version may write `beyond` that, in
    tokens; else it waits for what is in flight, and where nothing is, all end with LineageError.
    So they do where the engine raises one. `run` is what `lineage resume` takes.
    """

    def __init__(
        self,
        engine: Engine,
        remote: frozenset[str],
        prices: Mapping[str, PriceConfig],
        most: float | None,
        spent: float,
        beyond: Mapping[str, int],
        run: str = "RUN",
    ) -> None:
        self.engine = engine
        self.remote, self.prices, self.most, self.spent = remote, prices, most, spent
        self.beyond, self.run = beyond, run
        self.gone = ""
        self._open = 0
        self._reserved = 0.0
        self._news = asyncio.Event()

    async def generate(self, request: Request) -> Completion:
        """Return the completion of the engine behind, paid for."""
        if request.version not in self.remote:
            return await self.engine.generate(request)
        price = self.prices.get(request.version)
        most = 0.0
        if price is not None:
            count = await self.engine.counter(request.version)
            # What holds an answer to a form is read, and paid for, too.
            forms = (request.schema, request.tools, request.choices)
            texts = (*(turn.content for turn in request.turns), *(str(one) for one in forms if one))
            written = request.max_tokens + self.beyond.get(request.version, 0)
            most = usd(price, sum(map(count, texts)), written)
        await self._room(most)
        self._open += 1
        self._reserved += most
        try:
            found = await self.engine.generate(request)
            if price is not None:
                self.spent += usd(
                    price, found.prompt_tokens, found.completion_tokens, found.cached_tokens
                ) * (not found.overlong)
            return found
        except LineageError as error:
            self.gone = self.gone or str(error)
        finally:
            self._open -= 1
            self._reserved -= most
            self._news.set()
            self._news = asyncio.Event()
        await self._room(0.0)
        raise AssertionError("where the engine is gone there is no room")

    async def _room(self, most: float) -> None:
        """Wait until a request may go out that costs `most` USD at most; raises LineageError."""
        while True:
            if not self.gone and self._fits(most):
                return
            if not self._open:
                raise LineageError(self.gone or self._stop(most))
            await self._news.wait()

    def _fits(self, most: float) -> bool:
        return self.most is None or self.spent + self._reserved + most <= self.most

    def _stop(self, most: float) -> str:
        """Return why all is over, from now on for all."""
        self.gone = (
            f"run.most_usd={self.most:g} is reached: {self.spent:.4f} USD are spent, and the next "
            f"request may cost {most:.4f}; what was paid for is kept: lineage resume "
            f"{self.run} --most-usd USD goes on"
        )
        return self.gone

    def describe(self) -> dict[str, Any]:
        """Return what the engine behind tells, and what it cost so far."""
        return {**self.engine.describe(), **({"usd": round(self.spent, 6)} if self.prices else {})}
