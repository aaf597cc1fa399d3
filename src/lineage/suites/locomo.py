"""LoCoMo: questions on conversations of many sessions (Maharana et al., ACL 2024).

Reads `locomo10.json` of the repository snap-research/locomo. A world is a conversation. A lesson is
one of its sessions, in order; a question needs the sessions that hold its evidence (`evidence`:
"D3:11" is in session 3). So *same* is a question whose sessions were all read, *similar* one on the
same conversation of which not all was read, *dissimilar* one on another conversation.

Scores are as published (`lineage.suites.published.locomo`): token F1 of stems; for multi-hop
questions the mean over the parts of the answer; an adversarial one is right where the worker says
that there is no such information.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lineage.suites.filesuite import FileSuite
from lineage.suites.formats import Answer, Described, Differs, Text, read
from lineage.suites.options import Category
from lineage.suites.records import Problem, Record
from lineage.suites.rows import Row

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
SESSION = re.compile(r"session_(\d{1,9})", re.ASCII)
EVIDENCE = re.compile(r"D:?(\d{1,9})(?!\d)", re.ASCII)


FORMAT = "not the format of LoCoMo's locomo10.json"


class _Turn(Described):
    speaker: str = "?"
    text: str = ""
    blip_caption: str | None = None


class _Conversation(Described):
    sample_id: Text
    conversation: dict[str, Any]  # session_N: turns, session_N_date_time, and names of speakers
    qa: list[Any]


class _Question(Described):
    question: Text
    category: Category
    answer: Answer | None = None
    evidence: list[str] | None = None


@dataclass(frozen=True)
class Locomo(FileSuite):
    """Questions on long conversations that are read session by session (LoCoMo)."""

    source: ClassVar[str] = "locomo10.json of the repository snap-research/locomo, folder data"

    def rows(self, record: Record) -> Iterator[Row | Problem]:
        """Yield the lessons and questions of one conversation."""
        talk: _Conversation = read(_Conversation, record.value, needs=FORMAT)
        sessions = _sessions(talk.conversation)
        for number, text in sessions.items():
            yield Row(
                at=record.at,
                id=_lesson(talk.sample_id, number),
                world=talk.sample_id,
                group=f"session {number}",
                order=number,
                context=text,
                category="session",
            )
        for number, raw in enumerate(talk.qa):
            try:
                asked = read(_Question, raw, "qa", number, needs=FORMAT)
                yield _question(record.at, talk.sample_id, number, asked, list(sessions))
            except Differs as error:
                yield Problem(record.at, str(error))


def _lesson(sample: str, number: int) -> str:
    return f"{sample}/session-{number}"


def _sessions(talk: dict[str, Any]) -> dict[int, str]:
    """Return each session as text, a line a turn; a picture is told by its caption."""
    found: dict[int, str] = {}
    for number, key in sorted((int(m[1]), m[0]) for m in map(SESSION.fullmatch, talk) if m):
        turns: list[_Turn] = read(list[_Turn], talk[key], "conversation", key, needs=FORMAT)
        day = f"{key}_date_time"
        told = read(str, talk.get(day, "an unknown day"), "conversation", day, needs=FORMAT)
        if number in found:
            raise Differs(f"conversation.{key} is session {number} a second time: number it anew")
        if turns:
            found[number] = "\n".join((f"Conversation of {told}", *map(_line, turns)))
    return found


def _line(turn: _Turn) -> str:
    seen = f" (shares a picture: {turn.blip_caption})" if turn.blip_caption else ""
    return f"{turn.speaker}: {turn.text}{seen}"


def _question(at: str, sample: str, number: int, asked: _Question, sessions: list[int]) -> Row:
    category = CATEGORIES[asked.category]
    answer = "not mentioned" if category == "adversarial" else asked.answer
    if answer is None:
        raise Differs(f"no qa[{number}].answer: a question of category {asked.category} needs it")
    text = answer.split(";")[0] if category == "open-domain" else answer
    evidence = {int(n) for part in asked.evidence or () for n in EVIDENCE.findall(part)}
    needed = sorted(evidence & set(sessions))
    return Row(
        at=at,
        id=f"{sample}/question-{number}",
        world=sample,
        group=f"session {needed[0]}" if needed else "",
        prompt=asked.question,
        answers=(text.strip(),),
        scorer="locomo",
        options={"category": asked.category},
        category=category,
        needs=tuple(_lesson(sample, n) for n in needed),
    )
