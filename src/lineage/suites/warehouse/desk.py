"""The desk: where a worker tries statements on a warehouse until it answers with one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lineage.core.tasks import Observation
from lineage.suites.warehouse.answers import statement
from lineage.suites.warehouse.results import shown
from lineage.suites.warehouse.sandbox import Result


@dataclass(frozen=True)
class Desk:
    """One episode on one question: `ask` runs a statement, `judge` scores a result."""

    ask: Callable[[str], Result]
    judge: Callable[[Result], float]
    rows: int
    chars: int

    def begin(self) -> Observation:
        """Return nothing: the prompt says all there is to say."""
        return Observation("")

    def act(self, action: str, last: bool) -> Observation:
        """Return the result of the statement, with a score where it is the answer."""
        sql, final = statement(action)
        result = self.ask(sql)
        score = self.judge(result) if final or last else None
        return Observation(shown(result, self.rows, self.chars), score)

    def close(self) -> None:
        """Free nothing: databases are shared, and kept in bounds by the sandbox."""
