"""The controller of one lineage: generations in sequence, each migrate, work, hand over, probe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lineage.agent.context import Context, Ids
from lineage.agent.episode import Attempt, outcome, probe, proved, work
from lineage.agent.handoff import hand_over
from lineage.agent.history import Past, newest, past_of, restore
from lineage.agent.migrations import migrate
from lineage.agent.migrations.legacy import Legacy
from lineage.agent.prompt import history_block
from lineage.core.config import Config
from lineage.core.curriculum import Plan
from lineage.core.knowledge import EMPTY, Knowledge
from lineage.core.reward import handoff_reward
from lineage.log.journal import drop_journal
from lineage.log.place import Place
from lineage.log.reader import finished, read_steps
from lineage.log.writer import GenerationLog
from lineage.models.protocol import Engine
from lineage.models.replay import Replay
from lineage.models.versions import window_of
from lineage.runs.arms import Arm, begins_with, inputs_of
from lineage.runs.finetune import tune
from lineage.runs.plan import Job
from lineage.runs.poison import plant
from lineage.runs.replay import replay
from lineage.search import Library, make_ranker


@dataclass(frozen=True)
class Setting:
    """What all lineages of a run share.

    `plans` gives those of a pair; `tick` is told of each finished generation.
    """

    job: Job
    folder: Path
    engine: Engine
    plans: Callable[[int], tuple[Plan, ...]]
    tick: Callable[[], None]


@dataclass(frozen=True)
class State:
    """What one generation of a lineage leaves to the next, whatever its arm shows of it."""

    knowledge: Knowledge = EMPTY
    past: tuple[Past, ...] = ()


def place_of(arm: str, pair: int, generation: int) -> Place:
    """Return where a generation of the lineage of `arm` and `pair` stands."""
    return Place(arm, pair, f"{pair:03d}-{arm}", generation)


async def run_lineage(
    setting: Setting, arm: Arm, pair: int, span: range, donor: tuple[Arm, int] | None
) -> None:
    """Run the generations `span` of the lineage of `arm` and `pair`; all before must be finished.

    Those that are finished are not run again. `donor` is whom it borrows from (see `donor_of`).
    """
    all_plans = setting.plans(pair)
    lineage = _Lineage(setting, arm, pair, donor, await _libraries(setting.job.config))
    state = State(begins_with(arm, setting.job.start.knowledge))
    for generation in range(setting.job.start.generation, span.stop):
        place, plan = place_of(arm.name, pair, generation), all_plans[generation]
        left = finished(setting.folder, place)
        if left is None:
            state = await lineage.generation(place, plan, state)
        else:
            # A process may have been killed between a generation's record and this.
            drop_journal(setting.folder, place)
            steps = read_steps(setting.folder, place)
            past = restore(plan, generation, steps, setting.job.suite)
            state = State(left, (*state.past, *past))
        if generation in span:
            setting.tick()


async def _libraries(config: Config) -> tuple[Library, Library]:
    agent = config.agent
    # An embedding model takes seconds to load, during which other lineages go on.
    ranker = await asyncio.to_thread(
        make_ranker, agent.ranking, agent.embedding_model, Path(config.run.cache_folder)
    )
    return Library(ranker), Library(make_ranker("bm25"))


@dataclass(frozen=True)
class _Lineage:
    setting: Setting
    arm: Arm
    pair: int
    donor: tuple[Arm, int] | None
    libraries: tuple[Library, Library]

    async def generation(self, place: Place, plan: Plan, state: State) -> State:
        """Run one generation and return what it leaves."""
        config = self.setting.job.config
        log = GenerationLog(
            self.setting.folder, place, config.log.journal_steps, self.setting.job.hash
        )
        try:
            context = await self._context(place, log)
            return await self._generation(context, log, place, plan, state)
        finally:
            log.flush()

    async def _context(self, place: Place, log: GenerationLog) -> Context:
        setting, arm = self.setting, self.arm
        config, version = setting.job.config, arm.versions[place.generation]
        docs, past = self.libraries
        ids = Ids(
            setting.job.id,
            config.experiment.name,
            arm.name,
            place.pair,
            place.lineage,
            place.generation,
            version,
        )
        reach = arm.receives.docs or arm.receives.borrowed
        agent = replace(
            config.agent,
            policy=arm.policy,
            docs=config.agent.docs and reach,
            opening=arm.opens(config.agent),
        )
        own = config.model.versions.get(version)
        if own is not None and own.gate is not None:
            agent = replace(agent, gate=own.gate)
        return Context(
            ids=ids,
            engine=Replay(setting.engine, log.answered),
            suite=setting.job.suite,
            config=agent,
            count=await setting.engine.counter(version),
            log=log,
            docs=docs,
            past=past,
            window=window_of(config, version),
        )

    async def _generation(
        self, context: Context, log: GenerationLog, place: Place, plan: Plan, state: State
    ) -> State:
        arm, generation = self.arm, place.generation
        log.snapshot(state.knowledge)
        if arm.without:
            log.snapshot(self.setting.job.start.knowledge)
        for ancestor in self.setting.job.start.ancestry:
            log.snapshot(ancestor)
        knowledge = await self._received(context, plan, state, generation)
        serving = await self._tuned(context, state.past, generation - 1)
        ready, shown = replace(context, serving=serving), self._shown(context, state.past)
        attempts = await asyncio.gather(
            *(
                work(ready, f"w{i:03d}", inputs_of(arm, knowledge, shown, plan.world, one), one)
                for i, one in enumerate(plan.work)
            )
        )
        past = (*state.past, *_past(context, plan, attempts))
        inherited, own = knowledge, past[len(state.past) :]
        if arm.receives.replayed:
            snapshot = self.setting.job.start.replayed[generation]
            inherited = await replay(context, knowledge, snapshot)
        elif arm.receives.hands_over:
            told = [p.experience for p in own]
            memories = arm.receives.memories
            inherited = await hand_over(context, knowledge, told, proved(attempts), memories)
        elif arm.receives.borrowed:
            inherited = self._borrowed(generation)
            log.snapshot(inherited)
        serving = await self._tuned(context, past, generation)
        ready, shown = replace(context, serving=serving), self._shown(context, past)
        probes = await asyncio.gather(
            *(
                probe(ready, f"p{i:03d}", inputs_of(arm, inherited, shown, plan.world, one), one)
                for i, one in enumerate(plan.probes)
            )
        )
        if arm.receives.hands_over:
            _log_reward(context, self.setting.job.config, plan, knowledge, inherited, probes)
        log.finish(inherited, plan.world)
        # As the log has it: of edits that undo each other the first parent counts.
        return State(log.snapshots.get(inherited.id, inherited), past)

    async def _received(
        self, context: Context, plan: Plan, state: State, generation: int
    ) -> Knowledge:
        """Return the Knowledge that this generation starts from, after poison and migration."""
        arm, config, knowledge = self.arm, self.setting.job.config, state.knowledge
        if arm.receives.borrowed:
            return self._borrowed(generation - 1)
        if not arm.receives.hands_over or (generation == 0 and knowledge == EMPTY):
            return knowledge
        if arm.poisoned and generation == config.poison.generation:
            author = arm.versions[generation - 1]
            knowledge = plant(context, config.poison, knowledge, plan.world, author)
        changed = arm.versions[max(generation - 1, 0)] != arm.versions[generation]
        begun = generation == self.setting.job.start.generation
        due = changed or begun or config.migration.when == "always"
        memories, told = arm.receives.memories, self.setting.job.start.history
        past = (*told.past, *state.past)
        since = EMPTY if changed or begun else knowledge
        legacy = Legacy(
            knowledge, past, plan.world, config.migration, memories, told.asked, since
        )
        # Between generations of one version Knowledge is handed on as it is.
        return await migrate(context, arm.migration if due else "verbatim", legacy)

    def _borrowed(self, generation: int) -> Knowledge:
        """Return what the donor left in `generation`; the run lets donors finish first."""
        if self.donor is None or generation < self.setting.job.start.generation:
            return EMPTY
        arm, pair = self.donor
        found = finished(self.setting.folder, place_of(arm.name, pair, generation))
        assert found is not None, "a donor is finished before its borrower starts"
        return found

    async def _tuned(self, context: Context, past: Sequence[Past], generation: int) -> str:
        """Return what serves after `generation`: an adapter trained on `past`, "" for none."""
        if not self.arm.receives.weights or generation < 0:
            return ""
        setting, config = self.setting, self.setting.job.config.finetune
        return await tune(context, setting.engine, config, past, generation, setting.folder)

    def _shown(self, context: Context, past: tuple[Past, ...]) -> tuple[Past, ...]:
        """Return of `past` what a prompt may hold: of a transcript what is within its tokens."""
        if not self.arm.receives.transcript:
            return past
        config = context.config

        def tokens(shown: Sequence[Past]) -> int:
            return context.count(history_block(context.texts, shown, config.wrong_answers))

        return newest(past, config.transcript_tokens, tokens)


def _past(context: Context, plan: Plan, attempts: Sequence[Attempt]) -> list[Past]:
    ids = context.ids
    return [
        past_of(one, ids.generation, f"w{i:03d}", ids.version, a.experience, context.suite)
        for i, (one, a) in enumerate(zip(plan.work, attempts, strict=True))
        if a.experience is not None
    ]


def _log_reward(
    context: Context,
    config: Config,
    plan: Plan,
    before: Knowledge,
    after: Knowledge,
    probes: Sequence[Attempt],
) -> None:
    """Log the reward of this generation's handoff, part by part."""
    scores, doc_tokens = outcome(plan.probes, probes)
    memory_tokens = context.memory_tokens(after)
    reward = handoff_reward(scores, memory_tokens, context.memory_budget, doc_tokens, config.reward)
    context.write(
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
