"""Rollouts: G alternatives that branch from one history, each with its reward.

A handoff is sampled, then fresh instances are probed with what it left, greedily and on tasks that
are drawn after it was written; or an episode is sampled, and its answer is scored. Everything goes
through the agent's own code and into the step log, so what is trained is what is run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lineage.agent.context import Context, Ids
from lineage.agent.episode import Attempt, probe, work
from lineage.agent.handoff import hand_over
from lineage.agent.history import Experience
from lineage.agent.inputs import Inputs
from lineage.agent.prompt import episodes_turn
from lineage.core.config import AgentConfig, Config, CurriculumConfig, TrainConfig
from lineage.core.curriculum import Plan, TaskInstance, draw_probes
from lineage.core.knowledge import EMPTY, Knowledge
from lineage.core.reward import Reward, episode_reward, handoff_reward, over_horizon
from lineage.core.seeds import rng
from lineage.core.tasks import FAMILIES, Family
from lineage.log.place import Place
from lineage.log.writer import GenerationLog
from lineage.models.protocol import Engine, TokenCounter
from lineage.models.recorder import Decision, Recorder
from lineage.models.replay import Replay
from lineage.search import Library, make_ranker
from lineage.training.guards import Measured, measure, opening
from lineage.training.histories import History, Source
from lineage.training.library import ideal_library


@dataclass(frozen=True)
class Alternative:
    """One of G: what was decided, and what that was worth. `reward` is None where it failed.

    `score` is an episode's own, 0..1, before any weight.
    """

    reward: Reward | None
    decisions: tuple[Decision, ...]
    measured: Measured
    opened: str = ""
    error: str = ""
    score: float | None = None


@dataclass(frozen=True)
class Group:
    """Alternatives that branch from one snapshot and meet the same probes."""

    id: str
    curriculum: str
    world: str
    alternatives: tuple[Alternative, ...]


@dataclass(frozen=True)
class Draw:
    """What one group of a step branches from; `number` is its place in the step.

    `turn` counts the groups of the curriculum, over all steps: episodes take the probes by turns.
    """

    curriculum: str
    number: int
    turn: int
    history: History


@dataclass
class Spent:
    """What a step took: seconds in writing alternatives and in probing what they left, and tokens.

    `tokens` are those that its steps in the log generated, whichever process did.
    """

    generate: float = 0.0
    probe: float = 0.0
    tokens: int = 0


@dataclass(frozen=True)
class Rollouts:
    """What samples alternatives with `engine` at `temperature`. `folder` is the training's own."""

    config: Config
    folder: Path
    config_hash: str
    engine: Engine
    count: TokenCounter
    sources: dict[str, Source]
    temperature: float

    async def sample(
        self, step: int, serving: str, draws: Sequence[Draw], size: int, spent: Spent
    ) -> tuple[Group, ...]:
        """Return a group of `size` alternatives for each of `draws`, sampled from `serving`.

        Everything of one kind is in flight together.
        """
        rooms = [_Room(self, step, serving, draw) for draw in draws]
        began = time.monotonic()
        written = await asyncio.gather(*(room.write(size) for room in rooms))
        spent.generate += time.monotonic() - began
        began = time.monotonic()
        groups = await asyncio.gather(
            *(room.judge(drafts) for room, drafts in zip(rooms, written, strict=True))
        )
        spent.probe += time.monotonic() - began
        for room in rooms:
            spent.tokens += sum(one.completion_tokens for one in room.log.lived.values())
            room.log.finish(room.draw.history.knowledge, room.plan.world)
        return tuple(groups)


@dataclass(frozen=True)
class _Draft:
    """An alternative before its reward is known."""

    knowledge: Knowledge
    decisions: tuple[Decision, ...]
    error: str
    attempt: Attempt | None = None


class _Room:
    """Where one group is made: its context, its log and its tasks."""

    def __init__(self, rollouts: Rollouts, step: int, serving: str, draw: Draw) -> None:
        config = rollouts.config
        self.draw, self.step = draw, step
        self.train: TrainConfig = config.train
        self.temperature = rollouts.temperature
        self.course: CurriculumConfig = config.curricula[draw.curriculum]
        self.reward = config.reward
        self.suite = rollouts.sources[draw.curriculum].suite
        self.plan: Plan = draw.history.plans[0]
        self.ids = (self.train.name, draw.curriculum, draw.history.id, step, draw.number)
        place = Place(draw.curriculum, draw.number, f"{draw.number:03d}-{draw.curriculum}", step)
        self.log = GenerationLog(
            rollouts.folder, place, config.log.journal_steps, rollouts.config_hash
        )
        ids = Ids(
            run=f"{self.train.name}-{rollouts.config_hash}",
            # The history decides the seeds too: a number means another one in each step.
            experiment=f"train/{self.train.name}/{draw.curriculum}/{draw.history.id}",
            arm=draw.curriculum,
            pair=draw.number,
            lineage=place.lineage,
            generation=step,
            version=self.train.name,
        )
        agent: AgentConfig = course_agent(config.agent, self.course)
        self.context = Context(
            ids=ids,
            engine=Replay(rollouts.engine, self.log.answered),
            suite=self.suite,
            config=agent,
            count=rollouts.count,
            log=self.log,
            docs=Library(make_ranker(agent.ranking, agent.embedding_model)),
            past=Library(make_ranker("bm25")),
            serving=serving,
        )
        self.log.snapshot(draw.history.knowledge)

    @property
    def episodic(self) -> bool:
        """Whether episodes are sampled, not handoffs."""
        return self.course.trains == "episode"

    async def write(self, size: int) -> list[_Draft]:
        """Sample the decisions that are to be trained."""
        make = self._episode if self.episodic else self._handoff
        return list(await asyncio.gather(*(make(number) for number in range(size))))

    async def judge(self, drafts: Sequence[_Draft]) -> Group:
        """Find out what they are worth, and log it."""
        judge = self._scored if self.episodic else self._probed
        found = await asyncio.gather(*(judge(i, draft) for i, draft in enumerate(drafts)))
        draw = self.draw
        id = f"{draw.curriculum}/{draw.history.id}/{draw.number:03d}"
        return Group(id, draw.curriculum, self.plan.world.id, tuple(found))

    async def _handoff(self, number: int) -> _Draft:
        history, prefix = self.draw.history, f"a{number:02d}"
        recorder = Recorder(self.context.engine)
        context = replace(self.context, engine=recorder, temperature=self.temperature)
        knowledge = await hand_over(
            context, history.knowledge, history.experiences, history.used, prefix=prefix
        )
        decisions = recorder.decisions(prefix, context.serving)
        return _Draft(knowledge, decisions, "; ".join(recorder.errors))

    async def _probed(self, number: int, draft: _Draft) -> Alternative:
        history, prefix = self.draw.history, f"a{number:02d}"
        shown = episodes_turn(history.experiences, self.context.config.wrong_answers).content
        measured = self._measured(draft.knowledge, shown)
        if draft.error:
            return Alternative(None, draft.decisions, measured, error=draft.error)
        rewards, knowledge = list[Reward](), draft.knowledge
        for ahead, plan in enumerate(history.plans[: self.train.horizon]):
            name = f"{prefix}k{ahead}"
            if ahead:
                knowledge = await self._lived(name, plan, knowledge)
            task_instances = draw_probes(self.suite, plan, self.train.probes, *self.ids, ahead)
            attempts = await asyncio.gather(
                *(
                    probe(self.context, f"{name}p{i:03d}", Inputs(knowledge), task_instance)
                    for i, task_instance in enumerate(task_instances)
                )
            )
            if all(attempt.score is None for attempt in attempts):
                # The price of memory alone would teach to write nothing.
                return Alternative(None, draft.decisions, measured, error="no probe was scored")
            rewards.append(self._reward(knowledge, plan, task_instances, attempts))
        reward = over_horizon(rewards, self.train.discount)
        log_reward(self.context, f"{prefix}r", reward, history.knowledge, draft.knowledge)
        return Alternative(reward, draft.decisions, measured)

    async def _lived(self, name: str, plan: Plan, knowledge: Knowledge) -> Knowledge:
        """Let a successor work and hand over in its turn; return what it leaves."""
        attempts = await asyncio.gather(
            *(
                work(self.context, f"{name}w{i:03d}", Inputs(knowledge), task_instance)
                for i, task_instance in enumerate(plan.work)
            )
        )
        told: list[Experience] = [a.experience for a in attempts if a.experience is not None]
        used = frozenset(attempt.echoed for attempt in attempts if attempt.score == 1.0)
        return await hand_over(self.context, knowledge, told, used, prefix=name)

    def _reward(
        self,
        knowledge: Knowledge,
        plan: Plan,
        task_instances: Sequence[TaskInstance],
        attempts: Sequence[Attempt],
    ) -> Reward:
        scores: dict[Family, list[float]] = {family: [] for family in FAMILIES}
        for task_instance, attempt in zip(task_instances, attempts, strict=True):
            if attempt.score is not None:
                scores[Family(task_instance.family)].append(attempt.score)
        tokens = self.context.memory_tokens(knowledge)
        read = sum(attempt.doc_tokens for attempt in attempts) / max(len(attempts), 1)
        staleness = measure(knowledge, max(tokens, 1), "", plan.world).staleness or 0.0
        stale = self.course.stale * staleness
        budget = self.context.config.memory_budget
        return handoff_reward(scores, tokens, budget, read, self.reward, stale)

    async def _episode(self, number: int) -> _Draft:
        task_instance, prefix = self.task_instance, f"a{number:02d}"
        recorder = Recorder(self.context.engine)
        context = replace(self.context, engine=recorder, temperature=self.temperature)
        attempt = await probe(context, f"{prefix}p000", Inputs(self.library), task_instance)
        errors = "; ".join(recorder.errors)
        return _Draft(self.library, recorder.decisions(prefix, context.serving), errors, attempt)

    async def _scored(self, number: int, draft: _Draft) -> Alternative:
        attempt, task_instance = draft.attempt, self.task_instance
        assert attempt is not None
        measured = self._measured(draft.knowledge, "")
        what = opening(draft.knowledge, attempt.opened, task_instance.task, self.plan.world)
        if attempt.score is None:
            return Alternative(None, draft.decisions, measured, what, draft.error or "failed")
        families = [one.family for one in self.task_instances]
        reward = episode_reward(
            Family(task_instance.family),
            attempt.score,
            attempt.doc_tokens,
            families.count(task_instance.family) / len(families),
            self.context.config.memory_budget,
            self.reward,
        )
        log_reward(self.context, f"a{number:02d}r", reward, draft.knowledge, draft.knowledge)
        return Alternative(reward, draft.decisions, measured, what, score=attempt.score)

    @cached_property
    def task_instances(self) -> Sequence[TaskInstance]:
        """The tasks that the groups of a curriculum of episodes take turns in."""
        return draw_probes(self.suite, self._open_plan(), self.train.probes, *self.ids)

    @property
    def task_instance(self) -> TaskInstance:
        """The task of an episode: groups walk through the families."""
        return self.task_instances[self.draw.turn % len(self.task_instances)]

    def _open_plan(self) -> Plan:
        """Return the plan with everything in the library counted as met."""
        if self.course.library == "own":
            return self.plan
        world = self.plan.world
        held = "\n".join(
            (
                *(memory.text for memory in self.library.memories),
                *(doc.body for doc in self.library.docs),
            )
        )
        met = {
            task.id: 0
            for task in world.tasks
            if task.facts and all(text in held for text in world.fact_texts(task.facts))
        }
        kin = tuple(id for id in (task.id for task in world.tasks) if id not in met)
        return replace(self.plan, met=met, kin=kin)

    @cached_property
    def library(self) -> Knowledge:
        """What an episode may read."""
        if self.course.library == "own":
            return self.draw.history.knowledge
        return ideal_library(self.plan.world, self.train.parent, rng("library", *self.ids))

    def _measured(self, knowledge: Knowledge, shown: str) -> Measured:
        tokens = self.context.memory_tokens(knowledge)
        return measure(knowledge, max(tokens, 1), shown, self.plan.world)


def course_agent(agent: AgentConfig, course: CurriculumConfig) -> AgentConfig:
    """Return how instances work in a curriculum."""
    return replace(agent, docs=course.docs, opening=course.opening)


def log_reward(
    context: Context, episode: str, reward: Reward, before: Knowledge, after: Knowledge
) -> None:
    """Log the reward of an alternative, part by part."""
    parts: dict[str, Any] = reward_columns(reward)
    context.write(
        "reward",
        episode,
        0,
        "handoff",
        knowledge_before=before.id,
        knowledge_after=after.id,
        memory_tokens=context.memory_tokens(after) if after != EMPTY else 0,
        **parts,
    )


def reward_columns(reward: Reward) -> dict[str, float | None]:
    """Return the columns of a reward."""
    return {
        "reward": reward.total,
        "reward_same": reward.same,
        "reward_similar": reward.similar,
        "reward_dissimilar": reward.dissimilar,
        "reward_memory": reward.memory,
        "reward_docs": reward.docs,
        "reward_stale": reward.stale,
    }
