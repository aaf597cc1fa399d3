"""How long a run took: the working time of its sittings, not the clock between two steps."""

from __future__ import annotations

import io
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import answering, run, steps, surrogate
from rich.console import Console

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
def worked(made: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long such a run took, as its log says."""
    folder = Path(shutil.copytree(made, tmp_path_factory.mktemp("untimed") / "old"))
    (folder / SITTINGS).unlink()
    found = seconds(folder)
    assert found is not None
    return found


def test_of_a_run_that_nobody_timed_the_pause_is_left_out(old: Path, worked: float) -> None:
    assert 0 < worked < PAUSE / 2

    def paused(generation: int, ended: float, wall: float) -> tuple[float, float]:
        return ended + PAUSE * generation, wall

    retimed(old, paused)
    assert seconds(old) == pytest.approx(worked, abs=5), "two sittings, an hour between them"


def test_a_long_request_is_no_pause(old: Path, worked: float) -> None:
    last = max(step["ended_at"] for step in steps(old))

    def slow(generation: int, ended: float, wall: float) -> tuple[float, float]:
        return (last + PAUSE, PAUSE) if ended == last else (ended, wall)

    retimed(old, slow)
    assert seconds(old) == pytest.approx(worked + PAUSE, abs=1)


def test_without_any_time_it_is_not_computed_and_says_why(old: Path) -> None:
    retimed(old, lambda generation, ended, wall: (0.0, wall))
    (row,) = totals(connect(old)).to_pylist()
    assert row["seconds"] is None
    file = io.StringIO()
    show_totals({"metrics": {"totals": [row]}}, Console(file=file, width=200))
    assert file.getvalue().endswith("n/a minutes: no step says when it ended\n")


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


def test_the_report_counts_what_failed_and_was_mended(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "one"))

    def told() -> str:
        file, log = io.StringIO(), connect(folder)
        found = {one.__name__: one(log).to_pylist() for one in (totals, faults)}
        show_totals({"metrics": found}, Console(file=file, width=300))
        return file.getvalue()

    assert " 0 faults, " in told()
    noted = json.loads((folder / SITTINGS).read_text())
    noted[0] |= {"faults": {"engine_died": 2}, "ended": False}
    (folder / SITTINGS).write_text(json.dumps([*noted, {**noted[0], "faults": {}}]))
    assert " 3 faults mended (2 engine died, 1 sitting killed; no step lost by them), " in told()
    del noted[0]["ended"]
    (folder / SITTINGS).write_text(json.dumps(noted))
    assert " n/a faults, " in told()


def test_sittings_are_written_as_they_are(tmp_path: Path) -> None:
    for _ in range(2):
        with Timer(tmp_path) as timer:
            timer.worked()
    found = json.loads((tmp_path / SITTINGS).read_text())
    assert [replace(Sitting(**one), seconds=0.0).began for one in found] == sorted(
        one["began"] for one in found
    )
    assert len(found) == 2
