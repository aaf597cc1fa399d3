"""The fleet: engines in Ray actors, one for each checkpoint with all its adapters.

Requests are routed by version to the least loaded replica. A replica that dies is started again
and its open requests run again on it, until its restarts are used up. Where checkpoints have no
room side by side they have their turns, and requests for the others wait.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from lineage.core.config import Config
from lineage.core.config_engine import CheckpointConfig
from lineage.core.errors import LineageError, last_line
from lineage.core.installed import SERVING, installed
from lineage.models.checkpoint import locate, shared_cache
from lineage.models.cluster import Cluster
from lineage.models.counting import token_counter
from lineage.models.elastic import Following, another
from lineage.models.health import IN_SERVICE, Health, State
from lineage.models.host import Added, Deployment
from lineage.models.placement import bundles, fits, no_room
from lineage.models.profile import resolve
from lineage.models.protocol import Completion, Example, Located, Request, TokenCounter
from lineage.models.replica import Replica, place, resources
from lineage.models.scaling import Scale
from lineage.models.together import Serving, by_booking, on_cpu
from lineage.models.tuner import Tuner, trained
from lineage.models.turns import Turns
from lineage.models.versions import ModelVersion, lookup, registry
from lineage.models.vllm_engine import environment
from lineage.models.vllm_extra import check

OFFLINE = {"env_vars": {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}}
NOWHERE = Located(Path(), None)
"""Where the weights are of what has none: a surrogate's."""


class Fleet:
    """An `Engine` over Ray actors that serve the versions of a registry."""

    def __init__(self, config: Config, adaptable: bool) -> None:
        """`adaptable`: versions may be added while it runs."""
        self.versions, self.config = registry(config.model), config.engine
        self.cache, self.shared = Path(config.run.cache_folder).absolute(), shared_cache(config.run)
        self.finetune, self.adaptable = config.finetune, adaptable
        self.tuners: dict[CheckpointConfig, Any] = {}
        self.tuning = asyncio.Lock()
        self.cluster = Cluster(config.run.ray_address, config.run.ray_timeout_s)
        self.profile = resolve(self.config, gpus=False)
        self.room = asyncio.Semaphore(self.profile.max_in_flight)
        self.replicas: dict[CheckpointConfig, list[Replica]] = {}
        self.located: dict[str, Located] = {}
        self.counters: dict[str, TokenCounter] = {}
        self.tokenizers: dict[CheckpointConfig, str] = {}
        self.dtype = ""
        self.watching: asyncio.Task[None] | None = None
        self.serving: Serving | None = None
        self.turns: Turns[CheckpointConfig] | None = None
        self.tell: Callable[[str], None] = lambda said: None
        self.here, self.headless = self.cluster.address is None, False  # of a Ray of our own
        self.added: dict[CheckpointConfig, list[Added]] = {}
        self.following: Following | None = None

    async def start(self, versions: Sequence[str], alone: bool = True) -> None:
        """Start the engines that serve `versions`, one after another.

        `alone`: all requests come through `generate`, so that engines may have turns. Raises
        LineageError where a checkpoint is missing, vLLM refuses an argument, Ray or this machine
        has too little, or an engine fails.
        """
        if self.config.kind == "vllm":
            vllm = self.config.vllm
            await asyncio.to_thread(check, vllm, environment(vllm, self.cache, self.profile))
        wanted: dict[CheckpointConfig, list[ModelVersion]] = {}
        for name in versions:
            one = lookup(self.versions, name)
            wanted.setdefault(one.checkpoint, []).append(one)
            if self.config.kind == "vllm":
                self.located[name] = await asyncio.to_thread(locate, one, self.cache, self.shared)
        self.cluster.join()
        engines = self._resolve(wanted, alone)
        order = list(wanted)
        self.replicas = {checkpoint: [] for checkpoint in order}
        if self.serving is not None and not self.serving.together:
            self.turns = Turns(order[0], self._switch, self.config.idle_s)
            # Each is tried before anything is asked; the first has the first turn.
            order.reverse()
        for checkpoint in order:
            self.added[checkpoint] = []
            await self._launch(checkpoint, wanted[checkpoint], engines)
            if self.turns is not None and checkpoint != order[-1]:
                await self._rest(checkpoint)
        self.watching = asyncio.create_task(self.cluster.watch())
        if self.config.bounds.max > self.config.bounds.min and self.turns is None:
            self._follow(wanted)

    def _follow(self, wanted: dict[CheckpointConfig, list[ModelVersion]]) -> None:
        """Have the number of replicas follow the load; those that have turns share a booking."""
        starting, bounds, headless = asyncio.Lock(), self.config.bounds, lambda: self.headless

        async def more(one: CheckpointConfig) -> Replica:
            deployment = self._deployment(wanted[one], one)
            booking = place(deployment, self.here, 1, None, headless)
            return await another(booking, self.added[one], starting, headless)

        scale = Scale(bounds, bounds.target_in_flight or self.profile.max_num_seqs)
        self.following = Following(self.replicas, scale, more)

    def _resolve(self, wanted: dict[CheckpointConfig, list[ModelVersion]], alone: bool) -> int:
        """Settle the profile, and how several checkpoints serve; return how many engines run at
        once.
        """
        config, gpus = self.config, self.cluster.gpus() > 0
        engines, most = len(wanted) * config.bounds.min, len(wanted) * config.bounds.max
        self.profile = resolve(config, gpus, most, self.here)
        if len(wanted) > 1:
            names = {checkpoint: [one.name for one in of] for checkpoint, of in wanted.items()}
            if self.profile.on_gpu or not self.here:
                fit = fits(bundles(self.profile, config.vllm.cpus) * engines, resources())
                self.serving = by_booking(engines, fit, config.together, not self.here)
            else:
                self.serving = on_cpu(config, names, self.cache)
        if self.serving is not None:
            self.tell(str(self.serving))
        if self.serving is not None and not self.serving.together:
            if not alone:
                raise LineageError(
                    f"{self.serving}; but shards ask engines that are all there: set run.shards=1 "
                    "or engine.together=true"
                )
            engines = config.bounds.min
            self.profile = resolve(config, gpus, engines, self.here)
        self.room = asyncio.Semaphore(self.profile.max_in_flight)
        self._check_room(engines)
        return engines

    async def _launch(
        self, checkpoint: CheckpointConfig, served: Sequence[ModelVersion], engines: int
    ) -> None:
        """Start the replicas of `checkpoint`; those that have turns share what is booked."""
        booked = [] if self.turns is None else max(self.replicas.values(), key=len)
        for number in range(self.config.bounds.min):
            deployment = self._deployment(served, checkpoint)
            if number < len(booked):
                health = Health(self.config.max_restarts)
                replica = Replica(deployment, health, booked[number].group, self.here)
            else:
                replica = await place(deployment, self.here, engines, self.config.start_timeout_s)
            self.replicas[checkpoint].append(replica)
            started = await replica.launch()
        self.dtype = started.dtype
        self.tokenizers[checkpoint] = started.tokenizer
        counter = token_counter(started.tokenizer)
        self.counters |= dict.fromkeys((one.name for one in served), counter)

    async def _switch(self, before: CheckpointConfig, after: CheckpointConfig) -> None:
        """Stop the engines of a checkpoint, and start those of another."""
        await self._rest(before)
        for replica in self.replicas[after]:
            if replica.health.state is not State.RETIRED:
                await replica.launch()

    async def _rest(self, checkpoint: CheckpointConfig) -> None:
        for replica in self.replicas[checkpoint]:
            await replica.rest()

    def _check_room(self, engines: int) -> None:
        """Raise LineageError where a Ray of our own has too little: no node will join that one."""
        needs, nodes = bundles(self.profile, self.config.vllm.cpus), resources()
        if self.cluster.folder is not None and not fits(needs * engines, nodes):
            raise LineageError(no_room(needs, engines, nodes))

    def _deployment(
        self, served: Sequence[ModelVersion], checkpoint: CheckpointConfig
    ) -> Deployment:
        """Return the deployment of a checkpoint with the versions `served`, which share it."""
        weights = {one.name: self.weights(one.name) for one in served}
        return Deployment(
            checkpoint=str(weights[served[0].name].checkpoint),
            versions={
                one.name: replace(one, adapter=str(weights[one.name].adapter or ""))
                for one in served
            },
            engine=self.config,
            cache=str(self.cache),
            profile=self.profile,
            adaptable=self.adaptable,
            scratch=str(self.cluster.folder or ""),
            added=list(self.added[checkpoint]),
        )

    async def generate(self, request: Request) -> Completion:
        """Return the completion; what goes wrong comes back as `Completion.error`.

        Raises LineageError where no engine is left, or Ray has lost its head: such failures are no
        data, and must not stand in the log when the run is resumed.
        """
        if self.watching is not None and self.watching.done():
            self.watching.result()
        checkpoint = self.versions[request.version].checkpoint
        replicas = self.replicas[checkpoint]
        turn = nullcontext() if self.turns is None else self.turns.of(checkpoint)
        # What waits for its turn must not take the room of those that have theirs.
        async with turn, self.room:
            while True:
                alive = [r for r in replicas if r.health.state in IN_SERVICE]
                if not alive:
                    reason = next((r.health.error for r in replicas if r.health.error), "")
                    raise LineageError(
                        f"the engine failed more than engine.max_restarts times: {reason}"
                    )
                replica = min(alive, key=lambda r: (r.health.state is not State.HEALTHY, r.open))
                answer = await replica.generate(request)
                if answer is not None:
                    return answer

    async def counter(self, version: str) -> TokenCounter:
        """Return the counter of the version's own tokenizer, as its engine gave it at the start."""
        return self.counters[version]

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        """Train an adapter on `examples`, one at a time, and serve it as version `name`."""
        if name in self.versions:
            return
        if self.config.kind == "surrogate":
            await self._add(Added(name, base, str(folder.absolute()), tuple(examples)))
            return
        if not trained(folder):
            await self._train(lookup(self.versions, base), examples, folder, seed)
        await self.serve(name, base, folder)

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Serve what `folder` holds, trained from version `base`, as version `name`."""
        if name not in self.versions:
            await self._add(Added(name, base, str(folder.absolute())))

    async def _add(self, added: Added) -> None:
        name, parent = added.name, lookup(self.versions, added.base)
        # First, for replicas that are starting.
        self.added[parent.checkpoint].append(added)
        served = [one for one in self.replicas[parent.checkpoint] if one.health.state in IN_SERVICE]
        for replica in served:
            await replica.add(added)
        self.versions[name] = replace(parent, name=name, adapter=added.folder, parent=parent.name)
        self.counters[name] = self.counters[parent.name]
        if parent.name in self.located:
            self.located[name] = replace(self.located[parent.name], adapter=Path(added.folder))

    async def _train(
        self, parent: ModelVersion, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        located = self.weights(parent.name)
        async with self.tuning:
            if parent.checkpoint not in self.tuners:
                # No CPU of its own: on a small machine the engine has booked them.
                tuner = ray.remote(Tuner).options(num_cpus=0, runtime_env=OFFLINE)
                self.tuners[parent.checkpoint] = tuner.remote(
                    str(located.checkpoint), self.finetune, self.config.vllm.dtype
                )
            adapter = str(located.adapter) if located.adapter else None
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                await self.tuners[parent.checkpoint].train.remote(
                    examples, adapter, str(folder.absolute()), seed
                )
            except RayError as error:
                # A dead actor trains nothing more; a live one costs one more load.
                ray.kill(self.tuners.pop(parent.checkpoint))
                raise LineageError(f"training {folder.name} failed: {last_line(error)}") from error

    async def close(self) -> None:
        """Stop the engines, their processes and a Ray of our own. Safe to call twice."""
        self.headless = self.watching is not None and self.watching.done()
        if self.watching is not None:
            self.watching.cancel()
        if self.turns is not None:
            await self.turns.close()
        if self.following is not None:
            await self.following.close()
        replicas = [one for among in self.replicas.values() for one in among]
        self.replicas, self.watching = {}, None
        for replica in replicas:
            await replica.close(self.headless)
        for tuner in self.tuners.values():
            with suppress(RayError):
                ray.kill(tuner)
        self.tuners = {}
        self.cluster.leave()
        for replica in replicas:
            replica.end_processes()

    def weights(self, version: str) -> Located:
        """Return where the weights of `version` are: of a surrogate nowhere."""
        return self.located.get(version, NOWHERE)

    def spare_gpus(self) -> float:
        """Return how many GPUs the engines leave: a trainer may have them."""
        if not self.replicas:
            return 0.0
        return float(ray.available_resources().get("GPU", 0.0))

    def faults(self) -> dict[str, int]:
        """Return how often replicas died, and how often they hung."""
        found = Counter[str]()
        for among in self.replicas.values():
            for one in among:
                found.update(one.faults)
        return dict(found)

    def describe(self) -> dict[str, Any]:
        """Return what served a run: device, precision, settings, libraries, adapters' SHA-256."""
        adapters = {
            name: hashlib.sha256(
                (located.adapter / "adapter_model.safetensors").read_bytes()
            ).hexdigest()
            for name, located in self.located.items()
            if located.adapter is not None
        }
        scaled = [asdict(one) for one in self.following.scaled] if self.following else []
        return {
            **({"scaled": scaled} if scaled else {}),
            "device": self.profile.device,
            "dtype": self.dtype,
            "settings": self.profile.told(self.config.kind),
            "libraries": installed(*SERVING),
            "adapters": adapters,
            **({} if self.serving is None else {"together": self.serving.together}),
        }
