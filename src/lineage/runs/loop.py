"""The loop of a run: all its lineages in flight at once, or those of a part of its pairs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from lineage.core.curriculum import Plan, plans
from lineage.models.protocol import Engine
from lineage.runs.arms import Arm, donor_of
from lineage.runs.lineage import Setting, place_of, run_lineage
from lineage.runs.plan import Job

T = TypeVar("T")


async def _nowhere(arm: Arm, pair: int) -> bool:
    raise AssertionError("a loop of all pairs has every donor")


@dataclass(frozen=True)
class Part:
    """What of a run one loop lives: `pairs`, so many lineages of them `in_flight`.

    Lineages named in `alone` have the loop to themselves, one after another; those in `without`
    are left out, and so is what borrows from them. `elsewhere` waits for a donor of another pair
    than these, and returns whether it will be there.
    """

    pairs: tuple[int, ...]
    in_flight: int
    alone: tuple[str, ...] = ()
    without: Collection[str] = ()
    elsewhere: Callable[[Arm, int], Awaitable[bool]] = _nowhere


async def run_lineages(
    job: Job,
    folder: Path,
    engine: Engine,
    tick: Callable[[], None],
    span: range,
    part: Part | None = None,
) -> list[str]:
    """Run the generations `span` of all lineages; those before must be finished.

    `tick` is told of each one that is done. With a `part` it is of those lineages only. Return the
    names of lineages that were left out.
    """
    part = part or Part(job.start.pairs, job.config.run.lineages_in_flight)

    # Arms of a pair run at about the same time and share its plans.
    @lru_cache(maxsize=part.in_flight)
    def planned(pair: int) -> tuple[Plan, ...]:
        return plans(job.suite, job.config.experiment, len(job.config.schedule.versions), pair)

    setting = Setting(job, folder, engine, planned, tick)
    room = asyncio.Semaphore(part.in_flight)
    places = [(arm, pair) for pair in part.pairs for arm in job.arms]
    done = {(arm.name, pair): asyncio.Event() for arm, pair in places}
    left_out: list[str] = []

    async def ready(donor: tuple[Arm, int]) -> bool:
        """Wait until `donor` has finished; return whether it will."""
        lender, pair = donor
        if (lender.name, pair) not in done:
            return await part.elsewhere(lender, pair)
        if name_of(lender, pair) in part.without:
            return False
        await done[lender.name, pair].wait()
        return True

    async def one(arm: Arm, pair: int) -> None:
        donor = donor_of(job.config, arm, pair, lambda other: planned(other)[0].world.id)
        # Not while holding room: borrowers would keep their own donors out.
        there = donor is None or await ready(donor)
        if not there or name_of(arm, pair) in part.without:
            left_out.append(name_of(arm, pair))
            return
        async with room:
            await run_lineage(setting, arm, pair, span, donor)
        done[arm.name, pair].set()

    lone = [(arm, pair) for arm, pair in places if name_of(arm, pair) in part.alone]
    for arm, pair in lone:
        if not arm.receives.borrowed:
            await one(arm, pair)
    await all_of(one(*place) for place in places if place not in lone)
    # Last, as those are that they borrow from.
    for arm, pair in lone:
        if arm.receives.borrowed:
            await one(arm, pair)
    return left_out


async def all_of(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return what all `works` do at once; where one fails, or this is cancelled, the others end
    first.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def name_of(arm: Arm, pair: int) -> str:
    """Return the name of the lineage of `arm` and `pair`."""
    return place_of(arm.name, pair, 0).lineage
