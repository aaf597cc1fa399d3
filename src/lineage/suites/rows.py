"""A row: what every file of tasks becomes before it is a task, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lineage.core.tasks import Fact


@dataclass(frozen=True)
class Row:
    """One task of a file, which stands there `at` some line (see `records.Record.at`).

    Any of `answers` is right; `scorer` names how that is judged, with `options` of its own. A row
    without `prompt` is a lesson: its `context` is read, and nothing asked. `needs` are the ids of
    the lessons that a question is about, `hint` what feedback may tell besides the answer.
    """

    at: str
    id: str
    world: str
    group: str = ""
    prompt: str = ""
    answers: tuple[str, ...] = ()
    scorer: str = "exact"
    options: Mapping[str, Any] = field(default_factory=dict)
    order: int | None = None
    context: str = ""
    facts: tuple[Fact, ...] = ()
    category: str = ""
    needs: tuple[str, ...] = ()
    hint: str = ""
