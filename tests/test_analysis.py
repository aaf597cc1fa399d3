"""Reward, metrics and report against hand-computed cases and hostile output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers import answering, run, steps, surrogate

from lineage.analysis.measures import summarise
from lineage.analysis.report import text
from lineage.analysis.write import write_report
from lineage.config import RewardConfig
from lineage.errors import LineageError
from lineage.metrics import interval, paired_difference
from lineage.models.protocol import Completion, Request
from lineage.reward import advantages, handoff_reward
from lineage.tasks import Family

WEIGHTS = RewardConfig(same=0.4, similar=0.4, dissimilar=0.2, memory=0.1, docs=0.05)
HOSTILE = "<script>alert(1)</script>\x1b[31mred\x07 \ud800 &amp; </details>"


def test_the_reward_is_the_sum_of_its_parts() -> None:
    scores = {Family.SAME: [1.0, 0.0], Family.SIMILAR: [1.0], Family.DISSIMILAR: []}
    reward = handoff_reward(scores, 160, 320, 64.0, WEIGHTS)
    assert reward.same == pytest.approx(0.2)
    assert reward.similar == pytest.approx(0.4)
    assert reward.dissimilar is None
    assert reward.memory == pytest.approx(-0.05)
    assert reward.docs == pytest.approx(-0.01)
    assert reward.total == pytest.approx(0.54)


def test_longer_memories_of_equal_worth_are_worth_less() -> None:
    scores = {Family.SAME: [1.0]}
    short, long = (handoff_reward(scores, n, 320, 0.0, WEIGHTS).total for n in (100, 101))
    assert short > long


def test_advantages_are_relative_to_the_group() -> None:
    assert advantages([1.0, 2.0, 3.0]) == pytest.approx([-1.2247449, 0.0, 1.2247449])
    assert advantages([2.0, 2.0]) == [0.0, 0.0]
    assert advantages([]) == []


def test_intervals_by_hand() -> None:
    one = interval({0: 0.5}, 100, 0.95, "x")
    assert (one.mean, one.low, one.high, one.n) == (0.5, None, None, 1)
    assert not one.excludes_zero
    same = interval({0: 0.25, 1: 0.25}, 100, 0.95, "x")
    assert (same.low, same.high) == (0.25, 0.25)
    values = {pair: float(pair % 2) for pair in range(100)}
    wide, narrow = (interval(values, 2000, c, "x") for c in (0.99, 0.5))
    assert wide.low is not None and narrow.low is not None
    assert wide.low < narrow.low < 0.5
    # The standard error of a fair coin over 100 draws is 0.05.
    assert interval(values, 4000, 0.95, "x").low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.012)
    assert wide == interval(values, 2000, 0.99, "x")


def test_only_pairs_that_both_have_are_compared() -> None:
    assert paired_difference({1: 1.0, 2: 0.5}, {2: 0.25, 3: 0.0}) == {2: 0.25}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model writes what a report must not believe."""
    tmp = tmp_path_factory.mktemp("hostile")

    def spoil(request: Request, answer: Completion) -> Completion:
        if request.schema is None:
            return replace(answer, text=HOSTILE)
        if "title" in request.schema["properties"]:
            body = '{"title":"../../<b>t</b>","body":"<script>alert(2)</script>"}'
            return replace(answer, text=body)
        return answer

    folder = tmp / "runs" / "hostile"
    with answering(spoil):
        run(surrogate(tmp), folder)
    return folder


def test_the_report_escapes_everything_a_model_wrote(hostile: Path) -> None:
    page = (hostile / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>t</b>" not in page
    assert "\x1b" not in page and "\x07" not in page
    assert "alert(1)" in page, "it is shown, not hidden"
    assert "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "").replace("https://matplotlib.org", "")


def test_inherited_text_is_fenced_and_can_not_leave_its_fence(hostile: Path) -> None:
    prompts = [r["prompt"] for r in steps(hostile) if r["arm"] == "inherit"]
    assert any("&lt;b>t&lt;/b>" in prompt for prompt in prompts)
    assert not any("<b>" in prompt or "<script>" in prompt for prompt in prompts)


def test_doc_titles_are_never_paths(hostile: Path) -> None:
    names = {path.name for path in hostile.parent.parent.rglob("*")}
    assert not any("<b>" in name for name in names)


def test_a_torn_file_is_named(hostile: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(hostile, copy)
    torn = sorted(copy.glob("steps/**/*.parquet"))[0]
    torn.write_bytes(torn.read_bytes()[:-100])
    with pytest.raises(LineageError, match=torn.name):
        summarise(copy)
    torn.unlink()
    assert summarise(copy)["totals"]["steps"] < summarise(hostile)["totals"]["steps"]


def test_a_run_without_a_finished_generation_says_so(hostile: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes((hostile / "run.json").read_bytes())
    with pytest.raises(LineageError, match="no finished generation"):
        write_report(tmp_path, tmp_path)


def test_text_shows_what_it_escapes() -> None:
    assert text("a<b\x1b\n") == "a&lt;b\N{REPLACEMENT CHARACTER}\n"
