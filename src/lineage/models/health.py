"""The health of one replica as a pure state machine.

    starting -> healthy -> dead -> starting   restarted, until its restarts are used up
    dead -> retired                           then it serves no more
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class State(StrEnum):
    """Where a replica stands."""

    STARTING = "starting"
    HEALTHY = "healthy"
    DEAD = "dead"
    RETIRED = "retired"


@dataclass(frozen=True)
class Health:
    """A replica's state, how often it was restarted, and the error it last died of."""

    most_restarts: int
    state: State = State.STARTING
    restarts: int = 0
    error: str = ""

    def started(self) -> Health:
        """It loaded its model and adapters and serves."""
        if self.state is not State.STARTING:
            return self
        return replace(self, state=State.HEALTHY)

    def died(self, error: str) -> Health:
        """It failed: dead, or retired where its restarts are used up."""
        if self.state is State.RETIRED:
            return self
        spent = self.restarts >= self.most_restarts
        return replace(self, state=State.RETIRED if spent else State.DEAD, error=error)

    def restarting(self) -> Health:
        """It is being started again."""
        if self.state is not State.DEAD:
            return self
        return replace(self, state=State.STARTING, restarts=self.restarts + 1)
