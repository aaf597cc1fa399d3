"""A sweep as a thing that is read: opened, listed, shown, compared, reported; with points missing.

One sweep serves all: two keys, and of its six points two are finished, one is unfinished, one
failed before it began, one failed midway and one has not begun.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from helpers import FULL, measured, surrogate
from test_terminal import document, printed

import lineage
from lineage import cli
from lineage.commands.compare import _two
from lineage.commands.fork import Fork, configured
from lineage.core.config import ObjectiveConfig
from lineage.core.errors import LineageError
from lineage.log.progress import is_done
from lineage.log.sweep import HEADLINES, SWEEP, Point, SweepRecord, write_sweep
from lineage.log.views.connect import connect
from lineage.log.views.datasets import Skipped
from lineage.log.views.open import new_connection
from lineage.log.views.places import NOT_BEGUN, Places
from lineage.log.views.swept import swept
from lineage.metrics.points import Asked, Below, below, by_pair
from lineage.report import figures, sweep_page
from lineage.report.lookup import headline_arm, rows_of
from lineage.report.objective import name as name_of
from lineage.report.sheet import bounds
from lineage.report.sweep import Result, Sweep, sweep_results
from lineage.report.sweep_tables import (
    headline_table,
    short_keys,
    sweep_about,
    sweep_answer,
    sweep_sheets,
)

KEYS = ("suite.drift", "agent.memory_budget")
VALUES = ((0, 256), (0, 128), (0.5, 256), (0.5, 128), (1, 256), (1, 128))
WHY = "the engine is gone: start it again"
MEASURES = ("scores", "gain_by_inheritance", "memory_size", "costs", "totals")
"""The metrics that a sweep is read by."""
SMALL = (  # no ceiling beside the baseline: an arm less to run
    "experiment=tiny",
    "experiment.lineages=2",
    *("arms.names=[inherit,cold]", "arms.ceiling=cold"),
)


def overrides(values: tuple[float, int]) -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key, value in zip(KEYS, values, strict=True))


def record(**more: Any) -> SweepRecord:
    """Return a record of six points, of which the fourth and the fifth failed."""
    points = tuple(
        Point(number, f"{number:03d}", overrides(values), failed=WHY if number in (3, 4) else "")
        for number, values in enumerate(VALUES)
    )
    given = ("suite.drift=0,0.5,1", "agent.memory_budget=256,128")
    known: dict[str, Any] = {
        "kind": "run",
        "began": 1_790_000_000.0,
        "overrides": given,
        "keys": KEYS,
        "sweeper": "basic",
        "launcher": "fleet",
        "points": points,
        "origin": {"commit": "c0ffee" * 6},
    }
    return SweepRecord(**{**known, **more})


def settled(run: Path, key: str, value: str) -> None:
    """Let the settings of `run` be those of another point."""
    settings = (run / "config.yaml").read_text()
    changed = re.sub(f"{key}: .*", f"{key}: {value}", settings, count=1)
    assert changed != settings
    (run / "config.yaml").write_text(changed)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with the sweep, a run beside it, and `latest`, a link to the sweep."""
    tmp = tmp_path_factory.mktemp("sweeps")
    folder = tmp / "runs"
    for number in (0, 2):
        config = surrogate(tmp, *SMALL, *overrides(VALUES[number]))
        measured(config, folder / f"grid/{number:03d}", MEASURES)
    shutil.copytree(folder / "grid" / "000", folder / "alone")
    left = shutil.copytree(folder / "grid" / "000", folder / "grid" / "001")
    (left / "metrics.json").unlink()
    (left / "done" / "001-cold-g01.json").unlink()
    settled(left, "memory_budget", "128")
    failed = shutil.copytree(left, folder / "grid" / "003")
    for name in ("steps", "knowledge", "worlds", "done"):
        shutil.rmtree(failed / name)
    settled(failed, "drift", "0.5")
    write_sweep(folder / "grid", record())
    (folder / "latest").unlink()
    (folder / "latest").symlink_to("grid")
    return folder


@pytest.fixture(scope="module")
def grid(root: Path) -> Path:
    return root / "grid"


@pytest.fixture(scope="module")
def log(grid: Path) -> Any:
    """The sweep, opened."""
    return lineage.open(grid)


@pytest.fixture(scope="module")
def results(grid: Path) -> Sweep:
    """What came of its points."""
    return sweep_results(grid)


@pytest.fixture(scope="module")
def listed(grid: Path) -> list[dict[str, Any]]:
    """The rows of `lineage ls` of it."""
    return list(document("ls", grid)["runs"])


@pytest.fixture(scope="module")
def unlogged(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folder, but for the steps of the point that is unfinished: to look for errors in
    them takes longer than all else of a listing."""
    folder = tmp_path_factory.mktemp("unlogged") / "runs"
    shutil.copytree(root, folder, symlinks=True)
    shutil.rmtree(folder / "grid" / "001" / "steps")
    return folder


def copied(root: Path, tmp_path: Path) -> Path:
    """Return the sweep in a folder of its own, which a test may spoil."""
    return Path(shutil.copytree(root / "grid", tmp_path / "grid", symlinks=True))


def found_at(*where: object) -> tuple[list[tuple[str, str, int | None]], int]:
    """Return the runs that `lineage.open` would look at, and how many points there are none of."""
    skipped: list[Skipped] = []
    with closing(new_connection()) as log:
        places = Places(log, False, skipped)
        for one in where:
            places.look(str(one))
    found = ((one.folder, one.sweep, one.point) for one in places.found.values())
    return sorted(found, key=lambda one: one[0]), len(skipped)


# lineage.open


def test_a_sweep_is_opened_with_its_keys_as_columns_and_says_what_is_missing(
    grid: Path, log: Any
) -> None:
    names = '"suite.drift", "agent.memory_budget"'
    rows = log.execute(f"SELECT sweep, point, {names} FROM runs ORDER BY point").fetchall()
    wanted = [("grid", number, *VALUES[number]) for number in (0, 1, 2)]
    assert rows == wanted
    left = dict(log.execute("SELECT folder, reason FROM skipped").fetchall())
    assert left == {
        str(grid / "003"): WHY, str(grid / "004"): WHY, str(grid / "005"): NOT_BEGUN
    }  # fmt: skip
    whole = log.execute("SELECT began, seconds, commit, engine FROM runs WHERE point = 0")
    began, seconds, commit, engine = whole.fetchone() or (None,) * 4
    saved = json.loads((grid / "000" / "run.json").read_text())
    assert began is not None and began.year >= 2024 and commit == saved["commit"]
    timed = json.loads((grid / "000" / "sittings.json").read_text())
    assert seconds == sum(one["seconds"] for one in timed) and engine == "surrogate"
    # What is the same in all points has no column of its own, and can be asked for all the same.
    found = log.execute("SELECT DISTINCT settings ->> '$.\"log.confidence\"' FROM runs").fetchall()
    assert found == [("0.95",)]


def test_swept_keys_are_columns_of_one_point_too(grid: Path) -> None:
    log = lineage.open(grid / "000")
    columns = 'sweep, point, "suite.drift", "agent.memory_budget"'
    assert log.execute(f"SELECT {columns} FROM runs").fetchall() == [("grid", 0, *VALUES[0])]
    assert log.execute("SELECT count(*) FROM skipped").fetchone() == (0,)


def test_a_folder_of_runs_is_opened_with_the_points_of_its_sweeps(root: Path) -> None:
    log = lineage.open(root)
    opened = log.execute("SELECT folder, sweep, point FROM runs ORDER BY folder").fetchall()
    assert log.execute("SELECT count(*) FROM skipped").fetchone() == (3,)
    for where in ((root,), (f"{root}/*",), (root / "alone", root / "latest", root / "grid")):
        name = "latest" if len(where) == 3 else "grid"
        points = [(str(root / name / f"{number:03d}"), "grid", number) for number in range(4)]
        assert found_at(*where) == ([(str(root / "alone"), "", None), *points], 2)
    # Of the fourth point, which failed, nothing is there to be opened.
    assert opened == found_at(root)[0][:-1]
    with pytest.raises(LineageError, match="nothing is named"):
        lineage.open()
    with pytest.raises(LineageError, match="nowhere is no run folder"):
        lineage.open(root / "alone", root / "nowhere")


def test_a_training_within_a_run_is_no_run_of_the_folder(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "alone", tmp_path / "one")
    shutil.copytree(root / "alone", tmp_path / "one" / "training" / "r2")
    found = lineage.open(tmp_path).execute("SELECT folder FROM runs").fetchall()
    assert found == [(str(tmp_path / "one"),)]
    for where in (tmp_path, f"{tmp_path}/*", tmp_path / "one"):
        assert found_at(where) == ([(str(tmp_path / "one"), "", None)], 0)


def test_a_damaged_record_of_a_sweep_is_one_line_and_can_be_left_out(
    root: Path, tmp_path: Path
) -> None:
    grid = copied(root, tmp_path)
    for text in ('{"kind": "run"', "[]", '{"kind": "run", "began": -1}'):
        (grid / SWEEP).write_text(text)
        with pytest.raises(LineageError, match=SWEEP) as caught:
            lineage.open(grid)
        assert "\n" not in str(caught.value)
    log = lineage.open(grid, skip=True)
    assert log.execute("SELECT DISTINCT sweep FROM runs").fetchall() == [("",)]
    files = [row[0] for row in log.execute("SELECT file FROM skipped").fetchall()]
    assert str(grid / SWEEP) in files


def test_a_sweep_of_which_nothing_is_finished_says_so(tmp_path: Path) -> None:
    write_sweep(tmp_path / "grid", record())
    with pytest.raises(LineageError, match="nothing can be read; left out, of 6: this point"):
        lineage.open(tmp_path / "grid")
    write_sweep(tmp_path / "none", record(points=()))
    with pytest.raises(LineageError, match="the sweep has no point yet"):
        lineage.open(tmp_path / "none")


def test_values_are_those_of_the_settings_or_else_of_the_overrides() -> None:
    keys = ("suite.drift", "+arms", "a", "b", "c")
    given = ("suite.drift=0.5", "+arms=solo", "a='x y'", "b=[1,2]")
    assert swept(keys, given, {"suite.drift": 0.25}) == {
        "suite.drift": 0.25, "arms": "solo", "a": "x y", "b": [1, 2], "c": None
    }  # fmt: skip


# lineage ls


def states(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["folder"]: row["state"] for row in rows}


def test_ls_has_a_row_a_sweep_with_its_points_below_it_in_order(
    unlogged: Path, listed: list[dict[str, Any]]
) -> None:
    found = document("ls", unlogged)
    rows = [row for row in found["runs"] if row["folder"] != "alone"]
    sweep, *points = rows
    assert (sweep["folder"], sweep["kind"], sweep["sweep"]) == ("grid", "sweep", "")
    assert (sweep["finished"], sweep["planned"], sweep["state"]) == (2, 6, "stopped")
    assert sweep["keys"] == list(KEYS) and sweep["best"] in ("grid/000", "grid/002")
    best = next(row for row in points if row["folder"] == sweep["best"])
    others = [row["headline"]["mean"] for row in points if row["headline"]]
    assert sweep["headline"] == best["headline"] and best["headline"]["mean"] == max(others)
    assert list(states(points).items()) == [
        ("grid/000", "finished"),
        ("grid/001", "stopped"),
        ("grid/002", "finished"),
        ("grid/003", "failed"),
        ("grid/004", "failed"),
        ("grid/005", "not begun"),
    ]
    assert [row["number"] for row in points] == list(range(6))
    assert [tuple(row["point"].values()) for row in points] == list(VALUES)
    assert {row["sweep"] for row in points} == {"grid"}
    # What is counted are runs: a sweep is what its points are.
    assert found["states"] == {"finished": 3, "stopped": 1, "failed": 2, "not begun": 1}
    assert [row["folder"] for row in listed] == [row["folder"] for row in rows]


def test_ls_says_in_words_what_was_swept_and_why_points_failed(unlogged: Path) -> None:
    text = printed("ls", unlogged)
    line = next(line for line in text.splitlines() if line.startswith("grid "))
    assert "sweep over suite.drift, agent.memory_budget" in line and "best: grid/00" in line
    line = next(line for line in text.splitlines() if line.startswith("grid/001"))
    assert "suite.drift=0; agent.memory_budget=128" in line and "tiny" not in line
    assert f"failed: grid/004: {WHY}" in text and "7 in" in text
    narrow = printed("ls", unlogged, width=80)
    # What is wrong with a point, and where all that is, is one line however long.
    assert max(len(line) for line in narrow.splitlines() if str(unlogged) not in line) <= 80


def test_the_state_of_a_sweep_is_that_of_its_points(unlogged: Path, tmp_path: Path) -> None:
    grid = copied(unlogged, tmp_path)

    def rows() -> list[dict[str, Any]]:
        return list(document("ls", tmp_path)["runs"])

    for lock in (grid / ".lock", grid / "001" / ".lock"):
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert rows()[0]["state"] == "in progress"
    assert rows()[0]["state"] == "stopped"
    whole = record()
    write_sweep(grid, replace(whole, points=tuple(whole.points[n] for n in (0, 2))))
    found = rows()
    assert found[0]["state"] == "finished"
    # What is no point of it, such as a run that was copied there, is listed after the points.
    assert [row["folder"] for row in found] == [
        *("grid", "grid/000", "grid/002"), *("grid/001", "grid/003")
    ]  # fmt: skip
    (grid / "002" / "config.yaml").unlink()
    assert rows()[0]["state"] == "broken"


def test_a_whole_run_without_the_figure_that_was_asked_for_is_finished_and_says_so(
    unlogged: Path, tmp_path: Path
) -> None:
    grid = copied(unlogged, tmp_path)
    whole = record(objective="nothing")
    write_sweep(grid, whole.with_points([replace(whole.points[0], failed="no such metric")]))
    shutil.rmtree(grid / "002")  # with another one there would be pairs to compare
    row = document("ls", tmp_path)["runs"][1]
    assert (row["state"], row["trouble"]) == ("finished", "no such metric")
    assert "finished: grid/000: no such metric" in printed("ls", tmp_path)
    found = sweep_results(grid)
    assert [one.point.number for one in found.finished] == [0]
    sheets = {sheet.title: sheet for sheet in sweep_sheets(found)}
    first = sheets["what failed or is missing"].rows[0]
    assert (first[0], *first[3:]) == ("0", "finished", "no such metric")


def test_what_is_gone_on_with_is_what_is_not_listed_as_finished(
    unlogged: Path, tmp_path: Path
) -> None:
    grid = copied(unlogged, tmp_path)

    def listed() -> list[bool]:
        return [row["state"] == "finished" for row in document("ls", grid)["runs"][1:]]

    def done() -> list[bool]:
        return [is_done(grid / f"{number:03d}") for number in range(6)]

    assert done() == listed() == [True, False, True, False, False, False]
    (grid / "000" / "metrics.json").unlink()
    (grid / "002" / "run.json").write_text("{")
    assert done() == listed() == [False] * 6


@pytest.mark.parametrize(("held_out", "last"), [(0, "training.json"), (3, "held-out.json")])
def test_a_training_is_done_when_all_that_was_asked_of_it_is_there(
    held_out: int, last: str, tmp_path: Path
) -> None:
    (tmp_path / "curve").mkdir()
    (tmp_path / "run.json").write_text('{"training": "m@w1"}')
    settings = f"method: {{steps: 1}}\ntrain: {{held_out: {held_out}}}\n"
    (tmp_path / "config.yaml").write_text(settings)
    for name in dict.fromkeys(("curve/step=000.parquet", "training.json", last)):
        assert not is_done(tmp_path)
        (tmp_path / name).touch()
    assert is_done(tmp_path)


def test_ls_names_a_damaged_record_of_a_sweep_and_lists_its_runs(
    unlogged: Path, tmp_path: Path
) -> None:
    grid = copied(unlogged, tmp_path)
    (grid / SWEEP).write_text("{}")
    sweep, *runs = document("ls", tmp_path)["runs"]
    assert sweep["state"] == "broken" and SWEEP in sweep["trouble"]
    assert [row["folder"] for row in runs] == [f"grid/{number:03d}" for number in range(4)]
    assert "broken: " in printed("ls", tmp_path)


def test_a_folder_of_numbered_runs_without_a_record_is_no_sweep(
    unlogged: Path, tmp_path: Path
) -> None:
    grid = copied(unlogged, tmp_path)
    (grid / SWEEP).unlink()
    rows = document("ls", tmp_path)["runs"]
    assert {row["sweep"] for row in rows} == {""} and len(rows) == 4
    assert {row["kind"] for row in document("ls", grid)["runs"]} == {"run"}


# lineage show, compare, compact


def test_show_has_the_record_of_a_sweep_in_words(
    unlogged: Path, listed: list[dict[str, Any]]
) -> None:
    grid = unlogged / "grid"
    text = printed("show", grid)
    assert text.startswith("STAND-IN") and "Best of 2 finished points: grid/00" in text
    assert "a sweep over suite.drift, agent.memory_budget, each point a run; stopped" in text
    assert "6 points, 2 finished, 1 stopped, 2 failed, 1 not begun" in text
    assert "asked for: suite.drift=0,0.5,1 agent.memory_budget=256,128" in text
    assert "sweeper basic, launcher fleet" in text and "commit c0ffeec" in text
    rows = [line.split() for line in text.splitlines() if re.match(r"00\d ", line)]
    assert [row[:3] for row in rows] == [
        [f"{number:03d}", str(drift), str(budget)] for number, (drift, budget) in enumerate(VALUES)
    ]
    assert f"failed: grid/003: {WHY}" in text and f"lineage resume {grid}" in text
    found = document("show", grid)
    assert found["record"]["keys"] == list(KEYS)
    assert states(found["points"]) == states(listed[1:])
    assert printed("show", unlogged / "latest").splitlines()[2:] != []


def test_show_of_a_part_of_a_sweep_says_which_run_to_name(grid: Path) -> None:
    with pytest.raises(LineageError, match=f"is a sweep, .* lineage show {grid}/001"):
        printed("show", grid, "1")
    with pytest.raises(LineageError, match="no point '7': choose from 0 to 5"):
        printed("show", grid, "7")
    with pytest.raises(LineageError, match=r"point 5 of .* has not begun: lineage resume"):
        printed("show", grid, "5")
    assert "000-inherit" in printed("show", grid / "000")


def test_show_has_the_objective_of_a_point(unlogged: Path, tmp_path: Path) -> None:
    grid = copied(unlogged, tmp_path)
    whole = record(objective="scores.same", sweeper="optuna")
    write_sweep(grid, whole.with_points([replace(whole.points[0], objective=0.625)]))
    text = printed("show", grid)
    assert "sweeper optuna, launcher fleet; objective scores.same" in text
    assert next(line for line in text.splitlines() if line.startswith("000")).split()[5] == "0.625"


def test_two_points_of_a_sweep_are_compared_by_their_numbers(grid: Path, root: Path) -> None:
    found = document("compare", grid, 0, "002")
    assert (found["a"]["folder"], found["b"]["folder"]) == (str(grid / "000"), str(grid / "002"))
    assert found["settings"] == [{"key": "suite.drift", "a": 0.0, "b": 0.5}]
    both = (grid / "000", grid / "002")
    assert _two(grid, ["0", "002"]) == _two(both[0], [str(both[1])]) == both
    for given, said in (
        ((grid,), f"is a sweep: name two points of it, as in lineage compare {grid} 0 1"),
        ((grid, 1), "is a sweep: name two points of it"),
        ((grid, 0, 9), "has no point '9': choose from 0 to 5"),
        ((grid, 0, 4), f"point 4 of {grid} failed .{WHY}.: lineage resume"),
        ((root / "alone", grid), f"{grid} is a sweep: choose a point of it"),
        ((root / "alone",), "takes two runs: lineage compare"),
        ((root / "alone", 0, 1), "is no sweep"),
    ):
        with pytest.raises(LineageError, match=said):
            printed("compare", *given)


def test_compact_takes_the_points_that_have_begun(
    root: Path, log: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = copied(root, tmp_path)
    before = log.execute("SELECT count(*) FROM steps").fetchone()
    with pytest.raises(SystemExit) as done:
        cli.main(["compact", str(grid)])
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert [f"grid/00{number}" in text for number in range(6)] == [True] * 4 + [False] * 2
    assert lineage.open(grid).execute("SELECT count(*) FROM steps").fetchone() == before
    with (grid / "001" / ".lock").open("w") as lock, pytest.raises(SystemExit) as done:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cli.main(["compact", str(grid)])
    caught = capsys.readouterr()
    assert done.value.code == 1 and "grid/002: nothing to put together" in caught.out
    assert "1 of 4 points are left as they were: " in caught.err
    write_sweep(tmp_path / "none", record())
    with pytest.raises(SystemExit):
        cli.main(["compact", str(tmp_path / "none")])
    assert "no point of" in capsys.readouterr().err


def test_a_fork_of_a_point_lies_beside_the_sweep_and_one_of_any_run_beside_that(
    root: Path, tmp_path: Path
) -> None:
    grid = copied(root, tmp_path)
    shutil.copytree(root / "alone", tmp_path / "2026")
    for one in (grid / "000", tmp_path / "2026"):
        assert configured(one, Fork("k-1", 0, 0), []).run.root == str(tmp_path)


# lineage report


def asked(values: Sequence[float], tasks: str = "t") -> dict[int, Asked]:
    return {pair: Asked(value, tasks) for pair, value in enumerate(values)}


def test_points_are_told_apart_over_the_same_pairs_allowing_for_their_number() -> None:
    best, others = asked([0.9, 0.8, 0.9, 1.0, 0.8, 0.9]), asked([0.3, 0.2, 0.4, 0.4, 0.2, 0.3])
    near = asked([0.7, 0.6, 0.8, 0.8, 0.6, 0.8])
    found = below(best, {1: others, 2: near, 3: asked([0.0] * 6, "other tasks")}, 0.95, True)
    whole = found[1].interval
    assert whole is not None and found[1].told and whole.n == 6
    assert whole.mean == pytest.approx(fmean(a.value - b.value for a, b in both(best, others)))
    assert found[3] == Below(None)
    alone = below(best, {2: near}, 0.95, True)[2].interval
    assert alone is not None and alone.p is not None and alone.low is not None
    assert found[2].interval == alone and alone.low > 0
    # Starred by itself, and not among as many that each could be so by chance.
    many = dict.fromkeys(range(2, 2 + int(0.05 / alone.p) + 1), near)
    assert below(best, {2: near}, 0.95, True)[2].told
    assert not any(one.told for one in below(best, many, 0.95, True).values())
    few = {pair: best[pair] for pair in range(4)}
    assert not below(few, {1: others}, 0.95, True)[1].told


def both(a: dict[int, Asked], b: dict[int, Asked]) -> list[tuple[Asked, Asked]]:
    return [(a[pair], b[pair]) for pair in a if pair in b]


def test_the_pairs_of_a_point_are_those_that_its_metrics_are_means_of(grid: Path) -> None:
    summary = json.loads((grid / "000" / "metrics.json").read_text())
    with closing(connect(grid / "000")) as log:
        gains, scores = (by_pair(log, "inherit", "same", gain) for gain in (True, False))
        assert by_pair(log, "nobody", "same", True) == {}
    of = {"arm": "inherit", "family": "same"}
    (gain,) = rows_of(summary, "gain_by_inheritance", inherited=True, **of)
    (score,) = rows_of(summary, "scores", **of)
    assert fmean(one.value for one in gains.values()) == pytest.approx(gain["mean"])
    assert fmean(one.value for one in scores.values()) == pytest.approx(score["mean"])
    with closing(connect(grid / "002")) as log:
        # Drift keeps the ids of tasks: such points are compared.
        assert {k: v.tasks for k, v in by_pair(log, "inherit", "same", True).items()} == {
            k: v.tasks for k, v in gains.items()
        }


def test_the_answer_names_the_best_point_its_interval_and_what_it_is_told_from(
    results: Sweep,
) -> None:
    found = results
    best, other = found.ranked
    assert found.headline == "gain on same" and found.keys == KEYS
    assert [one.state for one in found.results] == [
        *("finished", "not finished", "finished", "failed", "failed", "not begun")
    ]  # fmt: skip
    text = sweep_answer(found)
    values = ", ".join(f"{key}={value}" for key, value in best.values.items())
    assert text.startswith(f"Point {best.point.number} ({values}) is best of 2 with results: ")
    cell = best.measures["gain on same"]
    assert f"inherit gained {bounds(cell, signed=True)} over cold on same tasks (2 pairs)" in text
    assert "It cannot be told from the other; the next, point" in text
    assert "too few pairs to tell" in text
    less = found.below[other.point.number].interval
    assert less is not None
    assert less.mean == pytest.approx(cell["mean"] - other.measures["gain on same"]["mean"])
    # Where no tasks are the same, nothing is compared.
    text = sweep_answer(replace(found, below={}))
    assert "not compared: no pair was asked the same in both" in text
    assert "n/a: no pair was asked" in headline_table(replace(found, below={})).note
    told = {other.point.number: Below(less, told=True)}
    assert "It is told from the other; the next" in sweep_answer(replace(found, below=told))
    alone = replace(found, results=(best,))
    assert sweep_answer(alone).endswith("No other point has finished.")
    none = replace(found, results=(), headline="")
    assert sweep_answer(none) == "Best point: n/a, the sweep has no point yet."
    waiting = replace(found, results=found.results[3:], headline="")
    assert sweep_answer(waiting) == "Best point: n/a, no point has finished."


@pytest.mark.parametrize(
    ("sweeper", "minimize"),
    [("basic", True), ("optuna", False)] + [("basic", False), ("optuna", True)] * FULL,
)
def test_the_best_point_is_the_one_by_the_objective_where_another_is_told(
    sweeper: str, minimize: bool, unlogged: Path, results: Sweep, tmp_path: Path
) -> None:
    grid = copied(unlogged, tmp_path)
    by_gain, other = (one.point.number for one in results.ranked)
    told = record(objective="totals.completion_tokens", sweeper=sweeper)
    figures = {by_gain: 1.0, other: 2.0}
    points = [replace(told.points[number], objective=of) for number, of in figures.items()]
    best, least = (by_gain, "the least") if minimize else (other, "the most")
    write_sweep(grid, replace(told, minimize=minimize).with_points(points))
    found = sweep_results(grid)
    assert found.ranked[0].point.number == best and found.below == {}
    words = f"with {least} totals.completion_tokens"
    text = sweep_answer(found)
    assert text.startswith(f"Point {best} (") and f"{words}: {figures[best]:g}" in text
    assert "where inherit gained" in text and "an objective has no figures by pair" in text
    assert f"best: {least} totals.completion_tokens, the objective" in sweep_about(found)
    sheet = headline_table(found)
    assert sheet.head[3] == "objective" and "comparisons" not in sheet.note
    assert [row[0] for row in sheet.rows if row[-1].strip() == "best"] == [str(best)]
    assert document("ls", grid)["runs"][0]["best"] == f"grid/{best:03d}"
    shown = printed("show", grid).splitlines()[1]
    assert f"grid/{best:03d}" in shown and f"{words}, the objective" in shown


def test_the_headline_says_what_is_best_where_it_is_the_objective_or_none_has_that(
    unlogged: Path, results: Sweep, tmp_path: Path
) -> None:
    grid = copied(unlogged, tmp_path)
    by_gain, other = (one.point.number for one in results.ranked)
    assert name_of(ObjectiveConfig()) in HEADLINES
    for objective, of in ((name_of(ObjectiveConfig()), 9.0), ("scores.mean", None)):
        told = record(objective=objective, sweeper="optuna")
        told = told.with_points([replace(told.points[other], objective=of)])
        points = zip(results.results, told.points, strict=True)
        known = tuple(replace(one, point=point) for one, point in points)
        found = replace(results, record=told, results=known)
        assert found.ranked[0].point.number == by_gain and not found.by_objective
        assert "best: the most gain on same" in sweep_about(found)
        write_sweep(grid, told)
        assert document("ls", grid)["runs"][0]["best"] == f"grid/{by_gain:03d}"
    # As it is read.
    assert sweep_results(grid) == found


def test_one_arm_stands_for_a_run_wherever_that_is_read() -> None:
    arms = ["cold", "memories", "inherit", "oracle"]
    gains = [
        {"arm": arm, "family": family, "inherited": inherited}
        for arm, family, inherited in (
            *(("oracle", "same", True), ("memories", "similar", True), ("docs", "same", False)),
            *(("memories", "same", True), ("inherit", "same", True)),
        )
    ]
    summary: dict[str, Any] = {"arms": arms, "baseline": "cold", "ceiling": "oracle"}
    for count, arm in ((5, "inherit"), (4, "memories"), (3, "inherit")):
        found = {**summary, "metrics": {"gain_by_inheritance": gains[:count]}}
        assert headline_arm(found) == arm
    none: dict[str, Any] = {**summary, "arms": ["cold", "memories"], "metrics": {}}
    assert headline_arm(none) == "memories"


def test_the_tables_of_a_sweep_have_keys_measures_and_what_failed(results: Sweep) -> None:
    found = results
    sheets = {sheet.title: sheet for sheet in sweep_sheets(found)}
    head = sheets["grid"]
    best = found.ranked[0].point.number
    assert head.head[:5] == ("point", "drift", "memory_budget", "gain on same", f"{best} - it")
    assert [row[:3] for row in head.rows] == [("0", "0", "256"), ("2", "0.5", "256")]
    assert sum(row[4].strip() == "best" for row in head.rows) == 1
    assert "of inherit over cold" in head.note and "n = 2 pairs" in head.note
    assert {"gain by family", "score by family", "what it costs"} < set(sheets)
    missing = sheets["what failed or is missing"].rows
    assert [row[0] for row in missing] == ["1", "3", "4", "5"]
    assert [row[3] for row in missing] == ["not finished", "failed", "failed", "not begun"]
    assert missing[0][4] == "7 of 8 done" and missing[1][4] == missing[2][4] == WHY
    record_with = replace(found.record, objective="scores.same", sweeper="optuna")
    sheet = headline_table(replace(found, record=record_with))
    assert sheet.head[3] == "objective" and {row[3] for row in sheet.rows} == {"n/a"}
    assert short_keys(("a.b", "c.b", "d")) == ("a.b", "c.b", "d")


def test_lineage_report_writes_one_page_beside_the_record(
    root: Path,
    results: Sweep,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grid, read = copied(root, tmp_path), list[Sweep]()
    (grid / "002" / "metrics.json").unlink()
    monkeypatch.setattr(
        sweep_page, "sweep_results", lambda folder: read.append(sweep_results(folder)) or read[-1]
    )
    (grid / "000" / "report.html").write_text("a page")
    evil = "<script>alert(1)</script> \x1b[31m"
    whole = record()
    write_sweep(grid, whole.with_points([replace(whole.points[3], failed=evil)]))
    with pytest.raises(SystemExit) as done:
        cli.main(["report", str(grid)])
    assert done.value.code == 0
    (found,) = read
    both = zip(found.results, results.results, strict=True)
    same = [one.point.number for one, other in both if one == other]
    assert same == [0, 1, 2, 4, 5], "computed where it is missing"
    shown = capsys.readouterr().out
    assert "is best of 2 with results" in " ".join(shown.split()) and "\x1b[31m" not in shown
    assert "what failed or is missing" in shown and str(grid / "sweep.html") in "".join(
        shown.split()
    )
    page = (grid / "sweep.html").read_text()
    first = page.index('<p class="answer">')
    assert first < page.index("<table>") < page.index("<svg") and page.index("STAND-IN") < first
    assert "<script>" not in page and "&lt;script&gt;" in page and "\x1b" not in page
    assert '<a href="000/report.html">000</a>' in page and '<a href="001' not in page
    assert page.count("gain on similar") >= 2 and WHY in page
    assert not (grid / "002" / "metrics.json").exists()
    (grid / SWEEP).write_text("{")
    with pytest.raises(SystemExit) as done:
        cli.main(["report", str(grid)])
    error = capsys.readouterr().err
    assert done.value.code == 1 and SWEEP in error and error.count("\n") == 1


def made(values: Sequence[tuple[Any, ...]], keys: tuple[str, ...]) -> Sweep:
    """Return a sweep of points by hand, each with a gain that grows with its number."""
    cell = {"low": 0.0, "high": 1.0, "n": 6}
    results = tuple(
        Result(
            Point(number, f"{number:03d}", ()),
            dict(zip(keys, of, strict=True)),
            "finished",
            measures={f"gain on {f}": {**cell, "mean": 0.01 * number} for f in ("same", "similar")},
        )
        for number, of in enumerate(values)
    )
    return Sweep("made", record(keys=keys), keys, results, "gain on same", {})


def titles(figure: Any) -> list[str]:
    return [axis.get_title(loc="left") for axis in figure.axes]


def lines(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()] if axis.get_legend() else []


def ticks(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_xticklabels()]


def test_two_keys_are_a_panel_a_measure_with_the_second_by_colour() -> None:
    values = list(product((1, 10, 1000), ("x", "y")))
    figure = figures.sweep_scores(made(values, ("a.size", "a.kind")))
    assert figure is not None and titles(figure) == ["gain on same", "gain on similar"]
    first, second = figure.axes
    assert lines(first) == ["kind=x", "kind=y"] and ticks(first) == ["1", "10", "1000"]
    assert first.get_ylim() == second.get_ylim()
    # Of a wide range a step is a factor, and the axis says so.
    places = first.get_xticks()
    assert places[1] - places[0] == pytest.approx(1) and places[2] - places[1] == pytest.approx(2)
    assert "as a factor" in first.get_xlabel()
    one = figures.sweep_scores(made([(True,), (False,), (None,)], ("flag",)))
    assert one is not None and ticks(one.axes[0]) == ["True", "False", "None"]
    assert lines(one.axes[0]) == []
    assert figures.sweep_interactions(made(values, ("a.size", "a.kind"))) is None
    assert figures.sweep_scores(made([], ("a",))) is None


def test_values_that_are_long_or_many_stay_within_their_panel() -> None:
    long = [(f"a value of many letters {n}", m) for n in range(3) for m in ("x", "y")]
    for values in (long, [(f"value-{n}",) for n in range(20)], [(n * n,) for n in range(40)]):
        figure = figures.sweep_scores(made(values, ("a.key", "b")[: len(values[0])]))
        assert figure is not None and figure.get_suptitle().endswith("?")
        renderer = figure.canvas.get_renderer()
        lefts = sorted({axis.get_position().x0 for axis in figure.axes})
        width = figure.bbox.width / len(lefts)
        for axis in figure.axes:
            box, column = axis.get_tightbbox(renderer), lefts.index(axis.get_position().x0)
            assert column * width - 1 <= box.x0 and box.x1 <= (column + 1) * width + 1
            boxes = [label.get_window_extent(renderer) for label in axis.get_xticklabels()]
            assert len(boxes) > 2
            assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_more_keys_are_a_panel_each_and_a_panel_every_two() -> None:
    sweep = made(list(product((0, 1), ("x", "y"), (2, 3))), ("a", "b", "c"))
    figure = figures.sweep_scores(sweep)
    assert figure is not None and titles(figure) == ["a", "b", "c"]
    two = figures.sweep_interactions(sweep)
    assert two is not None and titles(two) == ["a and b", "a and c", "b and c"]
    assert two.get_suptitle() == "Do two keys act together in gain on same?"
    # The line of b=x along a: means over c.
    line = two.axes[0].get_lines()[0]
    assert [round(value, 3) for value in line.get_ydata()] == [0.005, 0.045]
    # What a sampler draws makes no lines: no two points share a value.
    drawn = made([(0.1 * n, 1.5 * n) for n in range(12)], ("a", "b"))
    figure = figures.sweep_scores(drawn)
    assert figure is not None and titles(figure) == ["a", "b"]


def test_a_sweep_of_trainings_is_read_by_what_they_gained_in_held_out_worlds(
    tmp_path: Path,
) -> None:
    known = {"training": "m@w1", "parent": "m@r0", "curricula": ["signal"]}
    for number, mean in enumerate((0.1, 0.3)):
        folder = tmp_path / "grid" / f"{number:03d}"
        (folder / "curve").mkdir(parents=True)
        (folder / "curve" / "step=000.parquet").touch()
        (folder / "run.json").write_text(json.dumps(known))
        (folder / "config.yaml").write_text("method: {steps: 1}\nengine: {kind: surrogate}\n")
        of = {"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "n": 6}
        rows = [{"curriculum": "signal", "measure": m, "before": of, "after": of, "gain": of}
                for m in ("same", "reward")]  # fmt: skip
        (folder / "held-out.json").write_text(json.dumps(rows))
    points = tuple(Point(n, f"{n:03d}", (f"method.rate={n}",)) for n in (0, 1))
    write_sweep(tmp_path / "grid", record(kind="training", keys=("method.rate",), points=points))
    found = sweep_results(tmp_path / "grid")
    assert found.headline == "gain in reward"
    text = sweep_answer(found)
    assert text.startswith("Point 1 (method.rate=1) is best of 2 with results: signal gained +0.30")
    assert "over m@r0 in reward (6 held-out worlds)" in text
    assert "a training keeps no figures by world" in headline_table(found).note
