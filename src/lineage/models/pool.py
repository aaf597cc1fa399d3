"""One engine for many runs: started once, asked by all of them, closed at the end.

Runs may share an engine where all settings of it are the same (`engine_key`) and the versions that
both name are too. What a run adds to it while it goes on has a name of its own there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lineage.core.config import Config
from lineage.core.config_engine import VersionConfig
from lineage.models.factory import behind_api, in_process, make_engine, trains
from lineage.models.protocol import OF_RUN, Completion, Engine, Example, Layer, Located, Request

ALONE = ""
"""The key of runs whose engines are made in this process, each its own."""


def engine_key(config: Config) -> str:
    """Return what runs must agree on to be served by one engine; `ALONE` where each has its own."""
    remote = bool(behind_api(config))
    if in_process(config) and not remote:
        return ALONE
    run = config.run
    where: list[object] = [run.cache_folder, run.cache, run.ray_address, run.ray_timeout_s]
    if remote:
        # All points together keep within the limits of an endpoint.
        where.append(asdict(config.model)["endpoints"])
    return json.dumps([asdict(config.engine), asdict(config.finetune), where], sort_keys=True)


def grow(known: dict[str, VersionConfig], config: Config) -> bool:
    """Add the versions of `config` to those `known`; False, and nothing added, where they differ.

    Two versions of one name that hold something else cannot be served by one engine.
    """
    found = config.model.versions
    if any(known[name] != one for name, one in found.items() if name in known):
        return False
    known |= found
    return True


class Pool:
    """Engines for many runs, one fleet of them at a time: two may not have room side by side."""

    def __init__(self) -> None:
        self.key = ALONE
        self.fleet: Engine | None = None
        self.versions: frozenset[str] = frozenset()
        self.known: dict[str, VersionConfig] = {}
        self.adaptable = False
        self.own: list[Engine] = []
        self.starts = 0

    async def prepare(self, configs: Sequence[Config], versions: Sequence[str]) -> bool:
        """Have an engine for runs of `configs`, of one `engine_key`, that serves their `versions`.

        Return whether one was started: not where the last one does. Raises LineageError where it
        cannot be.
        """
        key, wanted = engine_key(configs[0]), frozenset(versions)
        if key == ALONE:
            return False
        adaptable = any(one.schedule.trained or trains(one) for one in configs)
        known: dict[str, VersionConfig] = {}
        for one in configs:
            grow(known, one)
        alike = all(self.known.get(name) == known.get(name) for name in wanted)
        serves = wanted <= self.versions and self.adaptable >= adaptable and alike
        if self.fleet is not None and key == self.key and serves:
            return False
        await self.close()
        first = configs[0]
        merged = replace(first, model=replace(first.model, versions=known))
        self.fleet = make_engine(merged, adaptable)
        self.key, self.versions, self.known = key, wanted, known
        self.adaptable = adaptable
        self.starts += 1
        await self.fleet.start(tuple(dict.fromkeys(versions)))
        return True

    def engine(self, config: Config, versions: Sequence[str], mark: str) -> Engine:
        """Return the engine of the run of `config`, which asks for `versions`; `mark` tells runs
        apart.
        """
        # Without a fleet nothing is to be asked: all that the run would do is done.
        if engine_key(config) == ALONE or self.fleet is None:
            own = make_engine(config, bool(config.schedule.trained))
            self.own.append(own)
            return own
        return Tenant(self.fleet, versions, mark)

    async def close(self) -> None:
        """Stop what was started. Safe to call twice."""
        fleet, own, self.fleet, self.own = self.fleet, self.own, None, []
        for engine in (*own, *((fleet,) if fleet else ())):
            await engine.close()


class Tenant(Layer):
    """One run's `Engine` over one that others use too, which whoever owns it starts and closes."""

    def __init__(self, fleet: Engine, versions: Sequence[str], mark: str) -> None:
        self.engine: Engine = fleet
        self.mark, self.versions = mark, set(versions)
        self.made: dict[str, str] = {}
        # What fails there costs every run that is in flight.
        self.spare_gpus, self.faults = fleet.spare_gpus, fleet.faults

    async def start(self, versions: Sequence[str]) -> None:
        """Nothing: it has been started."""

    async def close(self) -> None:
        """Nothing: others go on."""

    async def generate(self, request: Request) -> Completion:
        """Return the completion; a version that this run made is asked by its name there."""
        there = self.made.get(request.version)
        return await self.engine.generate(replace(request, version=there) if there else request)

    async def counter(self, version: str) -> Any:
        """Return the token counter of `version`."""
        return await self.engine.counter(self._there(version))

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        """Train an adapter on `examples`, and serve it to this run as version `name`."""
        there = self._there(name, f"{name}{OF_RUN}{self.mark}")
        await self.engine.adapt(there, self._there(base), examples, folder, seed)
        self.made[name] = there

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Serve what `folder` holds to this run as version `name`."""
        there = self._there(name, f"{name}{OF_RUN}{self.mark}")
        await self.engine.serve(there, self._there(base), folder)
        self.made[name] = there

    def weights(self, version: str) -> Located:
        """Return where the weights of `version` are."""
        return self.engine.weights(self._there(version))

    def describe(self) -> dict[str, Any]:
        """Return what serves this run: of the adapters its own, by the names that it knows."""
        found = self.engine.describe()
        adapters: Mapping[str, str] = found.get("adapters", {})
        if not adapters:
            return found
        names = {name: name for name in self.versions} | self.made
        mine = {name: adapters[there] for name, there in names.items() if there in adapters}
        return {**found, "adapters": mine}

    def _there(self, name: str, new: str = "") -> str:
        return self.made.get(name, new or name)
