"""What a step of a training waits for, and what it asks twice.

    python benchmarks/training_steps.py                         the default, on a modelled engine
    python benchmarks/training_steps.py experiment=opening  another one
    python benchmarks/training_steps.py --real --steps 3    on the real engine, which is started
    python benchmarks/training_steps.py --log runs/NAME     where the time of a training went

A step is sampled and rewarded in two ways: as `lineage train` does it, each rollout probed as soon
as it is written and what greedy probes ask alike asked once; and in phases, where probes wait until
all rollouts are written, and each is asked. Learning is in neither. Steps are the last ones of the
training, of its own kind, sampled from its parent; what they say is the same in both.

The modelled engine writes what the stand-in writes, and takes the time that an engine with
continuous batching takes on a processor: seconds go up with the tokens of prompts that no block of
its cache holds, and with the sequences that it decodes together (see `Pace`). Its seconds are those
of the event loop's own clock, on which nothing else takes any.
"""

from __future__ import annotations

import argparse
import asyncio
import selectors
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ratios import Measured, Setup
from rich.console import Console
from rich.table import Table

import lineage
from lineage import compose
from lineage.core.config import Config
from lineage.models.factory import make_engine
from lineage.models.profile import CPU, SUITS
from lineage.models.protocol import CHARS_PER_TOKEN, Completion, Engine, EngineLayer, Request
from lineage.training.loop import drawn
from lineage.training.rollout import Sampling, roll_out
from lineage.training.run import schooled
from lineage.training.values import GREEDY, method_at

QUIET = 0.05
"""Seconds without a sampled request after which all rollouts are taken for written."""
STEPS = f"""\
WITH asked AS (
    SELECT * REPLACE (generation AS step), ended_at - wall_seconds AS began,
        left(episode, 3) AS rollout, {GREEDY} AS is_greedy
    FROM steps WHERE prompt <> ''
), rollouts AS (
    SELECT step, lineage, rollout, max(ended_at) AS ended FROM asked
    WHERE NOT is_greedy GROUP BY ALL
), waiting AS (
    SELECT step, max(ended) AS last, avg(ended) AS mean FROM rollouts GROUP BY ALL
)
SELECT step, count(*) AS requests, count(*) FILTER (is_greedy) AS greedy,
    count(*) FILTER (is_greedy) - count(DISTINCT prompt) FILTER (is_greedy) AS alike,
    sum(prompt_tokens - cached_tokens) AS tokens_read, sum(completion_tokens) AS tokens_written,
    (any_value(last) - any_value(mean)) / nullif(any_value(last) - min(began), 0) AS waits
FROM asked JOIN waiting USING (step) GROUP BY step ORDER BY step"""
CURVE = """\
SELECT step, seconds, seconds_generate, seconds_probe, seconds_learn, seconds_sync
FROM curve ORDER BY step"""


@dataclass(frozen=True)
class Pace:
    """What an engine's iteration takes: seconds, then seconds a prompt token that it reads and a
    sequence that it decodes.

    It reads at most `most` prompt tokens in one, has `slots` sequences, and finds again whole
    blocks of so many letters of a prompt's beginning, as suits a processor. The seconds are those
    of vLLM 0.32 with SmolLM2-135M in float32 on two cores that others use too, by the log of a
    training of `experiment=opening`: 14,000 tokens read and 970 written took 46 seconds a step.
    """

    iteration: float = 0.06
    token: float = 0.0021
    sequence: float = 0.006
    most: int = 2048
    slots: int = SUITS[CPU].max_num_seqs
    block: int = (SUITS[CPU].block_size or 0) * CHARS_PER_TOKEN


@dataclass
class _Job:
    prompt: str
    left: int
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Modelled(EngineLayer):
    """An `EngineLayer` that answers when an engine of this pace would."""

    def __init__(self, engine: Engine, pace: Pace) -> None:
        self.engine, self.pace = engine, pace
        self.waiting, self.running = deque[_Job](), list[_Job]()
        self.known = set[tuple[str, str]]()
        self.work: asyncio.Task[None] | None = None
        self.asked = 0

    async def generate(self, request: Request) -> Completion:
        """Return the completion of the engine behind, in time."""
        self.asked += 1
        answer = await self.engine.generate(request)
        job = _Job(answer.prompt, max(1, len(answer.text) // CHARS_PER_TOKEN))
        self.waiting.append(job)
        if self.work is None or self.work.done():
            self.work = asyncio.create_task(self._work(request.version))
        await job.done.wait()
        return answer

    async def _work(self, version: str) -> None:
        pace = self.pace
        while self.waiting or self.running:
            read = 0
            while self.waiting and len(self.running) < pace.slots:
                new = self._new(self.waiting[0].prompt, version)
                if read and read + new > pace.most:
                    break
                read += new
                self._keep(self.waiting[0].prompt, version)
                self.running.append(self.waiting.popleft())
            decoding = len(self.running) * pace.sequence
            await asyncio.sleep(pace.iteration + read * pace.token + decoding)
            for job in self.running:
                job.left -= 1
                if not job.left:
                    job.done.set()
            self.running = [job for job in self.running if job.left]

    def _new(self, prompt: str, version: str) -> int:
        """Return how many tokens of `prompt` are to be read: never none."""
        held = 0
        for end in self._ends(prompt):
            if (version, prompt[:end]) not in self.known:
                break
            held = end
        return max(1, (len(prompt) - held) // CHARS_PER_TOKEN)

    def _keep(self, prompt: str, version: str) -> None:
        self.known.update((version, prompt[:end]) for end in self._ends(prompt))

    def _ends(self, prompt: str) -> Iterator[int]:
        return iter(range(self.pace.block, len(prompt), self.pace.block))


class Phases(EngineLayer):
    """An `EngineLayer` for one step: what is greedy waits until all that is sampled is written."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.open, self.written = engine, 0, asyncio.Event()

    async def generate(self, request: Request) -> Completion:
        """Return the completion of the engine behind."""
        if request.temperature == 0:
            await self.written.wait()
            return await self.engine.generate(request)
        self.open += 1
        try:
            return await self.engine.generate(request)
        finally:
            self.open -= 1
            # Whoever has this answer may ask again at once.
            asyncio.get_running_loop().call_later(QUIET, self._look)

    def _look(self) -> None:
        if not self.open:
            self.written.set()


class Skipping(selectors.DefaultSelector):
    """A selector that waits for no time to pass: `now` is when it would have passed."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready; where only a time is waited for, that has come."""
        self.now += timeout or 0.0
        return super().select(None if timeout is None else 0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock is that of `Skipping`."""

    def __init__(self) -> None:
        self.skipping = Skipping()
        super().__init__(self.skipping)

    def time(self) -> float:
        """Return the seconds that were waited for."""
        return self.skipping.now


@dataclass(frozen=True)
class Found:
    """Seconds of each step `as_made` and `in_phases`; how many requests either asked of its engine
    in all, 0 where that is not known.
    """

    as_made: tuple[float, ...]
    in_phases: tuple[float, ...]
    asked: tuple[int, int] = (0, 0)


async def step(sampling: Sampling, number: int, in_phases: bool, folder: Path) -> float:
    """Return the seconds that step `number` takes by the loop's clock, but for learning."""
    config, loop = sampling.config, asyncio.get_running_loop()
    made, groups = drawn(replace(sampling, folder=folder), number, config.train.parent)
    if in_phases:
        made = replace(made, engine=Phases(sampling.engine))
    began = loop.time()
    await roll_out(made, groups, method_at(config.method, number).group)
    return loop.time() - began


async def modelled(config: Config, steps: int, folder: Path, setup: Setup) -> Found:
    """Measure the last `steps` of a training on a modelled engine, each in both ways."""
    behind = make_engine(config, adaptable=True)
    await behind.start((config.train.parent,))
    sampling = await schooled(config, folder, behind)
    seconds: tuple[list[float], list[float]] = ([], [])
    asked = [0, 0]
    for number in range(config.method.steps - steps, config.method.steps):
        setup.tick(f"step {number}")
        for way in (0, 1):
            engine = Modelled(behind, Pace())
            place = folder / f"{number}-{way}"
            timed = replace(sampling, engine=engine)
            seconds[way].append(await step(timed, number, bool(way), place))
            asked[way] += engine.asked
    return Found(tuple(seconds[0]), tuple(seconds[1]), (asked[0], asked[1]))


async def real(config: Config, steps: int, folder: Path, setup: Setup) -> Found:
    """Measure the last steps of a training on its engine, by turns in one way and in the other.

    No step is measured in both: the engine's cache would have the prompts of the first.
    """
    engine = make_engine(config, adaptable=True)
    try:
        setup.tick("starting the engine")
        await engine.start((config.train.parent,))
        sampling = await schooled(config, folder, engine)
        seconds: tuple[list[float], list[float]] = ([], [])
        for turn in range(2 * steps):
            number = config.method.steps - 1 - turn
            setup.tick(f"step {number}")
            seconds[turn % 2].append(await step(sampling, number, bool(turn % 2), folder / "steps"))
    finally:
        await engine.close()
    return Found(tuple(seconds[0]), tuple(seconds[1]))


def measured(words: Sequence[str], steps: int, setup: Setup, on_engine: bool = False) -> Found:
    """Measure `steps` of the training that `words` configure."""
    with tempfile.TemporaryDirectory(prefix="lineage-") as name:
        where = (f"run.root={name}",)
        if on_engine:
            return asyncio.run(real(compose.load([*where, *words]), steps, Path(name), setup))
        config = compose.load(["engine=surrogate", *where, f"run.cache={name}/cache", *words])
        with asyncio.Runner(loop_factory=Loop) as runner:
            return runner.run(modelled(config, steps, Path(name), setup))


def ratios(setup: Setup) -> dict[str, Measured]:
    """Measure steps of the default training on the modelled engine, beside the same in phases."""
    small = ("train.worlds=2", "method.groups=3", "method.group=2") if setup.small else ()
    found = measured(("agent=writer", *small), setup.repeats, setup)
    once, each = found.asked
    figures = {"requests": float(each), "share that is asked once for several": 1 - once / each}
    return {"training-step": Measured(found.as_made, found.in_phases, figures)}


def logged(folder: Path) -> Table:
    """Return where the time of each step of a training went, by its log.

    Of what was asked so much was greedy, and of that so much like something else; `read` and
    `written` are tokens. A rollout `waits` on average so long for the last one of all, of the time
    until that is written.
    """
    log = lineage.open(folder)
    table = Table(box=None)
    heads = ("step", "seconds", "generate", "probe", "learn", "sync")
    for head in (*heads, "asked", "greedy", "alike", "read", "written", "waits"):
        table.add_column(head, justify="right")
    asked = {row[0]: row[1:] for row in log.sql(STEPS).fetchall()}
    for number, *seconds in log.sql(CURVE).fetchall():
        *counts, waits = asked[number]
        told = (f"{one:,}" for one in counts)
        share = "n/a" if waits is None else f"{waits:.0%}"
        table.add_row(str(number), *(f"{one:.1f}" for one in seconds), *told, share)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="default: agent=writer")
    parser.add_argument("--steps", type=int, default=3, help="in either way")
    parser.add_argument("--real", action="store_true", help="on the real engine")
    parser.add_argument("--log", type=Path, metavar="FOLDER", help="of a training")
    options = parser.parse_args()
    console = Console()
    if options.log is not None:
        console.print(logged(options.log))
        return
    words = options.overrides or ["agent=writer"]
    setup = Setup(tick=lambda said: console.print(said, markup=False))
    found = measured(words, options.steps, setup, options.real)
    ways = sum(found.as_made), sum(found.in_phases)
    console.print(f"A step takes {ways[0] / ways[1]:.2f} of the time that it takes in phases.")
    table = Table("", "seconds of each step", "requests", box=None)
    asked = [f"{one:,}" if one else "n/a" for one in found.asked]
    for name, seconds, requests in zip(
        ("as made", "in phases"), (found.as_made, found.in_phases), asked, strict=True
    ):
        table.add_row(name, "  ".join(f"{one:.1f}" for one in seconds), requests)
    console.print(table)


if __name__ == "__main__":
    main()
