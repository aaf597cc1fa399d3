"""The surrogate fitted to a log: what is known comes back, and what is not told is said to be."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from helpers import FULL, run, surrogate
from test_bad_input import fails

import lineage
from lineage import cli, compose
from lineage.core.config_engine import SkillConfig
from lineage.core.errors import LineageError
from lineage.surrogate import outcomes as outcomes_module
from lineage.surrogate.check import chance_right, held_out
from lineage.surrogate.effects import effects
from lineage.surrogate.fitting import LEAST, fit, recall_weights
from lineage.surrogate.outcomes import (
    Answer,
    Outcome,
    place_of,
    question_of,
    read_answers,
    read_writings,
    says,
)

TRUE = SkillConfig([0.95, 0.75, 0.55, 0.3], 0.4, 0.65, 0.5, 0.6, 0.7, 0.6)
VERSION = "smollm2-135m@r0"
SHIPPED = {"default": SkillConfig([0.5] * 4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)}
CHANCES = ("infer", "write", "edit", "open", "obey", "finetune")
KNOWN = (
    *(f"engine.surrogate.skills.default.{name}={getattr(TRUE, name)}" for name in CHANCES),
    f"engine.surrogate.skills.default.recall={TRUE.recall}",
    f"schedule.versions=[{','.join([VERSION] * (4 if FULL else 2))}]",
)
CONFIDENCE = 0.99


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the surrogate with the skills `TRUE`, in which each of them has its occasion."""
    tmp = tmp_path_factory.mktemp("known")
    config = surrogate(
        tmp,
        *KNOWN,
        f"experiment.lineages={12 if FULL else 8}",
        "experiment.revisit=0.34",
        "suite.drift=0.1",
        "agent.opening=choice",
        "arms=poisoned",
        f"arms.names=[inherit,{'cold,' * FULL}oracle,verbatim]",
        *(() if FULL else ("arms.baseline=inherit",)),
        "arms.ceiling=oracle",
    )
    run(config, tmp / "runs" / "known")
    return tmp / "runs" / "known"


@pytest.fixture(scope="module")
def calibrated(logged: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command made of the run, and what it had read: to read it again takes a second."""
    tmp, found = tmp_path_factory.mktemp("calibrated"), dict[str, Any]()

    def reading(log: duckdb.DuckDBPyConnection) -> tuple[list[Answer], list[Outcome]]:
        found["read"] = read_answers(log)
        return found["read"]  # type: ignore[no-any-return]

    arguments = ["calibrate", str(logged), "--to", str(tmp), "--picture", str(tmp / "fit.svg")]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.setattr(outcomes_module, "read_answers", reading)
        with pytest.raises(SystemExit) as done:
            cli.main([*arguments, "--json"])
    assert done.value.code == 0
    return found | {"document": json.loads(said.getvalue()), "conf": tmp}


@pytest.fixture(scope="module")
def log(logged: Path) -> duckdb.DuckDBPyConnection:
    return lineage.open(logged)


@pytest.fixture(scope="module")
def told(calibrated: dict[str, Any]) -> tuple[list[Answer], list[Outcome]]:
    """What the prompts of the log tell: to the outcomes in answers it added those of writing."""
    answers, outcomes = calibrated["read"]
    assert {one.skill for one in outcomes} >= {"recall", "write"}
    return answers, outcomes


def test_known_skills_come_back_within_their_intervals(
    told: tuple[list[Answer], list[Outcome]],
) -> None:
    answers, outcomes = told
    (skills,) = fit(outcomes, SHIPPED, CONFIDENCE).values()
    truth = [*TRUE.recall, *(getattr(TRUE, name) for name in CHANCES[:-1])]
    for one, true in zip(skills.fitted, truth, strict=True):
        assert one.value is not None and one.low is not None and one.high is not None, one
        assert one.low <= true <= one.high, (one, true)
        assert one.name.startswith("recall") or one.high - one.low < 0.6, one
    for one in skills.fitted[len(TRUE.recall) :]:
        assert getattr(skills.config, one.name) == pytest.approx(one.value, abs=1e-4)
    check = held_out(answers, outcomes, SHIPPED, 0.95)
    assert check.error < check.shipped_error
    assert check.log_scores[0] > check.log_scores[1]
    assert check.within >= 0.85 * check.bounded > 10


def test_the_chance_to_be_right_is_that_of_the_surrogate(
    told: tuple[list[Answer], list[Outcome]],
) -> None:
    for source in ("direct", "kin", "none"):
        its = [a for a in told[0] if a.source == source]
        chance = sum(chance_right(a, TRUE) for a in its) / len(its)
        real = sum(a.score for a in its) / len(its)
        assert len(its) > 100 and abs(chance - real) < 3 * (0.25 / len(its)) ** 0.5, source
    # It says some value in sight half the times that it infers none, and half of these are right.
    guessed = replace(told[0][0], source="kin", right=False, share=0.5, ordered=None)
    assert chance_right(guessed, TRUE) == pytest.approx((1 - TRUE.infer) / 4)


def test_to_leave_alone_what_the_notes_hold_is_right(log: duckdb.DuckDBPyConnection) -> None:
    with duckdb.connect() as idle:
        for name, where in (("runs", "true"), ("steps", "completion LIKE '%\"edits\":[]%'")):
            found = log.sql(f"SELECT * FROM {name} WHERE {where}").to_arrow_table()
            idle.register("found", found).execute(f"CREATE TABLE {name} AS FROM found")
        right = [one.success for one in read_writings(idle) if one.skill == "edit"]
    assert right.count(True) > len(right) / 2 > 0  # the others left what had become stale


def test_what_the_surrogate_has_no_skill_for_has_no_effect_in_its_own_log(
    log: duckdb.DuckDBPyConnection, told: tuple[list[Answer], list[Outcome]]
) -> None:
    found = {e.what: e for e in effects(log, *told, CONFIDENCE)}
    for what in ("last of the notes, not first", "a number, not a word", "in a doc, not a note"):
        effect = found[what]
        assert effect.low is not None and effect.high is not None, what
        assert effect.low <= 1 <= effect.high, effect
    fewer = found["twice as many notes"]
    assert fewer.high is not None and fewer.high < 1


def test_a_skill_without_outcomes_is_not_told_and_stays(log: duckdb.DuckDBPyConnection) -> None:
    told = [Outcome("f", pair, "v", "write", pair % 4 > 0) for pair in range(int(LEAST) + 2)]
    few = [Outcome("f", pair, "v", "edit", True) for pair in range(int(LEAST) - 1)]
    far = [Outcome("f", pair, "v", "recall", True, place=3.0) for pair in range(12)]
    skills = fit([*told, *few, *far], {"default": TRUE}, 0.95)["v"]
    by_name = {one.name: one for one in skills.fitted}
    assert by_name["edit"].value is None and skills.config.edit == TRUE.edit
    assert by_name["recall at 2"].value is None and skills.config.recall[0] == TRUE.recall[0]
    # Of one that never failed: as often as Laplace says, with an interval below it.
    last = by_name["recall at 16"]
    assert last.value == pytest.approx(13 / 14, abs=1e-4)
    assert last.low is not None and 0.6 < last.low < 0.9
    assert by_name["write"].value == pytest.approx(10 / 14, abs=1e-4)
    alone = fit([replace(one, pair=0) for one in told], {"default": TRUE}, 0.95)["v"]
    write = {one.name: one for one in alone.fitted}["write"]
    assert write.value is not None and write.low is None


def test_how_prompts_and_answers_are_read() -> None:
    assert question_of("<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n") == (
        "What is it?"
    )
    gemma = "<start_of_turn>user\nrules\nWhat is it?<end_of_turn>\n<start_of_turn>model\n"
    assert question_of(gemma) == "What is it?" and question_of("") == ""
    assert says("It is 4821.\nnot 7", "4821", ["4821", "7"])
    assert not says("4821 or 7", "4821", ["4821", "7"])
    assert not says("It is 48210.", "4821", ["4821"]) and not says("", "4821", [])
    assert says("The zone is North.", "north", ["north", "the", "4"])
    assert [place_of(n) for n in (0, 2, 4, 16, 99)] == [0, 0, 1, 3, 3]
    assert recall_weights(np.array([place_of(3)])).sum() == pytest.approx(1.0)


def test_the_command_writes_skills_that_a_run_can_use(calibrated: dict[str, Any]) -> None:
    told, mine = calibrated["document"]["versions"][VERSION], calibrated["conf"]
    assert told["not_told"] == ["finetune", "token_letters"]
    overrides = ["engine=calibrated", f"hydra.searchpath=[file://{mine}]"]
    skills = compose.load(overrides).engine.surrogate.skills
    assert skills[VERSION].write == pytest.approx(told["skills"]["write"], abs=1e-5)
    assert (
        skills["default"] == compose.load(["engine=surrogate"]).engine.surrogate.skills["default"]
    )
    assert (mine / "fit.svg").read_bytes().startswith(b"<?xml")


def test_a_log_that_tells_nothing_is_one_line(
    logged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LineageError, match="even and of odd"):
        held_out([], [Outcome("f", 0, "v", "write", True)], SHIPPED, 0.95)
    one = Path(shutil.copytree(logged, tmp_path / "one"))
    for name in ("done", "steps", "knowledge", "worlds"):
        for file in (one / name).rglob("*.*"):
            if file.is_file() and not file.name.startswith("000-"):
                file.unlink()
    assert "even and of odd number" in fails(capsys, "calibrate", str(one))
