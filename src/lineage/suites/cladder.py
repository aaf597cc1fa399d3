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
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

from lineage.core.fields import MUST, Count
from lineage.core.tasks import Fact, Task, World
from lineage.suites.filesuite import FileSuite
from lineage.suites.formats import Described, Name, Text, read
from lineage.suites.records import Problem, Record
from lineage.suites.rows import Row

FORMAT = "not the format of CLadder's test-generate-*.json"
REFUSALS = ("as a", "i'm sorry ", "neither ", "none ")
"""Starts that the published evaluation takes for no answer."""
STEPS = ("step2", "step3", "step5", "end")
"""Of `reasoning`: the formal question, the estimand, the calculation, the conclusion."""


def _scalar(value: object) -> object:
    if not isinstance(value, str | int | float):
        raise PydanticCustomError(MUST, "be a text, a number, or true or false, to name tasks by")
    return value


Label = Annotated[Any, BeforeValidator(_scalar)]


class _Meta(Described):
    """Labels; others than these may be named by `world_by` and `group_by`."""

    model_config = ConfigDict(extra="allow")

    query_type: Text
    graph_id: Text
    story_id: Text
    estimand: str | None = None
    formal_form: str | None = None


class _Reasoning(Described):
    step2: str | None = None
    step3: str | None = None
    step5: str | None = None
    end: str | None = None


class _Question(Described):
    question_id: Name
    given_info: str
    question: str
    answer: Literal["yes", "no"]
    meta: _Meta
    reasoning: _Reasoning | None = None


@dataclass(frozen=True)
class Cladder(FileSuite):
    """Causal inference questions with yes or no answers (CLadder)."""

    source: ClassVar[str] = (
        "test-generate-easy.json of the repository causalNLP/cladder, folder data"
    )
    world_by: list[str]
    group_by: list[str]
    min_tasks: Count  # a world of fewer questions is left out
    feedback_tells: Literal["answer", "reasoning"]

    def all_rows(self) -> Iterator[Row | Problem]:
        """Yield the questions of worlds that are large enough."""
        sizes: Counter[str] = Counter()
        self._small.clear()
        for found in self.made(self._row):
            if not isinstance(found, Problem):
                sizes[found.world] += 1
        for found in self.made(self._row):
            if isinstance(found, Problem) or sizes[found.world] >= self.min_tasks:
                yield found
            else:
                self._small[found.world] = None

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

    def solution(self, task: Task, world: World) -> str:
        """Return the answer, and the file's reasoning in brief where `feedback_tells` it."""
        answer = f"The answer is {task.answer}."
        row: Row = task.check
        if self.feedback_tells == "answer" or not row.hint:
            return answer
        return f"{row.hint} {answer}"

    def _row(self, record: Record) -> Row:
        """Return the row of one question."""
        asked: _Question = read(_Question, record.value, needs=FORMAT)
        kind, graph = asked.meta.query_type, asked.meta.graph_id
        estimand = asked.meta.estimand or asked.meta.formal_form or ""
        said = f"The estimand of {kind} in graph {graph} is {estimand}."
        fact = Fact(f"estimand/{kind}/{graph}", estimand, said)
        steps = asked.reasoning or _Reasoning()
        told = (getattr(steps, step) or "" for step in STEPS)
        return Row(
            at=record.at,
            id=asked.question_id,
            world=_label(asked.meta, self.world_by),
            group=_label(asked.meta, self.group_by),
            prompt=f"{asked.given_info} {asked.question}".strip(),
            answers=(asked.answer,),
            scorer="prefix",
            options={"choices": ["yes", "no"], "none": list(REFUSALS)},
            facts=(fact,) if estimand else (),
            category=kind,
            hint=" ".join(" ".join(told).split()),
        )


def _label(meta: _Meta, names: list[str]) -> str:
    values = dict(meta)
    for name in names:
        read(Label, values.get(name, ""), "meta", name, needs=FORMAT)
    return "/".join(str(values.get(name, "")) for name in names)
