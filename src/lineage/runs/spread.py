"""A run over a cluster: its shards placed, followed, and started again where they die.

The driver holds the run's folder, trains what is due between spans and writes the report; it has no
request and no step in its hands. A shard that dies costs what was not durable of its lineages.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lineage.core.errors import LineageError, last_line
from lineage.core.seeds import derive
from lineage.log.publish import Mirror
from lineage.log.sittings import Fault
from lineage.log.store import StorageError
from lineage.models.asking import answer, told, within
from lineage.models.client import Client
from lineage.models.cluster import Cluster
from lineage.models.factory import trains
from lineage.models.keeper import NAMESPACE, Keeper, Table
from lineage.runs.arms import donor_arm
from lineage.runs.durable import Durable
from lineage.runs.lineage import place_of
from lineage.runs.loop import all_of
from lineage.runs.nodes import alive, refusal, seeing
from lineage.runs.parts import Deaths, Member, cut, outside, share
from lineage.runs.plan import Job
from lineage.runs.shard import Came, Order, Report, Shard

LOOK_SECONDS = 1.0
"""Between two looks at how far the shards are."""
ANSWER_SECONDS = 5.0
"""How long a shard may take to answer; what it did is told by its next answer then."""
CLOSE_SECONDS = 10.0
"""How long shards and engines may take to stop before they are killed."""
STILLBORN = 10
"""How often in sequence a shard may die before it begins to work: then starting it is no use."""


@dataclass
class _Placed:
    """A shard of the run: what it lives, its actor, its deaths, and what has been shown of it.

    It `died` so often, `stillborn` times of these in sequence before it began to work; `node` is
    where it worked last.
    """

    order: Order
    members: tuple[Member, ...]
    actor: Any = None
    deaths: Deaths = field(default_factory=Deaths)
    died: int = 0
    stillborn: int = 0
    node: str = ""
    told: Report = field(default_factory=Report)
    first: int = -1
    shown: int = 0


class Spread:
    """The shards of one run, on engines that a keeper keeps."""

    def __init__(
        self,
        job: Job,
        folder: Path,
        cluster: Cluster,
        nodes: frozenset[str],
        shards: int,
        mirror: Mirror | None = None,
    ) -> None:
        """`nodes` are those that see the `folder`. With a `mirror` none need see it: then shards
        work in folders of their own, and publish to its URL.
        """
        self.job, self.folder, self.cluster = job, folder.absolute(), cluster
        self.nodes, self.looked, self.mirror = nodes, frozenset(alive()), mirror
        self.durable = Durable(job, self.folder, mirror)
        self.parts = cut(job.start.pairs, shards)
        self.placed: list[_Placed] = []
        self.keeper: Any = None
        self.table: Table | None = None
        self.left_out: set[str] = set()
        self.failed: dict[str, int] = {}

    async def start(self) -> Client:
        """Start the engines, and return what asks them. Raises LineageError as `Fleet.start`."""
        config, here = self.job.config, ray.get_runtime_context().get_node_id()
        # Beside this process, which nothing of the run outlives anyway.
        self.keeper = (
            ray.remote(Keeper)
            .options(
                name=f"keeper-{self.job.id}-{secrets.token_hex(4)}",
                namespace=NAMESPACE,
                num_cpus=0,
                max_concurrency=10_000,
                scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
            )
            .remote(config, bool(config.schedule.trained) or trains(config))
        )
        who = "the keeper of the engines"
        table: Table = await told(self.keeper.start.remote(self.job.versions), who)
        self.table = table
        for number, pairs in enumerate(self.parts):
            order = Order(
                config,
                self.job.hash,
                self.folder,
                str(Path.cwd()),
                number,
                pairs,
                share(config.run.lineages_in_flight, len(self.parts), number),
                share(table.max_in_flight, len(self.parts), number),
                self.mirror.store.url if self.mirror else "",
            )
            self.placed.append(_Placed(order, self._members(pairs)))
        draw = Random(derive("driver", self.job.id))
        return Client(self.keeper, table, table.max_in_flight, draw)

    def __str__(self) -> str:
        there = len(alive())
        if self.mirror is not None:
            return f"{len(self.parts)} shards on {there} nodes, each in a folder of its own"
        unseen = f", of {there}: the others do not see the run's folder"
        nodes = f"{len(self.nodes)} node{'s' if len(self.nodes) > 1 else ''}"
        return f"{len(self.parts)} shards on {nodes}{unseen if there > len(self.nodes) else ''}"

    def _members(self, pairs: tuple[int, ...]) -> tuple[Member, ...]:
        return tuple(
            Member(place_of(arm.name, pair, 0).lineage, donor_arm(self.job.config, arm) is not None)
            for pair in pairs
            for arm in self.job.arms
        )

    async def run(
        self, span: range, tick: Callable[[], None], tell: Callable[[int, int], None]
    ) -> None:
        """Run the generations `span` of all lineages that are not given up.

        `tick` is told of each generation, `tell` of completions: their tokens and number. Raises
        LineageError where a shard cannot go on.
        """
        for one in self.placed:
            one.first, one.shown = span.start, 0
        works = (
            all_of(self._live(one, span) for one in self.placed),
            # These end by an error alone, such as a full disk's, or Ray's head that is gone.
            self._look(tick, tell),
            self.cluster.watch(),
        )
        tasks = [asyncio.create_task(work) for work in works]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for first in ended:
                await first
            await self._show(tick, tell)
            if self.mirror is not None:
                await asyncio.to_thread(self.mirror.fetch)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _live(self, one: _Placed, span: range) -> None:
        """Have a shard live `span`, in as many lives as it takes."""
        who = f"shard {one.order.number}"
        while True:
            if one.actor is None:
                one.actor, one.told = self._place(one, await self._there()), Report()
            lost = tuple(name for other in self.placed for name in other.deaths.given_up)
            try:
                asked = one.actor.run.remote(span, one.deaths.alone, lost)
                came: Came = await asked
            except (RayActorError, ActorUnschedulableError) as error:
                # One whose `__init__` raised is no death: it would do so again.
                if cause := refusal(error):
                    raise LineageError(f"{who}: {cause}") from error
                await self._died(one, span)
                continue
            except RayError as error:
                raise LineageError(f"{who} failed: {last_line(error)}") from error
            if came.failed:
                raise LineageError(came.failed)
            self.left_out |= set(came.left_out)
            return

    async def _there(self) -> list[str]:
        """Return the nodes on which a shard may be now, those that joined meanwhile too."""
        there = alive()
        if self.mirror is not None:
            return there
        if new := [node for node in there if node not in self.looked]:
            self.nodes |= await seeing(self.folder, new)
            self.looked |= frozenset(new)
        return [node for node in there if node in self.nodes]

    def _place(self, one: _Placed, nodes: list[str]) -> Any:
        """Start the actor of a shard on one of `nodes`."""
        # Ray may not know yet that the node where it worked is gone.
        nodes = [node for node in nodes if node != one.node] or nodes
        node = nodes[(one.order.number + one.died) % len(nodes)]
        if self.mirror is not None and one.node in alive() and not one.stillborn:
            node = one.node  # there its journals are
        return (
            ray.remote(Shard)
            # No processor of its own: on a small machine the engines have booked them.
            .options(
                num_cpus=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(one.order, one.died, self.keeper, self.table)
        )

    async def _died(self, one: _Placed, span: range) -> None:
        with suppress(RayError):
            ray.kill(one.actor)
        life, one.node = await asyncio.to_thread(self.durable.begun, one.order.number)
        began = life == one.died
        one.actor, one.died = None, one.died + 1
        one.stillborn = 0 if began else one.stillborn + 1
        if one.stillborn >= STILLBORN:
            raise LineageError(
                f"shard {one.order.number} died {STILLBORN} times before it began to work: see "
                "Ray's logs for why no actor starts on its nodes, or set run.shards=1"
            )
        if not began:
            # No lineage is to blame.
            await asyncio.sleep(LOOK_SECONDS)
            return
        spots = await asyncio.to_thread(self.durable.spots, one.order.pairs, span)
        before = set(one.deaths.given_up)
        one.deaths = one.deaths.died(one.members, spots, one.order.in_flight)
        if lost := set(one.deaths.given_up) - before:
            await asyncio.gather(
                *(other.actor.forsake.remote(tuple(lost)) for other in self.placed if other.actor),
                return_exceptions=True,
            )

    async def _look(self, tick: Callable[[], None], tell: Callable[[int, int], None]) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._show(tick, tell)

    async def _show(self, tick: Callable[[], None], tell: Callable[[int, int], None]) -> None:
        """Show what the shards did since the last look: in few calls, however much that is."""
        there = [(one, one.actor) for one in self.placed if one.actor is not None]
        self.failed = await answer(self.keeper.faults.remote(), ANSWER_SECONDS) or self.failed
        asked = [answer(actor.report.remote(), ANSWER_SECONDS) for _, actor in there]
        for (one, actor), found in zip(there, await asyncio.gather(*asked)):
            if found is None or one.actor is not actor:
                continue
            if found.first == one.first:
                # What a new life finds finished has been shown.
                for _ in range(one.shown, found.generations):
                    tick()
                one.shown = max(one.shown, found.generations)
            if found.requests > one.told.requests:
                tell(found.tokens - one.told.tokens, found.requests - one.told.requests)
                one.told = found

    def faults(self) -> dict[str, int]:
        """Return how often shards died, and what of the engines failed, when last asked."""
        died = sum(one.died for one in self.placed)
        return self.failed | ({Fault.SHARD_DIED.value: died} if died else {})

    async def close(self) -> None:
        """Stop shards and engines. Safe to call twice."""
        shards = [one.actor for one in self.placed if one.actor is not None]
        self.placed = []
        await within(CLOSE_SECONDS, *(actor.stop.remote() for actor in shards))
        keeper, self.keeper = self.keeper, None
        if keeper is not None:
            await within(CLOSE_SECONDS, keeper.close.remote())
        for actor in (*shards, *([keeper] if keeper is not None else [])):
            with suppress(RayError):
                ray.kill(actor)
        self.cluster.leave()
        with suppress(StorageError):  # nobody reads it, and the next driver removes it
            await asyncio.to_thread(self.durable.forget, len(self.parts))


async def spread(job: Job, folder: Path, mirror: Mirror | None) -> Spread | None:
    """Return the shards that `job` is cut into, which may have some; None where it is one.

    Where nodes do not see its `folder`, shards work apart, if `mirror` publishes that to a URL.

    An engine that would be in this process is hosted for them. Raises LineageError where no cluster
    answers, or this process is on none of its nodes.
    """
    run, shards = job.config.run, job.config.run.shards
    if outside(run):
        raise LineageError(
            f"run.shards is {shards}, and {run.ray_address} is joined from outside, where no shard "
            "writes this run's folder: submit the run to the cluster, or leave run.shards null"
        )
    cluster = Cluster(run.ray_address, run.ray_timeout_s)
    cluster.join()
    there = alive()
    nodes = await seeing(folder.absolute(), there)
    # What is trained is a folder that engines read.
    if len(nodes) == len(there) or trains(job.config) or job.config.schedule.trained:
        mirror = None
    count = shards or len(nodes if mirror is None else there)
    if min(count, len(job.start.pairs)) == 1:
        cluster.leave()
        return None
    made = Spread(job, folder, cluster, nodes, count, mirror)
    # An earlier driver may have been killed.
    await asyncio.to_thread(made.durable.forget, len(made.parts))
    return made
