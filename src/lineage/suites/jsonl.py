"""Bring your own tasks: one JSON object a line. See docs/suites.md for what each key means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from lineage.core.fields import MUST
from lineage.core.tasks import Fact
from lineage.suites.filesuite import POOL, FileSuite
from lineage.suites.formats import Described, Text, read
from lineage.suites.records import Problem, Record
from lineage.suites.rows import Row

MISSING = "each row needs it; docs/suites.md says what a row may hold"
WHOLE = 1 << 63
"""Of which whole numbers of 64 bits are below."""


def _either(value: object) -> object:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise PydanticCustomError(MUST, "be a text or a list of texts")
    return value


def _place(value: object) -> object:
    if type(value) is not int or not -WHOLE <= value < WHOLE:
        raise PydanticCustomError(MUST, "be a whole number of 64 bits")
    return value


def _sentence(value: object) -> object:
    """Return a fact of a sentence, whose last word is its value."""
    if isinstance(value, str) and value.split():
        return {"key": "", "value": value.split()[-1].rstrip("."), "text": value}
    if isinstance(value, dict) and value.keys() == {"key", "value", "text"} and value["key"] != "":
        return value
    raise PydanticCustomError(
        MUST, "be a sentence, or an object of the texts 'key', 'value' and 'text'"
    )


def _named(value: object) -> object:
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, dict):
        raise PydanticCustomError(MUST, "be a name, or an object of a 'name' and options")
    return value


class _Fact(Described):
    key: str  # empty: of a sentence
    value: str
    text: Text


class _Scorer(Described):
    model_config = ConfigDict(extra="allow")

    name: Text


class _Task(Described):
    """One line of a file."""

    model_config = ConfigDict(extra="forbid")

    id: Text
    world: Text
    prompt: str = ""
    answer: Annotated[list[str], BeforeValidator(_either)] = Field(default=[])
    scorer: Annotated[_Scorer | None, BeforeValidator(_named)] = None
    group: str = ""
    order: Annotated[int | None, BeforeValidator(_place)] = None
    context: str = ""
    facts: list[Annotated[_Fact, BeforeValidator(_sentence)]] = Field(default=[])
    category: str = ""
    needs: list[str] = Field(default=[])


@dataclass(frozen=True)
class Jsonl(FileSuite):
    """Your own tasks, one JSON object a line, with a scorer each."""

    source: ClassVar[str] = "a file of one JSON object a line (see docs/suites.md)"
    scorer: str = field(default="exact", kw_only=True)  # of rows that name none

    def rows(self, record: Record) -> Iterator[Row | Problem]:
        """Yield the row of one line."""
        value = record.value
        if self.pooled and isinstance(value, dict):
            # Where there is one world, nobody needs to name it, nor what is found by its line.
            value = {"id": f"line-{record.at}", "world": POOL, **value}
        task: _Task = read(_Task, value, needs=MISSING)
        scorer = task.scorer or _Scorer(name=self.scorer)
        options: dict[str, Any] = scorer.model_extra or {}
        facts = (
            Fact(fact.key or f"{task.id}/{number}", fact.value, fact.text)
            for number, fact in enumerate(task.facts)
        )
        yield Row(
            at=record.at,
            id=task.id,
            world=task.world,
            group=task.group,
            prompt=task.prompt,
            answers=tuple(task.answer),
            scorer=scorer.name,
            options=options,
            order=task.order,
            context=task.context,
            facts=tuple(facts),
            category=task.category,
            needs=tuple(task.needs),
        )
