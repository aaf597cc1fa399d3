"""CLadder and the finance formulas, from rows of the published files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import run, steps, suite_of, surrogate

from lineage.core.errors import LineageError

DATA = Path(__file__).parent / "data"
CLADDER = ("cladder", f"suite.path={DATA / 'cladder.json'}", "suite.min_tasks=4")
FINANCE = (
    "finance",
    f"suite.path={DATA / 'finance-formula.jsonl'}",
    "suite.formulas_per_world=3",
    "suite.min_tasks=12",
)


def test_cladder_worlds_are_query_types_and_groups_graph_and_story() -> None:
    suite = suite_of(*CLADDER)
    raw = {str(q["question_id"]): q for q in json.loads((DATA / "cladder.json").read_text())}
    worlds = {suite.world(seed, 0).id: suite.world(seed, 0) for seed in range(20)}
    assert sorted(worlds) == ["cladder-ate", "cladder-ett"]
    assert "collider_bias" in suite.notice and "fewer than 4" in suite.notice
    for world in worlds.values():
        assert len(world.tasks) == 12
        for task in world.tasks:
            q = raw[task.id.rpartition("/")[2]]
            assert task.category == q["meta"]["query_type"]
            assert task.group == f"{q['meta']['graph_id']}/{q['meta']['story_id']}"
            assert task.prompt == f"{q['given_info']} {q['question']}"
            assert suite.score(task, f"{q['answer'].capitalize()}, it is.") == 1.0
            # As published, what the answer starts with counts, whatever follows.
            other = {"yes": "No", "no": "Yes"}[q["answer"]]
            assert suite.score(task, f"{other}, there is no confounder: yes.") == 0.0
            assert suite.score(task, f"{q['answer']}, there is no confounder: yes.") == 1.0
            assert suite.score(task, "None of both.") == 0.0
            assert world.fact_texts(task.facts)[0].endswith(f"is {q['meta']['estimand']}.")
            told = suite.feedback(task, world, 0.0)
            assert told.startswith("Wrong. ") and told.endswith(f"The answer is {q['answer']}.")
            assert q["reasoning"]["step5"] in told
    brief = suite_of(*CLADDER, "suite.feedback_tells=answer")
    task = next(iter(worlds.values())).tasks[0]
    assert (
        brief.feedback(task, worlds["cladder-ate"], 1.0) == f"Right. The answer is {task.answer}."
    )


def test_finance_asks_as_ace_does_and_keeps_formulas_in_one_world() -> None:
    suite = suite_of(*FINANCE)
    lines = (DATA / "finance-formula.jsonl").read_text().splitlines()
    raw = {str(n): json.loads(line) for n, line in enumerate(lines, start=1)}
    worlds = {suite.world(seed, 0).id: suite.world(seed, 0) for seed in range(20)}
    assert len(worlds) == 2
    groups = [{task.group for task in world.tasks} for world in worlds.values()]
    assert [len(group) for group in groups] == [3, 3] and not groups[0] & groups[1]
    assert sum(len(world.tasks) for world in worlds.values()) == len(raw)
    for world in worlds.values():
        for task in world.tasks:
            published = raw[task.id.rpartition("/")[2]]
            assert published["context"].startswith(f"Use formula {task.group} to answer")
            assert task.prompt in published["context"] and "Formula:" not in task.prompt
            assert task.prompt[-1] in ".?!)" or task.prompt[-1].isalnum()
            (fact,) = world.fact_texts(task.facts)
            assert fact.startswith(f"The formula of {task.group} is ")
            assert fact[len(f"The formula of {task.group} is ") : -1] in published["context"]
            assert suite.score(task, f"{float(published['target']):.2f}") == 1.0
            assert suite.score(task, f"{float(published['target']):,.3f}") == 1.0
            assert suite.score(task, f'{{"final_answer": "{published["target"]}"}}') == 1.0
            assert suite.score(task, f"{float(published['target']) + 1:.2f}") == 0.0
            assert suite.score(task, f"${published['target']}") == 0.0, "as published"
            assert suite.feedback(task, world, 0.0).endswith(f"is {published['target']}.")
    large = suite_of(*FINANCE, "suite.min_tasks=30")
    assert len({large.world(seed, 0).id for seed in range(9)}) == 1
    shown = suite_of(*FINANCE, "suite.show_formula=true")
    assert all(t.prompt.startswith("The formula of ") for t in shown.world(0, 0).tasks)


@pytest.mark.parametrize("suite", [CLADDER, FINANCE])
def test_a_run_on_the_file(suite: tuple[str, ...], tmp_path: Path) -> None:
    name, *overrides = suite
    small = (
        *("experiment.lineages=1", "experiment.episodes=1"),
        "experiment.probes={same: 2, similar: 1, dissimilar: 1}",
        "schedule.versions=[smollm2-135m@r0,smollm2-135m@r1]",
    )
    config = surrogate(tmp_path, f"suite={name}", *overrides, *small)
    run(config, tmp_path / "runs" / "one")
    log = steps(tmp_path / "runs" / "one")
    assert not any(row["error"] for row in log)
    scored = [row for row in log if row["kind"] == "probe" and row["score"] is not None]
    assert {row["arm"] for row in scored} == {"inherit", "cold", "oracle"}
    assert any(row["category"] for row in scored)


@pytest.mark.parametrize(
    ("name", "file", "text", "words"),
    [
        ("cladder", "c.json", '[{"id": 1, "prompt": "?", "label": "yes"}]', "no question_id"),
        (
            "cladder",
            "c.json",
            '[\n{"question_id": 1, "given_info": "", "question": "?", "answer": "yes",'
            ' "meta": {"query_type": "ate", "graph_id": "x"}}]',
            "c.json:2: row 1: no meta.story_id: not the format of CLadder's",
        ),
        (
            "cladder",
            "c.json",
            '[{"question_id": 1, "given_info": "", "question": "?", "answer": "maybe",'
            ' "meta": {"query_type": "ate", "graph_id": "x", "story_id": "y"}}]',
            "answer is 'maybe': it must be 'yes' or 'no'",
        ),
        ("finance", "f.jsonl", '{"question": "?", "answer": "1"}', "found answer, question"),
        (
            "finance",
            "f.jsonl",
            '{"context": "Use formula A to answer the question. Formula: A = B, Explanation: C.'
            ' Question: D?. Answer:", "target": "many"}',
            "f.jsonl:1: target is 'many': it must be a number",
        ),
    ],
)
def test_another_format_is_one_line(
    name: str, file: str, text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(LineageError, match=r"^\S+:[12]: ") as error:
        suite_of(name, f"suite.path={tmp_path / file}").world(0, 0)
    assert words in str(error.value)


@pytest.mark.parametrize(("name", "words"), [("cladder", "causalNLP"), ("finance", "ace-agent")])
def test_without_a_path_the_error_says_where_the_file_is_published(name: str, words: str) -> None:
    with pytest.raises(LineageError, match=f"suite.path.*{words}"):
        suite_of(name).world(0, 0)
