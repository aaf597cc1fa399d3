"""Knowledge: frozen, content-addressed, with a complete ancestry (invariant 2)."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.core.edits import APPLIED, OVERFLOW, Edit, Limits, apply, overflow, parse_edits
from lineage.core.knowledge import EMPTY, IMPORT, Knowledge, Memory, Origin, knowledge_from_json

ORIGIN = Origin(0, "m@r0", "w000")
LIMITS = Limits(memory=40, title=20, body=80)

texts = st.text(max_size=50)
ids = st.sampled_from([f"{kind}{n}" for kind in "md" for n in range(1, 8)])
edits = st.builds(
    Edit,
    op=st.sampled_from(["add", "revise", "merge", "drop", "write", "forget", ""]),
    id=ids,
    ids=st.lists(ids, max_size=4).map(tuple),
    text=texts,
    title=texts,
    body=texts,
)


def test_equal_content_has_equal_id_whatever_the_parent() -> None:
    one = EMPTY.evolve(memories=(Memory("m1", "a", ORIGIN, ORIGIN),))
    two = Knowledge(memories=(Memory("m1", "a", ORIGIN, ORIGIN),), parent="elsewhere")
    assert one.id == two.id
    assert one.parent == EMPTY.id
    assert one.id != EMPTY.id


def test_nothing_changes_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        EMPTY.memories = ()  # type: ignore[misc]


@given(st.lists(edits, max_size=12))
def test_any_edits_keep_ids_unique_texts_in_limits_and_ancestry_complete(
    proposed: list[Edit],
) -> None:
    changes = apply(EMPTY, proposed, ORIGIN, LIMITS)
    assert [change.outcome.edit for change in changes] == proposed
    parents = {EMPTY.id: ""}
    for change in changes:
        accepted = change.outcome.verdict == APPLIED
        assert accepted or change.after is change.before
        if change.after.id not in parents:
            parents[change.after.id] = change.after.parent
        names = [e.id for e in (*change.after.memories, *change.after.docs)]
        assert len(names) == len(set(names))
        assert all(0 < len(m.text) <= LIMITS.memory for m in change.after.memories)
        assert knowledge_from_json(change.after.canonical()) == change.after
    for id in parents:
        seen = []
        while id != EMPTY.id:
            assert id not in seen
            seen.append(id)
            id = parents[id]
    assert apply(EMPTY, proposed, ORIGIN, LIMITS) == changes


@given(st.lists(edits, max_size=12), st.integers(0, 200))
def test_overflow_always_ends_within_the_budget(proposed: list[Edit], budget: int) -> None:
    changes = apply(EMPTY, proposed, ORIGIN, LIMITS)
    knowledge = changes[-1].after if changes else EMPTY

    def fits(k: Knowledge) -> bool:
        return sum(len(m.text) for m in k.memories) <= budget

    dropped = overflow(knowledge, fits, frozenset())
    assert fits(dropped[-1].after if dropped else knowledge)
    assert all(change.outcome.verdict == OVERFLOW for change in dropped)


def test_what_is_dropped_is_gone_and_nothing_else_is() -> None:
    knowledge = apply(EMPTY, [Edit("add", text=text) for text in "abc"], ORIGIN, LIMITS)[-1].after
    (change,) = apply(knowledge, [Edit("drop", id="m2")], ORIGIN, LIMITS)
    assert [memory.text for memory in change.after.memories] == ["a", "c"]


def test_overflow_drops_the_oldest_first_and_the_used_last() -> None:
    proposed = [Edit("add", text=text) for text in ("one", "two", "six")]
    knowledge = apply(EMPTY, proposed, ORIGIN, LIMITS)[-1].after
    dropped = overflow(knowledge, lambda k: len(k.memories) <= 1, frozenset({"m1"}))
    assert [change.outcome.entry for change in dropped] == ["m2", "m3"]


@pytest.mark.parametrize(
    ("edit", "verdict"),
    [
        (Edit("add", text=" "), "empty"),
        (Edit("add", text="x" * 41), "too long"),
        (Edit("add", text="held  already"), "duplicate"),
        (Edit("revise", id="m9", text="new"), "unknown id"),
        (Edit("drop", id="d9"), "unknown id"),
        (Edit("merge", ids=("m1", "m1"), text="new"), "a merge needs two ids or more"),
        (Edit("write", title="", body="b"), "empty"),
        (Edit("forget"), "unknown operation 'forget'"),
    ],
)
def test_each_invalid_edit_is_rejected_with_its_reason(edit: Edit, verdict: str) -> None:
    held = apply(EMPTY, [Edit("add", text="held already")], ORIGIN, LIMITS)[0].after
    (change,) = apply(held, [edit], ORIGIN, LIMITS)
    assert change.outcome.verdict == verdict
    assert change.after is held


def test_merge_keeps_the_first_id_and_who_created_it() -> None:
    held = apply(EMPTY, [Edit("add", text=t) for t in "ab"], ORIGIN, LIMITS)[-1].after
    later = Origin(3, "m@r1", "h001")
    (change,) = apply(held, [Edit("merge", ids=("m1", "m2"), text="a and b")], later, LIMITS)
    assert change.after.memories == (Memory("m1", "a and b", ORIGIN, later),)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"edits": 3}', '{"edits": ["x"]}', "[" * 100_000])
def test_malformed_edits_are_one_clear_error(text: str) -> None:
    with pytest.raises(ValueError, match="malformed edits"):
        parse_edits(text)


def test_edits_are_parsed_and_a_body_may_be_lines() -> None:
    assert parse_edits('{"edits":[{"op":"drop","id":"m1"}]}') == (Edit("drop", id="m1"),)
    text = '{"edits":[{"op":"write","title":"T","body":["one","two"]}]}'
    assert parse_edits(text) == (Edit("write", title="T", body="one\ntwo"),)


def test_tokens_are_counted_by_the_given_tokenizer() -> None:
    limits = replace(LIMITS, count=lambda text: len(text.split()), memory_tokens=2, body_tokens=3)
    proposed = [
        Edit("add", text="one two"),
        Edit("add", text="one two three"),
        Edit("write", title="T", body="one two three"),
        Edit("write", title="T", body="one two three four"),
    ]
    verdicts = [c.outcome.verdict for c in apply(EMPTY, proposed, ORIGIN, limits)]
    assert verdicts == [APPLIED, "over budget", APPLIED, "over budget"]


def test_control_characters_do_not_enter_and_lines_of_a_body_stay() -> None:
    proposed = [
        Edit("add", text="a\x00b\x1b[31m c\ud800"),
        Edit("write", title="x\ny", body=" one \r\n\n\x07two"),
    ]
    (memory, doc) = apply(EMPTY, proposed, ORIGIN, LIMITS)
    assert memory.after.memories[0].text == "a b [31m c"
    assert (doc.after.docs[0].title, doc.after.docs[0].body) == ("x y", "one\ntwo")


def test_a_huge_doc_is_rejected_unread() -> None:
    huge = Edit("write", title="T", body="x" * 10_000_000)
    (change,) = apply(EMPTY, [huge], ORIGIN, replace(LIMITS, count=unreached, body_tokens=3))
    assert change.outcome.verdict == "too long"
    assert change.after is EMPTY


def unreached(text: str) -> int:
    raise AssertionError("a text that is too long is not tokenised")


@given(st.lists(edits, max_size=12), st.integers(0, 12), st.sampled_from(["m1", "m3", ""]))
def test_any_edits_then_overflow_keep_the_budget_and_the_ancestry(
    proposed: list[Edit], budget: int, used: str
) -> None:
    def tokens(knowledge: Knowledge) -> int:
        return sum(len(m.text.split()) for m in knowledge.memories)

    changes = apply(EMPTY, proposed, ORIGIN, LIMITS)
    before = changes[-1].after if changes else EMPTY
    dropped = overflow(before, lambda k: tokens(k) <= budget, frozenset({used}))
    known = {EMPTY.id, *(c.after.id for c in (*changes, *dropped))}
    after = dropped[-1].after if dropped else before
    assert tokens(after) <= budget
    assert {c.after.parent for c in (*changes, *dropped)} - {""} <= known
    assert after.docs == before.docs
    if used in {m.id for m in before.memories} - {m.id for m in after.memories}:
        assert not after.memories, "a used memory goes only when all others have gone"


def imported(count: int) -> Knowledge:
    origin = Origin(0, IMPORT, "MEMORY.md")
    memories = (Memory(f"m{i}", f"note {i}", origin, origin) for i in range(1, count + 1))
    return Knowledge(tuple(memories), (), count + 1)


def test_of_what_came_from_a_folder_the_last_goes_first_and_before_what_was_written_since() -> None:
    written = apply(imported(3), [Edit("add", text="own")], ORIGIN, LIMITS)[-1].after
    dropped = overflow(written, lambda k: len(k.memories) <= 1, frozenset({"m2"}))
    assert [change.outcome.entry for change in dropped] == ["m3", "m1", "m4"]


def test_an_overflow_of_thousands_asks_a_few_times_and_leaves_one_snapshot() -> None:
    asked: list[int] = []

    def fits(k: Knowledge) -> bool:
        asked.append(len(k.memories))
        return len(k.memories) <= 24

    dropped = overflow(imported(3000), fits, frozenset())
    assert [m.id for m in dropped[-1].after.memories] == [f"m{i}" for i in range(1, 25)]
    assert len(dropped) == 2976 and len({change.after.id for change in dropped}) == 1
    assert len(asked) <= 2 * len(dropped).bit_length() + 2
    assert dropped[-1].after.parent == imported(3000).id


@given(st.integers(0, 200), st.integers(0, 200))
def test_an_overflow_drops_no_more_than_it_must(count: int, budget: int) -> None:
    dropped = overflow(imported(count), lambda k: len(k.memories) <= budget, frozenset())
    assert len(dropped) == max(count - budget, 0)
