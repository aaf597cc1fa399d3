"""The surrogate's dice: its random draws, and a record of those that training can shift.

A decision taken with a skill is to the surrogate what a token is to a language model: it has an
id and a log-probability, so rollouts, advantages and training treat both alike.
"""

from __future__ import annotations

import math
from random import Random

from lineage.core.config_engine import SkillConfig
from lineage.core.seeds import derive

SKILLS = ("write", "edit", "open")
"""The skills that training shifts; decision 2 i + 1 is a success of skill i, 2 i a failure."""

LEAST = 1e-9
"""The chance of what a skill never does by itself, and yet was made to do."""


class Dice(Random):
    """Draws of the thing named by `ids`; `decisions` and `logprobs` are those of `SKILLS`."""

    def __new__(cls, *ids: str | int) -> Dice:
        """Make one; Random's own constructor takes a single seed."""
        return super().__new__(cls)

    def __init__(self, *ids: str | int) -> None:
        super().__init__(derive(*ids))
        self.decisions: list[int] = []
        self.logprobs: list[float] = []

    def succeeds(self, skill: SkillConfig, name: str) -> bool:
        """Draw whether the skill `name` succeeds, and remember it."""
        chance: float = getattr(skill, name)
        success = self.random() < chance
        self.note(skill, name, success)
        return success

    def note(self, skill: SkillConfig, name: str, success: bool) -> None:
        """Remember that the skill `name` succeeded or failed, drawn or not."""
        chance: float = getattr(skill, name)
        self.decisions.append(2 * SKILLS.index(name) + success)
        self.logprobs.append(math.log(max(chance if success else 1.0 - chance, LEAST)))
