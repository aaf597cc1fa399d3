"""Measure versions at what a succession asks of them: read notes and docs, write them, choose.

    python jobs/measure_versions.py                     the shipped versions, 24 worlds
    python jobs/measure_versions.py --worlds 60 --notes 8 16

Worlds come from seeds hashed from "measure", which neither an experiment nor training uses. Every
version meets the same worlds, notes and questions; intervals are over worlds.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lineage import compose
from lineage.agent import prompt as prompts
from lineage.agent import schemas
from lineage.agent.history import Experience
from lineage.core.config import AgentConfig
from lineage.core.edits import parse_edits
from lineage.core.intervals import DIFFERENCE, SHARE, interval, paired_difference
from lineage.core.knowledge import EMPTY, Doc, Knowledge, Memory, Origin
from lineage.core.seeds import derive, rng
from lineage.core.tasks import Suite, Task, World
from lineage.models.factory import make_engine
from lineage.models.protocol import Engine, Request, Turn
from lineage.report.tables import bounds
from lineage.suites import make_suite
from lineage.training.library import title_of

QUESTIONS = 4
SHELF = 6
"""Facts of a doc, and notes beside it."""
CHOICE_TOKENS = 6
CONFIDENCE = 0.95
Scores = dict[tuple[str, str], dict[int, float]]
"""By measure and version: the mean of each world."""


def noted(world: World, tasks: list[Task]) -> Knowledge:
    """Return perfect notes on `tasks`."""
    origin = Origin(0, "measure", "")
    texts = (world.fact_texts(task.facts)[0] for task in tasks)
    memories = (Memory(f"m{n}", text, origin, origin) for n, text in enumerate(texts, start=1))
    return EMPTY.evolve(memories=tuple(memories))


def docs(world: World, shelves: list[list[Task]]) -> list[Doc]:
    """Return a perfect doc on each of `shelves`."""
    origin = Origin(0, "measure", "")
    return [
        Doc(
            f"d{number}",
            title_of(shelf),
            "\n".join(world.fact_texts(task.facts)[0] for task in shelf),
            origin,
            origin,
        )
        for number, shelf in enumerate(shelves, start=40)
    ]


async def measure(
    engine: Engine, suite: Suite, agent: AgentConfig, version: str, number: int, notes: list[int]
) -> dict[str, float]:
    """Return the scores of `version` in world `number`, by measure."""
    world = suite.world(derive("measure", number), 0)
    draw = rng("measure", number)
    found: dict[str, list[float]] = defaultdict(list)

    async def ask(name: str, place: int, turns: tuple[Turn, ...], tokens: int, **more: Any) -> str:
        id = f"{version}/{number}/{name}/{place}"
        request = Request(id, version, turns, tokens, 0.0, 0, **more)
        return (await engine.generate(request)).text

    async def answer(name: str, knowledge: Knowledge, task: Task, place: int) -> None:
        turns = prompts.act_turns(agent.texts, knowledge, task.prompt, knowledge.docs)
        text = await ask(name, place, turns, agent.act_tokens)
        found[name].append(suite.score(task, text))

    async def choose(name: str, knowledge: Knowledge, task: Task, right: str, place: int) -> None:
        turns = prompts.open_turns(agent.texts, knowledge, task.prompt, knowledge.docs)
        ids = tuple(doc.id for doc in knowledge.docs)
        text = await ask(name, place, turns, CHOICE_TOKENS, choices=(*ids, prompts.NO_DOC))
        found[name].append(float(text == right))

    async def write(task: Task, place: int) -> None:
        experience = Experience(task.prompt, "", suite.feedback(task, world, 0.0), right=False)
        turns = prompts.handoff_turns(agent.texts, "edit", EMPTY, [experience], agent.wrong_answers)
        schema = schemas.memory_edits(EMPTY, 1, agent)
        text = await ask("write", place, turns, agent.edit_tokens, schema=schema)
        with suppress(ValueError):
            texts = [edit.text for edit in parse_edits(text)]
            fact = world.fact_texts(task.facts)[0].rstrip(".")
            found["note states the fact"].append(float(any(fact in text for text in texts)))

    async def file(tasks: list[Task]) -> None:
        told = [
            Experience(task.prompt, "", suite.feedback(task, world, 0.0), right=False)
            for task in tasks
        ]
        turns = prompts.document_turns(agent.texts, (), told, agent.wrong_answers)
        schema = schemas.doc_edits((), len(tasks), agent)
        text = await ask("file", 0, turns, agent.document_tokens, schema=schema)
        facts = [world.fact_texts(task.facts)[0].rstrip(".") for task in tasks]
        with suppress(ValueError):
            body = "".join(edit.body for edit in parse_edits(text))
            stated = sum(fact in body for fact in facts)
            found[f"doc keeps its {len(facts)} facts"].append(stated / len(facts))

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
    shelf, other, known = (draw.sample(world.tasks, 3 * SHELF)[i::3] for i in range(3))
    filed = noted(world, known).evolve(docs=tuple(docs(world, [shelf, other])))
    opened = filed.evolve(docs=filed.docs[:1])
    work.append(file(shelf))
    for place in range(QUESTIONS):
        needed, spare = draw.choice(shelf), draw.choice(known)
        work.append(answer("answer is in the open doc", opened, needed, place))
        work.append(answer("doc opened in vain", opened, spare, place))
        work.append(choose("opens the doc it needs", filed, needed, filed.docs[0].id, place))
        work.append(choose("opens none when notes suffice", filed, spare, prompts.NO_DOC, place))
    await asyncio.gather(*work)
    return {name: sum(values) / len(values) for name, values in found.items()}


async def run(options: argparse.Namespace) -> Scores:
    config = compose.load(options.overrides, *options.versions)
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
        shown = [bounds(vars(interval(values, CONFIDENCE, SHARE))) for values in cells]
        shown += [
            bounds(vars(interval(gain, CONFIDENCE, DIFFERENCE)), signed=True) for gain in gains
        ]
        table.add_row(name, *shown)
    Console(width=120).print(table)
    if options.out:
        with options.out.open("w", encoding="utf-8") as file:
            Console(file=file, width=120).print(table)


if __name__ == "__main__":
    main()
