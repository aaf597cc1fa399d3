"""Every key of every format with values of every wrong kind: read, or refused in one line."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from helpers import FULL

from lineage.core.errors import LineageError
from lineage.suites.cladder import Cladder
from lineage.suites.filesuite import FileSuite
from lineage.suites.finance import Finance
from lineage.suites.jsonl import Jsonl
from lineage.suites.locomo import Locomo
from lineage.suites.longmemeval import LongMemEval
from lineage.suites.memoryagentbench import MemoryAgentBench
from lineage.suites.streambench import StreamBench

DATA = Path(__file__).parent / "data"
Way = tuple[str | int, ...]
HOLE = "@@hole@@"
WRONG = {
    "null": "null",
    "true": "true",
    "whole": "7",
    "huge": "9" * 5000,
    "float": "0.5",
    "overflow": "1e999",
    "nan": "NaN",
    "empty": '""',
    "text": '"x"',
    "surrogate": '"a\\ud83d"',
    "list": "[]",
    "texts": '["x", "y"]',
    "nested": '[["x", 1], [null]]',
    "object": "{}",
    "other": '{"x": [{"y": 1}]}',
    "deep": "[" * 3000 + "]" * 3000,
}
"""Values as they are written in JSON."""
LONGEST = 400
"""Characters of a line."""
SHARE, FEW = 4, 90
"""Of so many cases one is tried where not all are, and all of fewer cases: some of each key, and
some of each value."""


@dataclass(frozen=True)
class Format:
    """A suite with rows that it reads, of which the first is changed."""

    suite: FileSuite
    rows: list[Any]
    lines: bool = False

    def text(self, first: str) -> str:
        rows = [first, *map(json.dumps, self.rows[1:])]
        return "\n".join(rows) if self.lines else f"[{', '.join(rows)}]"


BASE: dict[str, Any] = {
    "instructions": "", "path": "", "world_tasks": 9, "answer_chars": 999, "on_bad": "stop"
}
CLADDER = {"world_by": ["query_type"], "group_by": ["graph_id"], "feedback_tells": "reasoning"}
FINANCE = {"formulas_per_world": 1, "min_tasks": 2, "show_formula": False}
STREAM = {"labels_per_world": 9, "block": 9, "paragraphs": "all"}


def sample(kind: type[FileSuite], file: str, most: int = 3, **more: Any) -> Format:
    made = kind(name=file.partition(".")[0], **BASE, **more)
    text = (DATA / file).read_text()
    lines = file.endswith(".jsonl")
    rows = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    return Format(made, rows[:most], lines)


def talk(found: Format) -> Format:
    """Return LoCoMo's sample with one session, and a question of each category."""
    (row,) = found.rows
    asked = {question["category"]: question for question in row["qa"]}
    kept = re.compile(r"speaker|session_1(?!\d)")
    said = {key: held for key, held in row["conversation"].items() if kept.match(key)}
    found.rows[0] = {"sample_id": "c", "qa": list(asked.values()), "conversation": said}
    return found


def own(scorer: Any, answer: str | list[str]) -> Format:
    first = {"id": "q", "world": "w", "prompt": "?", "answer": answer, "scorer": scorer}
    if scorer == "exact":
        first |= {"group": "g", "category": "c", "order": 1, "context": "Read.", "needs": ["l"]}
        first["facts"] = ["It is x.", {"key": "k", "value": "v", "text": "It is v."}]
    lesson = {"id": "l", "world": "w", "context": "Read."}
    others = ({"id": f"q{n}", "world": "w", "prompt": "?", "answer": "x"} for n in range(2))
    return Format(Jsonl(name="jsonl", **BASE), [first, lesson, *others], True)


FORMATS: dict[str, Callable[[], Format]] = {
    "cladder": lambda: sample(Cladder, "cladder.json", most=2, min_tasks=1, **CLADDER),
    "finance": lambda: sample(Finance, "finance-formula.jsonl", **FINANCE),
    "locomo": lambda: talk(sample(Locomo, "locomo10.json", most=1)),
    "longmemeval": lambda: sample(
        LongMemEval, "longmemeval_oracle.json", most=2, questions_per_world=2, judge=""
    ),
    "memoryagentbench": lambda: sample(
        MemoryAgentBench, "memoryagentbench.json", most=1, chunk_chars=9999, judge=""
    ),
    "ddxplus": lambda: sample(StreamBench, "streambench-ddxplus.jsonl", **STREAM),
    "hotpotqa": lambda: sample(StreamBench, "streambench-hotpotqa.json", most=4, **STREAM),
    "hotpotqa, official": lambda: sample(StreamBench, "hotpotqa-official.json", **STREAM),
    "gsm8k": lambda: sample(StreamBench, "streambench-gsm8k.jsonl", **STREAM),
    "jsonl": lambda: own("exact", ["x", "y"]),
    "numeric": lambda: own({"name": "numeric", "absolute": 0.1, "relative": 0}, "3"),
    "choice": lambda: own({"name": "choice", "choices": ["x", "y"]}, "x"),
    "regex": lambda: own({"name": "regex", "pattern": "x+"}, "x"),
    "result": lambda: own({"name": "result", "relative": 0.1, "ordered": True}, "[[1]]"),
    "recall": lambda: own({"name": "recall", "whole": True}, ["x", "y"]),
    "judge": lambda: own({"name": "judge", "version": "base@r0"}, "x"),
    "prefix": lambda: own({"name": "prefix", "choices": ["x", "y"], "none": ["z"]}, "x"),
    "locomo's rule": lambda: own({"name": "locomo", "category": 1}, "x"),
    "a metric": lambda: own({"name": "memoryagentbench", "metric": "ruler_recall"}, "x"),
    "another": lambda: own({"name": "hotpotqa", "metric": "f1"}, "x"),
}


def ways(value: Any, way: Way = ()) -> Iterator[Way]:
    """Yield the way to each key at any depth; of a list to its first two values."""
    if isinstance(value, dict):
        below: Iterator[tuple[str | int, Any]] = iter(value.items())
    elif isinstance(value, list):
        below = iter(list(enumerate(value))[:2])
    else:
        return
    for key, held in below:
        yield (*way, key)
        yield from ways(held, (*way, key))


def changed(row: Any, way: Way) -> Iterator[tuple[str, str]]:
    """Yield the row as JSON with each wrong value at `way`: also missing, twice, and renamed."""
    copy = json.loads(json.dumps(row))
    holder = copy
    for key in way[:-1]:
        holder = holder[key]
    kept = holder[way[-1]]
    holder[way[-1]] = HOLE
    text = json.dumps(copy)
    for kind, value in WRONG.items():
        yield kind, text.replace(f'"{HOLE}"', value)
    del holder[way[-1]]
    yield "missing", json.dumps(copy)
    if isinstance(way[-1], str):
        name, value = json.dumps(way[-1]), json.dumps(kept)
        yield "twice", text.replace(f'"{HOLE}"', f"{value}, {name}: {value}")
        yield "renamed", text.replace(f'{name}: "{HOLE}"', f'"\\ud83d": {value}')


def load(suite: FileSuite) -> None:
    """Read the file, and use what was read as a run would."""
    world = suite.world(0, 0)
    for task in world.tasks:
        "".join((task.id, task.group, task.prompt, task.context)).encode()
    asked = next(task for task in world.tasks if not task.lesson)
    suite.score(asked, "x")
    suite.feedback(asked, world, 0.0).encode()


def outcome(suite: FileSuite, file: Path) -> str:
    """Return "read", "refused", or what was raised otherwise."""
    try:
        load(replace(suite, path=str(file)))
    except LineageError as error:
        line = str(error)
        good = line.startswith(str(file)) and line.isprintable() and len(line) < LONGEST
        return "refused" if good else f"says {line[:LONGEST]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:120]
    return "read"


@pytest.mark.parametrize("name", FORMATS)
def test_a_wrong_value_anywhere_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    given = FORMATS[name]()
    file = tmp_path / f"rows.{'jsonl' if given.lines else 'json'}"
    found: Counter[str] = Counter()
    bad = []
    cases = [(way, *one) for way in ways(given.rows[0]) for one in changed(given.rows[0], way)]
    tried = cases if FULL or len(cases) < FEW else cases[::SHARE]
    assert {way for way, _, _ in tried} == set(ways(given.rows[0]))
    assert {kind for _, kind, _ in tried} == {kind for _, kind, _ in cases}
    for way, kind, first in tried:
        file.write_text(given.text(first))
        said = outcome(given.suite, file)
        found[said if said in ("read", "refused") else "wrong"] += 1
        if said not in ("read", "refused"):
            bad.append((way, kind, said))
    assert not bad, f"{len(bad)} of {found.total()}: {bad[:9]}"
    assert found["read"] and found["refused"] > found.total() / 4, found
