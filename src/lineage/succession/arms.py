"""The arms: what a successor receives. Everything else is the same for all arms of a pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lineage.curriculum import Visit
from lineage.errors import LineageError
from lineage.knowledge import EMPTY, Knowledge, Memory, Origin
from lineage.tasks import World

ORACLE = Origin(0, "oracle", "")


@dataclass(frozen=True)
class Arm:
    """`receives` gives what an episode on a visit sees; `inherits` whether instances hand over."""

    name: str
    inherits: bool
    receives: Callable[[Knowledge, World, Visit], Knowledge]


def _inherited(knowledge: Knowledge, home: World, visit: Visit) -> Knowledge:
    return knowledge


def _nothing(knowledge: Knowledge, home: World, visit: Visit) -> Knowledge:
    return EMPTY


def _facts(knowledge: Knowledge, home: World, visit: Visit) -> Knowledge:
    """The facts of the lineage's own world that the task asks for: memory without a flaw."""
    if visit.task.world != home.id:
        return EMPTY
    memories = (
        Memory(f"m{number}", text, ORACLE, ORACLE)
        for number, text in enumerate(home.fact_texts(visit.task.facts), start=1)
    )
    return EMPTY.evolve(memories=tuple(memories))


ARMS = {
    arm.name: arm
    for arm in (
        Arm("inherit", True, _inherited),
        Arm("cold", False, _nothing),
        Arm("oracle", False, _facts),
    )
}


def find_arm(name: str) -> Arm:
    """Return the arm `name`. Raises LineageError where there is none."""
    if name not in ARMS:
        raise LineageError(f"arm {name!r} is unknown: choose from {', '.join(ARMS)}")
    return ARMS[name]
