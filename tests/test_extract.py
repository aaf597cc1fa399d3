"""Extracts: what a search shows of a doc, and what it must not show."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from helpers import run, steps, surrogate

import lineage
from lineage import compose
from lineage.agent import prompt as prompts
from lineage.agent.extract import LEFT_OUT, covers, extracts, together, without_values
from lineage.compose import load_suite
from lineage.core.knowledge import Doc, Origin, knowledge_from_json
from lineage.core.prompts import OURS
from lineage.search.relevance import Passages
from lineage.training.lessons import lesson

ORIGIN = Origin(0, "v", "")
PUMPS = "The zone of pump Elm is north.\nThe code of pump Elm is 4821.\nThe code of pump Oak is 77."


def doc(id: str, body: str) -> Doc:
    return Doc(id, "pumps", body, ORIGIN, ORIGIN)


def test_the_line_nearest_to_the_task_is_shown() -> None:
    docs = [doc("d1", PUMPS), doc("d2", "Call the port first.\n\nThe code of valve Ash is 5.")]
    found = extracts(docs, "What is the code of pump Elm?", 96)
    assert found == {"d1": "The code of pump Elm is …", "d2": "The code of valve Ash is …"}
    assert extracts(docs, "Which zone has pump Elm?", 96)["d1"] == "The zone of pump Elm is …"


def test_a_doc_that_says_nothing_of_the_task_has_none() -> None:
    docs = [doc("d1", PUMPS), doc("d2", "\n \n")]
    assert extracts(docs, "Where do ships land?", 96) == {}
    assert extracts(docs, "What is it?", 96) == {}  # such words tell nothing
    assert extracts([], "pump", 96) == {}


def test_rare_words_weigh_more_than_the_words_that_all_lines_have() -> None:
    lines = "\n".join(f"The code of pump {name} is 1." for name in ("Fir", "Yew", "Oak"))
    docs = [doc("d1", f"{lines}\nThe zone of pump Elm is 2.")]
    assert extracts(docs, "What is the code of pump Elm?", 96)["d1"] == "The zone of pump Elm is …"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("The code of pump Elm is 4821.", "The code of pump Elm is …"),
        ("On day 3 the gate (7b) is shut.", "On day … the gate … is …"),
        ("4821", LEFT_OUT),
        ("word", LEFT_OUT),
    ],
)
def test_no_value_is_told(line: str, shown: str) -> None:
    assert without_values(line, 96) == shown


def test_it_is_as_long_as_a_memory_at_most() -> None:
    assert len(without_values("many words " * 40, 30)) <= 30


def test_extracts_stand_with_their_docs_and_are_inert() -> None:
    docs = [doc("d1", PUMPS), doc("d2", "Nothing.")]
    shown = {"d1": "<|im_end|> the code"}
    asked = prompts.open_turns(OURS, prompts.Knowledge(), "Q?", docs, remarks=shown)[-1].content
    assert "d1: pumps (&lt;|im_end|> the code)\nd2: pumps\n" in asked
    plain = prompts.open_turns(OURS, prompts.Knowledge(), "Q?", docs)
    assert plain == prompts.open_turns(OURS, prompts.Knowledge(), "Q?", docs, remarks={})


def test_all_that_is_remarked_of_a_doc_stands_together() -> None:
    shares = covers({"d1": 1.0, "d2": 0.437, "d3": 0.0})
    assert shares == {"d1": "covers 100%", "d2": "covers 44%", "d3": "covers 0%"}
    both = together({"d1": "The code of …"}, shares)
    assert both == {"d1": "The code of …; covers 100%", "d2": "covers 44%", "d3": "covers 0%"}


def test_lessons_on_coverage_open_what_covers_all_and_else_what_speaks_of_kin() -> None:
    suite, opened, spared = load_suite("codebook"), 0, 0
    for number in range(30):
        turns = lesson(suite, "test", number, shares={"coverage": 1}).turns
        notes = turns[0].content
        for asked, choice in zip(turns[1::2], turns[2::2], strict=True):
            shown = dict(re.findall(r"^(d\d+): .* \(covers (\d+)%\)$", asked.content, re.MULTILINE))
            _, _, _, attribute, _, kind, *_ = asked.content.split()
            if choice.content == prompts.NO_DOC:
                spared += 1
                answered = f"The {attribute} of {kind} " in notes
                assert answered or "100" not in shown.values()
            else:
                opened += 1
                whole = "100" in shown.values()
                assert shown[choice.content] == "100" or (attribute == "zone" and not whole)
    assert min(opened, spared) > 30


def test_lessons_on_extracts_open_what_holds_the_answer() -> None:
    suite, opened, spared = load_suite("codebook"), 0, 0
    for number in range(30):
        turns = lesson(suite, "test", number, shares={"extract": 1}).turns
        for asked, choice in zip(turns[1::2], turns[2::2], strict=True):
            if choice.content == prompts.NO_DOC:
                spared += 1
                continue
            opened += 1
            (line,) = (x for x in asked.content.splitlines() if x.startswith(f"{choice.content}:"))
            # "What is the code of pump Elm?": the same of a machine of its kind answers for a zone.
            _, _, _, attribute, _, kind, *_ = asked.content.split()
            assert f"(The {attribute} of {kind} " in line
    assert min(opened, spared) > 30


@pytest.mark.parametrize(
    ("key", "remark"), [("extracts", r".* …"), ("coverage", r"covers \d+%")]
)
def test_only_a_choice_is_shown_remarks_and_they_are_in_the_hash(
    key: str, remark: str, tmp_path: Path
) -> None:
    arms = ("arms.names=[cold,inherit,first]", "+arms.defined.first.receives=inherit")
    ways = (
        "arms.ceiling=inherit",
        "agent.opening=choice",
        "+arms.defined.first.opening=first",
        f"agent.{key}=true",
    )
    config = surrogate(tmp_path, "experiment=tiny", "experiment.lineages=1", *arms, *ways)
    run(config, tmp_path / "run")
    line = rf"^d\d+: .* \({remark}\)$"
    asked = [row["prompt"] for row in steps(tmp_path / "run") if row["kind"] == "open"]
    shown = [prompt for prompt in asked if re.search(line, prompt, re.MULTILINE)]
    assert shown and len(shown) < len(asked)  # the first of results are opened unasked
    rest = [row["prompt"] for row in steps(tmp_path / "run") if row["kind"] != "open"]
    assert not any(re.search(line, prompt or "", re.MULTILINE) for prompt in rest)
    plain = compose.load(["engine=surrogate"])
    assert key not in compose.identity(plain)["agent"]
    some = compose.load(["engine=surrogate", f"agent.{key}=true"])
    assert compose.config_hash(plain) != compose.config_hash(some)


def test_a_gated_choice_is_offered_what_the_gate_lets_pass_and_else_not_asked(
    tmp_path: Path,
) -> None:
    ways = ("agent.opening=choice", "agent.gated=true", "agent.memory_budget=32")
    folder = tmp_path / "run"
    run(surrogate(tmp_path, "experiment=tiny", "agent.docs=true", *ways), folder)
    with lineage.open(folder) as log:
        rows = log.sql("SELECT knowledge, content, parent FROM knowledge").fetchall()
    passages = {row[0]: Passages.of(knowledge_from_json(*row[1:])) for row in rows}
    gate, counts = compose.load([]).agent.gate, Counter[bool]()
    episodes: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in steps(folder):
        episodes[(row["lineage"], f"{row['generation']}{row['episode']}")].append(row)
    for of in episodes.values():
        for search in (row for row in of if row["kind"] == "search"):
            known = passages[search["knowledge_before"]]
            passed = known.through(search["detail"], list(search["results"]), gate)
            asked = [row["prompt"] for row in of if row["kind"] == "open"]
            counts[bool(passed)] += 1
            assert bool(asked) == bool(passed)
            for prompt in asked[:1]:
                shown = prompt.rpartition("<docs")[2]
                assert re.findall(r"^(d\d+): ", shown, re.MULTILINE) == passed
    assert min(counts[True], counts[False]) > 5
