"""A shard: an actor that runs the loop of a run for some of its pairs, on any node.

It writes its part of the log into the run's folder, as the loop does everywhere, and is started
again where it dies: what is durable there is not made again. It prepares the run by itself, so that
all that it is sent is a configuration.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import ray

from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.core.seeds import derive
from lineage.core.text import one_line
from lineage.log.place import Place, done_file
from lineage.log.record import RECORD
from lineage.models.client import Client
from lineage.models.keeper import Table
from lineage.models.meter import Meter
from lineage.runs.apart import Apart, own_folder
from lineage.runs.arms import Arm
from lineage.runs.lineage import place_of
from lineage.runs.loop import Part, name_of, run_lineages
from lineage.runs.parts import name_of_life
from lineage.runs.plan import prepare

LOOK_SECONDS = 0.5
"""Between two looks at whether a donor of another shard has finished."""
HELD_SECONDS = 60.0
"""How long the process that had the place of a shard before may take to end."""


@dataclass(frozen=True)
class Order:
    """What a shard is to live: `number` of its run, of so many lineages and requests at a time.

    `here` is the working folder of who sends it, which names of files may be relative to. With a
    `url` it does not work in the run's `folder`, but in one of its own (`lineage.runs.apart`).
    """

    config: Config
    hash: str
    folder: Path
    here: str
    number: int
    pairs: tuple[int, ...]
    in_flight: int
    requests: int
    url: str = ""


@dataclass(frozen=True)
class Report:
    """What a shard did in its life: its completions and their tokens.

    And how many generations are finished of the span that begins with generation `first`.
    """

    first: int = -1
    generations: int = 0
    requests: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Came:
    """What came of a span: the lineages that were `left_out`, or why it `failed`."""

    left_out: tuple[str, ...] = ()
    failed: str = ""


class Shard:
    """Runs its part of a run, span by span, and says on asking how far it is."""

    def __init__(self, order: Order, life: int, keeper: Any, table: Table) -> None:
        """`life` counts how often the shard has died before.

        Raises LineageError where this node has another lineage than the driver.
        """
        if Path(order.here).is_dir():
            os.chdir(order.here)
        self.order, self.life = order, life
        self.job = prepare(order.config)
        if self.job.hash != order.hash:
            raise LineageError(
                f"this node makes configuration {self.job.hash} of what is {order.hash} where the "
                "run was begun: install the same lineage on all nodes"
            )
        seed = derive("shard", self.job.id, order.number)
        self.client = Client(keeper, table, order.requests, Random(seed))
        self.meter = Meter(self.client, self._answered, order.config.engine.max_failures)
        self.folder, self.apart = order.folder, self._apart() if order.url else None
        self.lock: BinaryIO | None = None
        self.without: set[str] = set()
        self.running: asyncio.Task[list[str]] | None = None
        self.first, self.generations, self.requests, self.tokens = -1, 0, 0, 0

    def _apart(self) -> Apart:
        order, node = self.order, ray.get_runtime_context().get_node_id()
        self.folder = own_folder(order.config.run, order.url, node, order.number)
        mine = {name_of(arm, pair) for pair in order.pairs for arm in self.job.arms}
        return Apart(self.folder, order.url, order.config.run, mine)

    async def run(self, span: range, alone: Sequence[str], without: Sequence[str]) -> Came:
        """Run the generations `span`; those in `alone` and `without` are as `Part` has them."""
        self.without |= set(without)
        self.first, self.generations = span.start, 0
        order = self.order

        async def elsewhere(arm: Arm, pair: int) -> bool:
            # The records of a run outlive every process: nobody has to be told of them.
            numbers = range(self.job.start.generation, span.stop)
            places = [place_of(arm.name, pair, generation) for generation in numbers]
            while not await self._left(places):
                if name_of(arm, pair) in self.without:
                    return False
                await asyncio.sleep(LOOK_SECONDS)
            return True

        part = Part(order.pairs, order.in_flight, tuple(alone), self.without, elsewhere)
        try:
            if self.lock is None:
                await self._begin()
            work = run_lineages(self.job, self.folder, self.meter, self._tick, span, part)
            self.running = asyncio.create_task(work)
            left_out = tuple(await self.running)
            if self.apart is not None:
                await self.apart.publish()
            return Came(left_out)
        except asyncio.CancelledError:
            return Came(failed="stopped")
        # Whatever it is, it is one line of the run's.
        except Exception as error:
            if not isinstance(error, (LineageError, OSError)):
                traceback.print_exception(error, file=sys.stderr)
            return Came(failed=one_line(str(error) or type(error).__name__))

    async def _begin(self) -> None:
        """Take the place of this shard, and note which life of it works now, and where."""
        order, life = self.order, life_note(self.life, ray.get_runtime_context().get_node_id())
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = await hold(place_file(self.folder, order.number))
        if self.apart is not None:
            await self.apart.begin(order.number, life)
        else:
            begin_life(lock, life)
        self.lock = lock

    async def _left(self, places: Sequence[Place]) -> bool:
        """Whether a donor of another shard has finished all of `places`; then they are here."""
        if self.apart is not None:
            return await self.apart.left(places)
        return done_file(self.folder, places[-1]).exists()

    async def report(self) -> Report:
        """Return how far this life of the shard is."""
        return Report(self.first, self.generations, self.requests, self.tokens)

    async def forsake(self, names: Sequence[str]) -> None:
        """Hear of lineages that are given up: nobody need wait for them."""
        self.without |= set(names)

    async def stop(self) -> None:
        """Stop the work; what is finished is durable afterwards."""
        if self.running is not None:
            self.running.cancel()
            await asyncio.wait([self.running])
        if self.apart is not None and self.lock is not None:
            await self.apart.end()

    def _tick(self) -> None:
        self.generations += 1

    def _answered(self, tokens: int) -> None:
        self.requests += 1
        self.tokens += tokens


def sees(folder: Path, record: bytes) -> bool:
    """Whether `folder` is here that of the run with this `record`: on a disk that is shared."""
    try:
        return (folder / RECORD).read_bytes() == record
    except OSError:
        return False


def place_file(folder: Path, number: int) -> Path:
    """Return the file that the shard of a `number` holds locked while it works in `folder`."""
    return folder / name_of_life(number)


def life_note(life: int, node: str) -> bytes:
    """Return what a shard notes: that this `life` of it works, and on which node of Ray."""
    return f"{life} {node}".encode()


def begin_life(held: BinaryIO, note: bytes) -> None:
    """Put the `note` of its life into the `held` file of a shard."""
    held.seek(0)
    held.truncate()
    held.write(note)


def begun(note: bytes) -> tuple[int, str]:
    """Return the life of a shard that began to work, and on which node, by its `note`.

    -1 where there is none.
    """
    words = note.decode().split()
    return (int(words[0]), words[1]) if len(words) == 2 else (-1, "")


async def hold(file: Path) -> BinaryIO:
    """Return `file`, locked for this process: two never write the same lineages.

    Raises LineageError where another one has it for long.
    """
    how = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
    lock = os.fdopen(os.open(file, how, 0o666), "r+b", 0)
    for _ in range(round(HELD_SECONDS / LOOK_SECONDS)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            await asyncio.sleep(LOOK_SECONDS)
    lock.close()
    raise LineageError(f"{file} is held by another process: end it, then resume")
