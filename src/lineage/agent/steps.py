"""The steps of one episode: asked and written in order, each with what all of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lineage.agent.context import Context
from lineage.models.protocol import Completion, Turn


@dataclass
class Steps:
    """Writes the steps of the episode `name`; `about` are the columns that all of them have.

    `next` is the number of the step that comes next.
    """

    context: Context
    phase: str
    name: str
    about: dict[str, Any]
    next: int = 0

    async def ask(
        self, turns: tuple[Turn, ...], max_tokens: int, **more: Any
    ) -> tuple[Completion, dict[str, Any]]:
        """Ask for the next step's completion, as `Context.ask` does, which takes `more` too."""
        return await self.context.ask(self.name, self.next, turns, max_tokens, **more)

    def hold(self, columns: dict[str, Any]) -> None:
        """Make the next step's answer durable, which is written later."""
        self.context.hold(self.name, self.next, columns)

    def take(self) -> int:
        """Return the number of the next step, which is written later: others come between."""
        self.next += 1
        return self.next - 1

    def write(self, kind: str, step: int | None = None, **columns: Any) -> None:
        """Write the next step, or the one whose number was taken."""
        number = self.take() if step is None else step
        self.context.write(self.phase, self.name, number, kind, **self.about | columns)
