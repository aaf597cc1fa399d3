"""The index of the docs in a prompt: made of the docs, within its share, no memory and no fact."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import run, steps, surrogate
from hypothesis import given
from hypothesis import strategies as st
from test_policies import (
    CODES,
    CONFIG,
    PERFECT,
    WORLD,
    Idle,
    Memo,
    context,
    knowing,
    passed,
    told,
)

from lineage import compose
from lineage.agent import prompt as prompts
from lineage.agent.context import Context
from lineage.agent.handoff import hand_over
from lineage.agent.index import Index, about, index_of
from lineage.agent.migrations import migrate
from lineage.agent.migrations.legacy import Legacy
from lineage.core.config_engine import SurrogateConfig
from lineage.core.facts import truth_of
from lineage.core.knowledge import EMPTY, IMPORT, Doc, Origin
from lineage.core.seeds import rng
from lineage.log.views.connect import connect
from lineage.markdown.folder import export_knowledge, import_knowledge
from lineage.models.behaviour import best_title
from lineage.models.surrogate import count_tokens
from lineage.runs.foresee import CUT, Reader, foresee
from lineage.training.library import ideal_library

SHARE = 0.5


def doc(number: int, title: str = "Title", body: str = "Body.", generation: int = 0) -> Doc:
    origin = Origin(generation, "m@r0", "d000")
    return Doc(f"d{number}", title, body, origin, origin)


def indexed(*docs: Doc, budget: int = 320, share: float = SHARE) -> Index:
    agent = replace(CONFIG.agent, docs=True, index_share=share)
    return index_of(docs, agent, budget, count_tokens)


def cut(place: Context) -> list[tuple[str, str, str]]:
    """Return phase, entry and detail of each step that tells of a doc without a line."""
    log = place.log
    assert isinstance(log, Memo)
    return [(s.phase, s.entry, s.detail) for s in log.steps if s.detail.startswith("index")]


@pytest.mark.parametrize(
    ("title", "body", "line"),
    [
        ("pump Birch", "The code of pump Birch is 4821.", "pump Birch; code"),
        ("Pump codes", "The code of pump Elm is 1.\nThe code of pump Oak is 2.", "Pump codes"),
        ("pumps", "The zone of pump Elm is north.\nThe zone of pump Oak is north.", "pumps; zone"),
        ("Elm", "The code of Elm is 4821.\nThe zone of Elm is north-east.\nIt leaks.", "Elm"),
        ("Deploy", "Before.\n# Deploy\nx\n## Roll back\n## Roll back\nz", "Deploy; Roll back"),
        ("Alone", "word", "Alone"),
    ],
)  # fmt: skip
def test_a_line_says_the_title_and_what_that_leaves_unsaid(
    title: str, body: str, line: str
) -> None:
    assert about(doc(1, title, body), 96) == line


@given(st.text(max_size=80), st.text(max_size=300), st.integers(1, 60))
def test_a_line_is_one_line_of_bounded_length(title: str, body: str, chars: int) -> None:
    line = about(doc(1, title, body), chars)
    assert len(line) <= chars and len(line.splitlines()) <= 1
    block = indexed(doc(1, title, body), budget=10_000).block
    assert block.count("<") == 2 and len(block.splitlines()) == 3


def test_no_line_states_a_fact() -> None:
    truth = truth_of(WORLD.facts)
    library = ideal_library(WORLD, "m@r0", rng("index"))
    stating = [one for one in library.docs if truth.stated(one.text)]
    assert len(stating) == len(library.docs) > 2
    block = indexed(*library.docs, budget=100_000).block
    assert len(block.splitlines()) == len(library.docs) + 2
    assert not truth.stated(block)


def test_lines_stand_in_the_order_of_the_docs_and_go_by_age() -> None:
    docs = [doc(4, "Old"), doc(5, "New", generation=2), doc(6, "Middle", generation=1)]
    whole = indexed(*docs)
    assert whole.block.splitlines() == [
        '<docs from="m@r0">', "d4: Old", "d5: New", "d6: Middle", "</docs>",
    ]  # fmt: skip
    assert (whole.tokens, whole.left_out) == (count_tokens(whole.block), ())
    for gone in (1, 2, 3):
        short = indexed(*docs, budget=2 * (whole.tokens - 3 * gone))
        assert [one.id for one in short.left_out] == ["d4", "d6", "d5"][:gone]
        assert short.tokens == count_tokens(short.block) <= whole.tokens - 3 * gone
    assert indexed(*docs, share=0.0) == indexed(budget=9) == Index()


def test_of_what_came_from_a_folder_the_last_goes_first() -> None:
    origin = Origin(0, IMPORT, "a.md")
    docs = [Doc(f"d{n}", "Title", "Body.", origin, origin) for n in (1, 2, 3)]
    most = indexed(*docs).tokens - 1
    assert [one.id for one in indexed(*docs, budget=2 * most).left_out] == ["d3"]


def test_a_reader_sees_the_index_after_its_memories_and_a_writer_does_not() -> None:
    place = context(index_share=SHARE, opening="choice")
    knowledge = knowing("A fact.", docs=[doc(2, "Other things")])
    block = place.index(knowledge).block
    act = prompts.act_turns({}, knowledge, "Q?", index=block)
    asked = prompts.open_turns({}, knowledge, "Q?", knowledge.docs, index=block)
    assert act[0] == asked[0]
    assert act[0].content.endswith(
        'A fact.\n</notes>\n<docs from="m@r0">\nd2: Other things\n</docs>'
    )
    assert place.memory_tokens(knowledge) == count_tokens(
        prompts.memory_block(knowledge, index=block)
    )
    asyncio.run(hand_over(place, knowledge, [told(CODES[0])]))
    log = place.log
    assert isinstance(log, Memo)
    written = [step.prompt for step in log.steps if step.prompt]
    assert len(written) == 2 and not any("Other things" in prompt for prompt in written)


def test_a_line_goes_with_its_doc_and_changes_with_it() -> None:
    place = context(index_share=SHARE)
    before = knowing(docs=[doc(1, "Old"), doc(2, "Stays")])
    after = before.evolve(docs=(replace(before.docs[1], title="Anew"),))
    assert "d2: Anew" in place.index(after).block and "Old" not in place.index(after).block
    assert place.index(before).block.splitlines()[1:-1] == ["d1: Old", "d2: Stays"]
    assert place.index(EMPTY) == context(docs=False, index_share=SHARE).index(before) == Index()


def test_memories_have_what_the_index_leaves_and_what_it_leaves_out_is_logged_once() -> None:
    place = context(index_share=SHARE, memory_budget=60)
    docs = [doc(n, f"machine number {n}") for n in range(10, 16)]
    before = replace(knowing("one", docs=docs), next_id=20)
    left = asyncio.run(hand_over(place, before, [told(task) for task in CODES]))
    index = place.index(left)
    assert index.tokens <= 30 < place.memory_tokens(left) <= 60
    assert left.memories and len(left.memories) < len(CODES)
    already = {one.id for one in place.index(before).left_out}
    new = {one.id for one in index.left_out} - already
    assert already and new
    assert sorted(cut(place)) == sorted(("handoff", id, "index: overflow") for id in new)


@pytest.mark.parametrize("kind", ["verbatim", "rewrite", "distil", "verify", "rebuild", "none"])
def test_every_migration_keeps_an_index_within_the_budget(kind: str) -> None:
    place = context(index_share=SHARE, memory_budget=100)
    facts = [" ".join(WORLD.fact_texts(task.facts)) for task in CODES]
    docs = [doc(n, f"pump {n}", facts[n % 6]) for n in range(10, 18)]
    before = replace(knowing(*facts, docs=docs), next_id=30)
    legacy = Legacy(before, passed(CODES), WORLD, CONFIG.migration)
    left = asyncio.run(migrate(place, kind, legacy))
    index = place.index(left)
    assert index.tokens <= 50 and place.memory_tokens(left) <= 100
    assert bool(index.block) == bool(left.docs)
    assert {entry for _, entry, _ in cut(place)} == {one.id for one in index.left_out}
    if kind not in ("none", "rebuild"):
        assert left.memories, "the index leaves room for memories"
    # The same version has been told.
    again = context(index_share=SHARE, memory_budget=100)
    asyncio.run(migrate(again, "verbatim", replace(legacy, knowledge=left, since=left)))
    assert not cut(again)


def test_the_stand_in_reads_a_line_as_more_of_the_title() -> None:
    offered = ["d1: pump Birch", "d2: pump Birch"]
    question = "What is the zone of pump Birch?"
    assert best_title(offered, question) == "d1"
    assert best_title(offered, question, ["d1: pump Birch; code", "d2: pump Birch; zone"]) == "d2"
    assert best_title(["d1: x"], question, ["d2: pump Birch; zone"]) == ""


def test_the_share_is_in_the_hash_where_there_is_an_index() -> None:
    plain = compose.load(["engine=surrogate"])
    some = compose.load(["engine=surrogate", "agent.index_share=0.2"])
    assert plain.agent.index_share == 0
    assert compose.config_hash(plain) != compose.config_hash(some)
    assert "index_share" not in compose.identity(plain)["agent"]


def test_a_folder_of_markdown_holds_the_docs_and_makes_the_same_index(tmp_path: Path) -> None:
    place = context(index_share=SHARE)
    knowledge = knowing("A fact.", docs=[doc(2, "pump Birch", "The code of pump Birch is 4821.")])
    export_knowledge(knowledge, tmp_path / "notes")
    read = import_knowledge(tmp_path / "notes")
    assert [memory.text for memory in read.memories] == ["A fact."]
    assert place.index(read) == place.index(knowledge) != Index()


@pytest.mark.parametrize("kind", ["verbatim", "distil"])
def test_what_a_budget_holds_beside_the_index_is_foreseen(kind: str) -> None:
    docs = [doc(n, f"machine number {n}") for n in range(10, 20)]
    knowledge = replace(knowing(*(f"Machine {n} leaks." for n in range(1, 9)), docs=docs))
    agent = replace(CONFIG.agent, docs=True, index_share=SHARE, memory_budget=80)
    config = replace(CONFIG, agent=agent)
    seen = foresee(knowledge, Reader(config, "m@r1", kind, count_tokens, 0))
    place = context(
        index_share=SHARE,
        memory_budget=80,
        engine=Idle(SurrogateConfig(skills={"default": PERFECT})),
    )
    legacy = Legacy(knowledge, (), WORLD, CONFIG.migration)
    left = asyncio.run(migrate(place, kind, legacy))
    assert seen.tokens == place.memory_tokens(knowledge)
    gone = {fate.entry for fate in seen.of(CUT)}
    assert gone == {m.id for m in knowledge.memories} - {m.id for m in left.memories}
    assert 0 < len(gone) < 8


def test_a_run_with_an_index_takes_no_line_of_it_for_a_memory(tmp_path: Path) -> None:
    arms = "arms.names=[inherit,memories,docs,cold,oracle]"
    share = ("agent.index_share=0.4", "agent.memory_budget=100", "agent.opening=choice")
    config = surrogate(tmp_path, "experiment=tiny", "experiment.lineages=1", arms, *share)
    run(config, tmp_path / "run")
    log = [row for row in steps(tmp_path / "run") if row["kind"] in ("act", "probe", "open")]
    line = re.compile(r"^d[0-9]+: ", re.MULTILINE)
    blocks = dict.fromkeys(config.arms.names, False)
    for row in log:
        system = row["prompt"].partition("<|im_end|>")[0]
        block = re.search(r"<docs from=.*?</docs>", system, re.DOTALL)
        blocks[row["arm"]] |= block is not None
        notes = re.search(r"<notes from=.*?</notes>", system, re.DOTALL)
        found = [one[0] for one in (notes, block) if one]
        assert block is None or count_tokens(block[0]) <= 40
        if row["kind"] != "open" and row["arm"] != "oracle":
            assert count_tokens("\n".join(found)) == row["memory_tokens"] <= 100
    assert blocks == {
        "inherit": True,
        "docs": True,
        "memories": False,
        "cold": False,
        "oracle": False,
    }
    held = connect(tmp_path / "run").sql("SELECT content FROM knowledge").fetchall()
    texts = [one["text"] for (content,) in held for one in json.loads(content)["memories"]]
    assert texts and not any(line.match(text) or "doc d" in text for text in texts)
