"""Inputs: all that an instance receives from the generations before it."""

from __future__ import annotations

from dataclasses import dataclass

from lineage.agent.history import Past
from lineage.core.knowledge import EMPTY, Knowledge


@dataclass(frozen=True)
class Inputs:
    """Knowledge, and raw episodes where the arm is about them.

    `transcript` stands in every prompt; `pool` is searched for the episodes nearest to a task.
    """

    knowledge: Knowledge = EMPTY
    transcript: tuple[Past, ...] = ()
    pool: tuple[Past, ...] = ()


NOTHING = Inputs()
