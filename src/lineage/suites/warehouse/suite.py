"""The `warehouse` suite: a database whose conventions nobody wrote down.

A world is one warehouse: a few tables, and conventions that its data follow and its schema does
not show (units, codes, deletion marks, fiscal years, keys, ...). Each question falls under one
of them, so whoever has learnt it from one question can answer the others of its group.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from random import Random
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lineage.core.errors import LineageError
from lineage.core.fields import Count, Number, Share
from lineage.core.seeds import rng
from lineage.core.tasks import Environment, Fact, Observation, Suite, Task, World
from lineage.suites.warehouse import answers
from lineage.suites.warehouse.conventions import BLANK, KINDS
from lineage.suites.warehouse.data import NAMES, Convention, Sheet, choose, fill, lookup
from lineage.suites.warehouse.questions import Question, questions
from lineage.suites.warehouse.results import same, shown
from lineage.suites.warehouse.sandbox import Limits, Result, Sandbox, Table

TRIES = 30
"""Draws of a table's rows before they are taken to be too few to ask about."""

PLANS = 8
"""Plans kept for the next look at the same world; each is some hundred kilobytes."""

REFERENCES = 1000
"""Right results kept; each is one row."""

RULES = (
    "Act with one DuckDB statement to look at the data, or with ANSWER and the statement whose "
    "result answers the question."
)


@dataclass(frozen=True)
class Check:
    """What judging a task needs: which warehouse, and the statement with its blanks and values."""

    seed: int
    generation: int
    sql: str
    values: tuple[str, ...]
    options: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """What a world keeps in all its generations: the truth of its tables, and the questions."""

    sheets: tuple[Sheet, ...]
    questions: tuple[Question, ...]

    @property
    def conventions(self) -> tuple[Convention, ...]:
        return tuple(each for sheet in self.sheets for each in sheet.conventions)


@dataclass(frozen=True)
class Desk:
    """Where a worker tries statements until it answers with one: one episode on one question.

    `ask` runs a statement, `judge` scores a result.
    """

    ask: Callable[[str], Result]
    judge: Callable[[Result], float]
    rows: int
    chars: int

    def begin(self) -> Observation:
        """Return nothing: the prompt says all there is to say."""
        return Observation("")

    def act(self, action: str, last: bool) -> Observation:
        """Return the result of the statement, with a score where it is the answer."""
        sql, final = answers.statement(action)
        result = self.ask(sql)
        score = self.judge(result) if final or last else None
        return Observation(shown(result, self.rows, self.chars), score)

    def close(self) -> None:
        """Free nothing: databases are shared, and kept in bounds by the sandbox."""


@dataclass(frozen=True)
class Warehouse(Suite):
    """SQL on a database whose conventions nobody wrote down."""

    larger: ClassVar[str] = "suite.tasks_per_convention, suite.conventions"
    blocking: ClassVar[bool] = True  # statements may run for seconds
    form: Literal["blank", "query"]
    difficulty: Count  # conventions that one question combines
    feedback_tells: Literal["facts", "query", "verdict"]
    tables: Annotated[Count, Field(le=len(NAMES))]
    rows: Count
    conventions: Count
    tasks_per_convention: Count
    drift: Share  # chance a generation that a convention changes
    tolerance: Share
    result_rows: Count
    result_chars: Count
    answer_rows: Count
    seconds: Annotated[Number, Field(gt=0)]
    memory_mb: Count
    process_mb: Count
    databases: Count
    processes: Count

    def __post_init__(self) -> None:
        least = self.tables * self.difficulty
        if not least <= self.conventions <= len(KINDS):
            raise LineageError(
                f"suite.conventions is {self.conventions}: it must be between suite.tables x "
                f"suite.difficulty = {least} and {len(KINDS)}"
            )

    def world(self, seed: int, generation: int) -> World:
        """Return the warehouse of `seed`: its conventions' values drift, its questions stay.

        Raises LineageError where the tables are too small to ask so many questions.
        """
        plan, values = _plan(self, seed), self._values(seed, generation)
        world_id = f"warehouse-{seed:x}"
        facts = tuple(
            Fact(each.key, values[each.key], each.kind.fact(each.table, values[each.key]))
            for each in plan.conventions
        )
        numbers: dict[str, int] = {}
        tasks = []
        for question in plan.questions:
            group = question.group.key
            numbers[group] = numbers.get(group, 0) + 1
            right = tuple(values[each.key] for each in question.conventions)
            check = Check(
                seed, generation, question.sql, right,
                tuple(each.kind.options for each in question.conventions),
            )  # fmt: skip
            blank = self.form == "blank"
            tasks.append(
                Task(
                    id=f"{world_id}/{group}/{numbers[group]}",
                    world=world_id,
                    prompt=self._prompt(plan, question),
                    answer=", ".join(right) if blank else answers.filled(question.sql, right),
                    facts=tuple(each.key for each in question.conventions),
                    group=group,
                    category=question.group.kind.name,
                    check=check,
                )
            )
        return World(world_id, generation, facts, tuple(tasks))

    def score(self, task: Task, completion: str) -> float:
        """1.0 where the completion's statement, or its values in the blanks, gives the result."""
        check: Check = task.check
        if self.form == "query":
            return self._judge(check, self._run(check, answers.statement(completion)[0]))
        values = answers.fragments(completion, check.options)
        if values is None:
            return 0.0
        return self._judge(check, self._run(check, answers.filled(check.sql, values)))

    @property
    def many_turns(self) -> bool:
        """Whether statements run before one of them answers."""
        return self.form == "query"

    def environment(self, task: Task, world: World) -> Environment | None:
        """Return a desk at which statements run, None where only a blank is to be filled."""
        if self.form == "blank":
            return None
        check: Check = task.check
        return Desk(
            lambda sql: self._run(check, sql),
            lambda result: self._judge(check, result),
            self.result_rows,
            self.result_chars,
        )

    def solution(self, task: Task, world: World) -> str:
        """Return the conventions' sentences, the statement, or nothing, as configured."""
        if self.feedback_tells == "facts":
            return " ".join(world.fact_texts(task.facts))
        check: Check = task.check
        return answers.filled(check.sql, check.values) if self.feedback_tells == "query" else ""

    def tables_of(self, seed: int, generation: int) -> tuple[Table, ...]:
        """Return the tables of the warehouse of `seed`, as they are stored in `generation`."""
        plan, values = _plan(self, seed), self._values(seed, generation)
        needed = sorted({each.kind.lookup for each in plan.conventions} - {""})
        return (*(sheet.stored(values) for sheet in plan.sheets), *map(lookup, needed))

    def _prompt(self, plan: Plan, question: Question) -> str:
        sheets = [s for s in plan.sheets if self.form == "query" or s.name == question.group.table]
        used = [each for sheet in sheets for each in sheet.conventions]
        if self.form == "blank":
            used = list(question.conventions)
        needed = sorted({each.kind.lookup for each in used} - {""})
        schemas = [*(sheet.schema for sheet in sheets), *(lookup(name).schema for name in needed)]
        if self.form == "query":
            return "\n".join(("Tables:", *schemas, RULES, question.text))
        blanks = "the blank" if len(question.conventions) == 1 else f"each {BLANK}, in order"
        lines = (*schemas, question.text, question.sql, f"Fill in {blanks}.", question.asks)
        return "\n".join(lines)

    def _values(self, seed: int, generation: int) -> dict[str, str]:
        """Return the value of each convention: drawn once, then another at each drift."""
        values = {}
        for each in _plan(self, seed).conventions:
            ids, options = ("warehouse", seed, each.key), each.kind.options
            value = rng(*ids).choice(options)
            for age in range(1, generation + 1):
                draw = rng(*ids, age)
                if draw.random() < self.drift:
                    value = draw.choice([option for option in options if option != value])
            values[each.key] = value
        return values

    def _run(self, check: Check, sql: str) -> Result:
        limits = Limits(
            self.seconds, self.memory_mb, self.process_mb, self.answer_rows, self.databases
        )
        # What the data depend on, so that two suites of one process never share a database.
        name = (
            f"{check.seed}/{check.generation}/{self.tables}/{self.rows}/{self.conventions}/"
            f"{self.tasks_per_convention}/{self.difficulty}/{self.drift}/{self.tolerance}"
        )
        return _sandbox(limits, self.processes).run(
            name, lambda: self.tables_of(check.seed, check.generation), sql
        )

    def _judge(self, check: Check, given: Result) -> float:
        """Return 1.0 where `given` is the reference's result; raises LineageError without one."""
        if given.error:
            return 0.0
        return float(same(given, _reference(self, check), False, self.tolerance))


@lru_cache(maxsize=REFERENCES)
def _reference(suite: Warehouse, check: Check) -> Result:
    """Return the right result, which every arm of a pair needs again."""
    result = suite._run(check, answers.filled(check.sql, check.values))
    if result.error:
        raise LineageError(
            f"the reference of suite {suite.name!r} did not run: {result.error}; make "
            "suite.seconds, suite.memory_mb or suite.process_mb larger"
        )
    return result


@lru_cache(maxsize=PLANS)
def _plan(suite: Warehouse, seed: int) -> Plan:
    """Return the plan of the world of `seed`; what drifts is no part of it."""
    draw = rng("warehouse", seed)
    chosen = choose(draw, suite.tables, suite.conventions, suite.difficulty)
    sheets, asked = [], []
    for name, kinds in chosen.items():
        for attempt in range(TRIES):
            own = rng("warehouse", seed, name, attempt)
            sheet = fill(own, name, kinds, suite.rows)
            found = _questions(suite, own, sheet)
            if found is not None:
                sheets.append(sheet)
                asked += found
                break
        else:
            raise LineageError(
                f"{suite.rows} rows are too few for {suite.tasks_per_convention} questions a "
                "convention: make suite.rows larger or suite.tasks_per_convention smaller"
            )
    return Plan(tuple(sheets), tuple(asked))


def _questions(suite: Warehouse, draw: Random, sheet: Sheet) -> list[Question] | None:
    """Return the questions on one table, None where there are too few for one convention."""
    made: list[Question] = []
    count = suite.tasks_per_convention
    for each in sheet.conventions:
        found = questions(draw, sheet, each, suite.difficulty, count, suite.tolerance)
        if len(found) < count:
            return None
        made += found
    return made


@cache
def _sandbox(limits: Limits, processes: int) -> Sandbox:
    return Sandbox(limits, processes)
