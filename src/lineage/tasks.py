"""Tasks, worlds and suites: what an instance works on, as values, and the `Suite` protocol.

Pure: no Ray, no I/O, no clock. A suite makes every world and task from seeds, so the same
seed gives the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Family(StrEnum):
    """How a probe's task relates to the tasks its lineage has met."""

    SAME = "same"
    SIMILAR = "similar"
    DISSIMILAR = "dissimilar"


FAMILIES: tuple[Family, ...] = tuple(Family)


@dataclass(frozen=True)
class Fact:
    """One hidden fact of a world: `key` is stable under drift, `value` and `text` are not."""

    key: str
    value: str
    text: str


@dataclass(frozen=True)
class Task:
    """One question with an exact, checkable answer.

    `facts` are the keys of the hidden facts that it asks for; `group` names the rule that it
    falls under (empty where it falls under none), so that tasks of one group are kin.
    """

    id: str
    world: str
    prompt: str
    answer: str
    facts: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class World:
    """The hidden state that the tasks of one world share, as it is in one generation."""

    id: str
    generation: int
    facts: tuple[Fact, ...]
    tasks: tuple[Task, ...]

    def fact_texts(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Return the sentences of the facts named by `keys` that this world has, in its order."""
        wanted = set(keys)
        return tuple(fact.text for fact in self.facts if fact.key in wanted)


class Suite(Protocol):
    """A generator of worlds and tasks, and the judge of answers."""

    @property
    def name(self) -> str:
        """The name in `conf/suite/`."""
        ...

    def world(self, seed: int, generation: int) -> World:
        """Return the world of `seed` as it is in `generation` (drift may have changed it)."""
        ...

    def score(self, task: Task, completion: str) -> float:
        """Return the score of `completion` in [0, 1]."""
        ...

    def feedback(self, task: Task, world: World, score: float) -> str:
        """Return what a worker is told after its answer; probes are told nothing."""
        ...

    def solution(self, task: Task, world: World) -> str:
        """Return the right answer in words, as far as the feedback tells it; "" where it does not.

        It is what the arm `finetune` learns from an episode.
        """
        ...
