"""Readers of LoCoMo, LongMemEval, MemoryAgentBench and StreamBench, on small files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import run, steps, suite_of, surrogate

from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.core.tasks import Referral, Suite, Task, World
from lineage.suites.memoryagentbench import pieces

DATA = Path(__file__).parent / "data"
FILES = {
    "locomo": "locomo10.json",
    "longmemeval": "longmemeval_oracle.json",
    "memoryagentbench": "memoryagentbench.json",
}
SMALL = {
    "longmemeval": ("suite.questions_per_world=4",),
    "memoryagentbench": ("suite.chunk_chars=300", "suite.on_bad=skip"),
}


def suite(name: str, *overrides: str) -> Suite:
    file = DATA / FILES[name]
    return suite_of(name, f"suite.path={file}", *SMALL.get(name, ()), *overrides)


def worlds(found: Suite) -> dict[str, World]:
    return {world.id: world for world in (found.world(seed, 0) for seed in range(60))}


def raw(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DATA / FILES[name]).read_text())
    return found


def named(world: World, category: str) -> Task:
    return next(t for t in world.tasks if t.category == category and not t.lesson)


def test_locomo_conversations_are_worlds_and_sessions_lessons() -> None:
    found = suite("locomo")
    made = worlds(found)
    assert sorted(made) == ["locomo-conv-1", "locomo-conv-2"]
    world, source = made["locomo-conv-1"], raw("locomo")[0]
    lessons = [task for task in world.tasks if task.lesson]
    assert [task.order for task in lessons] == [1, 2, 3, 4, 5, 6]
    for number, lesson in enumerate(lessons, start=1):
        talk = source["conversation"]
        assert talk[f"session_{number}_date_time"] in lesson.context
        for turn in talk[f"session_{number}"]:
            assert f"{turn['speaker']}: {turn['text']}" in lesson.context
            assert turn.get("blip_caption", "") in lesson.context
    asked = [task for task in world.tasks if not task.lesson]
    assert [task.prompt for task in asked] == [q["question"] for q in source["qa"]]
    multi = named(world, "multi-hop")
    assert multi.needs == (lessons[0].id, lessons[1].id)
    assert all(task.needs for task in asked)


def test_locomo_scores_by_category() -> None:
    found = suite("locomo")
    world = worlds(found)["locomo-conv-1"]
    assert found.score(named(world, "temporal"), "On 3 May 2023.") == pytest.approx(6 / 7)
    multi = named(world, "multi-hop")
    assert multi.answer == "a red kayak, a pottery class"
    assert found.score(multi, "pottery class, red kayak") == 1.0
    assert found.score(multi, "red kayak") == 0.5
    assert found.score(named(world, "open-domain"), "likely yes") == 1.0
    adversarial = named(world, "adversarial")
    assert found.score(adversarial, "That is not mentioned.") == 1.0
    assert found.score(adversarial, "a pottery class") == 0.0
    number = next(task for task in world.tasks if task.answer == "20")
    assert found.score(number, "20") == 1.0


def test_longmemeval_bundles_instances_and_orders_sessions_by_date() -> None:
    made = worlds(suite("longmemeval"))
    assert sorted(made) == ["longmemeval-0000", "longmemeval-0001"]
    world, source = made["longmemeval-0000"], raw("longmemeval")[:4]
    lessons = [task for task in world.tasks if task.lesson]
    ids = {id for value in source for id in value["haystack_session_ids"]}
    assert len(lessons) == len(ids) == 9, "a session that two instances share is read once"
    dates = [
        lesson.context.splitlines()[0] for lesson in sorted(lessons, key=lambda t: t.order or 0)
    ]
    assert dates == sorted(dates) and dates[0].endswith("2023/03/01 (Wed) 08:00")
    asked = {task.id.rpartition("/")[2]: task for task in world.tasks if not task.lesson}
    for value in source:
        task = asked[value["question_id"]]
        assert task.category == value["question_type"]
        assert value["question"] in task.prompt and value["question_date"] in task.prompt
        assert [need.rpartition("/")[2] for need in task.needs] == value["answer_session_ids"]
        lesson = next(task_ for task_ in lessons if task_.id == task.needs[0])
        assert f"user: I moved to {value['answer']} last week." in lesson.context


def test_longmemeval_abstention_and_judges() -> None:
    world = worlds(suite("longmemeval"))["longmemeval-0001"]
    assert {t.category for t in world.tasks if t.id.endswith("_abs")} == {"abstention"}
    free = suite("longmemeval")
    assert free.judges == () and free.score(named(world, "abstention"), "Cork") == 1.0
    judged = suite("longmemeval", "suite.judge=smollm2-135m@r0")
    assert judged.judges == ("smollm2-135m@r0",)
    task = named(worlds(judged)["longmemeval-0001"], "abstention")
    assert isinstance(judged.score(task, "Cork"), Referral)


def test_memoryagentbench_reads_once_and_asks_many_times(tmp_path: Path) -> None:
    found = suite("memoryagentbench")
    made = worlds(found)
    assert "infbench_sum" in found.notice  # type: ignore[attr-defined]
    by_source = {world.id.partition("-")[2].partition("-")[2]: world for world in made.values()}
    assert set(by_source) == {
        *("factconsolidation_sh_6k", "eventqa_full", "icl_banking77"),
        *("ruler_niah_mq", "longmemeval_s*"),
    }
    long = by_source["factconsolidation_sh_6k"]
    lessons = [task for task in long.tasks if task.lesson]
    assert len(lessons) > 4 and all(len(task.context) <= 300 for task in lessons)
    assert " ".join(task.context for task in lessons) == raw("memoryagentbench")[0]["context"]
    for task in long.tasks:
        if not task.lesson:
            assert task.needs == tuple(lesson.id for lesson in lessons)
    cases = (
        ("factconsolidation_sh_6k", 0, "It is Town 0.", 1.0),
        ("factconsolidation_sh_6k", 0, "It is town 01.", 1.0),  # as published
        ("factconsolidation_sh_6k", 0, "It is town 1.", 0.0),
        ("eventqa_full", 1, "The mast of the ship broke.", 1.0),
        ("eventqa_full", 1, "The sail fell.\nThe mast broke.", 0.0),
        ("eventqa_full", 1, "I recall it.\nAnswer: the mast broke.", 1.0),
        ("icl_banking77", 1, "11", 1.0),
        ("icl_banking77", 1, "label 11", 0.0),
        ("ruler_niah_mq", 0, "4821", 0.5),
        ("longmemeval_s*", 0, "You like tea.", 1.0),
    )
    for source, number, said, score in cases:
        asked = [task for task in by_source[source].tasks if not task.lesson]
        assert found.score(asked[number], said) == score, (source, said)
    assert {t.category for t in by_source["longmemeval_s*"].tasks if not t.lesson} == {
        "longmemeval_s*/single-session-user",
        "longmemeval_s*/abstention",
    }
    table = tmp_path / "Accurate_Retrieval.parquet"
    pq.write_table(pa.Table.from_pylist(raw("memoryagentbench")), table)
    overrides = SMALL["memoryagentbench"]
    parquet = suite_of("memoryagentbench", f"suite.path={table}", *overrides)
    assert [len(w.tasks) for w in worlds(parquet).values()] == [len(w.tasks) for w in made.values()]


def test_a_summary_is_judged_where_there_is_a_judge() -> None:
    judged = suite("memoryagentbench", "suite.judge=smollm2-135m@r1", "suite.on_bad=stop")
    summary = next(w for id, w in worlds(judged).items() if "infbench" in id)
    asked = next(task for task in summary.tasks if not task.lesson)
    assert isinstance(judged.score(asked, "A book."), Referral)


@pytest.mark.parametrize("most", [5, 17, 60])
def test_pieces_are_whole_and_short(most: int) -> None:
    text = "One. Two two two! Three three? " + "x" * 40 + " four. Five."
    cut = list(pieces(text, most))
    assert all(len(piece) <= most for piece in cut)
    assert "".join("".join(cut).split()) == "".join(text.split())


def test_streambench_diagnoses() -> None:
    path = DATA / "streambench-ddxplus.jsonl"
    found = suite_of("streambench", f"suite.path={path}", "suite.labels_per_world=3")
    made = worlds(found)
    labels = [{task.group for task in world.tasks} for world in made.values()]
    assert [len(each) for each in labels] == [3, 3] and not labels[0] & labels[1]
    task = next(t for w in made.values() for t in w.tasks if t.group == "Asthma")
    assert task.answer == "2. Asthma" and "\n2. Asthma\n3. Bronchitis\n" in task.prompt
    for said, score in (
        ("2. Asthma", 1), ("I say 2. Not 3.", 1), ("12. Asthma", 0), ("3. or 2.", 0), ("Asthma", 0),
    ):  # fmt: skip
        assert found.score(task, said) == score, said
    orders = [task.order for world in made.values() for task in world.tasks]
    assert all(order is not None for order in orders)


def test_streambench_questions() -> None:
    path = DATA / "streambench-hotpotqa.json"
    shown = {}
    for paragraphs in ("all", "supporting", "none"):
        found = suite_of("streambench", f"suite.path={path}", f"suite.paragraphs={paragraphs}")
        assert sorted(worlds(found)) == ["streambench-bridge", "streambench-comparison"]
        shown[paragraphs] = worlds(found)["streambench-bridge"].tasks[1].prompt
    assert shown["none"] == "Which river is in land 2?"
    assert shown["supporting"] == f"Land 2: River 2 is in land 2. It is long.\n{shown['none']}"
    assert shown["all"].replace("Noise: Nothing here.\n", "") == shown["supporting"]
    task = worlds(found)["streambench-bridge"].tasks[1]
    assert (found.score(task, "River 2!"), found.score(task, "River 3")) == (1.0, 0.0)
    assert task.group in ("easy", "medium", "hard")


def test_streambench_mathematics() -> None:
    path = DATA / "streambench-gsm8k.jsonl"
    found = suite_of("streambench", f"suite.path={path}", "suite.block=20")
    made = worlds(found)
    assert [len(world.tasks) for world in made.values()] == [20, 20]
    task = made["streambench-0001"].tasks[19]
    assert task.answer == "1,989" and found.score(task, "The answer is 1989.") == 1.0


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("locomo", '[{"dialogue": []}]', "not the format of LoCoMo's"),
        (
            "locomo",
            '[{"sample_id": "c", "conversation": {}, "qa": [{"question": "?", "answer": "!", '
            '"category": 9}]}]',
            "qa[0].category is 9: it must be 5 or less",
        ),
        (
            "longmemeval",
            '[{"question_id": "a", "history": []}]',
            "no question_type: not the format of LongMemEval's files (found history, question_id)",
        ),
        ("memoryagentbench", '[{"context": "x", "qa": []}]', "not the format of MemoryAgentBench"),
        (
            "streambench",
            '[{"question": "?", "SQL": "SELECT 1", "db_id": "d"}]',
            "needs its databases",
        ),
        ("streambench", '[{"prompt": "?", "reference_code": "1"}]', "running code"),
        ("streambench", '[{"x": 1}]', "no task of StreamBench that is known (found x)"),
    ],
)
def test_another_format_is_one_line(name: str, text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(LineageError, match=r"^\S+other\.json:1: ") as error:
        suite_of(name, f"suite.path={file}").world(0, 0)
    assert words in str(error.value) and "\n" not in str(error.value)


RUNS = {
    "locomo": (DATA / "locomo10.json", ()),
    "longmemeval": (DATA / "longmemeval_oracle.json", SMALL["longmemeval"]),
    "streambench": (DATA / "streambench-ddxplus.jsonl", ("suite.labels_per_world=3",)),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_each(name: str, tmp_path: Path) -> None:
    path, more = RUNS[name]
    # Of what the first session tells LongMemEval asks nothing again before a third generation.
    long = name == "longmemeval"
    versions = ["smollm2-135m@r0", *["smollm2-135m@r1"] * (2 if long else 1)]
    config = surrogate(
        tmp_path, f"suite={name}", f"suite.path={path}", *more,
        f"experiment.episodes={1 + long}", "experiment.lineages=1",
        f"schedule.versions=[{','.join(versions)}]",
        "experiment.probes={same: 1, similar: 1, dissimilar: 1}",
    )  # fmt: skip
    run(config, tmp_path / "runs" / "one")
    log = steps(tmp_path / "runs" / "one")
    scored = [row for row in log if row["phase"] == "probe" and row["score"] is not None]
    families = {row["family"] for row in scored if row["arm"] == "inherit"}
    assert families == {"same", "similar", "dissimilar"}
    assert not [row["error"] for row in log if row["error"]]
    made = plans(suite_of(name, f"suite.path={path}", *more), config.experiment, 4, 0)
    assert {v.task.lesson for plan in made for v in plan.work} == {name != "streambench"}
