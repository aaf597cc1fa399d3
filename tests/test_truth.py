"""Truth: what texts say of a world's facts, over worlds of the suite and over hostile text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.compose import load_suite
from lineage.core.facts import Said, Truth
from lineage.core.tasks import Fact, World

BIRCH = Fact("code/Birch", "4821", "The code of pump Birch is 4821.")
FERN = Fact("zone/Fern", "north", "The zone of fan Fern is north.")
TRUTH = Truth([BIRCH, FERN])
NOTHING = Said(frozenset(), frozenset())

SUITES = {
    difficulty: load_suite("codebook", f"suite.difficulty={difficulty}", "suite.drift=0.3")
    for difficulty in (1, 2)
}
worlds = st.builds(
    lambda seed, generation, difficulty: SUITES[difficulty].world(seed, generation),
    st.integers(0, 30),
    st.integers(0, 3),
    st.integers(1, 2),
)


@given(worlds, st.data())
def test_a_world_states_its_own_sentences(world: World, data: st.DataObject) -> None:
    truth = Truth(world.facts)
    told = data.draw(st.lists(st.sampled_from(world.facts), unique=True))
    joint = data.draw(st.sampled_from([" ", "\n", "\n\n- ", " \t "]))
    text = joint.join(fact.text for fact in told)
    change = data.draw(st.sampled_from([str, str.upper, str.lower, str.title]))
    assert truth.read(change(text)) == Said(frozenset(fact.key for fact in told), frozenset())


@given(worlds, st.data())
def test_another_value_is_denied(world: World, data: st.DataObject) -> None:
    fact = data.draw(st.sampled_from(world.facts))
    other = data.draw(st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True).filter(fact.value.__ne__))
    wrong = fact.text.replace(f" {fact.value}", f" {other}")
    truth, key = Truth(world.facts), frozenset({fact.key})
    assert truth.read(wrong) == Said(frozenset(), key)
    assert truth.read(f"{wrong} {fact.text}") == Said(key, key)


@given(worlds, worlds)
def test_a_drifted_world_is_denied_where_it_drifted(old: World, new: World) -> None:
    truth = Truth(new.facts)
    now = {fact.key: fact.value for fact in new.facts}
    for fact in old.facts:
        if fact.key in now:
            said = Said(*(frozenset({fact.key} if here else ()) for here in (
                now[fact.key] == fact.value, now[fact.key] != fact.value
            )))  # fmt: skip
            assert truth.read(fact.text) == said
        else:
            assert truth.read(fact.text) == NOTHING


@given(st.text(), st.sampled_from(["The code of pump Birch is", "the zone of fan Fern is"]))
def test_hostile_text_around_a_sentence_changes_nothing(text: str, stem: str) -> None:
    assert TRUTH.stated(f"{text}\n{BIRCH.text}\n{text}") >= {BIRCH.key}
    assert not TRUTH.read(text).denied
    TRUTH.read(stem + text)


@given(st.lists(st.builds(Fact, st.text(), st.text(), st.text())), st.text())
def test_facts_of_any_text_are_read(facts: list[Fact], text: str) -> None:
    truth, keys = Truth(facts), {fact.key for fact in facts}
    said = truth.read(text)
    assert said.stated | said.denied <= keys


@given(st.text(alphabet="([.*+?^$\\|{aA \n\ud800", min_size=1), st.integers(1, 9))
def test_signs_of_a_pattern_are_plain_text(name: str, value: int) -> None:
    fact = Fact("k", str(value), f"Of {name} it is {value}.")
    truth = Truth([fact])
    assert truth.read(fact.text) == Said(frozenset("k"), frozenset())
    assert truth.read(f"Of {name} it is {value}0.") == Said(frozenset(), frozenset("k"))


def test_a_long_text_of_stems_is_read_to_its_end() -> None:
    stem = "The code of pump Birch is "
    assert TRUTH.read("the code of " * 100_000 + BIRCH.text).stated == {BIRCH.key}
    assert TRUTH.read(stem * 10_000).denied == {BIRCH.key}
    assert TRUTH.read(stem + "1" * 1_000_000).denied == {BIRCH.key}
    assert TRUTH.read(stem + "1-" * 500_000).denied == {BIRCH.key}


@pytest.mark.parametrize(
    ("text", "stated", "denied"),
    [
        ("The code of pump Birch is", False, False),
        ("The code of pump Birch is.", False, False),
        ("The code of pump Birch is: 1", False, False),
        ("The code of pump Birch is\nThe zone of it is not known.", False, False),
        ("The code of pump Birch is\n4821", True, False),
        ("The code of pump Birch is 4821", True, False),
        ("I know: the  CODE of\tpump birch is 4821, I think", True, False),
        ("The code of pump Birch is 4821.The end", True, False),
        ("The code of pump Birch is 48211.", False, True),
        ("The code of pump Birch is 4821-b.", False, True),
        ("The code of pump Birch is 4821.5", False, True),
        ("The code of pump Birch is not 4821.", False, True),
        ("The code of pump Birches is 1.", False, False),
        ("Breathe code of pump Birch is 1.", False, False),
        ("4821 is the code of pump Birch.", False, False),
        ("", False, False),
    ],
)
def test_what_counts(text: str, stated: bool, denied: bool) -> None:
    assert (TRUTH.stated(text) == {BIRCH.key}) is stated
    assert (TRUTH.read(text).denied == {BIRCH.key}) is denied


def test_a_fact_without_a_stem_is_matched_whole() -> None:
    first, absent = Fact("a", "Birch", "Birch leaks."), Fact("b", "x", "Open it, then wait.")
    truth = Truth([first, absent, Fact("c", "", ""), Fact("d", "1", "")])
    assert truth.read("we saw that birch  leaks") == Said(frozenset("a"), frozenset())
    assert truth.read("Open it, then wait for Birch") == Said(frozenset("b"), frozenset())
    assert truth.read("Birch leaked. Fern leaks. Reopen it") == NOTHING


def test_the_last_place_of_a_value_is_the_value() -> None:
    truth = Truth([Fact("k", "4", "Pump 4 stands in zone 4 of 9.")])
    assert truth.stated("Pump 4 stands in zone 4.") == {"k"}
    assert truth.read("Pump 4 stands in zone 5.").denied == {"k"}
    assert truth.read("Pump 5 stands in zone 4.") == NOTHING


def test_facts_that_share_a_stem() -> None:
    """Several values of one kind deny none of the others; tails tell kinds apart."""
    truth = Truth([Fact(name, name, f"Birch feeds {name}.") for name in ("Fern", "Oak")])
    assert truth.read("Birch feeds Fern.") == Said(frozenset({"Fern"}), frozenset())
    assert truth.read("Birch feeds Fig.") == Said(frozenset(), frozenset({"Fern", "Oak"}))
    oil, rest = Fact("o", "3", "Birch needs 3 litres."), Fact("r", "3", "Birch needs 3 hours.")
    truth = Truth([oil, rest])
    assert truth.read("Birch needs 3 hours.") == Said(frozenset("r"), frozenset())
    assert truth.read("Birch needs 4 litres.") == Said(frozenset(), frozenset("o"))
    assert truth.read(f"{oil.text} {rest.text}").stated == {"o", "r"}


def test_a_stem_that_begins_another() -> None:
    truth = Truth([Fact("a", "red", "It is red."), Fact("b", "big", "It is red and big.")])
    assert truth.read("It is red and big.") == Said(frozenset("ab"), frozenset())
    assert truth.read("It is red and small.") == Said(frozenset("a"), frozenset("b"))
    assert truth.read("It is blue.") == Said(frozenset(), frozenset("a"))


def test_no_facts() -> None:
    assert Truth([]).read(BIRCH.text) == NOTHING
