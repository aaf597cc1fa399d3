"""The health of one replica as a pure state machine.

    starting -> healthy -> dead -> starting   restarted, until its restarts are used up
    dead -> retired                           then it serves no more
    healthy -> draining -> released           one fewer will do: it ends what it has, and is gone
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
    DRAINING = "draining"
    RELEASED = "released"


IN_SERVICE = (State.STARTING, State.HEALTHY, State.DEAD)
"""States in which a replica answers what it is asked, now or once it is up again."""


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
        if self.state not in IN_SERVICE:
            return self
        spent = self.restarts >= self.most_restarts
        return replace(self, state=State.RETIRED if spent else State.DEAD, error=error)

    def restarting(self) -> Health:
        """It is being started again."""
        if self.state is not State.DEAD:
            return self
        return replace(self, state=State.STARTING, restarts=self.restarts + 1)

    def draining(self) -> Health:
        """It is to be asked no more, and to end what it has."""
        return replace(self, state=State.DRAINING) if self.state is State.HEALTHY else self

    def released(self) -> Health:
        """It has ended what it had."""
        return replace(self, state=State.RELEASED) if self.state is State.DRAINING else self
