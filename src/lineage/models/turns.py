"""Turns: engines that serve one after the other, and requests that wait until theirs serves.

Whose turn it is changes only where nothing is open and somebody waits for another one. Lineages
then go on as far as they can before a switch, and what is answered is the same in any order.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from lineage.core.errors import LineageError, last_line

K = TypeVar("K")


class Turns(Generic[K]):
    """Whose turn it is: at first that of `serving`. `switch` stops one engine and starts another.

    Nothing must have been open for `idle_s` seconds before: between two requests a lineage works.
    """

    def __init__(self, serving: K, switch: Callable[[K, K], Awaitable[None]], idle_s: float):
        self.switch, self.idle_s = switch, idle_s
        self.serving: K | None = serving
        self.last = serving
        self.waiting: Counter[K] = Counter()
        self.open, self.entered, self.switches = 0, 0, 0
        self.failed = ""
        self._changing: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    @asynccontextmanager
    async def of(self, one: K) -> AsyncIterator[None]:
        """Wait for the turn of `one`, and hold it. Raises LineageError where a switch failed."""
        while self.serving != one:
            if self.failed:
                raise LineageError(self.failed)
            self.waiting[one] += 1
            try:
                self._look()
                await self._news.wait()
            finally:
                self.waiting[one] -= 1
        self.open += 1
        self.entered += 1
        try:
            yield
        finally:
            self.open -= 1
            self._look()

    async def close(self) -> None:
        """End a switch that is under way; none comes after it."""
        self.failed = self.failed or "the engines are closed"
        if self._changing is not None:
            self._changing.cancel()
            await asyncio.gather(self._changing, return_exceptions=True)

    def _look(self) -> None:
        """Begin to change turns where nothing is open and somebody waits."""
        if not self.open and self._changing is None and not self.failed and self._next():
            self._changing = asyncio.create_task(self._change())

    def _next(self) -> list[K]:
        """Return who is waited for besides whose turn it is: first those that most wait for."""
        waited = (one for one, count in self.waiting.most_common() if count)
        return [one for one in waited if one != self.serving]

    async def _change(self) -> None:
        try:
            seen = -1
            while seen != self.entered:
                seen = self.entered
                await asyncio.sleep(self.idle_s)
                if self.open:
                    return
            for one in self._next()[:1]:
                self.serving = None
                await self.switch(self.last, one)
                self.serving = self.last = one
                self.switches += 1
        except Exception as error:
            # Whoever waits says so; here nobody would hear it.
            self.failed = last_line(error)
        finally:
            self._changing = None
            self._news.set()
            self._news = asyncio.Event()
            # Those that this turn is for may have gone away meanwhile.
            self._look()
