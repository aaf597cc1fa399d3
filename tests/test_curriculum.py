"""The curriculum over suites that are not the codebook: orders, lessons, few worlds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from lineage.core.config import ExperimentConfig, ProbeConfig
from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.core.tasks import FAMILIES, Suite, Task, World

EXPERIMENT = ExperimentConfig("t", 0, 8, 2, None, 0.0, ProbeConfig(4, 4, 2))


@dataclass(frozen=True)
class Listed(Suite):
    """Worlds of tasks given as they are; the seed only picks one of `worlds`."""

    tasks: tuple[Task, ...]
    worlds: int

    def world(self, seed: int, generation: int) -> World:
        id = f"w{seed % self.worlds}"
        tasks = (replace(task, world=id, id=f"{id}/{task.id}") for task in self.tasks)
        return World(id, generation, (), tuple(tasks))

    def score(self, task: Task, completion: str) -> float:
        return 0.0


def question(number: int, **more: object) -> Task:
    return Task(f"q{number:02d}", "", f"Question {number}?", "yes", **more)  # type: ignore[arg-type]


def test_tasks_with_an_order_are_met_in_it_and_the_others_last() -> None:
    ordered = tuple(question(n, order=90 - n, group="g") for n in range(20))
    free = tuple(question(n, group="g") for n in range(20, 24))
    made = plans(Listed("l", "", (*free, *ordered), 9), EXPERIMENT, 6, 0)
    met = [task_instance.task for plan in made for task_instance in plan.work]
    assert len(met) == 12
    orders = [task.order for task in met if task.order is not None]
    assert orders == sorted(orders) and len(orders) >= 8
    assert all(task.order is None for task in met[len(orders) :])


def test_all_tasks_free_of_order_are_shuffled_by_pair() -> None:
    suite = Listed("l", "", tuple(question(n) for n in range(24)), 9)
    first = [plans(suite, EXPERIMENT, 6, pair)[0].work[0].task.prompt for pair in range(8)]
    assert len(set(first)) > 3


def lessons(count: int) -> tuple[Task, ...]:
    # Question n is about lessons n and n + 1.
    read = tuple(Task(f"l{n:02d}", "", "", "", context=f"Text {n}.", order=n) for n in range(count))
    asked = tuple(question(n) for n in range(count - 1))
    return (*asked, *read)


class Needy(Listed):
    """Its questions need two lessons each."""

    def world(self, seed: int, generation: int) -> World:
        world = super().world(seed, generation)
        tasks = (
            task
            if task.lesson
            else replace(
                task, needs=tuple(f"{world.id}/l{self._number(task) + n:02d}" for n in (0, 1))
            )
            for task in world.tasks
        )
        return replace(world, tasks=tuple(tasks))

    def _number(self, task: Task) -> int:
        return int(task.id.rpartition("q")[2])


def test_a_question_is_same_once_all_its_lessons_were_read() -> None:
    suite = Needy("n", "", lessons(8), 9)
    for generation, plan in enumerate(plans(suite, EXPERIMENT, 4, 1)):
        assert [v.task.order for v in plan.work] == [2 * generation, 2 * generation + 1]
        read = 2 * generation + 2
        for task_instance in plan.probes:
            assert not task_instance.task.lesson
            second = int(task_instance.task.id.rpartition("q")[2]) + 1
            if task_instance.task.world != plan.world.id:
                assert task_instance.family == "dissimilar"
            else:
                assert task_instance.family == ("same" if second < read else "similar")
                assert task_instance.met == (second // 2 if second < read else None)
    families = {task_instance.family for task_instance in plans(suite, EXPERIMENT, 4, 1)[1].probes}
    assert families == set(FAMILIES)


def test_a_suite_of_one_world_says_what_to_set() -> None:
    suite = Listed("l", "", tuple(question(n) for n in range(24)), 1)
    with pytest.raises(LineageError, match=r"no world but 'w0'.*probes\.dissimilar=0"):
        plans(suite, EXPERIMENT, 4, 0)
    none = replace(EXPERIMENT, probes=ProbeConfig(4, 4, 0))
    assert plans(suite, none, 4, 0)


def test_dissimilar_probes_are_never_of_the_own_world() -> None:
    suite = Listed("l", "", tuple(question(n) for n in range(24)), 2)
    for pair in range(40):
        for plan in plans(suite, EXPERIMENT, 4, pair):
            for one in plan.probes:
                assert (one.family == "dissimilar") == (one.world.id != plan.world.id)
