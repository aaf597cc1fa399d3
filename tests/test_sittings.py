"""How long a run took: the working time of its sittings, not the clock between two steps."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import answering, run, steps, surrogate
from rich.console import Console

import lineage
from lineage.agent import context
from lineage.core.errors import LineageError
from lineage.log import sittings
from lineage.log.sittings import SITTINGS, Fault, Sitting, Timer, met, read_sittings
from lineage.log.views.connect import connect
from lineage.metrics.counts import faults, totals
from lineage.models.protocol import Completion, Request
from lineage.report.run_text import show_totals

SMALL = ("experiment=tiny", "experiment.lineages=1")
PAUSE = 3600.0


def seconds(folder: Path) -> float | None:
    (row,) = totals(connect(folder)).to_pylist()
    found: float | None = row["seconds"]
    return found


def retimed(folder: Path, change: Any) -> None:
    """Let `change` see and replace generation, `ended_at` and `wall_seconds` of each step."""
    for file in sorted((folder / "steps").rglob("*.parquet")):
        rows = pq.read_table(file, partitioning=None)
        generation = int(file.parent.name.partition("=")[2])
        pairs = zip(rows["ended_at"].to_pylist(), rows["wall_seconds"].to_pylist())
        ended, wall = zip(*(change(generation, *pair) for pair in pairs))
        for name, values in (("ended_at", ended), ("wall_seconds", wall)):
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, name, pa.array(values, pa.float64()))
        pq.write_table(rows, file)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, that tests copy."""
    tmp = tmp_path_factory.mktemp("made")
    run(surrogate(tmp, *SMALL), tmp / "runs" / "made")
    return tmp / "runs" / "made"


@pytest.fixture
def old(made: Path, tmp_path: Path) -> Path:
    """A run that an older version made: nobody timed it."""
    folder = Path(shutil.copytree(made, tmp_path / "runs" / "old"))
    (folder / SITTINGS).unlink()
    return folder


@pytest.fixture(scope="module")
def told(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the log says of that run, had it gone otherwise: all in one log, which takes a while."""
    tmp = tmp_path_factory.mktemp("told")
    last = max(step["ended_at"] for step in steps(made))
    # Nobody timed these, as where an older version made them.
    untimed: dict[str, Callable[[int, float, float], tuple[float, float]]] = {
        "as it was": lambda generation, ended, wall: (ended, wall),
        "paused": lambda generation, ended, wall: (ended + PAUSE * generation, wall),
        "slow": lambda generation, ended, wall: (
            (last + PAUSE, PAUSE) if ended == last else (ended, wall)
        ),
        "unknown": lambda generation, ended, wall: (0.0, wall),
    }
    for name, change in untimed.items():
        folder = Path(shutil.copytree(made, tmp / name))
        (folder / SITTINGS).unlink()
        retimed(folder, change)
    shutil.copytree(made, tmp / "well")
    noted = json.loads((made / SITTINGS).read_text())
    noted[0] |= {"faults": {"engine_died": 2}, "ended": False}
    mended = [*noted, {**noted[0], "faults": {}}]
    older = [{name: value for name, value in noted[0].items() if name != "ended"}, *noted[1:]]
    for name, sat in {"mended": mended, "older": older}.items():
        folder = Path(shutil.copytree(made, tmp / name))
        (folder / SITTINGS).write_text(json.dumps(sat))
    log = lineage.open(*sorted(tmp.iterdir()))
    found = {one.__name__: one(log).to_pylist() for one in (totals, faults)}
    return {
        folder.name: {
            name: [row for row in rows if row["folder"] == str(folder)]
            for name, rows in found.items()
        }
        for folder in tmp.iterdir()
    }


def in_words(metrics: dict[str, Any]) -> str:
    file = io.StringIO()
    show_totals({"metrics": metrics}, Console(file=file, width=300))
    return file.getvalue()


@pytest.fixture(scope="module")
def worked(told: dict[str, dict[str, Any]]) -> float:
    """How long such a run took, as its log says."""
    found = told["as it was"]["totals"][0]["seconds"]
    assert found is not None
    return float(found)


def test_of_a_run_that_nobody_timed_the_pause_is_left_out(
    told: dict[str, dict[str, Any]], worked: float
) -> None:
    assert 0 < worked < PAUSE / 2
    paused = told["paused"]["totals"][0]["seconds"]
    assert paused == pytest.approx(worked, abs=5), "two sittings, an hour between them"


def test_a_long_request_is_no_pause(told: dict[str, dict[str, Any]], worked: float) -> None:
    assert told["slow"]["totals"][0]["seconds"] == pytest.approx(worked + PAUSE, abs=1)


def test_without_any_time_it_is_not_computed_and_says_why(
    told: dict[str, dict[str, Any]],
) -> None:
    totals_ = {"totals": told["unknown"]["totals"]}
    assert totals_["totals"][0]["seconds"] is None
    assert in_words(totals_).endswith("n/a minutes: no step says when it ended\n")


def test_a_run_of_two_sittings_took_what_they_worked_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = tmp_path / "runs" / "two", surrogate(tmp_path, *SMALL)
    asked = []

    def stop(request: Request, completion: Completion) -> Completion:
        asked.append(request)
        if len(asked) == 30:
            raise LineageError("stopped")
        return completion

    with answering(stop), pytest.raises(LineageError, match="stopped"):
        run(config, folder)
    (first,) = read_sittings(folder)
    # The clock is set while nobody works, and the run is gone on with.
    later = SimpleNamespace(time=lambda: time.time() + PAUSE, monotonic=time.monotonic)
    monkeypatch.setattr(context, "time", later)
    run(config, folder)
    found = read_sittings(folder)
    assert len(found) == 2 and found[0] == first
    assert all(one.seconds is not None and one.seconds > 0 for one in found)
    clock = [step["ended_at"] for step in steps(folder)]
    assert max(clock) - min(clock) > PAUSE, "what the clock says"
    assert seconds(folder) == pytest.approx(sum(one.seconds or 0 for one in found))
    before = read_sittings(folder)
    run(config, folder)
    assert read_sittings(folder) == before, "nothing was left to do"


def test_what_a_killed_sitting_did_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sittings, "EVERY", 0.0)
    folder, noted = tmp_path / "runs" / "killed", []

    def look(request: Request, completion: Completion) -> Completion:
        noted.append(read_sittings(folder)[0].seconds)
        return completion

    with answering(look):
        run(surrogate(tmp_path, *SMALL), folder)
    assert len(noted) > 20 and 0 < noted[20] < noted[-1], "while it works, not at its end"


def test_a_run_that_an_older_version_began_is_timed_from_now_on(
    old: Path, worked: float, tmp_path: Path
) -> None:
    for done in (old / "done").glob("*g01.json"):
        done.unlink()
    run(surrogate(tmp_path, *SMALL), old)
    untimed, mine = read_sittings(old)
    assert untimed == Sitting(0.0, None) and mine.seconds is not None
    assert seconds(old) == pytest.approx(worked + mine.seconds, abs=0.5)


@pytest.mark.parametrize(
    "text", ["", "{", "3", "[1]", '[{"began": 1}]', '[{"began": 1, "seconds": ""}]']
)
def test_a_torn_record_of_sittings_is_one_line_that_says_what_to_do(
    text: str, tmp_path: Path
) -> None:
    (tmp_path / SITTINGS).write_text(text)
    with pytest.raises(LineageError, match=rf"{SITTINGS} is [^\n]*: remove it"):
        Timer(tmp_path)


def test_what_failed_is_told_by_sitting_and_killed_ones_count(tmp_path: Path) -> None:
    died = {"engine_died": 3}
    with Timer(tmp_path, lambda: died) as timer:
        died["engine_died"] = 5
        timer.worked()
    (first,) = read_sittings(tmp_path)
    assert first.faults == {Fault.ENGINE_DIED: 2}, "what failed before was another's"
    assert met(read_sittings(tmp_path)) == {"engine_died": 2}
    Timer(tmp_path).__enter__()
    assert met(read_sittings(tmp_path)) == {"engine_died": 2}, "it may be going on"
    with Timer(tmp_path):
        pass
    assert met(read_sittings(tmp_path)) == {"engine_died": 2, "sitting_killed": 1}
    assert met([Sitting(1.0, 2.0)]) is None and met([]) is None


def test_the_report_counts_what_failed_and_was_mended(told: dict[str, dict[str, Any]]) -> None:
    assert " 0 faults, " in in_words(told["well"])
    mended = " 3 faults mended (2 engine died, 1 sitting killed; no step lost by them), "
    assert mended in in_words(told["mended"])
    assert " n/a faults, " in in_words(told["older"])


def test_sittings_are_written_as_they_are(tmp_path: Path) -> None:
    for _ in range(2):
        with Timer(tmp_path) as timer:
            timer.worked()
    found = json.loads((tmp_path / SITTINGS).read_text())
    assert [replace(Sitting(**one), seconds=0.0).began for one in found] == sorted(
        one["began"] for one in found
    )
    assert len(found) == 2
