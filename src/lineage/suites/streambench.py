"""StreamBench: streams of tasks with feedback after each (Wu et al., NeurIPS 2024).

Reads rows of the dataset appier-ai-research/StreamBench as Parquet, JSON Lines or a JSON array;
which of its tasks a row is of, its keys tell:

    ddxplus   PATIENT_PROFILE, PATHOLOGY    diagnosis out of all that the file names
    hotpotqa  question, answer, supporting_facts, context, type, level    multi-hop questions
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
from typing import Any

from lineage.seeds import rng
from lineage.suites.checks import require_choice, require_counts
from lineage.suites.filesuite import FileSuite
from lineage.suites.records import Problem, Record, records
from lineage.suites.rows import Row

REFUSED = {
    "SQL": "text-to-SQL needs its databases, which are no part of the file",
    "reference_code": "DS-1000 is scored by running code, which lineage does not do",
    "api_name": "ToolBench is scored by a judge of API calls, which lineage has not",
}


@dataclass(frozen=True)
class StreamBench(FileSuite):
    """Streams of diagnoses or questions with feedback after each (StreamBench)."""

    labels_per_world: int  # ddxplus: diagnoses
    block: int  # gsm8k: tasks of a world
    paragraphs: str  # hotpotqa: all | supporting | none

    def __post_init__(self) -> None:
        super().__post_init__()
        require_counts(self, "labels_per_world", "block")
        require_choice(self, "paragraphs", "all", "supporting", "none")

    def rows(self, record: Record) -> Iterator[Row | Problem]:
        """Yield the task of one row."""
        value = record.value
        for key, why in REFUSED.items():
            if key in value:
                yield Problem(record.line, why)
                return
        if isinstance(value.get("PATIENT_PROFILE"), str) and value.get("PATHOLOGY"):
            yield self._diagnosis(record)
        elif "supporting_facts" in value and "question" in value and "answer" in value:
            yield self._hotpot(record)
        elif "####" in str(value.get("answer", "")) and "question" in value:
            yield self._gsm8k(record)
        else:
            found = ", ".join(sorted(value)[:8])
            yield Problem(record.line, f"no task of StreamBench that is known (found {found})")

    @property
    def source(self) -> str:
        """Which file is wanted, for an error's advice."""
        return "a file of the dataset appier-ai-research/StreamBench (ddxplus, hotpotqa or gsm8k)"

    @cached_property
    def _labels(self) -> list[str]:
        """All diagnoses that the file names, in alphabetical order, as the published list is."""
        values = (r.value for r in records(self.file) if isinstance(r, Record))
        return sorted({str(v["PATHOLOGY"]).strip() for v in values if v.get("PATHOLOGY")})

    @cached_property
    def _world_of(self) -> dict[str, str]:
        dealt = rng("labels", self.name).sample(self._labels, len(self._labels))
        count = max(len(dealt) // self.labels_per_world, 1)
        return {label: f"{place % count:02d}" for place, label in enumerate(dealt)}

    def _diagnosis(self, record: Record) -> Row:
        label = str(record.value["PATHOLOGY"]).strip()
        number = self._labels.index(label)
        options = "\n".join(f"{n}. {name}" for n, name in enumerate(self._labels))
        return Row(
            line=record.line,
            id=f"{record.number}",
            world=self._world_of[label],
            group=label,
            prompt=f"{record.value['PATIENT_PROFILE'].strip()}\nPossible diagnoses:\n{options}\n"
            "What is the diagnosis, as <number>. <diagnosis>?",
            answers=(f"{number}. {label}",),
            scorer="ddxplus",
            order=record.number,
            category="ddxplus",
        )

    def _hotpot(self, record: Record) -> Row:
        value = record.value
        read = _paragraphs(value, self.paragraphs)
        asked = str(value["question"]).strip()
        return Row(
            line=record.line,
            id=str(value.get("id") or record.number),
            world=str(value.get("type") or "hotpotqa"),
            group=str(value.get("level") or ""),
            prompt=f"{read}\n{asked}" if read else asked,
            answers=(str(value["answer"]).strip(),),
            scorer="hotpotqa",
            order=record.number,
            category="hotpotqa",
        )

    def _gsm8k(self, record: Record) -> Row:
        value = record.value
        return Row(
            line=record.line,
            id=f"{record.number}",
            world=f"{(record.number - 1) // self.block:04d}",
            prompt=str(value["question"]).strip(),
            answers=(str(value["answer"]).rpartition("####")[2].strip(),),
            scorer="numeric",
            order=record.number,
            category="gsm8k",
        )


def _paragraphs(value: dict[str, Any], which: str) -> str:
    """Return the paragraphs of a HotpotQA row as text, a line each."""
    context, facts = value.get("context") or {}, value["supporting_facts"] or {}
    wanted = set(facts.get("title", ()))
    titles, bodies = context.get("title", ()), context.get("sentences", ())
    return "\n".join(
        f"{title}: {''.join(body).strip()}"
        for title, body in zip(titles, bodies, strict=False)
        if which == "all" or (which == "supporting" and title in wanted)
    )
