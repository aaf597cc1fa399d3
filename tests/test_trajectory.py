"""Score over many releases: what grows, what is varied, and what a goal needs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_bad_input import fails

from lineage import cli, compose
from lineage.surrogate.setting import Setting
from lineage.surrogate.trajectory import Course, curves, grown, needed, scores, vary

SHORT = (
    *("experiment=trajectory", "schedule.versions=[smollm2-135m@r0,smollm2-135m@r0,x]"),
    *("trajectory.cadences=[1,3]", "trajectory.jumps=[0.2,0.9]", "trajectory.budgets=[320]"),
    *("trajectory.migrations=[verbatim,none]", "trajectory.lineages=32", "trajectory.goal=0.6"),
)
SHORT = tuple(one.replace(",x]", ",smollm2-135m@r0]") for one in SHORT)


def test_a_release_adds_a_share_of_what_lacks() -> None:
    skill = compose.load(["engine=surrogate"]).engine.surrogate.skills["default"]
    once, twice = (grown(skill, 0.5, number, "trained") for number in (1, 2))
    assert once.infer == pytest.approx((1 + skill.infer) / 2)
    assert twice.recall == pytest.approx([(3 + chance) / 4 for chance in skill.recall])
    assert twice.write > once.write > skill.write
    assert grown(skill, 0.5, 2, "untrained").write == skill.write
    assert grown(skill, 0.5, 0, "trained").recall == pytest.approx(skill.recall)


def test_each_factor_is_varied_alone_and_a_goal_has_its_least_jump() -> None:
    config = compose.load(["engine=surrogate", *SHORT])
    base, wanted = Setting.of(config), config.trajectory
    assert wanted is not None
    courses = [course for _, _, course in vary(wanted)]
    assert courses.count(courses[0]) == 5 and len(courses) == 2 + 2 + 2 + 2 + 1
    skills = [base.skills[0], replace(base.skills[0], recall=[0.9] * 4)]
    lines = {(one.factor, one.label): one for one in curves(base, wanted, skills, 0)}
    small, large = (lines["jump of a release", jump] for jump in ("0.2", "0.9"))
    assert small.mean[0] == large.mean[0] and large.mean[-1] > small.mean[-1] + 0.1
    assert small.low is not None and small.high is not None
    assert small.low[-1] < small.mean[-1] < small.high[-1]
    kept, lost = (lines["migration", kind] for kind in ("verbatim", "none"))
    assert kept.mean[-1] > lost.mean[-1]
    assert next(curves(base, wanted, skills[:1], 0)).low is None
    needs = {one.course: one for one in needed(base, wanted, skills, 0)}
    assert len(needs) == 8 and {0.9, None} <= {one.jump for one in needs.values()}
    by_draw = scores(base, Course(1, 0.2, "verbatim", "trained", 320), skills, 64, 0)
    assert by_draw.shape == (2, 3) and (np.diff(by_draw.mean(axis=1)) > 0).all()


def test_the_command_says_its_assumptions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "trajectory.svg"
    with pytest.raises(SystemExit) as done:
        cli.main(["trajectory", *SHORT, "--picture", str(picture), "--json"])
    assert done.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert "no language model" in told["assumptions"][0] and "as shipped" in told["assumptions"][1]
    assert len(told["curves"]) == 9 and len(told["needed"]) == 8
    assert picture.read_bytes().startswith(b"<?xml")
    wrong = fails(capsys, "trajectory", *SHORT, "trajectory.migrations=[distil]")
    assert "'distil' has no vectorised form: choose from verbatim, rewrite, none" in wrong
    assert "trajectory.goal is 2" in fails(capsys, "trajectory", *SHORT, "trajectory.goal=2")
