"""The keeper: the fleet as a service of a cluster, for the shards of a run.

It is a named actor that owns what a `Fleet` owns: replicas, where they are placed, their restarts,
the versions that were added. Its clients (`lineage.models.client`) have the handles of replicas and
ask these directly. What meets a death tells the keeper which life of the replica it met, so that it
is mended once for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineage.core.config import Config
from lineage.models.fleet import Fleet
from lineage.models.health import State
from lineage.models.protocol import Example, Located

NAMESPACE = "lineage"
"""Ray's namespace of what is found by its name."""


@dataclass(frozen=True)
class Seat:
    """A replica as its clients know it: its actor in which life, how it is, and what it died of."""

    actor: Any
    life: int
    state: State
    error: str = ""


@dataclass(frozen=True)
class Table:
    """Who serves what.

    `served` is the place of each version's checkpoint among `seats` (its replicas) and
    `tokenizers`. All clients together may have `max_in_flight` requests open. `located` is where
    the weights of versions are that have some. `elastic`: there may be other seats by themselves,
    so a client asks for news now and then. A seat keeps its place, also when it is left.
    """

    served: dict[str, int]
    seats: list[list[Seat]]
    tokenizers: list[str]
    max_in_flight: int
    located: dict[str, Located] = field(default_factory=dict)
    elastic: bool = False


class Keeper:
    """A fleet in an actor of its own, in a Ray that is there; closed before its actor is killed."""

    def __init__(self, config: Config, adaptable: bool) -> None:
        """`adaptable`: versions may be added while it runs."""
        self.fleet = Fleet(config, adaptable)

    async def start(self, versions: Sequence[str]) -> Table:
        """Start the engines that serve `versions`. Raises LineageError as `Fleet.start`."""
        await self.fleet.start(versions, alone=False)
        return self._table()

    async def table(self) -> Table:
        """Return who serves what now."""
        return self._table()

    async def news(self, client: str, in_flight: Mapping[int, int]) -> Table:
        """Return who serves what now, to a client with so many requests of each checkpoint."""
        if self.fleet.following is not None:
            self.fleet.following.report(client, in_flight)
        return self._table()

    async def mend(self, checkpoint: int, replica: int, life: int | None, error: str) -> Table:
        """Have a replica started again, as `Replica.mend` does."""
        among = list(self.fleet.replicas.values())[checkpoint]
        await among[replica].mend(life, error)
        return self._table()

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> Table:
        """Train and serve version `name`. Raises LineageError as `Fleet.adapt`."""
        await self.fleet.adapt(name, base, examples, folder, seed)
        return self._table()

    async def serve(self, name: str, base: str, folder: Path) -> Table:
        """Serve what `folder` holds as version `name`. Raises LineageError as `Fleet.serve`."""
        await self.fleet.serve(name, base, folder)
        return self._table()

    async def describe(self) -> dict[str, Any]:
        """Return what the record of a run holds of the fleet."""
        return self.fleet.describe()

    async def faults(self) -> dict[str, int]:
        """Return how often what failed."""
        return self.fleet.faults()

    async def spare_gpus(self) -> float:
        """Return how many GPUs the engines leave."""
        return self.fleet.spare_gpus()

    async def close(self) -> None:
        """Stop the engines. Safe to call twice."""
        await self.fleet.close()

    def _table(self) -> Table:
        fleet = self.fleet
        places = {checkpoint: place for place, checkpoint in enumerate(fleet.replicas)}
        return Table(
            {
                name: places[one.checkpoint]
                for name, one in fleet.versions.items()
                if one.checkpoint in places
            },
            [
                [Seat(one.actor, one.life, one.health.state, one.health.error) for one in among]
                for among in fleet.replicas.values()
            ],
            [fleet.tokenizers[checkpoint] for checkpoint in fleet.replicas],
            fleet.profile.max_in_flight,
            dict(fleet.located),
            fleet.following is not None,
        )
