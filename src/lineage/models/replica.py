"""A replica: one engine in a Ray actor, asked, told, and started again where it dies."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from lineage.core.errors import LineageError, last_line
from lineage.log.sittings import Fault
from lineage.models.cluster import end_processes
from lineage.models.health import IN_SERVICE, Health, State
from lineage.models.host import Added, Deployment, Host, Leaving, Started
from lineage.models.placement import Bundle, bundles, no_room, single
from lineage.models.protocol import Completion, Request
from lineage.models.stepped import EngineDied

CLOSE_SECONDS = 10.0
LOOKS = 4
"""How often within the time that it may be silent an engine is looked at."""
ASIDE = 3
"""Calls of ours that a host answers beside requests, at a time."""
NODE = "ray.io/node-id"
"""Ray's label of a node with its id."""


@dataclass
class Replica:
    """One actor and what is open on it. `life` counts its starts, `faults` what they ended by.

    `here`: its processes are on this machine, in a Ray of our own.
    """

    deployment: Deployment
    health: Health
    group: PlacementGroup
    here: bool
    actor: Any = None
    open: int = 0
    life: int = 0
    processes: tuple[int, ...] = ()
    faults: Counter[str] = field(default_factory=Counter)
    mending: asyncio.Lock = field(default_factory=asyncio.Lock)
    watching: asyncio.Task[None] | None = None

    async def launch(self) -> Started:
        """Start the actor and wait until it serves. Raises LineageError where it does not."""
        config, profile = self.deployment.engine, self.deployment.profile
        self.actor = (
            ray.remote(Host)
            .options(
                num_cpus=config.vllm.cpus,
                # Where there are stages each GPU is booked by a worker of vLLM's.
                num_gpus=0 if profile.staged else profile.gpus,
                max_concurrency=profile.max_in_flight + ASIDE,
                scheduling_strategy=PlacementGroupSchedulingStrategy(self.group, 0),
            )
            .remote(self.deployment)
        )
        self.life += 1
        try:
            started: Started = await asyncio.wait_for(
                self.actor.start.remote(), config.start_timeout_s
            )
        except TimeoutError as error:
            raise LineageError(
                f"an engine was not ready after {config.start_timeout_s} s: "
                "raise engine.start_timeout_s"
            ) from error
        except RayError as error:
            raise LineageError(f"an engine did not start: {last_line(error)}") from error
        self.processes = started.processes
        self.health = self.health.started()
        if self.watching is None:
            self.watching = asyncio.create_task(self._watch())
        return started

    async def _watch(self) -> None:
        """Start the actor again whenever nothing that is open on it is answered for too long."""
        patience = self.deployment.engine.hang_timeout_s
        while self.health.state in IN_SERVICE:
            await asyncio.sleep(patience / LOOKS)
            life = self.life
            if self.health.state is State.HEALTHY and await self._silence(patience) > patience:
                said = f"it answered nothing for {patience} s"
                await self.mend(life, said, Fault.ENGINE_HUNG)

    async def _silence(self, patience: float) -> float:
        """Return for how many seconds nothing that is open was answered, whoever asked it."""
        try:
            return float(await asyncio.wait_for(self.actor.silence.remote(), patience))
        except TimeoutError:
            return math.inf
        except RayError:
            return 0.0

    async def generate(self, request: Request) -> Completion | None:
        """Return the completion, or None where another is to be asked.

        That is where the engine died, and was started again, or is drained.
        """
        life = self.life
        self.open += 1
        try:
            if self.health.state is State.HEALTHY:
                answer: Completion = await self.actor.generate.remote(request)
                return answer
            await self.mend()
        except Leaving:
            return None
        except (RayActorError, EngineDied) as error:
            await self.mend(life, last_line(error))
        except RayError as error:
            return Completion(error=last_line(error))
        finally:
            self.open -= 1
        return None

    async def add(self, added: Added) -> None:
        """Serve one more version, also after a restart. Raises LineageError where that fails."""
        life = self.life
        self.deployment.added.append(added)
        if self.actor is None:  # it rests, and serves this when it is launched again
            return
        try:
            await self.actor.add.remote(added)
        except RayActorError as error:
            await self.mend(life, last_line(error))
        except RayError as error:
            raise LineageError(f"an engine cannot serve an adapter: {last_line(error)}") from error

    async def mend(
        self, life: int | None = None, error: str = "", fault: Fault = Fault.ENGINE_DIED
    ) -> None:
        """Start the actor again, once for all the requests that met the death of its `life`.

        Without a `life`: for one that was not asked, as it was not well. It may be by now.
        """
        async with self.mending:
            if self.life == life and self.health.state is State.HEALTHY:
                self.health = self.health.died(error)
                self.faults[fault] += 1
                with suppress(RayError):
                    ray.kill(self.actor)
                self.end_processes()
            if self.health.state is not State.DEAD:
                return
            self.health = self.health.restarting()
            try:
                await self.launch()
            except LineageError as failed:
                self.health = self.health.died(str(failed))

    async def drain(self) -> None:
        """Let it, which is draining, answer what it has and nothing more, and close it.

        What it does not answer for `hang_timeout_s` is asked again of another one.
        """
        patience = self.deployment.engine.hang_timeout_s
        while not await self._drained(patience / LOOKS):
            if await self._silence(patience) > patience:
                break
        self.health = self.health.released()
        await self.close()
        self.end_processes()

    async def _drained(self, seconds: float) -> bool:
        """Whether all is answered within so many `seconds`, or it has died."""
        try:
            await asyncio.wait_for(self.actor.drain.remote(), seconds)
        except TimeoutError:
            return False
        except RayError:
            return True
        return True

    async def close(self, headless: bool = False) -> None:
        """Stop the engine and give back what it has booked, unless Ray is `headless`."""
        await self._stop()
        if not headless:  # without a head such a call does not end
            with suppress(RayError):
                remove_placement_group(self.group)

    async def rest(self) -> None:
        """Stop the engine but keep what it has booked; nothing may be open on it."""
        await self._stop()
        self.end_processes()
        self.actor = self.watching = None

    async def _stop(self) -> None:
        if self.watching is not None:
            self.watching.cancel()
        if self.actor is not None:
            with suppress(RayError, TimeoutError):
                await asyncio.wait_for(self.actor.close.remote(), CLOSE_SECONDS)
            with suppress(RayError):
                ray.kill(self.actor)

    def end_processes(self) -> None:
        """Kill what is left of the engine, where that is on this machine."""
        if self.here:
            end_processes(self.processes)
        self.processes = ()


async def place(
    deployment: Deployment,
    here: bool,
    engines: int,
    timeout_s: float | None,
    headless: Callable[[], bool] = lambda: False,
) -> Replica:
    """Return a replica of `deployment`, for which Ray has booked what its engine needs.

    It is one of so many `engines`. Raises LineageError where Ray has too little for longer than
    `timeout_s`; None: it is waited for, and nothing is booked where that is cancelled, unless Ray
    is `headless` then.
    """
    config = deployment.engine
    needs = bundles(deployment.profile, config.vllm.cpus)
    group = await _booked(needs, timeout_s, headless)
    if group is not None and deployment.profile.staged:
        # What has room for a whole stage is known by booking it; then its GPUs are booked there.
        nodes = placement_group_table(group)["bundles_to_node_id"]
        remove_placement_group(group)
        alone = single(needs)
        where = [{NODE: nodes[stage]} for stage, _ in alone]
        group = await _booked([one for _, one in alone], timeout_s, headless, where)
    if group is None:
        raise LineageError(no_room(needs, engines, resources()))
    return Replica(deployment, Health(config.max_restarts), group, here)


async def _booked(
    wanted: Sequence[Bundle],
    timeout_s: float | None,
    headless: Callable[[], bool],
    where: list[dict[str, str]] | None = None,
) -> PlacementGroup | None:
    """Return a group of the bundles `wanted`, on nodes with the labels of `where`.

    None where there is no room for them within `timeout_s`.
    """
    group = placement_group([dict(one) for one in wanted], bundle_label_selector=where)
    try:
        await asyncio.wait_for(group.ready(), timeout_s)
    except TimeoutError:
        remove_placement_group(group)
        return None
    except asyncio.CancelledError:
        if not headless():
            remove_placement_group(group)
        raise
    return group


def resources() -> list[dict[str, float]]:
    """Return what each node of Ray has, whoever has booked it."""
    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]
