"""The codebook suite and the curriculum: from seeds alone, answers exact, families as defined."""

from __future__ import annotations

import pytest

from lineage import compose
from lineage.core.config import ExperimentConfig, ProbeConfig
from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.core.seeds import last_drift, rng
from lineage.core.tasks import Family, Suite
from lineage.suites import make_suite

EXPERIMENT = ExperimentConfig("t", 0, 8, 6, None, 0.0, ProbeConfig(4, 4, 2))


def codebook(*overrides: str) -> Suite:
    """The suite of the shipped tree, composed of what most other tests are composed of."""
    return make_suite(compose.load(["engine=surrogate", *overrides]).suite)


SUITE = codebook()


def test_same_seed_same_world_and_other_seed_other_world() -> None:
    assert SUITE.world(7, 0) == SUITE.world(7, 0)
    assert SUITE.world(7, 0) != SUITE.world(8, 0)


@pytest.mark.parametrize("difficulty", [1, 2])
def test_rules_hold_in_each_group(difficulty: int) -> None:
    world = codebook(f"suite.difficulty={difficulty}").world(3, 0)
    answers: dict[str, set[str]] = {}
    for task in world.tasks:
        answers.setdefault(task.group, set()).add(task.answer)
    assert all(len(values) == 1 for group, values in answers.items() if group)
    assert len(answers[""]) > 20


def test_only_the_one_right_value_scores() -> None:
    code = next(t for t in SUITE.world(1, 0).tasks if not t.group)
    zone = next(t for t in SUITE.world(1, 0).tasks if t.group)
    assert SUITE.score(code, f"The code of it is {code.answer}.") == 1.0
    assert SUITE.score(code, f"{code.answer}\n1234") == 1.0
    assert SUITE.score(code, f"{code.answer} or 1234") == 0.0
    assert SUITE.score(code, f"1{code.answer}") == 0.0
    assert SUITE.score(code, "I do not know.") == 0.0
    assert SUITE.score(zone, f"It is {zone.answer.upper()}.") == 1.0
    assert SUITE.score(zone, "north south east west") == 0.0


def test_facts_answer_their_tasks_and_nothing_else_does() -> None:
    for seed in range(50):
        world = SUITE.world(seed, 0)
        for task in world.tasks[:6]:
            assert SUITE.score(task, world.fact_texts(task.facts)[0]) == 1.0
            assert SUITE.score(task, task.prompt) == 0.0


def test_drift_changes_about_its_share_and_keeps_the_tasks() -> None:
    suite = codebook("suite.drift=0.3")
    before, after = suite.world(5, 0), suite.world(5, 1)
    assert [t.id for t in before.tasks] == [t.id for t in after.tasks]
    codes = [(a.value, b.value) for a, b in zip(before.facts, after.facts) if "code/" in a.key]
    assert 0 < sum(a != b for a, b in codes) < len(codes)
    assert SUITE.world(5, 0).facts == SUITE.world(5, 3).facts


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_a_drift_is_the_same_in_whatever_order_it_is_asked_for(chance: float) -> None:
    def drifts(thing: str, age: int) -> bool:
        return rng("test", thing, "drifts", age).random() < chance

    for number, order in enumerate((range(30), range(29, -1, -1), [17, 3, 29, 17, 8, 16, 18, 0])):
        thing = f"{chance} {number}"
        for generation in order:
            ages = (age for age in range(generation, 0, -1) if drifts(thing, age))
            assert last_drift(generation, chance, "test", thing) == next(ages, 0)


def test_families_are_disjoint_and_met_is_when_a_task_was_first_met() -> None:
    for pair in range(20):
        made = plans(SUITE, EXPERIMENT, 4, pair)
        first: dict[str, int] = {}
        for generation, plan in enumerate(made):
            for task_instance in plan.work:
                first.setdefault(task_instance.task.id, generation)
            for task_instance in plan.probes:
                home = task_instance.task.world == plan.world.id
                if task_instance.family == Family.SAME:
                    assert task_instance.met == first[task_instance.task.id]
                else:
                    assert task_instance.met is None
                    assert home == (task_instance.family == Family.SIMILAR)
        met = set(first)
        later = {v.task.id for p in made for v in p.probes if v.family != Family.SAME}
        assert not met & later


def test_similar_probes_have_kin_among_the_met_tasks_once_there_are_any() -> None:
    groups: set[str] = set()
    plan = plans(SUITE, EXPERIMENT, 4, 0)
    for generation in plan:
        groups |= {v.task.group for v in generation.work}
    similar = [v for v in plan[-1].probes if v.family == Family.SIMILAR]
    assert similar and all(v.task.group in groups for v in similar)


def test_revisits_meet_earlier_tasks_again() -> None:
    config = ExperimentConfig("t", 0, 1, 6, None, 0.5, ProbeConfig(4, 4, 2))
    second = plans(SUITE, config, 2, 0)[1]
    assert sorted(v.met or 0 for v in second.work) == [0, 0, 0, 1, 1, 1]


def test_too_small_a_world_is_one_clear_line() -> None:
    with pytest.raises(LineageError, match=r"machines_per_kind"):
        plans(SUITE, EXPERIMENT, 40, 0)
