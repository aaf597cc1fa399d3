"""The replicas of a checkpoint while their number follows the load: the shell around `Scale`.

One more is asked of Ray, which may have to get a node for it first: it waits for its place by
itself, and the others go on. One fewer is drained: what it has is answered before it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ray.exceptions import RayError

from lineage.core.config_engine import CheckpointConfig
from lineage.core.errors import LineageError, last_line
from lineage.models.health import IN_SERVICE, State
from lineage.models.host import Added
from lineage.models.replica import Replica
from lineage.models.scaling import Scale, Standing, Step

REPORT_SECONDS = 5.0
"""How old what a client told of its requests may be: then it has none, or is gone."""
LOOK_SECONDS = 1.0
"""Between two looks at the load, at most."""


@dataclass(frozen=True)
class Scaled:
    """That from a time on (seconds since the epoch) so many replicas of a checkpoint served.

    `error`: why one more did not start, where that was so.
    """

    at: float
    checkpoint: str
    replicas: int
    error: str = ""


class Elastic:
    """Adds to a list of replicas, `among`, and drains some; none is ever taken out of it.

    `load` tells how many requests are in flight on all of them. `another` makes one more, placed
    and started, as soon as there is room for it. `changed` is told after each change, with what one
    more failed by, or "".
    """

    def __init__(
        self,
        among: list[Replica],
        scale: Scale,
        load: Callable[[], int],
        another: Callable[[], Awaitable[Replica]],
        changed: Callable[[str], None],
    ) -> None:
        self.among, self.scale, self.load = among, scale, load
        self.another, self.changed = another, changed
        self.coming: asyncio.Task[None] | None = None
        self.draining: set[asyncio.Task[None]] = set()
        self.failed = 0

    async def watch(self) -> None:
        """Follow the load until it is cancelled."""
        delays = self.scale.bounds.upscale_delay_s, self.scale.bounds.downscale_delay_s
        pause = max(min(LOOK_SECONDS, *delays), LOOK_SECONDS / 10)
        since = time.monotonic()
        while True:
            await asyncio.sleep(pause)
            serving = [one for one in self.among if one.health.state in IN_SERVICE]
            lost = sum(one.health.state is State.RETIRED for one in self.among) + self.failed
            standing = Standing(self.load(), len(serving), self.coming is not None, lost)
            now = time.monotonic()
            self.scale, step = self.scale.looked(standing, now - since)
            since = now
            if step is Step.MORE:
                self.coming = asyncio.create_task(self._grow())
            elif step is Step.LESS and self.coming is not None:
                self.coming.cancel()
            elif step is Step.LESS:
                self._shrink(serving)

    async def _grow(self) -> None:
        try:
            self.among.append(await self.another())
            self.changed("")
        except (LineageError, RayError) as error:
            # The others serve on; it is not tried for ever.
            self.failed += 1
            self.changed(last_line(error))
        finally:
            self.coming = None

    def _shrink(self, serving: list[Replica]) -> None:
        """Drain the latest that is well: nodes that came last can leave first."""
        well = [one for one in serving if one.health.state is State.HEALTHY]
        if well:
            well[-1].health = well[-1].health.draining()
            task = asyncio.create_task(well[-1].drain())
            self.draining.add(task)
            task.add_done_callback(self.draining.discard)
            self.changed("")

    async def close(self) -> None:
        """End what is under way; the replicas are closed by who has them."""
        tasks = [*self.draining, *([self.coming] if self.coming else [])]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def another(
    booking: Awaitable[Replica],
    added: Sequence[Added],
    starting: asyncio.Lock,
    headless: Callable[[], bool],
) -> Replica:
    """Return one more replica, once `booking` has placed it: it serves what is `added` by then too.

    One at a time starts, as a fleet does: each measures what others left of a GPU. Raises
    LineageError where it does not start.
    """
    replica = await booking
    try:
        async with starting:
            await replica.launch()
        held = replica.deployment.added
        while late := added[len(held) :]:
            await replica.add(late[0])
    except BaseException:
        await replica.close(headless())
        replica.end_processes()
        raise
    return replica


class Following:
    """The replicas of all checkpoints of a fleet, while their numbers follow the load.

    `another` makes one more of a checkpoint; `scaled` is when how many served.
    """

    def __init__(
        self,
        replicas: Mapping[CheckpointConfig, list[Replica]],
        scale: Scale,
        another: Callable[[CheckpointConfig], Awaitable[Replica]],
    ) -> None:
        self.replicas = dict(replicas)
        self.scaled: list[Scaled] = []
        self.reported: dict[str, tuple[float, Mapping[int, int]]] = {}
        self.elastic = [
            Elastic(
                among,
                scale,
                partial(self._load, place),
                partial(another, checkpoint),
                partial(self._changed, checkpoint),
            )
            for place, (checkpoint, among) in enumerate(self.replicas.items())
        ]
        self.tasks = [asyncio.create_task(one.watch()) for one in self.elastic]
        for checkpoint in self.replicas:
            self._changed(checkpoint, "")

    def report(self, client: str, in_flight: Mapping[int, int]) -> None:
        """Hear how many requests a client has in flight, by the place of the checkpoint."""
        self.reported[client] = time.monotonic(), in_flight

    def _load(self, place: int) -> int:
        """Return how many requests are in flight, of this process and of clients that live."""
        now, among = time.monotonic(), list(self.replicas.values())[place]
        told = [one for at, one in self.reported.values() if now - at < REPORT_SECONDS]
        return sum(one.open for one in among) + sum(one.get(place, 0) for one in told)

    def _changed(self, checkpoint: CheckpointConfig, error: str) -> None:
        serving = sum(one.health.state in IN_SERVICE for one in self.replicas[checkpoint])
        name = checkpoint.path or checkpoint.kind
        self.scaled.append(Scaled(time.time(), name, serving, error))

    async def close(self) -> None:
        """Follow no more, and end what is under way."""
        for task in self.tasks:
            task.cancel()
        for one in self.elastic:
            await one.close()
