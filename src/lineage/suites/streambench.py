"""StreamBench: streams of tasks with feedback after each (Wu et al., NeurIPS 2024).

Reads rows of the dataset appier-ai-research/StreamBench as Parquet, JSON Lines or a JSON array;
which of its tasks a row is of, its keys tell:

    ddxplus   PATIENT_PROFILE, PATHOLOGY    diagnosis out of all that the file names
    hotpotqa  question, answer, supporting_facts, context, type, level    multi-hop questions
              (as HotpotQA's own files have them too: paragraphs as [title, [sentence, ...]])
    gsm8k     question, answer with "####"  school mathematics

The text-to-SQL tasks, DS-1000 and ToolBench are scored by running things that are no part of their
files (databases, code, a judge): they are refused. There are no lessons: work is the stream, in its
order, with the right answer as feedback. Worlds are made of labels, so that no label is in two of
them: diagnoses dealt out by `labels_per_world`, types of questions, or blocks of the stream.
Scores are as published, but for gsm8k: there a model takes the answer out of the reply, and here
the last number of its first line counts.

*same* is a task that was met, *similar* one with the same label (diagnosis, level), *dissimilar*
one of another world.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from lineage.core.fields import MUST, Count
from lineage.core.seeds import rng
from lineage.suites.filesuite import FileSuite
from lineage.suites.formats import Answer, Described, Name, Text, names, read
from lineage.suites.records import Problem, Record
from lineage.suites.rows import Row

REFUSED = {
    "SQL": "text-to-SQL needs its databases, which are no part of the file",
    "reference_code": "DS-1000 is scored by running code, which lineage does not do",
    "api_name": "ToolBench is scored by a judge of API calls, which lineage has not",
}
FORMAT = "not the format of a StreamBench task"
MARK = "####"
"""Before the result, in an answer of gsm8k."""


Lax = Field(strict=False)
"""JSON's lists are no tuples otherwise."""


def _with_mark(text: str) -> str:
    if MARK not in text:
        raise PydanticCustomError(MUST, f"have its result after {MARK}")
    return text


class _Patient(Described):
    PATIENT_PROFILE: Text
    PATHOLOGY: Text


def _titles(value: object) -> object:
    """Return the titles of supporting facts: of an object of lists, or a list of pairs."""
    if isinstance(value, dict):
        return value.get("title", value)
    if not isinstance(value, list):
        return value
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise PydanticCustomError(MUST, "be a list of pairs, of a title and a number each")
    return [title for title, _ in value]


def _pairs(value: object) -> object:
    """Return the paragraphs as pairs: of an object of lists, or as they are."""
    if not isinstance(value, dict):
        return value
    titles, sentences = (value.get(name) for name in ("title", "sentences"))
    if not (isinstance(titles, list) and isinstance(sentences, list)):
        return value
    if len(titles) != len(sentences):
        raise PydanticCustomError(MUST, "hold as many sentences as title")
    return [list(pair) for pair in zip(titles, sentences)]


class _MultiHop(Described):
    """A question of HotpotQA, as the dataset of StreamBench or HotpotQA's own files have it."""

    id: Name | None = Field(default=None, validation_alias=AliasChoices("id", "_id"))
    question: Text
    answer: Answer
    type: str | None = None
    level: str | None = None
    # Titles of the paragraphs that tell the answer; and each title with its sentences.
    supporting_facts: Annotated[list[str] | None, BeforeValidator(_titles)] = None
    context: Annotated[
        list[Annotated[tuple[str, list[str]], Lax]] | None, BeforeValidator(_pairs)
    ] = None


class _School(Described):
    question: Text
    answer: Annotated[str, AfterValidator(_with_mark)]


@dataclass(frozen=True)
class StreamBench(FileSuite):
    """Streams of diagnoses or questions with feedback after each (StreamBench)."""

    source: ClassVar[str] = (
        "a file of the dataset appier-ai-research/StreamBench (ddxplus, hotpotqa or gsm8k)"
    )
    labels_per_world: Count  # ddxplus: diagnoses
    block: Count  # gsm8k: tasks of a world
    paragraphs: Literal["all", "supporting", "none"]  # hotpotqa

    def rows(self, record: Record) -> Iterator[Row | Problem]:
        """Yield the task of one row."""
        value = record.value
        for key, why in REFUSED.items():
            if key in value:
                yield Problem(record.at, why)
                return
        if "PATIENT_PROFILE" in value:
            yield self._diagnosis(record, read(_Patient, value, needs=FORMAT))
        elif "supporting_facts" in value:
            yield self._hotpot(record, read(_MultiHop, value, needs=FORMAT))
        elif {"question", "answer"} <= value.keys() and "context" not in value:
            yield self._gsm8k(record, read(_School, value, needs=FORMAT))
        else:
            what = "no task of StreamBench that is known"
            yield Problem(record.at, f"{what} (found {names(value)})")

    @cached_property
    def _labels(self) -> list[str]:
        """All diagnoses that the file names, in alphabetical order, as the published list is."""

        def label(record: Record) -> str:
            patient: _Patient = read(_Patient, record.value, needs=FORMAT)
            return patient.PATHOLOGY.strip()

        return sorted({one for one in self.made(label) if not isinstance(one, Problem)})

    @cached_property
    def _world_of(self) -> dict[str, str]:
        dealt = rng("labels", self.name).sample(self._labels, len(self._labels))
        count = max(len(dealt) // self.labels_per_world, 1)
        return {label: f"{place % count:02d}" for place, label in enumerate(dealt)}

    def _diagnosis(self, record: Record, patient: _Patient) -> Row:
        label = patient.PATHOLOGY.strip()
        number = self._labels.index(label)
        options = "\n".join(f"{n}. {name}" for n, name in enumerate(self._labels))
        return Row(
            at=record.at,
            id=f"{record.number}",
            world=self._world_of[label],
            group=label,
            prompt=f"{patient.PATIENT_PROFILE.strip()}\nPossible diagnoses:\n{options}\n"
            "What is the diagnosis, as <number>. <diagnosis>?",
            answers=(f"{number}. {label}",),
            scorer="ddxplus",
            order=record.number,
            category="ddxplus",
        )

    def _hotpot(self, record: Record, asked: _MultiHop) -> Row:
        read = _paragraphs(asked, self.paragraphs)
        question = asked.question.strip()
        return Row(
            at=record.at,
            id=asked.id or str(record.number),
            world=asked.type or "hotpotqa",
            group=asked.level or "",
            prompt=f"{read}\n{question}" if read else question,
            answers=(asked.answer.strip(),),
            scorer="hotpotqa",
            order=record.number,
            category="hotpotqa",
        )

    def _gsm8k(self, record: Record, asked: _School) -> Row:
        return Row(
            at=record.at,
            id=f"{record.number}",
            world=f"{(record.number - 1) // self.block:04d}",
            prompt=asked.question.strip(),
            answers=(asked.answer.rpartition(MARK)[2].strip(),),
            scorer="numeric",
            order=record.number,
            category="gsm8k",
        )


def _paragraphs(asked: _MultiHop, which: str) -> str:
    """Return the paragraphs of a question of HotpotQA as text, a line each."""
    wanted = asked.supporting_facts or ()
    return "\n".join(
        f"{title}: {''.join(body).strip()}"
        for title, body in asked.context or ()
        if which == "all" or (which == "supporting" and title in wanted)
    )
