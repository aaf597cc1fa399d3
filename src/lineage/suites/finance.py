"""The finance formulas of ACE (Zhang et al. 2025), out of FinLoRA: numbers from formulas.

Reads `finance/data/formula_*.jsonl` of the repository ace-agent/ace: one object a question, with
`context` and `target`. As ACE does, the question is asked without the formula that stands before
it: which formula it is, is the hidden fact. A group is a formula, a world some of them: *similar*
is another question on a formula that was met, *dissimilar* one on a formula of another world.
Scores are as published: the answer is the same float, or it is wrong.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from lineage.core.fields import Count, shown
from lineage.core.seeds import rng
from lineage.core.tasks import Fact, Task, World
from lineage.suites.filesuite import FileSuite
from lineage.suites.formats import Answer, Described, Differs, read
from lineage.suites.records import Problem, Record
from lineage.suites.rows import Row

CONTEXT = re.compile(
    r"Use formula (?P<name>.+?) to answer the question\..*?Formula: (?P<formula>.+?)"
    r"(?:, Explanation: (?P<explained>.*?))?\.? Question: *(?P<question>.+?)\.? *Answer:\s*$",
    re.DOTALL,
)
QUOTES = "\"“”' "

FORMAT = "not the format of ACE's formula_*.jsonl"


class _Question(Described):
    context: str
    target: Answer


@dataclass(frozen=True)
class Finance(FileSuite):
    """Numeric questions on finance formulas (ACE)."""

    source: ClassVar[str] = (
        "formula_test.jsonl of the repository ace-agent/ace, folder finance/data"
    )
    formulas_per_world: Count  # about; more where worlds would be too small
    min_tasks: Count  # questions of a world
    show_formula: bool  # ask with the formula, as in the file; ACE asks without

    def all_rows(self) -> Iterator[Row | Problem]:
        """Yield the questions, each in the world that its formula fell to."""
        told = (found for found in self.made(_parts) if not isinstance(found, Problem))
        worlds = self._worlds(Counter(parts["name"] for parts in told))
        yield from self.made(lambda record: self._row(record, worlds))

    def solution(self, task: Task, world: World) -> str:
        """Return the formula and the answer."""
        return f"{super().solution(task, world)} The answer is {task.answer}."

    def _worlds(self, names: Counter[str]) -> dict[str, str]:
        """Return the world of each formula: they are dealt out, the most frequent first.

        So worlds have about as many questions each, and no formula is in two of them.
        """
        shuffled = rng("formulas", self.name).sample(sorted(names), len(names))
        most = min(len(names) // self.formulas_per_world, names.total() // self.min_tasks)
        count = max(most, 1)
        dealt = sorted(shuffled, key=lambda name: -names[name])
        return {name: f"{place % count:02d}" for place, name in enumerate(dealt)}

    def _row(self, record: Record, worlds: dict[str, str]) -> Row:
        parts, answer = _parts(record), _asked(record).target
        try:
            target = float(answer.replace(",", ""))
        except ValueError:
            target = math.nan
        if not math.isfinite(target):
            raise Differs(f"target is {shown(answer)}: it must be a number")
        name, formula = parts["name"], parts["formula"]
        fact = Fact(f"formula/{name}", formula, f"The formula of {name} is {formula}.")
        question = parts["question"].strip(QUOTES)
        prompt = f"{fact.text} {question}" if self.show_formula else question
        return Row(
            at=record.at,
            id=str(record.number),
            world=worlds[name],
            group=name,
            prompt=prompt,
            answers=(answer,),
            scorer="ace",
            facts=(fact,),
            category=name,
        )


def _asked(record: Record) -> _Question:
    asked: _Question = read(_Question, record.value, needs=FORMAT)
    return asked


def _parts(record: Record) -> dict[str, str]:
    """Return the parts of a question's `context`; raises Differs where it is of another form."""
    found = CONTEXT.search(_asked(record).context)
    if found is None:
        raise Differs(
            f"{FORMAT}: context must read \"Use formula NAME to answer the question. ... "
            'Formula: ... Question: ... Answer:"'
        )
    return {key: text.strip() for key, text in found.groupdict("").items()}
