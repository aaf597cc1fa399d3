"""The reasoning suite: the same bytes in every process, scored by reasoning-gym, families apart."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import asdict, replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from helpers import FULL

from lineage.compose import load_suite
from lineage.core.config import ExperimentConfig, ProbeConfig
from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.core.tasks import Family, Task
from lineage.suites.reasoning import Reasoning, answer_in

pytestmark = pytest.mark.skipif(find_spec("reasoning_gym") is None, reason="not installed")

EXPERIMENT = ExperimentConfig("t", 0, 8, 6, None, 0.0, ProbeConfig(2, 2, 2))
SEEDS = 200 if FULL else 50
DIGEST = """
import hashlib
from lineage.suites.reasoning import Reasoning
def problems(suite, turn, without=()):
    groups = suite._groups().items()
    names = [(c, name) for c, names in groups for name in names if name not in without][::turn]
    return {name: suite._tasks(category, name, 7, 2) for category, name in names}
def digests(made):
    text = lambda tasks: repr([(task.id, task.prompt, task.answer) for task in tasks])
    return {k: hashlib.sha256(text(v).encode()).hexdigest() for k, v in sorted(made.items())}
"""
# Each reads a collection of its own, of puzzles and of typefaces, longer than all others take.
WITHOUT = () if FULL else ("arc_agi", "figlet_font")
HERE: dict[str, Any] = {}
exec(DIGEST, HERE)


@cache
def suite() -> Reasoning:
    """All of it, composed when a test asks for it: every worker collects this file."""
    made = load_suite("reasoning")
    assert isinstance(made, Reasoning)
    return made


@cache
def fast() -> Reasoning:
    """The part whose problems are made in no time: solving geometry takes most of a second."""
    return replace(suite(), categories=["logic", "graphs", "arithmetic"])


def drawn() -> tuple[Any, bytes]:
    """Return where Python's draws and NumPy's are."""
    return random.getstate(), np.random.get_state()[1].tobytes()


@pytest.fixture(scope="module")
def problems() -> dict[str, list[Task]]:
    """Two problems of each dataset."""
    suite()._groups()  # which imports them all
    before = drawn()
    made: dict[str, list[Task]] = HERE["problems"](suite(), 1, WITHOUT)
    assert drawn() == before, "no draw is global"
    return made


def test_a_world_is_one_category_and_each_group_one_dataset_with_its_share() -> None:
    world = suite().world(6, 0)
    groups = {task.group for task in world.tasks}
    assert world.id == f"reasoning-{world.tasks[0].category}"
    assert {task.category for task in world.tasks} == {world.tasks[0].category}
    assert {task.world for task in world.tasks} == {world.id}
    assert len(world.tasks) == len({task.prompt for task in world.tasks}) == 64
    assert 1 < len(groups) <= 4
    sizes = [sum(task.group == group for task in world.tasks) for group in groups]
    assert max(sizes) - min(sizes) <= 1
    assert not groups & set(suite().exclude)


def test_no_problem_is_there_twice_though_a_dataset_repeats_itself() -> None:
    tasks = suite()._tasks("cognition", "number_sequence", 1, 64)
    assert len({task.prompt for task in tasks}) == len(tasks) == 64
    assert int(tasks[-1].id.rpartition("/")[2]) > 63  # some were passed over


def test_other_processes_and_other_orders_make_the_same_bytes(
    problems: dict[str, list[Task]]
) -> None:
    # Made of its settings: what composes them takes as long to import as the datasets do.
    told = f"print(digests(problems(Reasoning(**{asdict(suite())!r}), -1, {WITHOUT})))"
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{DIGEST}\n{told}"],
        env=os.environ | {"PYTHONHASHSEED": "77"}, stdout=subprocess.PIPE, text=True,
        check=True, timeout=120,
    ).stdout
    found = HERE["digests"](problems)
    assert said == f"{found}\n"  # and nothing else was printed
    assert len(found) == len(set(found.values())) > 60


def test_who_is_told_the_answer_scores_one_and_who_is_not_almost_never_does() -> None:
    told, guessed = [], []
    small = replace(fast(), tasks_per_world=8)
    for seed in range(SEEDS):
        world = small.world(seed, 0)
        task = random.Random(seed).choice(world.tasks)
        told.append(small.score(task, small.solution(task, world)))
        others = [o for o in world.tasks if o.group == task.group and o.answer != task.answer]
        guessed.append(small.score(task, small.solution(others[0], world)) if others else 0.0)
    assert told == [1.0] * SEEDS
    # Partial credit is the datasets' own: another problem's answer may have a part that is right.
    assert sum(score == 1.0 for score in guessed) <= 0.02 * SEEDS
    assert sum(guessed) / SEEDS < 0.15


def test_every_dataset_scores_its_own_answers_and_no_answer_stops_it(
    problems: dict[str, list[Task]]
) -> None:
    before = drawn()
    odd = [
        "", "\0", "1e999999999", "9" * 6000, "[" * 5000, "(" * 3000, "1/0", "nan", "inf", "{}",
        "null", "__import__('os').abort()", "2**99999999999", "1e999999999/3", "a b\n" * 2000,
    ]
    for name, (task, _) in problems.items():
        for text in (task.answer, f"<answer>{task.answer}</answer>", f"It is.\n{task.answer}"):
            assert suite().score(task, text) == 1.0, name
        suite().score(task, "The answer is 7.")
        for text in odd:
            began = time.process_time()
            assert 0.0 <= suite().score(task, text) < 0.6, (name, text[:20])
            assert time.process_time() - began < 5, (name, text[:20])  # it ends
    assert drawn() == before, "no draw is global"


def test_a_scorer_that_raises_gives_zero() -> None:
    task = fast().world(0, 0).tasks[0]
    assert fast().score(replace(task, check=(task.check[0], {})), "7") == 0.0


@pytest.mark.parametrize(
    "completion, answer, found",
    [
        ("<answer>7</answer>", "7", "7"),
        ("It is <answer>3</answer>, no: <ANSWER> 7\n</ANSWER>.", "7", "7"),
        ("I think. The answer is 7.", "7", "7"),
        ("The answer is: 7", "7", "7"),
        ("The answer is 1.5.", "1.5", "1.5"),
        ("The answer is He left..", "He left.", "He left."),
        ("First 3.\n\nThen 7.\n", "7", "Then 7"),
        ("Here:\n1 2\n3 4\n", "1 2\n3 4", "1 2\n3 4"),
        ("He left.", "He left.", "He left."),
        ("<answer>7", "7", "7"),
        ("", "7", ""),
    ],
)
def test_what_the_answer_in_a_completion_is(completion: str, answer: str, found: str) -> None:
    assert answer_in(completion, Task("t", "w", "?", answer)) == found


def test_dissimilar_is_another_category_and_similar_another_problem() -> None:
    for pair in range(3):
        met: set[str] = set()
        for plan in plans(replace(fast(), tasks_per_world=24), EXPERIMENT, 2, pair):
            home = plan.world.tasks[0].category
            met |= {task_instance.task.prompt for task_instance in plan.work}
            for one in plan.probes:
                assert (one.task.category == home) == (one.family != Family.DISSIMILAR)
                assert (one.task.prompt in met) == (one.family == Family.SAME)


def test_settings_change_how_hard_a_dataset_is() -> None:
    easy = load_suite("reasoning", "+suite.settings.chain_sum={min_terms:2,max_terms:2}")
    prompts = [task.prompt for task in easy._tasks("arithmetic", "chain_sum", 1, 8)]
    assert all(prompt.count("+") + prompt.count(" - ") == 1 for prompt in prompts)
    assert any(task.prompt.count("+") + task.prompt.count(" - ") > 1
               for task in suite()._tasks("arithmetic", "chain_sum", 1, 8))


@pytest.mark.parametrize(
    "override, words",
    [
        ("suite.categories=[algebr]", "did you mean 'algebra'"),
        ("suite.exclude=[lgc]", "suite.exclude names 'lgc'"),
        ("+suite.settings.sudok={}", "did you mean 'sudoku'"),
        ("+suite.settings.sudoku.seed=1", "neither seed nor size"),
        ("+suite.settings.dice.num_dice=-1", "suite.settings.dice"),
        ("+suite.settings.dice.wrong=1", "suite.settings.dice"),
        ("suite.tasks_per_world=0", "1 or more"),
    ],
)
def test_wrong_knobs_are_one_clear_line(override: str, words: str) -> None:
    with pytest.raises(LineageError, match=words) as caught:
        small = ("suite.categories=[logic]", "suite.tasks_per_world=8")
        made = load_suite("reasoning", *small, override)
        made.world(0, 0)
        assert isinstance(made, Reasoning)
        made._dataset("dice", 1, 1)
    assert "\n" not in str(caught.value)


def test_excluding_everything_is_one_clear_line() -> None:
    names = ",".join([*suite().exclude, "acre"])
    with pytest.raises(LineageError, match="exclude fewer"):
        load_suite(
            "reasoning", "suite.categories=[induction]", f"suite.exclude=[{names}]"
        ).world(0, 0)
