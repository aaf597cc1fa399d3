"""What a log says about the skills of its versions: each skill's outcomes, one a decision.

Prompts are read as the surrogate reads them (`lineage.models.behaviour`), so a log of the surrogate
itself is told by the skills that it had. Where a skill fails the surrogate may still do by chance
what the skill would have done: with probability `chance + slope * skill`, told with each outcome.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any

import duckdb

from lineage.core.errors import LineageError
from lineage.core.facts import normalised
from lineage.models.behaviour import (
    ASKS_FOR_DOC,
    COMMON,
    ORDER,
    best_title,
    block,
    find_values,
    known_sentences,
    shown_facts,
    subject_and_value,
    words_of,
)

ANSWERS = """\
SELECT s.folder, s.pair, s.arm, s.version, s.generation, s.phase, coalesce(s.family, '') AS family,
       s.prompt, s.completion, s.answer, s.score, s.knowledge_before AS knowledge
FROM steps s JOIN runs r ON r.folder = s.folder AND r.kind = 'run'
WHERE s.kind IN ('act', 'probe') AND s.phase IN ('work', 'probe') AND s.error = ''
  AND s.answer <> '' AND s.score IS NOT NULL
ORDER BY s.folder, s.step_id
"""
WRITINGS = """\
SELECT s.folder, s.pair, s.version, s.kind, s.episode, s.prompt, s.completion
FROM steps s JOIN runs r ON r.folder = s.folder AND r.kind = 'run'
WHERE s.error = '' AND s.prompt <> '' AND (
    (s.kind = 'handoff' AND s.phase = 'handoff') OR s.kind = 'open')
ORDER BY s.folder, s.step_id
"""
AT_ONCE = 1024
"""Rows that are held at a time: each has a prompt."""
GUESS = 0.5
"""Chance that a surrogate that recalls nothing says some value that it sees."""
MARKS = re.compile(r"<[^<>\s]*>|\[/?[A-Z]+\]")
ROLES = frozenset(("", "assistant", "model", "user"))


@dataclass(frozen=True)
class Outcome:
    """One decision with a skill. `place` is that of the number of notes, in log2 above 2: for
    `recall` alone, whose chance is told at 2, 4, 8 and 16 notes. `doc`: it was about a doc."""

    folder: str
    pair: int
    version: str
    skill: str
    success: bool
    chance: float = 0.0
    slope: float = 0.0
    place: float = 0.0
    doc: bool = False


@dataclass(frozen=True)
class Answer:
    """One answer with a score, and what the surrogate would go by.

    `source` is what the prompt holds: `direct` (a note with the answer), `kin`, or `none`; `right`
    whether that would be right, and `share` how many of the values in sight are. `place`: as in
    `Outcome`. `said` is whether the version said the direct note's value. `ordered` is whether an
    order among the notes asks for the right answer; None: there is no order. `note` is the note
    with the answer, `position` its place among all from 0 to 1, `bare` whether it is one sentence
    and nothing more, and `number` whether what it says is one.
    """

    folder: str
    pair: int
    arm: str
    version: str
    generation: int
    phase: str
    family: str
    score: float
    notes: int
    place: float
    source: str
    right: bool
    share: float
    said: bool
    ordered: bool | None
    position: float = 0.0
    bare: bool = False
    number: bool = False
    knowledge: str = ""
    note: str = ""


def read_answers(log: duckdb.DuckDBPyConnection) -> tuple[list[Answer], list[Outcome]]:
    """Return the answers of `log`, and the outcomes of recall, infer and obey in them."""
    answers, outcomes = list[Answer](), list[Outcome]()
    for row in _rows(log, ANSWERS):
        answer, told = _answer(row)
        answers.append(answer)
        outcomes += told
    if not answers:
        raise LineageError("nothing to fit on: no answer in these runs has a score")
    return answers, outcomes


def read_writings(log: duckdb.DuckDBPyConnection) -> list[Outcome]:
    """Return the outcomes of write, edit and open in `log`."""
    found: list[Outcome] = []
    for row in _rows(log, WRITINGS):
        about = (row["folder"], row["pair"], row["version"])
        prompt, completion = row["prompt"], row["completion"]
        if row["kind"] == "open":
            found += _opened(about, prompt, completion)
        elif row["episode"].startswith("d"):
            found += _written_doc(about, prompt, completion)
        else:
            found += _written_notes(about, prompt, completion)
    return found


def question_of(prompt: str) -> str:
    """Return the last line of `prompt` that is no mark of a chat template."""
    for line in reversed(prompt.splitlines()):
        text = MARKS.sub("", line).strip()
        if text not in ROLES:
            return text
    return ""


def place_of(notes: int) -> float:
    """Return where so many notes stand between the numbers at which recall is told: 0 to 3."""
    return min(max(log2(max(notes, 1)) - 1.0, 0.0), 3.0)


def _rows(log: duckdb.DuckDBPyConnection, sql: str) -> Iterator[dict[str, Any]]:
    result = log.cursor().execute(sql)
    names = [column[0] for column in result.description or ()]
    while rows := result.fetchmany(AT_ONCE):
        for row in rows:
            yield dict(zip(names, row, strict=True))


def _answer(row: dict[str, Any]) -> tuple[Answer, list[Outcome]]:
    notes, question = known_sentences(row["prompt"]), question_of(row["prompt"])
    direct, kin = find_values(notes, question)
    values = [value for note in notes if (value := subject_and_value(note)[1])]
    orders = [_ordered(note) for note in notes if note.startswith(ORDER)]
    value, source = (direct, "direct") if direct else (kin, "kin") if kin else ("", "none")
    place, right = place_of(len(notes)), row["answer"]
    at, note = _note(notes, question) if direct else (0, "")
    said = says(row["completion"], value, values)
    about = (row["folder"], row["pair"], row["version"])
    told = []
    if orders:
        obeyed = any(says(row["completion"], one.strip(",;"), values) for one in orders[0])
        told.append(Outcome(*about, "obey", obeyed, GUESS * _share(values, orders[0][0])))
    elif source != "none":
        skill = "recall" if direct else "infer"
        told.append(Outcome(*about, skill, said, GUESS * _share(values, value), place=place))
    answer = Answer(
        *about[:2],
        row["arm"],
        row["version"],
        row["generation"],
        row["phase"],
        row["family"],
        row["score"],
        len(notes),
        place,
        source,
        _same(value, right),
        _share(values, right),
        said,
        _same(orders[0][1], right) if orders else None,
        at / max(len(notes) - 1, 1),
        note.strip() == f"{subject_and_value(note)[0]} is {value}.",
        value.isdigit(),
        row["knowledge"],
        note,
    )
    return answer, told


def _ordered(note: str) -> tuple[str, str]:
    """Return what a surrogate says that obeys the order `note`, and what a model does."""
    return subject_and_value(note)[1], note.rstrip(". ").rpartition(" ")[2]


def _note(notes: Sequence[str], question: str) -> tuple[int, str]:
    """Return the last note that answers `question`, and its place among all."""
    asked = words_of(question)
    found = [
        (place, note)
        for place, note in enumerate(notes)
        if subject_and_value(note)[1] and not asked - words_of(subject_and_value(note)[0])
    ]
    return found[-1]


def says(text: str, value: str, values: Sequence[str]) -> bool:
    """Whether the first line of `text` says `value` and no other of `values` of its kind."""
    line = (text.strip().splitlines() or [""])[0].lower()
    said = set(re.findall(r"\w+(?:[-.]\w+)*", line))
    others = {v.lower() for v in values if v.isdigit() == value.isdigit()} - COMMON
    return bool(value) and value.lower() in said and said & others <= {value.lower()}


def _same(value: str, other: str) -> bool:
    return bool(value) and value.lower() == other.lower()


def _share(values: Sequence[str], value: str) -> float:
    return sum(_same(one, value) for one in values) / len(values) if values else 0.0


def _edits(completion: str) -> list[dict[str, Any]] | None:
    """Return the edits that a version wrote, None where they are none."""
    try:
        edits = json.loads(completion)["edits"]
        return [edit for edit in edits if isinstance(edit, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _written_notes(about: tuple[str, int, str], prompt: str, completion: str) -> Iterator[Outcome]:
    """Yield what became of the fact of an episode; of requests about several, nothing is told."""
    facts, edits = shown_facts(prompt), _edits(completion)
    if len(facts) != 1 or edits is None:
        return
    right, fact = facts[0]
    notes = dict(note.split(": ", 1) for note in block(prompt, "notes") if ": " in note)
    texts = [str(edit["text"]) for edit in edits if "text" in edit]
    if texts:
        whole = normalised(fact).rstrip(".")
        yield Outcome(*about, "write", any(_holds(text, whole) for text in texts))
    held = any(fact in note for note in notes.values())
    stale = {i for i, note in notes.items() if note.split(" is ")[0] == fact.split(" is ")[0]}
    if right or held:
        yield Outcome(*about, "edit", not edits)
    elif stale:
        revised = any(e.get("op") == "revise" and e.get("id") in stale for e in edits)
        yield Outcome(*about, "edit", revised)


def _written_doc(about: tuple[str, int, str], prompt: str, completion: str) -> Iterator[Outcome]:
    edits = _edits(completion)
    if not edits:
        return
    body = edits[0].get("body", "")
    text = "\n".join(map(str, body)) if isinstance(body, list) else str(body)
    for _, fact in shown_facts(prompt):
        whole = _holds(text, normalised(fact).rstrip("."))
        yield Outcome(*about, "write", whole, doc=True)


def _holds(text: str, whole: str) -> bool:
    """Whether `text` holds the words of `whole` where no word goes on."""
    return re.search(rf"(?<!\w){re.escape(whole)}(?!\w|[-.]\w)", normalised(text)) is not None


def _opened(about: tuple[str, int, str], prompt: str, completion: str) -> Iterator[Outcome]:
    """Yield whether the right doc was opened of those offered, or none where none is needed."""
    asked, offered, rest = prompt.rpartition("\n<docs")
    if not offered or ASKS_FOR_DOC not in rest:
        return
    found, index = block(f"<docs{rest}", "docs"), block(asked, "docs")
    question = question_of(asked)
    best, by_chance = best_title(found, question, index) or "none", 1 / (len(found) + 1)
    if find_values(known_sentences(asked), question)[0]:
        slope = float(best == "none") - by_chance
        yield Outcome(*about, "open", completion == "none", by_chance, slope)
    else:
        yield Outcome(*about, "open", completion == best, by_chance)
