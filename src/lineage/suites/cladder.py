"""CLadder: yes or no questions of causal inference (Jin et al., NeurIPS 2023).

Reads the files of the repository causalNLP/cladder, `data/test-generate-*.json`: one object a
question, with its labels in `meta`. A world is a query type (average treatment effect, collider
bias, ...), a group is a graph and a story: *similar* is the same query type in a graph and story
that was met or another, *dissimilar* another query type. What can be carried over is method, so
the hidden facts are the estimands. Scores are as published: what the answer starts with counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lineage.suites.checks import require_choice, require_counts
from lineage.suites.filesuite import FileSuite
from lineage.suites.records import Problem, Record, records
from lineage.suites.rows import Row
from lineage.tasks import Fact, Task, World

KEYS = ("question_id", "given_info", "question", "answer", "meta")
LABELS = ("query_type", "graph_id", "story_id")
REFUSALS = ("as a", "i'm sorry ", "neither ", "none ")
"""Starts that the published evaluation takes for no answer."""
STEPS = ("step2", "step3", "step5", "end")
"""Of `reasoning`: the formal question, the estimand, the calculation, the conclusion."""


@dataclass(frozen=True)
class Cladder(FileSuite):
    """Causal inference questions with yes or no answers (CLadder)."""

    world_by: list[str]
    group_by: list[str]
    min_tasks: int  # a world of fewer questions is left out
    feedback_tells: str  # answer | reasoning

    def __post_init__(self) -> None:
        super().__post_init__()
        require_counts(self, "min_tasks")
        require_choice(self, "feedback_tells", "answer", "reasoning")

    def all_rows(self) -> Iterator[Row | Problem]:
        """Yield the questions of worlds that are large enough."""
        sizes: Counter[str] = Counter()
        self._small.clear()
        for record in records(self.file):
            if isinstance(record, Record) and not _wrong(record):
                sizes[self._label(record, self.world_by)] += 1
        for record in records(self.file):
            if isinstance(record, Problem):
                yield record
            elif wrong := _wrong(record):
                yield Problem(record.line, wrong)
            elif sizes[self._label(record, self.world_by)] >= self.min_tasks:
                yield from self.rows(record)
            else:
                self._small[self._label(record, self.world_by)] = None

    @cached_property
    def _small(self) -> dict[str, None]:
        return {}

    @property
    def notice(self) -> str:
        """Which worlds were left out, besides rows."""
        parts = [super().notice]
        if self._small:
            parts.append(
                f"worlds of fewer than {self.min_tasks} questions are left out "
                f"({', '.join(sorted(self._small))}): see suite.min_tasks"
            )
        return "; ".join(part for part in parts if part)

    def rows(self, record: Record) -> Iterator[Row | Problem]:
        """Yield the row of one question."""
        value, meta = record.value, record.value["meta"]
        kind, graph = meta["query_type"], meta["graph_id"]
        estimand = str(meta.get("estimand") or meta.get("formal_form") or "")
        facts = (
            Fact(
                f"estimand/{kind}/{graph}",
                estimand,
                f"The estimand of {kind} in graph {graph} is {estimand}.",
            ),
        )
        steps = value.get("reasoning") or {}
        told = (str(steps.get(step, "")) for step in STEPS)
        yield Row(
            line=record.line,
            id=str(value["question_id"]),
            world=self._label(record, self.world_by),
            group=self._label(record, self.group_by),
            prompt=f"{value['given_info']} {value['question']}".strip(),
            answers=(value["answer"],),
            scorer="prefix",
            options={"choices": ["yes", "no"], "none": list(REFUSALS)},
            facts=facts if estimand else (),
            category=kind,
            context="",
            hint=" ".join(" ".join(told).split()),
        )

    def solution(self, task: Task, world: World) -> str:
        """Return the answer, and the file's reasoning in brief where `feedback_tells` it."""
        answer = f"The answer is {task.answer}."
        row: Row = task.check
        if self.feedback_tells == "answer" or not row.hint:
            return answer
        return f"{row.hint} {answer}"

    @property
    def source(self) -> str:
        """Which file is wanted, for an error's advice."""
        return "test-generate-easy.json of the repository causalNLP/cladder, folder data"

    def _label(self, record: Record, names: list[str]) -> str:
        return "/".join(str(record.value["meta"].get(name, "")) for name in names)


def _wrong(record: Record) -> str:
    """Return how a record differs from the format, "" where it does not."""
    missing = [key for key in KEYS if key not in record.value]
    meta = record.value.get("meta")
    if not missing and isinstance(meta, dict):
        missing = [f"meta.{label}" for label in LABELS if not meta.get(label)]
    elif not missing:
        missing = ["meta as an object"]
    if missing:
        found = ", ".join(sorted(map(str, record.value))[:8])
        return (
            f"no {missing[0]}: not the format of CLadder's test-generate-*.json (found {found})"
        )
    if record.value["answer"] not in ("yes", "no"):
        return f"answer is {record.value['answer']!r}: it must be 'yes' or 'no'"
    return ""
