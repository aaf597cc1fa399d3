"""Codebook: solved with the facts that a task asks for, at chance without them; families apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

import pytest
from helpers import FULL

from lineage.compose import load_suite
from lineage.core.config import ExperimentConfig, ProbeConfig
from lineage.core.curriculum import plans
from lineage.core.tasks import Family, Task
from lineage.suites.words import KEYS, ZONES

SEEDS = 200 if FULL else 50
SUITE = load_suite("codebook", "suite.difficulty=2", "suite.drift=0.2")
EXPERIMENT = ExperimentConfig("solvability", 0, 8, 6, None, 0.25, ProbeConfig(4, 4, 4))
OPTIONS = {"zone": ZONES, "key": KEYS, "code": tuple(str(code) for code in range(1000, 10000))}


def ideal(prompt: str, notes: Sequence[str], draw: Random) -> str:
    """Answer from the note about what is asked, and where there is none by any possible value."""
    asked = re.fullmatch(r"What is the ((\w+) of \w+ \w+)\?", prompt)
    assert asked is not None
    for note in notes:
        if note.startswith(f"The {asked[1]} is "):
            return note
    return f"The {asked[1]} is {draw.choice(OPTIONS[asked[2]])}."


def chance(task: Task) -> float:
    """Return how often any possible value is the right one."""
    return 1 / len(OPTIONS[task.facts[0].split("/")[0]])


def test_with_the_facts_every_task_of_many_worlds_is_solved() -> None:
    for seed in range(SEEDS):
        world = SUITE.world(seed, seed % 4)
        for task in world.tasks:
            said = ideal(task.prompt, world.fact_texts(task.facts), Random(seed))
            assert SUITE.score(task, said) == 1.0


@pytest.mark.parametrize("notes_of", ["no world", "another world"])
def test_without_the_facts_a_worker_is_no_better_than_chance(notes_of: str) -> None:
    right = expected = variance = 0.0
    for seed in range(SEEDS):
        world, other = SUITE.world(seed, 0), SUITE.world(seed + SEEDS, 0)
        notes = [fact.text for fact in other.facts] if notes_of == "another world" else []
        draw = Random(seed)
        # One task of a rule: machines of one kind share its value, so they are no two draws.
        rules: dict[str, Task] = {task.group or task.id: task for task in world.tasks}
        for task in rules.values():
            right += SUITE.score(task, ideal(task.prompt, notes, draw))
            expected += chance(task)
            variance += chance(task) * (1 - chance(task))
    # Both sides: the normal bound of a sum of independent yes-no draws, at four deviations.
    assert abs(right - expected) < 4 * variance**0.5
    assert right < 0.1 * SEEDS * len(rules)


def test_families_of_many_pairs_are_disjoint_as_defined() -> None:
    for pair in range(SEEDS if FULL else 16):
        met: dict[str, int] = {}
        for generation, plan in enumerate(plans(SUITE, EXPERIMENT, 3, pair)):
            for task_instance in plan.work:
                met.setdefault(task_instance.task.id, generation)
            found: dict[str, set[str]] = {family: set() for family in Family}
            for task_instance in plan.probes:
                found[task_instance.family].add(task_instance.task.id)
                assert (task_instance.task.id in met) == (task_instance.family == Family.SAME)
                assert task_instance.met == met.get(task_instance.task.id)
                home = task_instance.task.world == plan.world.id
                assert home == (task_instance.family != Family.DISSIMILAR)
                assert task_instance.task.group or task_instance.family != Family.SIMILAR
            assert sum(map(len, found.values())) == len(plan.probes) == 12
            assert len(set().union(*found.values())) == 12
