"""Files as people have them: read, or refused by line and row with what to do."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from lineage.core.errors import LineageError
from lineage.core.tasks import World
from lineage.suites.filesuite import FileSuite
from lineage.suites.jsonl import Jsonl
from lineage.suites.longmemeval import LongMemEval
from lineage.suites.records import Problem, Record, records
from lineage.suites.streambench import StreamBench

DATA = Path(__file__).parent / "data"
BASE: dict[str, Any] = {"instructions": "", "world_tasks": 99, "answer_chars": 999}
ROWS = [{"id": f"q{n}", "world": "w", "prompt": f"{n}?", "answer": f"é{n}"} for n in range(4)]
LINES = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in ROWS)
ARRAY = json.dumps(ROWS, ensure_ascii=False, indent=1)


def own(path: Path, on_bad: str = "stop") -> FileSuite:
    return Jsonl(name="jsonl", path=str(path), on_bad=on_bad, **BASE)


def chats(path: Path, on_bad: str = "stop") -> LongMemEval:
    more = {"questions_per_world": 2, "judge": ""}
    return LongMemEval(name="l", path=str(path), on_bad=on_bad, **BASE, **more)


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(suite: FileSuite) -> str:
    """Return the one line that says why the file is refused, below its name."""
    with pytest.raises(LineageError) as error:
        suite.world(0, 0)
    line = str(error.value)
    assert line.isprintable() and line.startswith(suite.path)
    return line.removeprefix(suite.path)


def prompts(world: World) -> list[str]:
    return [task.prompt for task in world.tasks]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.jsonl", LINES),
        ("t.json", LINES),
        ("t.json", ARRAY),
        ("t.json", f'{{"data": {ARRAY}}}\n'),
        ("t.json", json.dumps({"rows": ROWS})),
    ],
)
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_forms_that_are_read_alike(name: str, text: str, mark: bytes, tmp_path: Path) -> None:
    found = own(written(tmp_path / name, mark + text.encode()), "skip")
    assert [task.answer for task in found.world(0, 0).tasks] == [row["answer"] for row in ROWS]
    assert not found.notice


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.jsonl", LINES.encode("utf-16"), " is UTF-16 or UTF-32, not UTF-8: save it as UTF-8"),
        ("t.json", ARRAY.encode("utf-16-le"), " is UTF-16 or UTF-32, not UTF-8"),
        ("t.json", ARRAY.encode("latin-1"), ":6: not UTF-8: save the file as UTF-8"),
        ("t.jsonl", LINES.encode("latin-1"), ":1: not UTF-8: save the file as UTF-8"),
        ("t.jsonl", ARRAY, ":1: not a JSON object but a list: if the file is a JSON array, name"),
        ("t.json", ARRAY[:-9], ":24: row 4: not JSON: Expecting value (where the next row begins"),
        ("t.json", ARRAY + ARRAY, ":26: more follows the end of the JSON array"),
        ("t.json", '{"version": 1, "data": []}', ":1: not a JSON array of objects: put [ ] around"),
        ("t.json", '{"version": 1, "data": []}', "or save what stands under 'data' as the file"),
        ("t.json", '{"a":\n1}\n{"a":\n1}', ":1: not a JSON array of objects: put [ ] around"),
        ("t.json", '"x"', ":1: a JSON array of objects is expected"),
        ("t.json", "", ":1: a JSON array of objects is expected"),
    ],
)
def test_forms_that_are_refused_with_what_to_do(
    name: str, text: str | bytes, words: str, tmp_path: Path
) -> None:
    assert words in refusal(own(written(tmp_path / name, text)))


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("9" * 5000, "a whole number has more than 4300 digits: write it as a text"),
        ("-" + "9" * 4300, "order is -99"),
        (DEEP, "lists and objects are nested too deeply"),
        ("NaN", "order is nan: it must be a whole number of 64 bits"),
        ("-Infinity", "order is -inf: it must be a whole number"),
        ("1e999", "order is inf: it must be a whole number"),
        ('1, "order": 2', "the key 'order' stands twice in one object"),
        ('"\\udc00"', "order holds half of a character (a lone surrogate)"),
        ('{"a": [1, "\\ud83d"]}', "order.a[1] holds half of a character"),
        ('1, "\\ud83d": 1', "the key '\\ud83d' holds half of a character"),
    ],
)
def test_values_that_json_may_hold(value: str, words: str, tmp_path: Path) -> None:
    row = '{"id": "bad", "world": "w", "prompt": "\\ud83d\\ude00?", "answer": "x", "order": %s}'
    lines = LINES.splitlines()
    for name, text, at in (
        ("t.jsonl", "\n".join([lines[0], row % value, *lines[1:]]), ":2: "),
        ("t.json", ",\n".join(["[" + lines[0], row % value, *lines[1:]]) + "]", ":2: row 2: "),
    ):
        file = written(tmp_path / name, text)
        said = refusal(own(file))
        assert said.startswith(at) and words in said
        assert prompts(own(written(file, text.replace(value, "1")), "skip").world(0, 0))[1] == "😀?"
        written(file, text)
        if not (value == DEEP and name == "t.json"):
            assert len(own(file, "skip").world(0, 0).tasks) == 4


def test_a_lone_surrogate_is_refused_by_its_line() -> None:
    file = DATA / "surrogate.jsonl"
    assert refusal(own(file)).startswith(":4: prompt holds half of a character")
    left = own(file, "skip")
    assert len(left.world(0, 0).tasks) == 7
    assert left.notice.startswith(f"1 rows or worlds left out: {file}:4: ")


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("int id", ":1: row 1: question_id is 1: it must be a text"),
        ("null session", ":1: row 1: haystack_sessions[0] is null: it must be a list"),
    ],
)
def test_longmemeval_names_what_is_of_another_type(case: str, words: str, tmp_path: Path) -> None:
    rows = json.loads((DATA / "longmemeval-odd.json").read_text())[case]
    file = written(tmp_path / "l.json", json.dumps(rows))
    assert refusal(chats(file)).startswith(words)


def instances(**more: Any) -> list[dict[str, Any]]:
    first, second = json.loads((DATA / "longmemeval-odd.json").read_text())["int id"]
    return [first | {"question_id": "q0"} | more, second]


def test_longmemeval_drops_no_session_that_has_the_id_of_another(tmp_path: Path) -> None:
    rows = instances(haystack_session_ids=["s", "s", "t"], answer_session_ids=["s"])
    # The next instance shares t, and has an s of its own.
    rows[1] |= {"haystack_session_ids": ["t", "s", "s1_2"], "answer_session_ids": ["s"]}
    rows[1]["haystack_sessions"][0] = rows[0]["haystack_sessions"][2]
    world = chats(written(tmp_path / "l.json", json.dumps(rows))).world(0, 0)
    lessons = {task.id.rpartition("/")[2]: task.context for task in world.tasks if task.lesson}
    assert sorted(lessons) == ["s", "s#2", "s#3", "s1_2", "t"]
    said = {turn["content"] for row in rows for part in row["haystack_sessions"] for turn in part}
    assert all(any(text in lesson for lesson in lessons.values()) for text in said)
    asked = [task for task in world.tasks if not task.lesson]
    needs = [[need.rpartition("/")[2] for need in task.needs] for task in asked]
    assert needs == [["s", "s#2"], ["s#3"]]


def test_longmemeval_takes_no_list_for_an_answer(tmp_path: Path) -> None:
    file = written(tmp_path / "l.json", json.dumps(instances(answer=["blue", "azure"])))
    words = ":1: row 1: answer is a list: it must be a text or a number"
    assert refusal(chats(file)).startswith(words)
    world = chats(written(file, json.dumps(instances(answer=3)))).world(0, 0)
    assert next(task for task in world.tasks if not task.lesson).answer == "3"


@pytest.mark.parametrize(
    ("which", "read"),
    [
        ("all", "Book: Bob wrote it.\nAnn: No.\n"),
        ("supporting", "Book: Bob wrote it.\n"),
        ("none", ""),
    ],
)
def test_hotpotqa_as_its_publishers_have_it(which: str, read: str) -> None:
    path = str(DATA / "hotpotqa-official.json")
    more = {"labels_per_world": 9, "block": 9, "paragraphs": which}
    found = StreamBench(name="s", path=path, on_bad="stop", **BASE, **more)
    world = found.world(0, 0)
    assert prompts(world) == [f"{read}Who wrote book {n}?" for n in range(3)]
    assert [task.id for task in world.tasks] == [f"s-bridge/5a{n}" for n in range(3)]
    assert {task.group for task in world.tasks} == {"hard"}
    assert [found.score(world.tasks[0], said) for said in ("bob.", "Ann")] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("scorer", "words"),
    [
        ({"name": "result", "relative": "x"}, "scorer.relative is 'x': it must be a number"),
        ({"name": "result", "relativ": 1}, "unknown key 'scorer.relativ': did you mean 'relative'"),
        ({"name": "recall", "whole": 1}, "scorer.whole is 1: it must be true or false"),
        ({"name": "exact", "case": 1}, "unknown key 'scorer.case'"),
        ({"name": "regex", "pattern": "(" * 2000 + ")" * 2000}, "has too many brackets"),
        ({"name": "regex", "pattern": "((a{99}){99}){99}"}, "repeats a part more than 10000"),
    ],
)
def test_options_of_a_scorer_are_checked_as_the_file_is_read(
    scorer: dict[str, Any], words: str, tmp_path: Path
) -> None:
    rows = [ROWS[0], ROWS[1] | {"scorer": scorer, "answer": "[[1]]"}, *ROWS[2:]]
    said = refusal(own(written(tmp_path / "t.jsonl", "\n".join(map(json.dumps, rows)))))
    assert said.startswith(":2: ") and words in said


def test_a_row_of_parquet_that_is_wrong_is_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist([row | {"order": 0.5} for row in ROWS]), file)
    assert refusal(own(file)).startswith(":1: order is 0.5: it must be a whole number")
    assert all(isinstance(found, Record | Problem) for found in records(file))
