"""A client of the keeper: the `Engine` of a shard, and of a driver that has shards.

It asks replicas directly, the less loaded of two by its own open requests. Tokens are counted here.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from lineage.core.errors import LineageError, last_line
from lineage.models.asking import told
from lineage.models.counting import token_counter
from lineage.models.fleet import NOWHERE
from lineage.models.health import IN_SERVICE, State
from lineage.models.host import Leaving
from lineage.models.keeper import Seat, Table
from lineage.models.protocol import Completion, Example, Located, Request, TokenCounter
from lineage.models.routing import less_loaded
from lineage.models.stepped import EngineDied

NEWS_SECONDS = 1.0
"""How old the table may be where replicas come and go by themselves."""


class Client:
    """An `Engine` over the fleet that a `Keeper` keeps, which whoever made that starts and ends."""

    def __init__(self, keeper: Any, table: Table, max_in_flight: int, draw: Random) -> None:
        """`max_in_flight` is of this client; `draw` chooses the two to compare."""
        self.keeper, self.table, self.draw = keeper, table, draw
        self.room = asyncio.Semaphore(max_in_flight)
        self.open: dict[tuple[int, int], int] = {}
        self.counters: dict[int, TokenCounter] = {}
        self.name, self.heard = secrets.token_hex(8), time.monotonic()
        self.in_flight: Counter[int] = Counter()

    async def start(self, versions: Sequence[str]) -> None:
        """Nothing: it has been started."""

    async def close(self) -> None:
        """Nothing: others go on."""

    async def generate(self, request: Request) -> Completion:
        """Return the completion; what goes wrong comes back as `Completion.error`.

        Raises LineageError where no engine is left, or the keeper is gone.
        """
        async with self.room:
            if request.version not in self.table.served:
                # Another client may have added it since.
                self.table = await self._kept(self.keeper.table.remote())
            checkpoint = self.table.served[request.version]
            self.in_flight[checkpoint] += 1
            try:
                return await self._answered(request, checkpoint)
            finally:
                self.in_flight[checkpoint] -= 1

    async def _answered(self, request: Request, checkpoint: int) -> Completion:
        while True:
            await self._news()
            replica, seat = self._choose(checkpoint)
            life, error = None, ""
            if seat.state is State.HEALTHY:
                answer = await self._ask((checkpoint, replica), seat, request)
                if isinstance(answer, Completion):
                    return answer
                life, error = seat.life, answer
            self.table = await self._kept(self.keeper.mend.remote(checkpoint, replica, life, error))

    async def _news(self) -> None:
        """Tell what is in flight, and hear of replicas that came or left by themselves.

        Once in a while, and one request for all.
        """
        if self.table.elastic and time.monotonic() - self.heard > NEWS_SECONDS:
            self.heard = time.monotonic()
            self.table = await self._kept(self.keeper.news.remote(self.name, self.in_flight))

    def _choose(self, checkpoint: int) -> tuple[int, Seat]:
        """Return the replica to ask. Raises LineageError where none is left."""
        seats = self.table.seats[checkpoint]
        alive = [place for place, one in enumerate(seats) if one.state in IN_SERVICE]
        loads = [self.open.get((checkpoint, place), 0) for place in alive]
        well = [seats[place].state is State.HEALTHY for place in alive]
        found = less_loaded(loads, well, self.draw)
        if found is None:
            reason = next((one.error for one in seats if one.error), "")
            raise LineageError(f"the engine failed more than engine.max_restarts times: {reason}")
        return alive[found], seats[alive[found]]

    async def _ask(self, at: tuple[int, int], seat: Seat, request: Request) -> Completion | str:
        """Return the completion, or what the engine died of, or that it is drained."""
        self.open[at] = self.open.get(at, 0) + 1
        try:
            answer: Completion = await seat.actor.generate.remote(request)
            return answer
        except (RayActorError, EngineDied, Leaving) as error:
            return last_line(error)
        except RayError as error:
            return Completion(error=last_line(error))
        finally:
            self.open[at] -= 1

    async def counter(self, version: str) -> TokenCounter:
        """Return the counter of the version's own tokenizer."""
        if version not in self.table.served:
            self.table = await self._kept(self.keeper.table.remote())
        place = self.table.served[version]
        if place not in self.counters:
            self.counters[place] = token_counter(self.table.tokenizers[place])
        return self.counters[place]

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        """Train an adapter on `examples`, one at a time for all, and serve it as `name`."""
        asked = self.keeper.adapt.remote(name, base, tuple(examples), folder.absolute(), seed)
        self.table = await self._kept(asked)

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Serve what `folder` holds, trained from version `base`, as version `name`."""
        self.table = await self._kept(self.keeper.serve.remote(name, base, folder.absolute()))

    def weights(self, version: str) -> Located:
        """Return where the weights of `version` are: of a surrogate nowhere."""
        return self.table.located.get(version, NOWHERE)

    def spare_gpus(self) -> float:
        """Return how many GPUs the engines leave: a trainer may have them."""
        return float(ray.get(self.keeper.spare_gpus.remote()))

    def faults(self) -> dict[str, int]:
        """Nothing: whoever has the keeper asks that."""
        return {}

    def describe(self) -> dict[str, Any]:
        """Return what served a run."""
        found: dict[str, Any] = ray.get(self.keeper.describe.remote())
        return found

    async def _kept(self, call: Awaitable[Table]) -> Table:
        """Return the table that the keeper answers with."""
        return await told(call, "the keeper of the engines")
