"""LongMemEval: questions on long chat histories (Wu et al., ICLR 2025).

Reads `longmemeval_oracle.json`, `longmemeval_s*.json` or `longmemeval_m*.json`. An instance has a
question and a history of its own, so a world is `questions_per_world` instances in the order of the
file, with their sessions as lessons by date. A question needs the sessions that hold its evidence
(`answer_session_ids`): *same* once all of them were read, *similar* before, *dissimilar* of another
world. The category is the question's type, or "abstention" (ids that end in `_abs`).

Published scores come from a judge (GPT-4o). Here a version of the fleet judges where `judge` names
one; without, token F1 stands in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lineage.suites.checks import require_counts
from lineage.suites.filesuite import FileSuite
from lineage.suites.records import Problem, Record, records
from lineage.suites.rows import Row

LISTS = ("haystack_session_ids", "haystack_dates", "haystack_sessions", "answer_session_ids")
KEYS = ("question_id", "question_type", "question", "answer", "question_date", *LISTS)


@dataclass(frozen=True)
class LongMemEval(FileSuite):
    """Questions on long chat histories that are read session by session (LongMemEval)."""

    questions_per_world: int
    judge: str  # the version that judges answers; empty: token F1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_counts(self, "questions_per_world")

    def all_rows(self) -> Iterator[Row | Problem]:
        """Yield the rows of one world after another."""
        held: list[Record] = []
        number = 0
        for record in records(self.file):
            wrong = "" if isinstance(record, Problem) else _wrong(record.value)
            if isinstance(record, Problem) or wrong:
                yield record if isinstance(record, Problem) else Problem(record.line, wrong)
                continue
            held.append(record)
            if len(held) == self.questions_per_world:
                yield from self._world_rows(f"{number:04d}", held)
                held, number = [], number + 1
        if held:
            yield from self._world_rows(f"{number:04d}", held)

    def rows(self, record: Record) -> Iterator[Row | Problem]:
        """Not used: several records make a world."""
        raise NotImplementedError

    @property
    def source(self) -> str:
        """Which file is wanted, for an error's advice."""
        return "longmemeval_oracle.json or longmemeval_s_cleaned.json of xiaowu0162/LongMemEval"

    def _world_rows(self, world: str, held: Sequence[Record]) -> Iterator[Row | Problem]:
        sessions: dict[str, tuple[str, int, Any]] = {}
        for record in held:
            value = record.value
            several = (value[key] for key in LISTS[:3])
            for id, date, turns in zip(*several, strict=True):
                # Instances may share a session.
                sessions.setdefault(id, (str(date), record.line, turns))
        by_date = sorted(sessions, key=lambda id: (sessions[id][0], id))
        for order, id in enumerate(by_date):
            date, line, turns = sessions[id]
            yield Row(
                line=line,
                id=f"{world}/{id}",
                world=world,
                group=id,
                order=order,
                context=_text(date, turns),
                category="session",
            )
        for record in held:
            yield self._question(world, record, sessions.keys())

    def _question(self, world: str, record: Record, sessions: Any) -> Row:
        value = record.value
        abstains = value["question_id"].endswith("_abs")
        needed = [id for id in value["answer_session_ids"] if id in sessions]
        return Row(
            line=record.line,
            id=f"{world}/{value['question_id']}",
            world=world,
            group=needed[0] if needed else "",
            prompt=f"(Asked on {value['question_date']}.) {value['question']}",
            answers=(str(value["answer"]),),
            scorer="judge" if self.judge else "f1",
            options={"version": self.judge} if self.judge else {},
            category="abstention" if abstains else value["question_type"],
            needs=tuple(f"{world}/{id}" for id in needed),
        )


def _wrong(value: dict[str, Any]) -> str:
    """Return how an instance differs from the format, "" where it does not."""
    missing = [key for key in KEYS if key not in value]
    missing += [f"{key} as a list" for key in LISTS if not isinstance(value.get(key, []), list)]
    if missing:
        found = ", ".join(sorted(value)[:8])
        return f"no {missing[0]}: not the format of LongMemEval's files (found {found})"
    lengths = {len(value[key]) for key in LISTS[:3]}
    if len(lengths) > 1:
        return "haystack_session_ids, haystack_dates and haystack_sessions differ in length"
    return ""


def _text(date: str, turns: Any) -> str:
    """Return one session as text, a line a turn."""
    lines = (f"{turn.get('role', '?')}: {turn.get('content', '')}" for turn in turns)
    return "\n".join((f"Chat of {date}", *lines))
