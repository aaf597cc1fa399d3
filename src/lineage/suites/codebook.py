"""The `codebook` suite: machines with hidden attributes that can be learnt only by asking.

A world has machines ("pump Birch") of a few kinds. Each machine has a code, drawn freely, and
a zone, which follows a rule: all machines of one kind stand in one zone. From difficulty 2 on
each also has a key, which follows the zone. So a worker who learnt the zone of one pump can
answer for every pump: that is what makes *similar* tasks profit from memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Annotated, ClassVar

from pydantic import Field

from lineage.core.errors import LineageError
from lineage.core.fields import Count, Share
from lineage.core.seeds import last_drift, rng
from lineage.core.tasks import Fact, Suite, Task, World
from lineage.suites.words import KEYS, KINDS, NAMES, ZONES

FREE_ATTRIBUTE = "code"
RULE_ATTRIBUTES = ("zone", "key")
VOCABULARY = {"zone": ZONES, "key": KEYS}
WORLDS_KEPT = 512
"""Worlds that need not be drawn again: shards, points of a sweep and trainings share theirs."""


@dataclass(frozen=True)
class Codebook(Suite):
    """Machines with hidden codes, and zones that follow a rule."""

    larger: ClassVar[str] = "suite.machines_per_kind"
    kinds: Annotated[Count, Field(le=len(KINDS))]
    machines_per_kind: Count
    code_digits: Count
    # Rule attributes a machine has: 1 zone, 2 zone and key.
    difficulty: Annotated[Count, Field(le=len(RULE_ATTRIBUTES))]
    drift: Share  # chance a generation that a fact changes

    def __post_init__(self) -> None:
        machines = self.kinds * self.machines_per_kind
        if machines > len(NAMES):
            raise LineageError(
                f"suite.kinds x suite.machines_per_kind is {machines}: it must be {len(NAMES)} "
                "or less"
            )

    def world(self, seed: int, generation: int) -> World:
        """Return the world of `seed` in `generation`: the same machines, their values drifted."""
        return _world(self, seed, generation)

    def _drawn(self, seed: int, generation: int) -> World:
        draw = rng("codebook", seed)
        kinds = draw.sample(KINDS, self.kinds)
        names = draw.sample(NAMES, self.kinds * self.machines_per_kind)
        machines = [
            (kind, names[place * self.kinds + index])
            for place in range(self.machines_per_kind)
            for index, kind in enumerate(kinds)
        ]
        rules = RULE_ATTRIBUTES[: self.difficulty]
        world_id = f"codebook-{seed:x}"
        zones = {kind: self._value(seed, generation, "zone", kind) for kind in kinds}
        facts: list[Fact] = []
        tasks: list[Task] = []
        for kind, name in machines:
            machine = f"{kind} {name}"
            values = {
                FREE_ATTRIBUTE: self._value(seed, generation, FREE_ATTRIBUTE, machine),
                "zone": zones[kind],
                "key": self._value(seed, generation, "key", zones[kind]),
            }
            for attribute in (FREE_ATTRIBUTE, *rules):
                key = f"{attribute}/{machine}"
                text = f"The {attribute} of {machine} is {values[attribute]}."
                facts.append(Fact(key, values[attribute], text))
                tasks.append(
                    Task(
                        id=f"{world_id}/{key}",
                        world=world_id,
                        prompt=f"What is the {attribute} of {machine}?",
                        answer=values[attribute],
                        facts=(key,),
                        group="" if attribute == FREE_ATTRIBUTE else f"{attribute}/{kind}",
                    )
                )
        return World(world_id, generation, tuple(facts), tuple(tasks))

    def score(self, task: Task, completion: str) -> float:
        """1.0 where the only value of the task's form in the completion's first line is right.

        A completion that lists several values scores 0: naming all of them is not knowing one.
        """
        line = completion.strip().split("\n", 1)[0]
        if task.answer.isdigit():
            said = set(re.findall(r"(?<!\d)\d+(?!\d)", line))
        else:
            words = set(re.findall(r"[a-z]+", line.lower()))
            said = {value for values in VOCABULARY.values() for value in values if value in words}
        return float(said == {task.answer})

    def _value(self, seed: int, generation: int, attribute: str, subject: str) -> str:
        """Return the value of `attribute` of `subject`: the draw of the last drift up to now."""
        ids = ("codebook", seed, attribute, subject)
        drifted = last_drift(generation, self.drift, *ids)
        return self._draw(attribute, rng(*ids, "value", drifted))

    def _draw(self, attribute: str, draw: Random) -> str:
        if attribute == FREE_ATTRIBUTE:
            low = 10 ** (self.code_digits - 1)
            return str(draw.randrange(low, 10 * low))
        return draw.choice(VOCABULARY[attribute])


@lru_cache(maxsize=WORLDS_KEPT)
def _world(suite: Codebook, seed: int, generation: int) -> World:
    return suite._drawn(seed, generation)
