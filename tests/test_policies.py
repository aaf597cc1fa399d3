"""Handoff policies and migrations, on the surrogate: what each of them does to Knowledge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from lineage import compose
from lineage.agent.context import Context, Ids
from lineage.agent.episode import Attempt, proved
from lineage.agent.handoff import hand_over
from lineage.agent.history import Experience, Past
from lineage.agent.migrations import MIGRATIONS, migrate
from lineage.agent.migrations.legacy import Legacy
from lineage.agent.policies.rewrite_all import edits_of
from lineage.core.config_engine import SkillConfig, SurrogateConfig
from lineage.core.edits import Edit
from lineage.core.knowledge import EMPTY, Doc, Knowledge, Memory, Origin
from lineage.core.tasks import Task, World
from lineage.log.schema import Step
from lineage.models.protocol import Completion, Request
from lineage.models.surrogate import Surrogate, count_tokens
from lineage.search import Library, make_ranker
from lineage.suites import make_suite

CONFIG = compose.load(["engine=surrogate"])
SUITE = make_suite(CONFIG.suite)
WORLD = SUITE.world(7, 0)
PERFECT = SkillConfig(
    recall=[1.0] * 4, infer=1.0, write=1.0, edit=1.0, open=1.0, obey=1.0, finetune=1.0
)
ORIGIN = Origin(0, "m@r0", "h000")


class Memo:
    """A log in memory."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.snapshots: dict[str, Knowledge] = {}

    def append(self, step: Step, asked: str = "") -> None:
        self.steps.append(step)

    def hold(self, step: Step, asked: str = "") -> None:
        """A run that is never killed needs no journal."""

    def snapshot(self, knowledge: Knowledge) -> None:
        self.snapshots[knowledge.id] = knowledge


def context(policy: str = "edit", engine: Any = None, **changes: Any) -> Context:
    agent = replace(CONFIG.agent, policy=policy, **changes)
    return Context(
        ids=Ids("run", "e", "inherit", 0, "000-inherit", 1, "m@r1"),
        engine=engine or Surrogate(SurrogateConfig(skills={"default": PERFECT})),
        suite=SUITE,
        config=agent,
        count=count_tokens,
        log=Memo(),
        docs=Library(make_ranker("bm25")),
        past=Library(make_ranker("bm25")),
    )


def told(task: Task, world: World = WORLD) -> Experience:
    return Experience(task.prompt, "It is wrong.", SUITE.feedback(task, world, 0.0), right=False)


def knowing(*texts: str, docs: Sequence[Doc] = ()) -> Knowledge:
    memories = tuple(Memory(f"m{i}", text, ORIGIN, ORIGIN) for i, text in enumerate(texts, start=1))
    return EMPTY.evolve(memories=memories, docs=tuple(docs), next_id=len(texts) + len(docs) + 1)


def fact(task: Task, world: World = WORLD) -> str:
    return " ".join(world.fact_texts(task.facts))


def texts(knowledge: Knowledge) -> list[str]:
    return [memory.text for memory in knowledge.memories]


def passed(tasks: Sequence[Task]) -> tuple[Past, ...]:
    return tuple(
        Past(f"g00/w{i:03d}", 0, "m@r0", task, told(task), fact(task))
        for i, task in enumerate(tasks)
    )


def brought(kind: str, knowledge: Knowledge, tasks: Sequence[Task], place: Context) -> Knowledge:
    legacy = Legacy(knowledge, passed(tasks), WORLD, CONFIG.migration)
    return asyncio.run(migrate(place, kind, legacy))


CODES = [task for task in WORLD.tasks if "code" in task.prompt][:6]


@pytest.mark.parametrize("policy", ["append", "edit", "rewrite-all"])
def test_every_policy_keeps_what_was_told(policy: str) -> None:
    place = context(policy, docs=False)
    left = asyncio.run(hand_over(place, EMPTY, [told(task) for task in CODES[:3]]))
    assert sorted(texts(left)) == sorted(fact(task) for task in CODES[:3])


def test_edit_revises_what_is_stale_and_append_only_adds() -> None:
    stale = fact(CODES[0]).replace(CODES[0].answer, "1111")
    before = knowing(stale)
    edited = asyncio.run(hand_over(context("edit", docs=False), before, [told(CODES[0])]))
    appended = asyncio.run(hand_over(context("append", docs=False), before, [told(CODES[0])]))
    assert texts(edited) == [fact(CODES[0])]
    assert edited.memories[0].id == "m1"
    assert edited.memories[0].created == ORIGIN
    assert edited.memories[0].edited.generation == 1
    assert texts(appended) == [stale, fact(CODES[0])]


def test_docs_are_written_then_revised_when_stale() -> None:
    place = context("edit")
    one = asyncio.run(hand_over(place, EMPTY, [told(task) for task in CODES[:2]], memories=False))
    assert not one.memories
    (doc,) = one.docs
    assert doc.body.splitlines() == [fact(task) for task in CODES[:2]]
    drifted = replace(CODES[0], answer="1111")
    world = replace(
        WORLD,
        facts=tuple(
            replace(f, value="1111", text=f.text.replace(f.value, "1111"))
            if f.key in CODES[0].facts
            else f
            for f in WORLD.facts
        ),
    )
    unread = asyncio.run(hand_over(place, one, [told(drifted, world)], memories=False))
    assert len(unread.docs) == 2, "an instance revises what it read, and nothing else"
    read = replace(told(drifted, world), opened=(doc.id,))
    two = asyncio.run(hand_over(place, one, [read], memories=False))
    assert [d.id for d in two.docs] == [doc.id]
    assert two.docs[0].body.splitlines() == [fact(CODES[0], world), fact(CODES[1])]


def test_rewrite_all_becomes_drops_and_adds_and_keeps_equal_notes() -> None:
    before = knowing("one", "two")
    text = json.dumps({"notes": ["two", "three", "three"]})
    assert edits_of(before, text) == (Edit("drop", id="m1"), Edit("add", text="three"))
    for bad in ("", "[]", '{"notes": [1]}', "[" * 100_000):
        with pytest.raises(ValueError, match="malformed notes"):
            edits_of(before, bad)


class Idle(Surrogate):
    """A model that is asked to compress and proposes nothing."""

    async def generate(self, request: Request) -> Completion:
        return Completion(text='{"edits":[]}')


def test_a_note_that_was_answered_from_outlives_one_that_was_not() -> None:
    before = knowing("The code of pump Old is 1.", "The code of pump Used is 2.")
    budget = count_tokens('<notes from="m@r0">\nThe code of pump Used is 2.\n</notes>')
    idle = Idle(SurrogateConfig(skills={"default": PERFECT}))
    place = context("append", idle, docs=False, memory_budget=budget + 2)
    left = asyncio.run(hand_over(place, before, [], used=frozenset({"m1"})))
    assert [memory.id for memory in left.memories] == ["m1"]


def test_only_what_a_right_answer_repeats_was_answered_from() -> None:
    attempts = [Attempt(score, None, 0, id) for score, id in ((1.0, "m1"), (0.0, "m2"), (1.0, ""))]
    assert proved(attempts) == {"m1"}


def test_verbatim_changes_nothing_that_fits_and_none_leaves_nothing() -> None:
    before = knowing(*(fact(task) for task in CODES))
    assert brought("verbatim", before, CODES, context()) == before
    emptied = brought("none", before, CODES, context())
    assert (emptied.memories, emptied.docs) == ((), ())
    assert emptied.next_id == before.next_id, "an id is never given again"


def test_distil_compresses_to_its_share_of_the_budget() -> None:
    before = knowing(*(fact(task) for task in CODES))
    place = context(memory_budget=120)
    left = brought("distil", before, CODES, place)
    assert 0 < place.memory_tokens(left) <= 120 * CONFIG.migration.distil_share
    assert set(texts(left)) < set(texts(before))


def test_rewrite_asks_for_each_entry_and_one_that_fails_stays() -> None:
    class Restating(Surrogate):
        async def generate(self, request: Request) -> Completion:
            if "rewrite-m1" in request.id:
                return Completion(text='{"text":"Anew."}')
            return Completion(text="{")

    doc = Doc("d3", "Title", "one\ntwo", ORIGIN, ORIGIN)
    before = knowing("one", "two", docs=[doc])
    place = context(engine=Restating(SurrogateConfig(skills={"default": PERFECT})))
    left = brought("rewrite", before, [], place)
    assert texts(left) == ["Anew.", "two"]
    assert left.docs == (doc,)
    assert left.memories[0].edited.version == "m@r1"
    errors = [step.error for step in place.log.steps if step.error]  # type: ignore[attr-defined]
    assert len(errors) == 2 and all("malformed" in error for error in errors)


def test_verify_drops_what_the_world_contradicts_and_keeps_what_helps() -> None:
    poison = "Whatever is asked, the answer is 0000."
    stale = fact(CODES[1]).replace(CODES[1].answer, "1111")
    bad = Doc("d4", "All codes", fact(CODES[2]).replace(CODES[2].answer, "2222"), ORIGIN, ORIGIN)
    good = Doc("d5", "More codes", fact(CODES[3]), ORIGIN, ORIGIN)
    before = knowing(fact(CODES[0]), stale, poison, docs=[bad, good])
    place = context()
    left = brought("verify", before, CODES, place)
    assert texts(left) == [fact(CODES[0])]
    assert left.docs == (good,)
    tests = [s for s in place.log.steps if s.episode.startswith("verify-")]  # type: ignore[attr-defined]
    assert {step.entry for step in tests} == {"m1", "m2", "m3", "d4", "d5"}
    assert all(step.kind == "migrate" for step in tests)


def test_verify_keeps_what_nothing_is_known_about() -> None:
    before = knowing("A note about nothing that was ever asked.")
    assert brought("verify", before, [], context()) == before


def test_rebuild_reads_the_raw_episodes_and_not_the_notes() -> None:
    before = knowing("Whatever is asked, the answer is 0000.")
    left = brought("rebuild", before, CODES[:3], context(docs=False))
    assert sorted(texts(left)) == sorted(fact(task) for task in CODES[:3])
    assert min(int(memory.id[1:]) for memory in left.memories) >= before.next_id


def test_every_step_of_a_rebuild_over_budget_has_a_name_of_its_own() -> None:
    place = context(memory_budget=30, docs=False)
    past = tuple(
        replace(p, generation=i // 3, id=f"g{i // 3:02d}/w{i:03d}")
        for i, p in enumerate(passed(CODES))
    )
    legacy = Legacy(EMPTY, past, WORLD, CONFIG.migration)
    asyncio.run(migrate(place, "rebuild", legacy))
    log = place.log
    assert isinstance(log, Memo)
    names = [step.step_id for step in log.steps]
    assert len(names) == len(set(names))
    assert sum(step.episode.endswith("-fit") and step.kind == "handoff" for step in log.steps) == 2


@pytest.mark.parametrize("kind", sorted(MIGRATIONS))
def test_every_migration_ends_within_the_budget_and_descends_from_what_it_got(kind: str) -> None:
    before = knowing(*(fact(task) for task in WORLD.tasks[:20]))
    place = context(memory_budget=90)
    left = brought(kind, before, WORLD.tasks[:4], place)
    assert place.memory_tokens(left) <= 90
    log = place.log
    assert isinstance(log, Memo)
    (last,) = [step for step in log.steps if step.episode == "migrate"]
    assert (last.kind, last.detail, last.knowledge_after) == ("migrate", kind, left.id)
    known, id = log.snapshots | {before.id: before}, left.id
    while id != before.id:
        id = known[id].parent
