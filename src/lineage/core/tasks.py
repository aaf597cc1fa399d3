"""Tasks, worlds and suites: what an instance works on, as values, and the `Suite` interface.

Pure: no Ray, no I/O, no clock. A suite makes every world and task from seeds (or finds them in a
file, by seeds), so the same seed gives the same bytes on every machine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from pydantic import with_config

from lineage.core.fields import NODE


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
    """One question with a checkable answer, or a lesson: a text to learn from, with no question.

    `facts` are the keys of the hidden facts that it asks for; `group` names the rule that it
    falls under (empty where it falls under none), so that tasks of one group are kin.
    `category` is a benchmark's own label, for reports. `context` is what an instance may read
    while it works, and never while it is probed. Tasks with an `order` are met in it. `needs`
    are the ids of the lessons that a question is about. `check` is what the suite's own scorer
    needs, opaque to all else.
    """

    id: str
    world: str
    prompt: str
    answer: str
    facts: tuple[str, ...] = ()
    group: str = ""
    category: str = ""
    context: str = ""
    order: int | None = None
    needs: tuple[str, ...] = ()
    check: Any = field(default=None, compare=False)

    @property
    def lesson(self) -> bool:
        """Whether there is only something to read: no question, no answer, no score."""
        return not self.prompt


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


@dataclass(frozen=True)
class Referral:
    """A score that only another model can give: `version` is asked `prompt`, and says yes or no."""

    version: str
    prompt: str


@dataclass(frozen=True)
class Observation:
    """What an environment shows. The last one has a `score`, and no other has.

    Where there are `choices`, the next action is one of them.
    """

    text: str
    score: float | None = None
    choices: tuple[str, ...] = ()


class Environment(Protocol):
    """What a worker acts on in an episode of many turns: one environment an episode.

    It never raises for what a worker does: a wrong action is an observation that says so. Calls
    are made one after another; where the suite is `blocking`, from threads that may differ.
    """

    def begin(self) -> Observation:
        """Return what the worker sees first, after the task's prompt ("" for nothing)."""
        ...

    def act(self, action: str, last: bool) -> Observation:
        """Return what `action` leads to, with a score where the episode is over.

        With `last` there is no turn after this one, so there is always a score.
        """
        ...

    def close(self) -> None:
        """Free what `begin` took; called once, also after a failure."""
        ...


@with_config(NODE)
@dataclass(frozen=True)
class Suite(ABC):
    """A source of worlds and tasks, and the judge of answers.

    A suite is a frozen dataclass: its fields are the keys of its entry in `conf/suite/`, whose
    `_target_` names the class, and their types say what a value must be. `instructions` tell a
    worker how to answer; where empty, it is told to answer in one short sentence.

    `larger` names the knobs that make a world larger, for an error's advice. Where it is `blocking`
    to score or to act may take more than a moment: then a thread waits for it.
    """

    larger: ClassVar[str] = "see its entry in conf/suite/"
    blocking: ClassVar[bool] = False
    name: str
    instructions: str

    @abstractmethod
    def world(self, seed: int, generation: int) -> World:
        """Return the world of `seed` as it is in `generation` (drift may have changed it)."""

    @abstractmethod
    def score(self, task: Task, completion: str) -> float | Referral:
        """Return the score of `completion` in [0, 1], or which version gives it."""

    def environment(self, task: Task, world: World) -> Environment | None:
        """Return what the worker acts on, None where `task` is one question and one answer."""
        return None

    def feedback(self, task: Task, world: World, score: float) -> str:
        """Return what a worker is told after its answer; probes are told nothing."""
        verdict = "Right." if score == 1.0 else "Wrong."
        return f"{verdict} {self.solution(task, world)}".rstrip()

    def solution(self, task: Task, world: World) -> str:
        """Return the right answer in words, as far as the feedback tells it; "" where it does not.

        It is what the arm `finetune` learns from an episode, and what an ideal note would say.
        """
        return " ".join(world.fact_texts(task.facts)) or f"The answer is {task.answer}."

    @property
    def many_turns(self) -> bool:
        """Whether tasks are acted on in an environment."""
        return type(self).environment is not Suite.environment

    @property
    def judges(self) -> tuple[str, ...]:
        """The model versions that `score` may refer to."""
        return ()

    @property
    def notice(self) -> str:
        """What a run should say about its tasks before it starts, "" for nothing."""
        return ""

    @property
    def fingerprint(self) -> str:
        """What names the content of the files that tasks come from; "" for generated suites."""
        return ""
