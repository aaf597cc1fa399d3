"""`lineage plan --train`: what a training will take, said before it starts."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers import counting
from rich.console import Console

from lineage import compose
from lineage.cli import main
from lineage.commands import plan as plan_command
from lineage.commands.plan_parts import Points
from lineage.commands.plan_training import reckoned, sheets
from lineage.core.config import Config
from lineage.log.views.connect import connect
from lineage.metrics.training import connect_training
from lineage.runs import earlier as earlier_runs
from lineage.runs.forecast import Spent, price
from lineage.training import run as run_module
from lineage.training.earlier import telling
from lineage.training.forecast import HELD_OUT, HISTORY, ROLLOUT, Earlier, forecast, units_of
from lineage.training.values import GREEDY

pytestmark = pytest.mark.usefixtures("undrawn")

TOY = (
    *("engine=surrogate", "agent=writer", "train.curricula=[signal,open]", "train.worlds=2"),
    *("train.held_out=2", "method.steps=2", "method.warm_steps=1", "method.warm_groups=4"),
    *("method.groups=2", "method.group=4", "train.episodes=3"),
    *("train.probes.same=2", "train.probes.similar=1"),
)


def toy(tmp: Path, *overrides: str) -> list[str]:
    return [*TOY, f"run.root={tmp / 'runs'}", f"run.cache={tmp / 'cache'}", *overrides]


def plan(tmp: Path, *overrides: str) -> Any:
    """Return what is reckoned for one training."""
    texts = tuple(toy(tmp, *overrides))
    return reckoned(Points((texts,), (compose.load(texts),)))


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A finished training below `runs`, and how many requests it made."""
    tmp = tmp_path_factory.mktemp("before")
    with counting(run_module) as asked:
        run_module.execute(compose.load(toy(tmp)), tmp / "runs" / "first", Console(quiet=True))
    return tmp, len(asked)


def small(tmp: Path) -> Config:
    sizes = ("train.episodes=5", "train.held_out=6", "method.steps=4", "method.group=3")
    return compose.load(toy(tmp, *sizes))


def test_steps_groups_and_rollouts_are_counted(tmp_path: Path) -> None:
    config = small(tmp_path)
    # A warm step has two groups of each, the three others one; two generations of one curriculum
    # are worked before, and the library of the other is ideal.
    assert units_of(config) == {
        ("signal", HISTORY): 20,
        ("signal", ROLLOUT): 15,
        ("signal", HELD_OUT): 6,
        ("open", HISTORY): 0,
        ("open", ROLLOUT): 15,
        ("open", HELD_OUT): 6,
    }
    found = forecast(config, (), None, None)
    assert (found.steps, found.groups, found.rollouts) == (4, 10, 30)
    assert (found.episodes, found.held_out) == (20, 12)
    assert (found.completions, found.seconds) == (None, None)


def test_an_earlier_training_tells_tokens_and_time_by_what_it_did(tmp_path: Path) -> None:
    spent = {
        ("signal", ROLLOUT): Spent(10, 20, 1000, 100),
        ("signal", HISTORY): Spent(5, 5, 500, 50),
    }
    made = Earlier("runs/x", 2, spent, sampling=10.0, learning=20.0, here=True)
    found = forecast(small(tmp_path), (), made, made)
    # Thirty rollouts, half of them by the mean of its curricula, and twenty episodes.
    assert (found.completions, found.prompt_tokens, found.completion_tokens) == (80, 5000, 500)
    assert (found.guessed, found.lacking) == (("open",), ("held-out worlds",))
    # 500 tokens at ten a second, and thirty rollouts to learn from at two seconds each.
    assert found.seconds == pytest.approx(110.0)
    assert price([found], 3600.0, None) == pytest.approx(110.0)
    assert price([found], None, 1e6) == pytest.approx(5500.0)
    assert forecast(small(tmp_path), (), made, None).seconds is None


def test_without_an_earlier_training_tokens_and_time_are_not_known(tmp_path: Path) -> None:
    found = plan(tmp_path)
    assert found["answer"] == (
        "one training, 2 steps, 6 groups, 24 rollouts; how many tokens and how long is n/a without "
        "an earlier training; no engine to start"
    )
    assert found["engines"] == [] and not any(tmp_path.iterdir())
    (row,) = sheets(found)[0].rows
    assert row[1:4] == ("2", "6", "24") and set(row[6:]) == {"n/a"}


def test_a_training_like_an_earlier_one_takes_what_that_took(before: tuple[Path, int]) -> None:
    tmp, asked = before
    folder = tmp / "runs" / "first"
    found = plan(tmp)
    (point,) = found["points"]
    assert point["completions"] == pytest.approx(asked, abs=1)
    assert (point["source"], point["timed"], point["n"]) == (str(folder), str(folder), 2)
    assert point["differs"] == point["guessed"] == point["lacking"] == ()
    log = connect_training(folder)
    (seconds,) = log.execute("SELECT sum(seconds) FROM curve").fetchone() or (0.0,)
    # What is written beside the rollouts comes on top of the steps.
    assert point["seconds"] > seconds > 0
    assert f"(from {folder}); no engine to start" in found["answer"]
    # Twice the rollouts of its second step, and nothing else.
    (more,) = plan(tmp, "method.steps=3")["points"]
    assert more["rollouts"] == point["rollouts"] + 8 and more["differs"] == ()
    assert point["completions"] < more["completions"] < 2 * point["completions"]


def test_what_is_sampled_to_be_learnt_from_is_not_taken_for_greedy(
    before: tuple[Path, int],
) -> None:
    log = connect(before[0] / "runs" / "first")
    asked = f"SELECT DISTINCT arm, phase, {GREEDY} FROM steps WHERE prompt <> '' ORDER BY ALL"
    assert log.execute(asked).fetchall() == [
        ("open", "probe", False),
        ("signal", "handoff", False),
        ("signal", "probe", True),
    ]
    # A judge has the episode of what it judges.
    judged = f"SELECT {GREEDY} FROM (SELECT 'a00p000' AS episode, 'judge' AS kind)"
    assert log.execute(judged).fetchall() == [(True,)]


def test_only_a_finished_training_of_the_same_kind_tells_anything(
    before: tuple[Path, int],
) -> None:
    tmp, _ = before
    assert earlier_runs.finished(tmp / "runs") == []
    runs = earlier_runs.finished(tmp / "runs", trainings=True)
    assert [one.folder for one in runs] == [tmp / "runs" / "first"]
    for change in ("train.parent=smollm2-135m@r1", "method.kind=rft", "suite.name=other"):
        assert telling(compose.load(toy(tmp, change)), runs) == (None, None), change
    closest, timed = telling(compose.load(toy(tmp, "reward.memory=0.5")), runs)
    assert closest is not None and closest.differs == ("reward.memory",) and timed == closest


def test_the_command_plans_a_sweep_of_trainings_in_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same is asked twice: as text, and as a document.
    reckon = cache(plan_command._of_trainings)
    monkeypatch.setattr(plan_command, "_of_trainings", reckon)
    places = (f"run.root={tmp_path / 'runs'}", f"run.cache={tmp_path / 'cache'}")
    sizes = ("train.curricula=[signal]", "train.workers=2", "method.dtype=float32")
    arguments = ("--train", "-m", *places, *sizes, "reward.memory=0,0.2")
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--json", *arguments])
    document = json.loads(capsys.readouterr().out)
    assert not ended.value.code and document["total"]["points"] == 2
    engine, trainer = document["engines"]
    # Each needs its engine for itself.
    assert (engine["points"], engine["started"]) == ([0, 1], 2)
    assert document["total"]["engine_starts"] == 2
    assert (trainer["kind"], trainer["started"]) == ("trainer", 4)
    assert trainer["precision"] == "float32"
    with pytest.raises(SystemExit):
        main(["plan", *arguments])
    assert reckon.cache_info().hits == 1
    said = capsys.readouterr().out
    assert said.startswith("2 trainings, 22 steps, ") and "2 engine starts" in said
    assert "reward.memory=0.2" in said and "engines and trainers that are started" in said
