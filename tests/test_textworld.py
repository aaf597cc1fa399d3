"""The textworld suite: houses from seeds, TextWorld's rules, won with the facts and not without."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers import FULL

from lineage.compose import load_suite
from lineage.core.config import ExperimentConfig, ProbeConfig
from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.core.facts import Truth
from lineage.core.tasks import Family, Observation, Suite, Task, World
from lineage.suites import houses, textworld
from lineage.suites.textworld import start

pytestmark = pytest.mark.skipif(find_spec("textworld") is None, reason="not installed")

EXPERIMENT = ExperimentConfig("t", 0, 8, 6, None, 0.0, ProbeConfig(4, 4, 2))
SEEDS = 200 if FULL else 8
FACT = re.compile(r"The (\w+) (?:of|to) the (\w+)(?: from the (\w+))? is (\w+)\.")
DIGEST = """
import hashlib
from random import Random
from lineage.suites.textworld import Textworld
def games(suite):
    seen = []
    for seed in range(4):
        world = suite.world(seed, 2)
        play = suite.environment(world.tasks[0], world)
        shown, draw = play.begin(), Random(seed)
        seen.append(repr(world))
        while shown.score is None:
            seen.append(shown.text)
            shown = play.act(draw.choice(shown.choices), False)
    return hashlib.sha256("".join(seen).encode()).hexdigest()
"""


OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}


@cache
def shipped() -> Suite:
    """The suite, composed when a test asks for it: every worker collects this file."""
    return load_suite("textworld")


class Worker:
    """An ideal worker: it does what its notes and the observation say, and else anything."""

    def __init__(self, notes: Sequence[str], task: Task, draw: Random) -> None:
        self.draw = draw
        read = (FACT.fullmatch(note) for note in notes)
        self.known = {found.group(1, 2, 3): found[4] for found in read if found is not None}
        what = re.match(r"Find (?:the (\w+)|what the (\w+) is made of) in", task.prompt)
        assert what is not None
        self.thing = what[1] or self.known.get(("ingredient", what[2], None), "")

    def move(self, shown: Observation) -> str:
        here = re.search(r"You are in the (\w+)\.", shown.text)
        assert here is not None
        place = self.known.get(("place", self.thing, None), "")
        key = self.known.get(("key", place, None), "")
        room = self.known.get(("room", self.thing, None), "")
        wanted = [
            f"take {self.thing} from {place}",
            f"take {key} key from hooks",
            f"unlock {place} with {key} key",
            f"open {place}",
            f"go {self._way(here[1], room)}",
        ]
        fitting = [move for move in wanted if move in shown.choices]
        return fitting[0] if fitting else self.draw.choice(shown.choices)

    def _way(self, here: str, room: str) -> str:
        """Return the exit of `here` that leads towards `room`."""
        for (what, far, near), way in self.known.items():
            if (what, far) == ("way", room):
                return way if near == here else self._way(here, near)
        return ""


class Explorer(Worker):
    """What can be done without notes: it opens all it comes by, and takes what it looks for.

    It knows what a dish is made of, which cannot be seen, and goes nowhere twice if it can.
    """

    def __init__(self, task: Task, draw: Random) -> None:
        super().__init__((), task, draw)
        self.thing, self.been, self.came = task.answer, set[str](), ""

    def move(self, shown: Observation) -> str:
        here = shown.text.split(".")[0]
        ranked = sorted(
            shown.choices,
            key=lambda move: (
                not move.startswith(f"take {self.thing} "),
                not move.startswith("open"),
                not move.startswith("go"),
                here + move in self.been or move == f"go {OPPOSITE.get(self.came)}",
                self.draw.random(),
            ),
        )
        self.been.add(here + ranked[0])
        if ranked[0].startswith("go"):
            self.came = ranked[0].removeprefix("go ")
        return ranked[0]



def _play(suite: Suite, task: Task, world: World, worker: Worker) -> float:
    play = suite.environment(task, world)
    assert play is not None
    shown = play.begin()
    while shown.score is None:
        shown = play.act(worker.move(shown), False)
    play.close()
    return shown.score


def _sampled(suite: Suite, seed: int) -> tuple[World, Task]:
    world = suite.world(seed, seed % 3)
    return world, Random(seed).choice(world.tasks)


def test_with_the_facts_every_game_is_won_and_without_them_hardly_more_than_at_random() -> None:
    suite = load_suite("textworld", "suite.drift=0.2")
    other = load_suite("textworld")
    told, walked, misled = [], [], []
    for seed in range(SEEDS):
        world, task = _sampled(suite, seed)
        wrong = other.world(seed + SEEDS, 0)
        others = [fact.text for fact in wrong.facts]
        for scores, notes in (
            (told, world.fact_texts(task.facts)), (walked, ()), (misled, others)
        ):
            scores.append(_play(suite, task, world, Worker(notes, task, Random(seed))))
    assert told == [1.0] * SEEDS
    chance, with_others = sum(walked) / len(walked), sum(misled) / len(misled)
    assert chance < 0.05
    # Three standard errors of the difference of two such shares.
    assert with_others <= chance + 3 * (2 * 0.02 * 0.98 / SEEDS) ** 0.5


def test_looking_everywhere_seldom_wins_within_the_moves() -> None:
    scores = [
        _play(shipped(), task, world, Explorer(task, Random(walk)))
        for world, task in (_sampled(shipped(), seed) for seed in range(0, 200 if FULL else 21, 2))
        for walk in range(2)
    ]
    assert 0.02 < sum(scores) / len(scores) < 0.2


def test_other_processes_make_the_same_games_and_leave_no_files(tmp_path: Path) -> None:
    suite = load_suite("textworld", "suite.drift=0.3")
    # Made of its settings: what composes them takes longer to import than TextWorld does.
    told = f"print(games(Textworld(**{asdict(suite)!r})))"  # type: ignore[call-overload]
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{DIGEST}\n{told}"], cwd=tmp_path,
        env=os.environ | {"PYTHONHASHSEED": "77", "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout
    here: dict[str, Any] = {}
    exec(DIGEST, here)
    assert said == f"{here['games'](suite)}\n"
    assert not list(tmp_path.iterdir())


def test_a_house_keeps_textworlds_constraints() -> None:
    from textworld.generator.data import KnowledgeBase
    from textworld.generator.maker import get_failing_constraints

    base = KnowledgeBase.default()
    for seed in range(20 if FULL else 4):
        state = start(shipped().world(seed, 0).tasks[0].check[0])
        assert get_failing_constraints(state, base) == []
        doubled = state.copy()
        chest = next(iter(doubled.variables_of_type("c")))
        doubled.add_facts([_proposition("open", chest), _proposition("closed", chest)])
        assert get_failing_constraints(doubled, base)


def _proposition(name: str, *arguments: object) -> object:
    from textworld.logic import Proposition

    return Proposition(name, arguments)


def test_a_world_states_its_facts_and_asks_for_them() -> None:
    for seed in range(30 if FULL else 10):
        world = shipped().world(seed, 0)
        assert len(world.tasks) >= 48
        truth, keys = Truth(world.facts), {fact.key for fact in world.facts}
        assert len(keys) == len(world.facts)
        later = shipped().world(seed, 1)
        assert {task.id for task in world.tasks} == {task.id for task in later.tasks}
        for task in world.tasks:
            assert set(task.facts) <= keys
            assert truth.read(shipped().solution(task, world)).stated == set(task.facts)
            assert not truth.read(shipped().solution(task, world)).denied
            assert not truth.stated(task.prompt)


def test_same_seed_same_house_and_other_seed_other_house() -> None:
    assert repr(shipped().world(7, 0)) == repr(shipped().world(7, 0))
    assert shipped().world(7, 0).facts != shipped().world(8, 0).facts


def test_drift_moves_about_its_share_of_things_within_their_rooms() -> None:
    suite = load_suite("textworld", "suite.drift=0.5")
    changed = total = 0
    for seed in range(10):
        before, after = suite.world(seed, 0), suite.world(seed, 1)
        for was, now in zip(before.facts, after.facts):
            assert was.key == now.key
            total += was.key.startswith("place/")
            changed += was.value != now.value
            assert was.value == now.value or was.key.startswith("place/")
        assert [t.group for t in before.tasks] == [t.group for t in after.tasks]
    assert 0.25 < changed / total < 0.42  # half of them draw again among three containers
    assert shipped().world(3, 0).facts == shipped().world(3, 5).facts


def test_families_are_disjoint_and_kin_share_the_way() -> None:
    for pair in range(10 if FULL else 4):
        met: set[str] = set()
        for plan in plans(shipped(), EXPERIMENT, 4, pair):
            met |= {task_instance.task.id for task_instance in plan.work}
            for task_instance in plan.probes:
                home = task_instance.task.world == plan.world.id
                assert home == (task_instance.family != Family.DISSIMILAR)
                assert (task_instance.task.id in met) == (task_instance.family == Family.SAME)
    ways: dict[str, set[str]] = {}
    for task in shipped().world(1, 0).tasks:
        way = ",".join(fact for fact in task.facts if fact.startswith("way/"))
        ways.setdefault(task.group, set()).add(way)
    assert all(len(way) == 1 for way in ways.values()) and len(ways) == 6


def _winning_moves(task: Task, world: World) -> list[str]:
    worker, play = Worker(world.fact_texts(task.facts), task, Random(0)), None
    play, moves = shipped().environment(task, world), []
    assert play is not None
    shown = play.begin()
    while shown.score is None:
        moves.append(worker.move(shown))
        shown = play.act(moves[-1], False)
    return moves


def test_free_text_is_read_leniently_and_shows_no_choices() -> None:
    suite = load_suite("textworld", "suite.choices=false")
    world = suite.world(2, 0)
    for task in world.tasks[: 10 if FULL else 4]:
        play = suite.environment(task, world)
        assert play is not None
        shown = play.begin()
        for move in _winning_moves(task, world):
            assert shown.score is None and not shown.choices and "Possible" not in shown.text
            words = move.replace("open ", "Open the ").replace("take ", "TAKE the ")
            shown = play.act(f"  {words}.\nAnd then I rest.", False)
        assert shown.score == 1.0


@pytest.mark.parametrize("action", ["", "\n", "dance", "go up", "take moon", "{c}", "a" * 9999])
def test_an_impossible_move_is_told_and_spent(action: str) -> None:
    world = shipped().world(4, 0)
    play = shipped().environment(world.tasks[0], world)
    assert play is not None
    first = play.begin()
    shown = play.act(action, False)
    left = [int(re.findall(r"Moves left: (\d+)", seen.text)[0]) for seen in (first, shown)]
    assert shown.text.startswith("That is not possible here.") and left[0] - left[1] == 1
    assert shown.choices == first.choices == tuple(sorted(first.choices)) and shown.score is None
    assert play.act(action, True).score == 0.0


def test_moves_beyond_those_told_lose_and_spare_ones_do_not() -> None:
    world = shipped().world(5, 0)
    for task in world.tasks[: 12 if FULL else 5]:
        told = re.search(r"You have (\d+) moves", task.prompt)
        best = _winning_moves(task, world)
        assert told is not None and int(told[1]) == len(best) + 1
        for wasted, score in ((1, 1.0), (2, 0.0)):
            play = shipped().environment(task, world)
            assert play is not None
            play.begin()
            seen = [play.act(move, False).score for move in (*["wait"] * wasted, *best)]
            assert seen[len(best)] == score


def test_words_name_one_thing() -> None:
    lists = (houses.ROOMS, houses.CONTAINERS, houses.METALS, houses.FOODS, houses.DISHES,
             houses.THINGS, ("hall", "hooks", "key", "house"))
    assert max(Counter(word for words in lists for word in words).values()) == 1


@pytest.mark.parametrize(
    "override, words",
    [
        ("suite.rooms=17", "suite.rooms is 17: it must be between 1 and 16"),
        ("suite.containers_per_room=6", "suite.containers_per_room is 6"),
        ("suite.locked=11", "between 0 and 10"),
        ("suite.spare_moves=-1", "suite.spare_moves"),
        ("suite.drift=2", "between 0 and 1"),
    ],
)
def test_wrong_knobs_are_one_clear_line(override: str, words: str) -> None:
    with pytest.raises(LineageError, match=words):
        load_suite("textworld", override)


def test_too_many_rooms_for_the_distance_are_one_clear_line() -> None:
    with pytest.raises(LineageError, match=r"suite.rooms is 6: .*suite.distance=1"):
        load_suite("textworld", "suite.distance=1").world(0, 0)


def test_without_textworld_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textworld", None)
    textworld._library.cache_clear()
    with pytest.raises(LineageError, match=r"pip install 'lineage\[textworld\]'"):
        shipped().world(0, 0)
