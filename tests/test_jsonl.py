"""Tasks from files: every line checked and located, nothing read whole, bad rows left out."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from helpers import run, steps, suite_of, surrogate

from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.core.tasks import Fact
from lineage.runs.arms import donor_of, find_arm
from lineage.suites.filesuite import FileSuite
from lineage.suites.records import Problem, Record, records


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"q{number}",
        "prompt": f"What is the code of pump {number}?",
        "answer": f"{1000 + number}",
        "scorer": "contains",
        "world": f"w{number % 3}",
        "group": f"g{number % 7}",
        "facts": [f"The code of pump {number} is {1000 + number}."],
        **more,
    }


def write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in rows))
    return path


def suite(path: Path, *overrides: str) -> FileSuite:
    made = suite_of("jsonl", f"suite.path={path}", *overrides)
    assert isinstance(made, FileSuite)
    return made


def test_rows_become_worlds_and_tasks(tmp_path: Path) -> None:
    more = {"category": "easy", "order": 4, "context": "Read me.", "answer": ["1000", "one k"]}
    path = write(tmp_path / "t.jsonl", [row(0, **more), *(row(n) for n in range(1, 60)), ""])
    found = suite(path)
    worlds = {found.world(seed, 0).id: found.world(seed, 0) for seed in range(40)}
    assert sorted(worlds) == ["jsonl-w0", "jsonl-w1", "jsonl-w2"]
    world = worlds["jsonl-w0"]
    assert found.world(0, 3).tasks == found.world(0, 0).tasks
    assert [t.id for t in world.tasks] == [f"jsonl-w0/q{n}" for n in range(0, 60, 3)]
    first, second = world.tasks[:2]
    assert (first.category, first.order, first.context) == ("easy", 4, "Read me.")
    assert (second.category, second.order, second.context) == ("", None, "")
    assert found.score(first, "It is one k.") == found.score(first, "1000") == 1.0
    assert found.score(first, "1003") == 0.0
    assert world.fact_texts(second.facts) == ("The code of pump 3 is 1003.",)
    assert world.facts[1] == Fact("q3/0", "1003", "The code of pump 3 is 1003.")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object but a list"),
        ({k: v for k, v in row(9).items() if k != "id"}, "no id: each row needs it"),
        (row(9, id="q1"), "id 'q1' is there twice"),
        (row(9, scorer="numerical"), "scorer 'numerical' is unknown: did you mean 'numeric'?"),
        (row(9, scorer={"name": "judge"}), "no scorer.version: scorer 'judge' needs it"),
        (row(9, scorer={"choices": []}), "no scorer.name"),
        (row(9, anser="x"), "unknown key 'anser': did you mean 'answer'?"),
        (row(9, answer=7), "answer is 7: it must be a text or a list of texts"),
        (row(9, answer=["a", 7]), "answer[1] is 7: it must be a text"),
        (row(9, answer=""), "needs an 'answer'"),
        (row(9, answer="x" * 3000), "3000 characters, more than suite.answer_chars (2000)"),
        (row(9, prompt="", context=""), "needs a 'prompt', or as a lesson a 'context'"),
        (row(9, world=""), "world is '': it must be a text that is not empty"),
        (row(9, order="first"), "order is 'first': it must be a whole number"),
        (row(9, order=True), "order is true: it must be a whole number"),
        (row(9, facts=["ok is 1", 3]), "facts[1] is 3: it must be a sentence, or an object"),
        (row(9, facts=[{"key": "k", "text": "t"}]), "facts[0] is an object: it must be a sentence"),
        (row(9, scorer={"name": "regex", "pattern": "("}), "no regular expression"),
        (row(9, needs=["q1", "l7"]), "it needs 'q1', 'l7', which are not all ids of rows"),
        (row(9, world="alone"), "world 'alone' has no second question"),
    ],
)
def test_a_bad_row_is_one_line_with_its_place_and_may_be_left_out(
    bad: Any, words: str, tmp_path: Path
) -> None:
    rows = [row(n) for n in range(1, 5)] + [bad] + [row(n) for n in range(10, 40)]
    path = write(tmp_path / "t.jsonl", rows)
    with pytest.raises(LineageError) as error:
        suite(path).world(0, 0)
    assert str(error.value).startswith(f"{path}:5: ")
    assert words in str(error.value) and "suite.on_bad=skip" in str(error.value)
    skipping = suite(path, "suite.on_bad=skip")
    ids = {
        task.id.rpartition("/")[2] for seed in range(9) for task in skipping.world(seed, 0).tasks
    }
    assert ids == {f"q{n}" for n in (*range(1, 5), *range(10, 40))}
    assert skipping.notice.startswith(f"1 rows or worlds left out: {path}:5: ")


def test_bytes_that_are_no_text_have_a_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(json.dumps(row(1)).encode() + b'\n{"id": "\xff"}\n')
    with pytest.raises(LineageError, match=r"t\.jsonl:2: not UTF-8"):
        suite(path).world(0, 0)


@pytest.mark.parametrize(
    ("path", "words"),
    [("", "set suite.path"), ("gone.jsonl", "is no file"), ("tasks.csv", "must be one of .jsonl")],
)
def test_a_file_that_is_not_there(path: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "tasks.csv").write_text("id\n")
    place = tmp_path / path if path else ""
    with pytest.raises(LineageError, match=words):
        suite_of("jsonl", f"suite.path={place}").world(0, 0)


def test_a_file_without_any_task(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="no row that can be used"):
        suite(write(tmp_path / "t.jsonl", [])).world(0, 0)
    bad = write(tmp_path / "u.jsonl", ["{", "}"])
    with pytest.raises(LineageError, match=r"no row that can be used; the first: .*u\.jsonl:1"):
        suite(bad, "suite.on_bad=skip").world(0, 0)


def test_a_large_world_is_sampled_and_its_lessons_are_kept(tmp_path: Path) -> None:
    lessons = [
        {"id": f"l{n}", "world": "w", "context": f"Page {n}.", "order": n} for n in range(30)
    ]
    asked = [row(n, world="w", needs=[f"l{n % 30}"]) for n in range(90)]
    path = write(tmp_path / "t.jsonl", [*asked, *lessons])
    world = suite(path, "suite.world_tasks=40").world(1, 0)
    assert sum(task.lesson for task in world.tasks) == 30
    assert len(world.tasks) == 70
    assert world == suite(path, "suite.world_tasks=40").world(5, 0)
    assert {need for task in world.tasks for need in task.needs} <= {t.id for t in world.tasks}


def test_records_of_an_array_have_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    values = [{"n": n, "text": "x" * (n * 40_000)} for n in range(6)]
    path.write_text(json.dumps(values, indent=1))
    found = [r for r in records(path) if isinstance(r, Record)]
    assert [r.value for r in found] == values
    assert [r.line for r in found] == [2 + 4 * n for n in range(6)]
    assert [r.number for r in found] == [1, 2, 3, 4, 5, 6]
    path.write_text(json.dumps(values))
    found = [r for r in records(path) if isinstance(r, Record)]
    assert [(r.line, r.number) for r in found] == [(1, n) for n in range(1, 7)]
    path.write_text(json.dumps(values)[:-9])
    *_, last = records(path)
    assert isinstance(last, Problem) and last.at == "1: row 6"
    path.write_text('[{"n": 1},\n 7,\n {"n": 2}]')
    kinds = [(type(r).__name__, r.at) for r in records(path)]
    assert kinds == [("Record", "1: row 1"), ("Problem", "2: row 2"), ("Record", "3: row 3")]
    path.write_text('{"n": 1}')
    (only,) = records(path)
    assert isinstance(only, Problem) and "array of objects" in only.text


def test_shuffled_borrows_from_another_world(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [row(n) for n in range(180)])
    config = surrogate(
        *(tmp_path, "suite=jsonl", f"suite.path={path}", "experiment.lineages=9"),
        "arms.names=[inherit,shuffled,cold,oracle]",
    )
    read = suite(path)
    homes = [plans(read, config.experiment, 1, pair)[0].world.id for pair in range(9)]
    arm = find_arm(config, "shuffled")
    donors = [donor_of(config, arm, pair, homes.__getitem__) for pair in range(9)]
    assert any(homes[pair] == homes[(pair + 1) % 9] for pair in range(9))
    assert all(donor and homes[donor[1]] != homes[pair] for pair, donor in enumerate(donors))
    with pytest.raises(LineageError, match="all pairs have 'w'"):
        donor_of(config, arm, 0, lambda pair: "w")


def test_records_of_parquet_are_numbered(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": list(range(100)), "t": [["x", "y"]] * 100}), path)
    found = list(records(path))
    assert found[99] == Record(100, {"n": 99, "t": ["x", "y"]})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LineageError, match="no whole Parquet file"):
        list(records(path))


def test_a_run_on_a_file_and_its_refusal_once_the_file_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [row(n) for n in range(180)])
    small = (
        *("experiment.lineages=2", "schedule.versions=[smollm2-135m@r1,smollm2-135m@r1]"),
        "experiment.episodes=4",
        *("arms.names=[inherit,cold]", "arms.ceiling=inherit"),
    )
    config = surrogate(tmp_path, "suite=jsonl", f"suite.path={path}", *small)
    run(config, tmp_path / "runs" / "one")
    probes = [row for row in steps(tmp_path / "runs" / "one") if row["kind"] == "probe"]
    assert not any(row["error"] for row in probes)
    inherit, cold = (
        mean(r["score"] for r in probes if (r["arm"], r["family"]) == (arm, "same"))
        for arm in ("inherit", "cold")
    )
    assert inherit > cold + 0.1
    path.write_text(path.read_text() + json.dumps(row(999)) + "\n")
    with pytest.raises(LineageError, match="has changed since"):
        run(config, tmp_path / "runs" / "one")


def test_a_world_too_small_for_any_pair_is_found_before_the_run(tmp_path: Path) -> None:
    rows = [row(n, world="large" if n % 4 else "small") for n in range(120)]
    path = write(tmp_path / "t.jsonl", rows)
    config = surrogate(tmp_path, "suite=jsonl", f"suite.path={path}", "experiment.lineages=12")
    with pytest.raises(LineageError, match="tasks to work on"):
        run(config, tmp_path / "runs" / "one")
    assert not (tmp_path / "runs").exists()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def most(rows: int) -> int:
        path, pad = tmp_path / f"{rows}.jsonl", "y" * 60_000
        with path.open("w") as file:
            for n in range(rows):
                one = {"id": f"q{n}", "world": f"w{n % 4}", "prompt": f"{n}? {pad}", "answer": "a"}
                file.write(json.dumps(one) + "\n")
        made = suite(path, "suite.world_tasks=12")
        tracemalloc.start()
        try:
            assert len(made.world(3, 0).tasks) == 12
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = most(60)
    # 60 rows of 60 KB more are 3.6 MB of file, and places and ids of about 100 B each.
    assert few > 12 * 60_000 and most(120) - few < 500_000


def test_families_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [row(n) for n in range(180)])
    experiment = surrogate(tmp_path, "suite=jsonl", f"suite.path={path}").experiment
    read = suite(path)
    for pair in range(6):
        made = plans(read, experiment, 4, pair)
        met = {task_instance.task.group for task_instance in made[0].work}
        similar = [one for one in made[0].probes if one.family == "similar"]
        assert len(similar) == 4
        for task_instance in similar:
            assert task_instance.task.group in met and task_instance.task.world == made[0].world.id
