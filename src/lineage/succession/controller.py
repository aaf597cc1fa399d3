"""The controller of one lineage: generations in sequence, each migrate, work, hand over, probe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lineage.agent.desk import Desk, Post
from lineage.agent.episode import Attempt, probe, work
from lineage.agent.handoff import hand_over
from lineage.agent.migration import migrate
from lineage.config import Config
from lineage.curriculum import Plan, plans
from lineage.knowledge import EMPTY, Knowledge
from lineage.models.protocol import Engine
from lineage.reward import handoff_reward
from lineage.steplog.log import GenerationLog, Place, drop_journal, finished
from lineage.succession.arms import Arm
from lineage.succession.replay import Replay
from lineage.tasks import FAMILIES, Family, Suite


@dataclass(frozen=True)
class Setting:
    """What all lineages of a run share. `tick` is told of each finished generation."""

    run: str
    folder: Path
    config: Config
    config_hash: str
    suite: Suite
    engine: Engine
    tick: Callable[[Place], None]


def place_of(arm: str, pair: int, generation: int) -> Place:
    """Return where a generation of the lineage of `arm` and `pair` stands."""
    return Place(arm, pair, f"{pair:03d}-{arm}", generation)


async def run_lineage(setting: Setting, arm: Arm, pair: int) -> None:
    """Run the lineage of `arm` and `pair`; generations that are finished are not run again."""
    config = setting.config
    versions = config.schedule.versions
    knowledge = EMPTY
    for generation, plan in enumerate(
        plans(setting.suite, config.experiment, len(versions), pair)
    ):
        place = place_of(arm.name, pair, generation)
        before = finished(setting.folder, place)
        if before is None:
            previous = versions[max(generation - 1, 0)]
            before = await _generation(setting, arm, place, plan, knowledge, previous)
        else:
            # A process may have been killed between a generation's record and this.
            drop_journal(setting.folder, place)
        knowledge = before
        setting.tick(place)


async def _generation(
    setting: Setting, arm: Arm, place: Place, plan: Plan, knowledge: Knowledge, previous: str
) -> Knowledge:
    config = setting.config
    version = config.schedule.versions[place.generation]
    log = GenerationLog(
        setting.folder, place, config.log.journal_steps, setting.config_hash
    )
    try:
        desk = Desk(
            post=Post(
                setting.run,
                config.experiment.name,
                arm.name,
                place.pair,
                place.lineage,
                place.generation,
                version,
            ),
            engine=Replay(setting.engine, log.known),
            suite=setting.suite,
            config=config.agent,
            count=await setting.engine.counter(version),
            log=log,
        )
        log.snapshot(knowledge)
        if arm.inherits and place.generation > 0:
            knowledge = await migrate(desk, config.migration.kind, knowledge, previous)
        attempts = await asyncio.gather(
            *(
                work(desk, f"w{i:03d}", arm.receives(knowledge, plan.world, visit), visit)
                for i, visit in enumerate(plan.work)
            )
        )
        inherited = knowledge
        if arm.inherits:
            experiences = [a.experience for a in attempts if a.experience is not None]
            inherited = await hand_over(desk, knowledge, experiences)
        probes = await asyncio.gather(
            *(
                probe(desk, f"p{i:03d}", arm.receives(inherited, plan.world, visit), visit)
                for i, visit in enumerate(plan.probes)
            )
        )
        if arm.inherits:
            _log_reward(desk, config, plan, knowledge, inherited, probes)
        log.finish(inherited)
        return inherited
    finally:
        log.flush()


def _log_reward(
    desk: Desk,
    config: Config,
    plan: Plan,
    before: Knowledge,
    after: Knowledge,
    probes: Sequence[Attempt],
) -> None:
    """Log the reward of this generation's handoff, part by part."""
    scores: dict[Family, list[float]] = {family: [] for family in FAMILIES}
    for visit, attempt in zip(plan.probes, probes, strict=True):
        if attempt.score is not None:
            scores[Family(visit.family)].append(attempt.score)
    memory_tokens = desk.memory_tokens(after)
    doc_tokens = sum(attempt.doc_tokens for attempt in probes) / max(len(probes), 1)
    reward = handoff_reward(
        scores, memory_tokens, config.agent.memory_budget, doc_tokens, config.reward
    )
    desk.write(
        "reward",
        "reward",
        0,
        "handoff",
        knowledge_before=before.id,
        knowledge_after=after.id,
        memory_tokens=memory_tokens,
        reward=reward.total,
        reward_same=reward.same,
        reward_similar=reward.similar,
        reward_dissimilar=reward.dissimilar,
        reward_memory=reward.memory,
        reward_docs=reward.docs,
    )
