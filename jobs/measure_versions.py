"""Measure versions at the two halves of a succession: answering from notes, and writing them.

    python jobs/measure_versions.py                     the shipped versions, 24 worlds
    python jobs/measure_versions.py --worlds 60 --notes 8 16

Worlds come from seeds hashed from "measure", which neither an experiment nor training uses. Every
version meets the same worlds, notes and questions; intervals are bootstrapped over worlds.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lineage import conf
from lineage.agent import prompt as prompts
from lineage.agent.prompt import Experience
from lineage.analysis.terminal import bounds
from lineage.config import AgentConfig
from lineage.edits import parse_edits
from lineage.knowledge import EMPTY, Knowledge, Memory, Origin
from lineage.metrics import interval, paired_difference
from lineage.models.factory import make_engine
from lineage.models.protocol import Engine, Request
from lineage.seeds import derive, rng
from lineage.suites import make_suite
from lineage.tasks import Suite, Task, World

QUESTIONS = 4
Scores = dict[tuple[str, str], dict[int, float]]
"""By measure and version: the mean of each world."""


def noted(world: World, tasks: list[Task]) -> Knowledge:
    """Return perfect notes on `tasks`."""
    origin = Origin(0, "measure", "")
    texts = (world.fact_texts(task.facts)[0] for task in tasks)
    memories = (Memory(f"m{n}", text, origin, origin) for n, text in enumerate(texts, start=1))
    return EMPTY.evolve(memories=tuple(memories))


async def measure(
    engine: Engine, suite: Suite, agent: AgentConfig, version: str, number: int, notes: list[int]
) -> dict[str, float]:
    """Return the scores of `version` in world `number`, by measure."""
    world = suite.world(derive("measure", number), 0)
    draw = rng("measure", number)
    found: dict[str, list[float]] = defaultdict(list)

    async def answer(name: str, knowledge: Knowledge, task: Task, place: int) -> None:
        request = Request(
            f"{version}/{number}/{name}/{place}",
            version,
            prompts.act_turns(knowledge, task.prompt),
            agent.act_tokens,
            0.0,
            0,
        )
        found[name].append(suite.score(task, (await engine.generate(request)).text))

    async def write(task: Task, place: int) -> None:
        experience = Experience(task.prompt, "", suite.feedback(task, world, 0.0), right=False)
        request = Request(
            f"{version}/{number}/write/{place}",
            version,
            prompts.handoff_turns(EMPTY, [experience], agent.wrong_answers),
            agent.edit_tokens,
            0.0,
            0,
            schema=prompts.memory_schema(EMPTY, 1, agent.memory_chars),
        )
        try:
            texts = [edit.text for edit in parse_edits((await engine.generate(request)).text)]
        except ValueError:
            texts = []
        fact = world.fact_texts(task.facts)[0].rstrip(".")
        found["note states the fact"].append(float(any(fact in text for text in texts)))

    work = []
    for count in notes:
        known = draw.sample(world.tasks, count)
        groups = {task.group for task in known if task.group}
        kin = [task for task in world.tasks if task.group in groups and task not in known]
        knowledge = noted(world, known)
        for place in range(QUESTIONS):
            same = draw.choice(known)
            work.append(answer(f"same, {count} notes", knowledge, same, place))
            if kin:
                similar = draw.choice(kin)
                work.append(answer(f"similar, {count} notes", knowledge, similar, place))
    work += [write(draw.choice(world.tasks), place) for place in range(QUESTIONS)]
    await asyncio.gather(*work)
    return {name: sum(values) / len(values) for name, values in found.items()}


async def run(options: argparse.Namespace) -> Scores:
    config = conf.load(options.overrides)
    engine, suite = make_engine(config), make_suite(config.suite)
    scores: Scores = defaultdict(dict)
    try:
        await engine.start(options.versions)
        for version in options.versions:
            worlds = range(options.worlds)
            measured = await asyncio.gather(
                *(measure(engine, suite, config.agent, version, n, options.notes) for n in worlds)
            )
            for number, values in enumerate(measured):
                for name, value in values.items():
                    scores[name, version][number] = value
    finally:
        await engine.close()
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    parser.add_argument("--versions", nargs="+", default=["smollm2-135m@r0", "smollm2-135m@r1"])
    parser.add_argument("--worlds", type=int, default=24)
    parser.add_argument("--notes", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    scores = asyncio.run(run(options))
    first, *rest = options.versions
    table = Table("measure", *options.versions, *(f"{v} - {first}" for v in rest), box=None)
    for name in dict.fromkeys(name for name, _ in scores):
        cells = [scores[name, version] for version in options.versions]
        gains = [paired_difference(values, cells[0]) for values in cells[1:]]
        shown = [bounds(vars(interval(values, 2000, 0.95, name))) for values in cells]
        shown += [bounds(vars(interval(gain, 2000, 0.95, name)), signed=True) for gain in gains]
        table.add_row(name, *shown)
    Console(width=120).print(table)
    if options.out:
        with options.out.open("w", encoding="utf-8") as file:
            Console(file=file, width=120).print(table)


if __name__ == "__main__":
    main()
