"""The page on suites: the suite that it shows whole is the one that runs here, as it says."""

from __future__ import annotations

import json
import re
import shlex
import sys
from functools import partial
from pathlib import Path

import pytest

from lineage import compose
from lineage.cli import main
from lineage.core.config import ExperimentConfig, ProbeConfig
from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.core.facts import Truth
from lineage.core.tasks import Family, Suite
from lineage.inspect.listing import ASKED
from lineage.metrics import summarise_all
from lineage.report import write
from lineage.report.lookup import rows_of
from lineage.suites import make_suite

PAGE = Path(__file__).parents[1] / "docs" / "suites.md"
MOST_LINES = 60
ARMS = ("inherit", "memories", "docs", "transcript", "retrieval", "shuffled", "cold", "oracle")


def _block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"the page has {len(found)} blocks of {language}"
    return str(found[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's two files in a folder, as it says to put them: all compose with that one."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "suite").mkdir()
    (folder / "capitals.py").write_text(_block("python"))
    (folder / "suite" / "capitals.yaml").write_text(_block("yaml"))
    return folder


def _words(folder: Path) -> list[str]:
    """What the page's command is told, with groups that make it small: composed once for all."""
    line = next(line for line in _block("sh").splitlines() if line.startswith("lineage run"))
    _, _, *words = shlex.split(line.replace("DIR", str(folder)))
    return [*words, "experiment=tiny", "arms=all-but-weights"]


def _suite(folder: Path, *overrides: str) -> Suite:
    return make_suite(compose.load([*_words(folder), *overrides]).suite)


@pytest.fixture
def imported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "capitals", raising=False)
    return folder


def test_the_whole_suite_is_shown_in_under_sixty_lines() -> None:
    lines = (_block("python") + _block("yaml")).splitlines()
    assert 20 < len(lines) < MOST_LINES
    assert max(map(len, lines)) <= 110


def test_the_pages_command_runs_every_arm_and_memory_helps_on_tasks_met_before(
    imported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = imported
    small = (
        "experiment.episodes=3",
        "experiment.probes={same: 2, similar: 0, dissimilar: 0}",
        "agent.docs=true",
        f"run.root={folder / 'runs'}",
        f"run.cache={folder / 'cache'}",
    )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    # Nothing else is looked at, and takes longer than the run.
    names = (*ASKED, "errors")
    monkeypatch.setattr(write, "summarise_all", partial(summarise_all, names=names))
    monkeypatch.setattr(write, "score_by_generation", lambda summary: None)
    monkeypatch.setattr(write, "report_html", lambda *of: "")
    with pytest.raises(SystemExit) as stopped:
        main(["run", *_words(folder), *small])
    said = capsys.readouterr()
    assert stopped.value.code == 0, said.err
    metrics = json.loads((folder / "runs" / "latest" / "metrics.json").read_text())
    same = {row["arm"]: row["mean"] for row in rows_of(metrics, "scores", family="same")}
    assert set(same) == set(ARMS)
    assert all(arm in said.out for arm in ARMS)
    assert same["oracle"] >= same["inherit"] > same["cold"]
    assert not metrics["metrics"]["errors"]


def test_the_pages_suite_keeps_to_what_the_page_asks_of_a_suite(imported: Path) -> None:
    suite = _suite(imported, "suite.drift=0.5")
    first, later = suite.world(1, 0), suite.world(1, 2)
    assert suite.world(1, 2) == later and suite.world(2, 0).id != first.id
    assert [task.id for task in first.tasks] == [task.id for task in later.tasks]
    assert [fact.key for fact in first.facts] == [fact.key for fact in later.facts]
    assert 0 < sum(a.value != b.value for a, b in zip(first.facts, later.facts)) < 36
    truth = Truth(first.facts)
    for task in first.tasks:
        assert truth.stated(suite.solution(task, first)) == set(task.facts)
        assert suite.score(task, suite.solution(task, first)) == 1.0
        assert suite.score(task, "Aro, Brisk, Corva, Delm, Esten, Furo, Gant, Holm") == 0.0
    assert len({task.id for task in first.tasks}) == 36
    experiment = ExperimentConfig("page", 0, 1, 6, None, 0.0, ProbeConfig(3, 3, 3))
    for plan in plans(suite, experiment, 4, 0):
        home = {one.family: one.task.world == plan.world.id for one in plan.probes}
        assert home == {Family.SAME: True, Family.SIMILAR: True, Family.DISSIMILAR: False}


@pytest.mark.parametrize("override", ["countries=37", "countries=0", "drift=1.5", "contries=3"])
def test_a_wrong_knob_of_it_is_one_clear_line(imported: Path, override: str) -> None:
    with pytest.raises(LineageError, match=f"suite.{override.split('=')[0]}"):
        _suite(imported, f"suite.{override}")
