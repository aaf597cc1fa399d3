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
from typing import Any

from lineage.suites.filesuite import FileSuite
from lineage.suites.records import Problem, Record
from lineage.suites.rows import Row

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
SESSION = re.compile(r"session_(\d+)")
EVIDENCE = re.compile(r"D:?(\d+)")


@dataclass(frozen=True)
class Locomo(FileSuite):
    """Questions on long conversations that are read session by session (LoCoMo)."""

    def rows(self, record: Record) -> Iterator[Row | Problem]:
        """Yield the lessons and questions of one conversation."""
        sample, talk = record.value.get("sample_id"), record.value.get("conversation")
        asked = record.value.get("qa")
        if not isinstance(sample, str) or not isinstance(talk, dict) or not isinstance(asked, list):
            found = ", ".join(sorted(record.value)[:8])
            yield Problem(
                record.line,
                "no sample_id, conversation and qa: not the format of LoCoMo's locomo10.json "
                f"(found {found})",
            )
            return
        numbers = sorted(
            int(match[1])
            for key, turns in talk.items()
            if (match := SESSION.fullmatch(key)) and isinstance(turns, list) and turns
        )
        for number in numbers:
            yield Row(
                line=record.line,
                id=_lesson(sample, number),
                world=sample,
                group=f"session {number}",
                order=number,
                context=_session(talk, number),
                category="session",
            )
        for number, question in enumerate(asked):
            yield _question(record.line, sample, number, question, numbers)

    @property
    def source(self) -> str:
        """Which file is wanted, for an error's advice."""
        return "locomo10.json of the repository snap-research/locomo, folder data"


def _lesson(sample: str, number: int) -> str:
    return f"{sample}/session-{number}"


def _session(talk: dict[str, Any], number: int) -> str:
    """Return one session as text, a line a turn; a picture is told by its caption."""
    lines = [f"Conversation of {talk.get(f'session_{number}_date_time', 'an unknown day')}"]
    for turn in talk[f"session_{number}"]:
        seen = f" (shares a picture: {turn['blip_caption']})" if turn.get("blip_caption") else ""
        lines.append(f"{turn.get('speaker', '?')}: {turn.get('text', '')}{seen}")
    return "\n".join(lines)


def _question(
    line: int, sample: str, number: int, raw: Any, sessions: list[int]
) -> Row | Problem:
    name = f"{sample}, question {number}"
    if not isinstance(raw, dict) or not raw.get("question"):
        return Problem(line, f"{name}: it needs a 'question'")
    category = CATEGORIES.get(raw.get("category", 0))
    if category is None:
        return Problem(line, f"{name}: category {raw.get('category')!r} is not one of 1 to 5")
    answer = "not mentioned" if category == "adversarial" else raw.get("answer")
    if answer is None:
        return Problem(line, f"{name}: it needs an 'answer'")
    text = str(answer).split(";")[0] if category == "open-domain" else str(answer)
    evidence = {int(n) for part in raw.get("evidence") or () for n in EVIDENCE.findall(str(part))}
    needed = sorted(evidence & set(sessions))
    return Row(
        line=line,
        id=f"{sample}/question-{number}",
        world=sample,
        group=f"session {needed[0]}" if needed else "",
        prompt=raw["question"],
        answers=(text.strip(),),
        scorer="locomo",
        options={"category": raw["category"]},
        category=category,
        needs=tuple(_lesson(sample, n) for n in needed),
    )
