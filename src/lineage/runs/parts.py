"""A run cut into shards, and what a shard's deaths say of its lineages. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from lineage.core.config import Config, RunConfig
from lineage.models.factory import in_process

SUSPECTED = 2
"""Deaths at one spot after which a lineage has its shard to itself: then it is known what kills."""
GIVEN_UP = 3
"""Deaths at one spot after which it is given up."""
LIFE = ".shard-"
"""How the names begin under which shards note that they work; nobody fetches or publishes such."""
Spot = tuple[int, int]
"""How far a lineage has come: its finished generations, and bytes of the journal of the next."""


def in_shards(config: Config) -> bool:
    """Whether a run may be cut into shards: where it is told to, or a cluster has its engines."""
    run = config.run
    if run.shards is not None:
        return run.shards > 1
    return run.ray_address is not None and not (outside(run) or in_process(config))


def outside(run: RunConfig) -> bool:
    """Whether the cluster is joined from outside, from none of its nodes."""
    return (run.ray_address or "").startswith("ray://")


def cut(pairs: Sequence[int], shards: int) -> list[tuple[int, ...]]:
    """Return `pairs` in as many runs of neighbours as there are `shards`, or pairs if fewer.

    Neighbours: a pair borrows from the next one, which is then mostly in the same shard.
    """
    count = min(shards, len(pairs))
    bounds = [len(pairs) * place // count for place in range(count + 1)]
    return [tuple(pairs[low:high]) for low, high in pairwise(bounds)]


def share(whole: int, parts: int, part: int) -> int:
    """Return how much of `whole` is `part`'s, one of so many `parts`: at least 1."""
    return max(1, whole // parts + (part < whole % parts))


def name_of_life(number: int) -> str:
    """Return the file, or the object, in which the shard of a `number` notes that it works."""
    return f"{LIFE}{number:04d}"


@dataclass(frozen=True)
class Member:
    """A lineage of a shard; `borrows`: from another one, which it waits for."""

    name: str
    borrows: bool = False


@dataclass(frozen=True)
class Deaths:
    """How often a shard died on each lineage where that stands (`spots`), and who is given up."""

    spots: Mapping[str, tuple[Spot, int]] = field(default_factory=dict)
    given_up: tuple[str, ...] = ()

    @property
    def alone(self) -> tuple[str, ...]:
        """The lineages that shall have the shard to themselves."""
        return tuple(
            name
            for name, (_, count) in self.spots.items()
            if count >= SUSPECTED and name not in self.given_up
        )

    def died(
        self, members: Sequence[Member], unfinished: Mapping[str, Spot], in_flight: int
    ) -> Deaths:
        """Return what is known after one more death, when those `unfinished` stood at their spots.

        A lineage that has come further since its last death starts anew. One is given up only
        where it had the shard to itself: others may have died with it by chance.
        """
        rest = [one for one in members if one.name in unfinished and one.name not in self.given_up]
        met = working_on(rest, self.alone, in_flight)
        spots = {name: told for name, told in self.spots.items() if name in unfinished}
        for name in met:
            spot, count = spots.get(name, (unfinished[name], 0))
            moved = spot != unfinished[name]
            spots[name] = unfinished[name], 1 if moved else count + 1
        lost = (n for n in met if n in self.alone and spots[n][1] >= GIVEN_UP)
        return Deaths(spots, (*self.given_up, *lost))


def working_on(rest: Sequence[Member], alone: Collection[str], in_flight: int) -> list[str]:
    """Return which of the lineages `rest`, which are not finished, a shard may be working on.

    It works in order: those `alone` that borrow from none, then so many others at a time, then
    those `alone` that borrow.
    """
    lone = [one for one in rest if one.name in alone]
    first = [one.name for one in lone if not one.borrows][:1]
    others = [one for one in rest if one.name not in alone]
    others.sort(key=lambda one: one.borrows)
    return first or [one.name for one in others[:in_flight]] or [one.name for one in lone][:1]
