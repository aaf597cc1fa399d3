"""A history from elsewhere, as migrations need it: its episodes, and questions that they settle.

It is kept in one file of episodes, named by its content, so that a run goes on with what it began
with though the logs have grown since.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lineage.agent.history import Exchange, Experience, Past, Trace
from lineage.core.config import StartConfig
from lineage.core.errors import LineageError
from lineage.core.files import atomic_write, mark
from lineage.core.jsonfile import parse_json, read_file
from lineage.core.knowledge import Knowledge, Memory, Origin
from lineage.core.tasks import Task
from lineage.runs.evidence import SENTENCE_END
from lineage.runs.sessions import Told
from lineage.search.bm25 import terms
from lineage.search.relevance import EMPTY_WORDS
from lineage.suites.drafts import GAP, draft
from lineage.suites.rows import Row

FOLDER = "histories"
"""Below `run.cache`: the files of histories."""
DIGITS = 16
WORLD = "history"
TELLING = 2
"""Words of a question that tell what it is about, at least: "What is that?" asks nothing."""
MOST_ASKED = 16
"""Questions of one episode."""
OPENING = re.compile(r"^(?:no|nope|yes|right|wrong|incorrect|actually|ok)\b[,:;.!]*\s+", re.I)
BY = Origin(0, "session", "")


@dataclass(frozen=True)
class History:
    """Episodes, oldest first, and the questions that they tell the answers of, as past tasks."""

    past: tuple[Past, ...] = ()
    asked: tuple[Past, ...] = ()


def settled(told: Told) -> tuple[tuple[str, str], ...]:
    """Return the questions, with their answers, that the sentences of an episode tell.

    They are drafted without a model from what says that something is something (see
    `lineage.suites.drafts`): results of tools, the last answer, and what the user said to it.
    """
    said = [result for _, result in told.exchanges] + [told.answer] * told.right + [told.feedback]
    sentences = [OPENING.sub("", one.strip()) for text in said for one in SENTENCE_END.split(text)]
    entries = tuple(Memory(f"m{n}", text, BY, BY) for n, text in enumerate(sentences) if text)
    rows = (row for row in draft(Knowledge(memories=entries)) if GAP not in row["prompt"])
    found = {row["prompt"]: row["answer"] for row in rows if _telling(row["prompt"])}
    return tuple(found.items())[-MOST_ASKED:]


def _telling(question: str) -> bool:
    return len({*terms(question)} - EMPTY_WORDS - {"what"}) >= TELLING


def keep(episodes: Sequence[Told], cache: Path) -> tuple[Path, str]:
    """Write `episodes` below `cache`, and return the file and the digits that its content has."""
    text = "".join(json.dumps(asdict(one)) + "\n" for one in episodes)
    digits = hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
    file = cache / FOLDER / f"{digits}.jsonl"
    mark(cache)
    atomic_write(file, text.encode())
    return file, digits


def history_of(start: StartConfig) -> History:
    """Return the history that `start` names, none where it names none.

    Raises LineageError where its file is not there, or is not what was kept.
    """
    if not start.history:
        return History()
    file = Path(start.history)
    if not file.is_file():
        raise LineageError(f"{file}, the history of this run, is gone: begin anew with --history")
    data = read_file(file)
    if hashlib.sha256(data).hexdigest()[:DIGITS] != start.history_hash:
        raise LineageError(f"{file} is not the history that this run began with: begin anew")
    rows = [parse_json(line, str(file), dict[str, Any]) for line in data.splitlines()]
    return as_history(_told(row) for row in rows)


def _told(row: dict[str, Any]) -> Told:
    pairs = {key: tuple((a, b) for a, b in row[key]) for key in ("exchanges", "asked")}
    return Told(**{**row, **pairs})


def as_history(episodes: Iterable[Told]) -> History:
    """Return `episodes` as a lineage remembers its own; each session is a generation of it.

    What is settled twice is as the later episode says.
    """
    sessions: dict[str, int] = {}
    past, asked = list[Past](), dict[str, str]()
    for number, one in enumerate(episodes):
        generation = sessions.setdefault(one.session, len(sessions))
        task = _task(f"e{number:04d}", one.prompt, "")
        trace = Trace("", tuple(Exchange(*pair) for pair in one.exchanges))
        experience = Experience(
            one.prompt, one.answer, one.feedback, one.right, context=one.context, trace=trace
        )
        past.append(Past(task.id, generation, one.version, task, experience, ""))
        for question, answer in one.asked:
            asked.pop(question, None)
            asked[question] = answer
    return History(tuple(past), tuple(_asked(n, *pair) for n, pair in enumerate(asked.items())))


def _asked(number: int, question: str, answer: str) -> Past:
    task = _task(f"q{number:04d}", question, answer)
    return Past(task.id, 0, WORLD, task, Experience(question, answer, "", True), "")


def _task(id: str, prompt: str, answer: str) -> Task:
    row = Row("", id, WORLD, prompt=prompt, answers=(answer,), scorer="contains")
    return Task(f"{WORLD}/{id}", WORLD, prompt, answer, check=row)
