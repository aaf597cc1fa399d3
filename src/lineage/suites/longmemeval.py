"""LongMemEval: questions on long chat histories (Wu et al., ICLR 2025).

Reads `longmemeval_oracle.json`, `longmemeval_s*.json` or `longmemeval_m*.json`. An instance has a
question and a history of its own, so a world is `questions_per_world` instances in the order of the
file, with their sessions as lessons by date: one that several instances share is read once, and no
other is left out, whatever its id. A question needs the sessions that hold its evidence
(`answer_session_ids`): *same* once all of them were read, *similar* before, *dissimilar* of another
world. The category is the question's type, or "abstention" (ids that end in `_abs`).

Published scores come from a judge (GPT-4o). Here a version of the fleet judges where `judge` names
one; without, token F1 stands in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lineage.core.fields import Count
from lineage.suites.filesuite import FileSuite
from lineage.suites.formats import Answer, Described, Differs, Text, read
from lineage.suites.records import Problem, Record
from lineage.suites.rows import Row

FORMAT = "not the format of LongMemEval's files"


class _Turn(Described):
    role: str = "?"
    content: str = ""


class _Instance(Described):
    question_id: Text
    question_type: str
    question: Text
    answer: Answer
    question_date: str
    haystack_session_ids: list[Text]
    haystack_dates: list[str]
    haystack_sessions: list[list[_Turn]]
    answer_session_ids: list[str]


@dataclass(frozen=True)
class _Session:
    name: str  # its id, with a number where another session has the id too
    date: str
    at: str
    turns: Sequence[_Turn]


@dataclass(frozen=True)
class LongMemEval(FileSuite):
    """Questions on long chat histories that are read session by session (LongMemEval)."""

    source: ClassVar[str] = (
        "longmemeval_oracle.json or longmemeval_s_cleaned.json of xiaowu0162/LongMemEval"
    )
    questions_per_world: Count
    judge: str  # the version that judges answers; empty: token F1

    def all_rows(self) -> Iterator[Row | Problem]:
        """Yield the rows of one world after another."""
        held: list[tuple[Record, _Instance]] = []
        number = 0
        for found in self.made(_instance):
            if isinstance(found, Problem):
                yield found
                continue
            held.append(found)
            if len(held) == self.questions_per_world:
                yield from self._world_rows(f"{number:04d}", held)
                held, number = [], number + 1
        if held:
            yield from self._world_rows(f"{number:04d}", held)

    def _world_rows(
        self, world: str, held: Sequence[tuple[Record, _Instance]]
    ) -> Iterator[Row | Problem]:
        sessions: dict[str, list[_Session]] = {}
        needed = [_met(sessions, record, value) for record, value in held]
        every = (session for each in sessions.values() for session in each)
        for order, session in enumerate(sorted(every, key=lambda one: (one.date, one.name))):
            yield Row(
                at=session.at,
                id=f"{world}/{session.name}",
                world=world,
                group=session.name,
                order=order,
                context=_text(session),
                category="session",
            )
        for (record, value), names in zip(held, needed, strict=True):
            yield self._question(world, record, value, names)

    def _question(self, world: str, record: Record, value: _Instance, needed: Sequence[str]) -> Row:
        abstains = value.question_id.endswith("_abs")
        return Row(
            at=record.at,
            id=f"{world}/{value.question_id}",
            world=world,
            group=needed[0] if needed else "",
            prompt=f"(Asked on {value.question_date}.) {value.question}",
            answers=(value.answer,),
            scorer="judge" if self.judge else "f1",
            options={"version": self.judge} if self.judge else {},
            category="abstention" if abstains else value.question_type,
            needs=tuple(f"{world}/{name}" for name in needed),
        )


def _instance(record: Record) -> tuple[Record, _Instance]:
    value: _Instance = read(_Instance, record.value, needs=FORMAT)
    ids, dates = len(value.haystack_session_ids), len(value.haystack_dates)
    if not ids == dates == len(value.haystack_sessions):
        raise Differs("haystack_session_ids, haystack_dates and haystack_sessions differ in length")
    return record, value


def _met(sessions: dict[str, list[_Session]], record: Record, value: _Instance) -> list[str]:
    """Add to `sessions`, by id, those of an instance; return the names of its evidence.

    A session of the same id and turns in another instance is the same one.
    """
    names: dict[str, list[str]] = {}
    lists = (value.haystack_session_ids, value.haystack_dates, value.haystack_sessions)
    for id, date, turns in zip(*lists, strict=True):
        known, own = sessions.setdefault(id, []), names.setdefault(id, [])
        same = (one.name for one in known if one.turns == turns and one.name not in own)
        name = next(same, "")
        if not name:
            name = f"{id}#{len(known) + 1}" if known else id
            known.append(_Session(name, date, record.at, turns))
        own.append(name)
    return [name for id in value.answer_session_ids for name in names.get(id, ())]


def _text(session: _Session) -> str:
    """Return one session as text, a line a turn."""
    lines = (f"{turn.role}: {turn.content}" for turn in session.turns)
    return "\n".join((f"Chat of {session.date}", *lines))
