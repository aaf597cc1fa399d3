"""Bring your own tasks: one JSON object a line. See docs/suites.md for what each key means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lineage.errors import nearest
from lineage.suites.filesuite import FileSuite
from lineage.suites.records import Problem, Record
from lineage.suites.rows import Row
from lineage.tasks import Fact

KEYS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "prompt": (str,),
    "answer": (str, list),
    "scorer": (str, dict),
    "world": (str,),
    "group": (str,),
    "order": (int,),
    "context": (str,),
    "facts": (list,),
    "category": (str,),
    "needs": (list,),
}
NAMES = {str: "a text", list: "a list", dict: "an object", int: "a whole number"}


@dataclass(frozen=True)
class Jsonl(FileSuite):
    """Your own tasks, one JSON object a line, with a scorer each."""

    def rows(self, record: Record) -> Iterator[Row | Problem]:
        """Yield the row of one line, or what is wrong with it."""
        try:
            yield row_of(record)
        except ValueError as error:
            yield Problem(record.line, str(error))

    @property
    def source(self) -> str:
        """Which file is wanted, for an error's advice."""
        return "a file of one JSON object a line (see docs/suites.md)"


def row_of(record: Record) -> Row:
    """Return the row that an object is; raises ValueError where it is none."""
    value = record.value
    for key, given in value.items():
        if key not in KEYS:
            raise ValueError(f"unknown key {key!r}{nearest(key, list(KEYS))}")
        if not isinstance(given, KEYS[key]) or isinstance(given, bool):
            wanted = " or ".join(NAMES[kind] for kind in KEYS[key])
            raise ValueError(f"{key!r} must be {wanted}")
    for key in ("id", "world"):
        if key not in value:
            raise ValueError(f"key {key!r} is missing")
    answer, scorer = value.get("answer", []), value.get("scorer", "exact")
    answers = _texts("answer", answer) if isinstance(answer, list) else (answer,)
    name, options = (scorer, {}) if isinstance(scorer, str) else _named(scorer)
    return Row(
        line=record.line,
        id=value["id"],
        world=value["world"],
        group=value.get("group", ""),
        prompt=value.get("prompt", ""),
        answers=answers,
        scorer=name,
        options=options,
        order=value.get("order"),
        context=value.get("context", ""),
        facts=tuple(_fact(value["id"], n, raw) for n, raw in enumerate(value.get("facts", []))),
        category=value.get("category", ""),
        needs=_texts("needs", value.get("needs", [])),
    )


def _texts(key: str, values: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"{key!r} must hold texts only")
    return tuple(values)


def _named(scorer: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    name = scorer.get("name")
    if not isinstance(name, str):
        raise ValueError("'scorer' as an object needs a 'name'")
    return name, {key: value for key, value in scorer.items() if key != "name"}


def _fact(id: str, number: int, raw: object) -> Fact:
    """Return a fact from a sentence, whose last word is its value, or from an object."""
    if isinstance(raw, str) and raw.split():
        return Fact(f"{id}/{number}", raw.split()[-1].rstrip("."), raw)
    keys = {"key", "value", "text"}
    if isinstance(raw, dict) and raw.keys() == keys and all(
        isinstance(part, str) and part for part in raw.values()
    ):
        return Fact(raw["key"], raw["value"], raw["text"])
    raise ValueError("a fact is a sentence, or an object of the texts 'key', 'value' and 'text'")
