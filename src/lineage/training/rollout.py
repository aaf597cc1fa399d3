"""Rollouts: G that branch from one history, and what each is worth.

A handoff is sampled, then fresh instances are probed with what it left, greedily and on tasks that
are drawn after it was written; or an episode is sampled, and its answer is scored. Everything goes
through the agent's own code and into the step log, so what is trained is what is run.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from lineage.agent.context import Context, Ids
from lineage.agent.episode import Attempt, outcome, probe, proved, work
from lineage.agent.handoff import hand_over
from lineage.agent.inputs import Inputs
from lineage.agent.prompt import episodes_turn
from lineage.core.config import AgentConfig, Config, CurriculumConfig
from lineage.core.curriculum import Plan, TaskInstance, draw_probes
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Knowledge
from lineage.core.reward import Reward, episode_reward, handoff_reward, over_horizon
from lineage.core.seeds import rng
from lineage.core.tasks import Family
from lineage.log.place import Place
from lineage.log.writer import GenerationLog
from lineage.models.protocol import Engine, TokenCounter
from lineage.models.recorder import Recorder
from lineage.models.replay import Replay
from lineage.models.versions import window_of
from lineage.runs.loop import all_of
from lineage.search import Library, make_ranker
from lineage.training.diagnostics import Diagnostics, diagnose, opening
from lineage.training.histories import Source
from lineage.training.library import balanced, ideal_library, reads_own
from lineage.training.values import AHEAD, Group, Rollout, rollout_name


@dataclass(frozen=True)
class Sampling:
    """What rollouts are sampled with, and where they are logged: in `folder`, the training's.

    In `step`, at `temperature`, from the version that the engine knows as `serving`.
    """

    config: Config
    folder: Path
    config_hash: str
    engine: Engine
    count: TokenCounter
    sources: dict[str, Source]
    step: int = 0
    serving: str = ""
    temperature: float = 0.0


async def roll_out(sampling: Sampling, groups: Sequence[Group], size: int) -> list[Room]:
    """Sample and reward `size` rollouts of each of `groups`, all in flight together.

    None waits for another: each is probed as soon as it is written, and the log of a group is
    finished with the reward of its last one.
    """
    curricula = sampling.config.curricula
    rooms = [ROOMS[curricula[group.curriculum].trains](sampling, group) for group in groups]
    await all_of(room.make(size) for room in rooms)
    return rooms


class Room(ABC):
    """Where one group is made: its context, its log and its tasks.

    `written` is when the last of its rollouts was, by the monotonic clock: some may be rewarded
    before that.
    """

    def __init__(self, sampling: Sampling, group: Group) -> None:
        config, step = sampling.config, sampling.step
        self.group, self.history = group, group.history
        self.written = 0.0
        self.train, self.reward_weights = config.train, config.reward
        self.step, self.steps = step, config.method.steps
        self.course: CurriculumConfig = config.curricula[group.curriculum]
        self.temperature = sampling.temperature
        self.suite = sampling.sources[group.curriculum].suite
        self.plan: Plan = self.history.plans[0]
        self.ids = (self.train.name, group.curriculum, self.history.id, step, group.number)
        lineage = f"{group.number:03d}-{group.curriculum}"
        place = Place(group.curriculum, group.number, lineage, step)
        self.log = GenerationLog(
            sampling.folder, place, config.log.journal_steps, sampling.config_hash
        )
        ids = Ids(
            run=f"{self.train.name}-{sampling.config_hash}",
            # The history decides the seeds too: a number means another one in each step.
            experiment=f"train/{self.train.name}/{group.curriculum}/{self.history.id}",
            arm=group.curriculum,
            pair=group.number,
            lineage=lineage,
            generation=step,
            version=self.train.name,
        )
        agent: AgentConfig = course_agent(config.agent, self.course)
        self.context = Context(
            ids=ids,
            engine=Replay(sampling.engine, self.log.answered),
            suite=self.suite,
            config=agent,
            count=sampling.count,
            log=self.log,
            docs=Library(
                make_ranker(agent.ranking, agent.embedding_model, Path(config.run.cache_folder))
            ),
            past=Library(make_ranker("bm25")),
            window=window_of(sampling.config, self.train.parent),
            serving=sampling.serving,
        )
        self.log.snapshot(self.history.knowledge)

    @property
    def tokens(self) -> int:
        """How many its steps in the log generated, whichever process did."""
        return sum(one.completion_tokens for one in self.log.lived.values())

    async def make(self, size: int) -> None:
        """Sample `size` rollouts, find out what each is worth, and finish the log."""
        rollouts = await asyncio.gather(*(self._rollout(number) for number in range(size)))
        self.group = replace(self.group, rollouts=tuple(rollouts))
        self.log.finish(self.history.knowledge, self.plan.world)

    async def _rollout(self, number: int) -> Rollout:
        prefix, recorder = rollout_name(number), Recorder(self.context.engine)
        forced = number if self.course.explore else None
        context = replace(
            self.context, engine=recorder, temperature=self.temperature, forced=forced
        )
        made = await self._sampled(context, prefix)
        completions = recorder.completions(prefix, context.serving)
        self.written = time.monotonic()
        made = replace(made, completions=completions, error="; ".join(recorder.errors))
        return await self._judged(prefix, made)

    def _rewarded(self, prefix: str, rollout: Rollout, before: Knowledge, found: Reward) -> Rollout:
        """Return `rollout` with the reward that was found, and log that, part by part."""
        after = rollout.knowledge
        self.context.write(
            "reward",
            f"{prefix}r",
            0,
            "handoff",
            knowledge_before=before.id,
            knowledge_after=after.id,
            memory_tokens=self.context.memory_tokens(after) if after != EMPTY else 0,
            **reward_columns(found),
        )
        return replace(rollout, reward=found, error="")

    def _diagnosed(self, knowledge: Knowledge, shown: str = "") -> Diagnostics:
        return diagnose(knowledge, self.context.memory_tokens(knowledge), shown, self.plan.world)

    @abstractmethod
    async def _sampled(self, context: Context, prefix: str) -> Rollout:
        """Return what is sampled with `context`; its completions are filled in."""

    @abstractmethod
    async def _judged(self, prefix: str, rollout: Rollout) -> Rollout:
        """Return `rollout` with its reward, or with the error for which it has none."""


class Handoffs(Room):
    """Handoffs are sampled, and probed."""

    async def _sampled(self, context: Context, prefix: str) -> Rollout:
        past = self.history
        left = await hand_over(context, past.knowledge, past.experiences, past.used, prefix=prefix)
        shown = episodes_turn(context.texts, past.experiences, context.config.wrong_answers).content
        return Rollout({}, left, self._diagnosed(left, shown))

    async def _judged(self, prefix: str, rollout: Rollout) -> Rollout:
        if rollout.error:
            return rollout
        rewards, knowledge = list[Reward](), rollout.knowledge
        for ahead, plan in enumerate(self.history.plans[: self.train.horizon]):
            name = f"{prefix}{AHEAD}{ahead}"
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
                return replace(rollout, error="no probe was scored")
            rewards.append(self._reward(knowledge, plan, task_instances, attempts))
        found = over_horizon(rewards, self.train.discount)
        return self._rewarded(prefix, rollout, self.history.knowledge, found)

    async def _lived(self, name: str, plan: Plan, knowledge: Knowledge) -> Knowledge:
        """Let a successor work and hand over in its turn; return what it leaves."""
        attempts = await asyncio.gather(
            *(
                work(self.context, f"{name}w{i:03d}", Inputs(knowledge), task_instance)
                for i, task_instance in enumerate(plan.work)
            )
        )
        told = [a.experience for a in attempts if a.experience is not None]
        return await hand_over(self.context, knowledge, told, proved(attempts), prefix=name)

    def _reward(
        self,
        knowledge: Knowledge,
        plan: Plan,
        task_instances: Sequence[TaskInstance],
        attempts: Sequence[Attempt],
    ) -> Reward:
        scores, read = outcome(task_instances, attempts)
        tokens = self.context.memory_tokens(knowledge)
        stale = self.course.stale * (diagnose(knowledge, tokens, "", plan.world).staleness or 0.0)
        budget = self.context.memory_budget
        return handoff_reward(scores, tokens, budget, read, self.reward_weights, stale)


class Episodes(Room):
    """Episodes are sampled, and their answers scored."""

    async def _sampled(self, context: Context, prefix: str) -> Rollout:
        library, task_instance = self.library, self.task_instance
        attempt = await probe(context, f"{prefix}p000", Inputs(library), task_instance)
        query = task_instance.task.prompt
        offered = len(context.offered(library, query, context.find_docs(library, query)))
        forced = context.forced is not None and bool(offered) and context.forced <= offered
        # What was forced says nothing about when a version opens a doc.
        what = opening(library, attempt.opened, task_instance.task, self.plan.world)
        told = replace(self._diagnosed(library), opened="" if forced else what)
        return Rollout({}, library, told, attempt, forced=forced)

    async def _judged(self, prefix: str, rollout: Rollout) -> Rollout:
        attempt = rollout.attempt
        assert attempt is not None
        if attempt.score is None:
            return replace(rollout, error=rollout.error or "failed")
        families = [one.family for one in self.task_instances]
        found = episode_reward(
            Family(self.task_instance.family),
            attempt.score,
            attempt.doc_tokens,
            families.count(self.task_instance.family) / len(families),
            self.context.memory_budget,
            self.reward_weights,
        )
        return self._rewarded(prefix, rollout, rollout.knowledge, found)

    @cached_property
    def task_instances(self) -> Sequence[TaskInstance]:
        """The tasks that the groups of the curriculum take turns in."""
        if self.course.tasks == "balanced":
            found = balanced(self.library, self.plan.world, rng("balanced", *self.ids))
            if not found:
                raise LineageError(
                    f"curriculum {self.group.curriculum!r} has no task that asks for a fact: "
                    "tasks=balanced needs a suite with hidden facts"
                )
            return found
        return draw_probes(self.suite, self._open_plan(), self.train.probes, *self.ids)

    @property
    def task_instance(self) -> TaskInstance:
        """The task of this group: groups walk through the families."""
        return self.task_instances[self.group.turn % len(self.task_instances)]

    @property
    def own(self) -> bool:
        """Whether an episode reads what a version wrote, not what is made of the facts."""
        if self.course.library == "growing":
            return reads_own(self.group.number, self.step, self.steps)
        return self.course.library == "own"

    @cached_property
    def library(self) -> Knowledge:
        """What an episode may read."""
        if self.own:
            return self.history.knowledge
        return ideal_library(self.plan.world, self.train.parent, rng("library", *self.ids))

    def _open_plan(self) -> Plan:
        """Return the plan with everything in the library counted as met."""
        if self.own:
            return self.plan
        world, library = self.plan.world, self.library
        texts = (*(note.text for note in library.memories), *(doc.body for doc in library.docs))
        held = "\n".join(texts)
        met = {
            task.id: 0
            for task in world.tasks
            if task.facts and all(text in held for text in world.fact_texts(task.facts))
        }
        kin = tuple(task.id for task in world.tasks if task.id not in met)
        return replace(self.plan, met=met, kin=kin)


ROOMS: dict[str, type[Room]] = {"handoff": Handoffs, "episode": Episodes}
"""By what a curriculum trains."""


def course_agent(agent: AgentConfig, course: CurriculumConfig) -> AgentConfig:
    """Return how instances work in a curriculum."""
    return replace(agent, docs=course.docs, opening=course.opening)


def reward_columns(reward: Reward) -> dict[str, float | None]:
    """Return the columns of a reward."""
    parts = {f"reward_{part}": value for part, value in asdict(reward).items()}
    return {"reward": reward.total, **parts}
