"""MemoryAgentBench: long texts that are read in pieces, then asked about (Hu et al. 2025).

Reads its Parquet files (dataset ai-hyz/MemoryAgentBench, one file a split: Accurate_Retrieval,
Test_Time_Learning, Long_Range_Understanding, Conflict_Resolution), or the same rows as JSON. A row,
one text with many questions, is a world; the pieces of its text are the lessons, in order, and a
question needs them all, as published ("inject once, query many times"). So *same* is a question
once the whole text was read, *similar* one before that, *dissimilar* one on another text. The
category is `metadata.source`, and after a slash the question's type where there is one.

Scores as published where no judge is needed (the README's table of metrics): the share of all
answers for RULER's needles, the label for in-context learning, an exact match for detective
stories, and a substring match for all others (for EventQA of the line that answers). Movie
recommendation needs a table of movies that is no part of the file; summaries need a judge: they are
left out where `judge` names none. Chats of LongMemEval need one too; without, a substring match
stands in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from lineage.core.fields import Count
from lineage.suites.filesuite import FileSuite
from lineage.suites.formats import Answers, Described, Differs, Text, read
from lineage.suites.records import Problem, Record
from lineage.suites.rows import Row

METRICS = {
    "ruler_niah": "ruler_recall",
    "eventqa": "parsed_substring_exact_match",
    "icl": "parsed_exact_match",
    "detective": "exact_match",
}
"""By a part of the source's name; of all others substring_exact_match."""
ENDS = re.compile(r"(?<=[.!?\n])\s+")


FORMAT = "not the format of MemoryAgentBench"


class _Metadata(Described):
    source: str | None = None
    question_types: list[str | None] | None = None


class _Text(Described):
    context: Text
    questions: list[Any]
    answers: list[Any]  # of each question one, or several of which any is right
    metadata: _Metadata | None = None


@dataclass(frozen=True)
class MemoryAgentBench(FileSuite):
    """Long texts that are read piece by piece, then asked about (MemoryAgentBench)."""

    source: ClassVar[str] = "a Parquet file of the dataset ai-hyz/MemoryAgentBench"
    chunk_chars: Count
    judge: str  # the version that judges summaries and chats; empty: substring match, no summaries

    def rows(self, record: Record) -> Iterator[Row | Problem]:
        """Yield the lessons and questions of one text."""
        text: _Text = read(_Text, record.value, needs=FORMAT)
        asked = len(text.questions)
        if len(text.answers) != asked:
            raise Differs(f"there are {asked} questions and {len(text.answers)} answers")
        metadata = text.metadata or _Metadata()
        source = metadata.source or "unknown"
        world = f"{record.number:04d}-{source}"
        lessons = []
        for order, piece in enumerate(pieces(text.context, self.chunk_chars)):
            lessons.append(f"{world}/piece-{order}")
            yield Row(
                at=record.at,
                id=lessons[-1],
                world=world,
                group="text",
                order=order,
                context=piece,
                category=source,
            )
        types = metadata.question_types or []
        for number in range(asked):
            kind = types[number] if number < len(types) else ""
            category = f"{source}/{kind}" if kind else source
            try:
                yield Row(
                    at=record.at,
                    id=f"{world}/question-{number}",
                    world=world,
                    group="text",
                    prompt=read(Text, text.questions[number], "questions", number, needs=FORMAT),
                    answers=tuple(
                        read(Answers, text.answers[number], "answers", number, needs=FORMAT)
                    ),
                    category=category,
                    needs=tuple(lessons),
                    **self._scorer(source),
                )
            except Differs as error:
                yield Problem(record.at, str(error))

    def _scorer(self, source: str) -> dict[str, Any]:
        """Return the scorer and its options of questions of `source`; raises Differs."""
        name = source.lower()
        judged = {"scorer": "judge", "options": {"version": self.judge}} if self.judge else None
        if "recsys" in name or "infbench_sum" in name:
            if not judged:
                raise Differs(f"questions of {source} cannot be scored here: set suite.judge")
            return judged
        if "longmemeval" in name and judged:
            return judged
        metrics = (metric for part, metric in METRICS.items() if part in name)
        metric = next(metrics, "substring_exact_match")
        return {"scorer": "memoryagentbench", "options": {"metric": metric}}


def pieces(text: str, most: int) -> Iterator[str]:
    """Yield `text` in pieces of whole sentences with at most `most` characters.

    A sentence that is longer alone is cut.
    """
    held = ""
    for sentence in ENDS.split(text):
        if held and len(held) + 1 + len(sentence) > most:
            yield held
            held = ""
        while len(sentence) > most:
            yield sentence[:most]
            sentence = sentence[most:]
        held = f"{held} {sentence}" if held else sentence
    if held.strip():
        yield held
