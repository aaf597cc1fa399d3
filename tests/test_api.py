"""`lineage.run` and `lineage.train`: the commands from Python, in a notebook too."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import answering, counting

import lineage
from lineage import compose
from lineage.core.errors import LineageError
from lineage.core.signals import apart
from lineage.models.protocol import Completion, Request

pytestmark = pytest.mark.usefixtures("undrawn")


def small(tmp: Path, *overrides: str) -> list[str]:
    return [
        *("engine=surrogate", "experiment=tiny", "experiment.lineages=1"),
        *("arms.names=[inherit,cold]", "arms.ceiling=inherit"),
        *(f"run.root={tmp / 'runs'}", f"run.cache={tmp / 'cache'}", *overrides),
    ]


def folders(log: Any) -> list[Path]:
    return [Path(row[0]) for row in log.execute("SELECT folder FROM runs ORDER BY 1").fetchall()]


def test_runs_are_returned_as_their_opened_logs_each_of_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Both begin within one second.
    monkeypatch.setattr("time.strftime", lambda *_: "20261129-030000")
    asked = "SELECT count(*), count(DISTINCT step_id) FROM steps"
    name = "20261129-030000-tiny"
    log = lineage.run(small(tmp_path))
    assert folders(log) == [tmp_path / "runs" / name]
    assert (tmp_path / "runs" / name / "metrics.json").exists()
    (before,) = log.execute(asked).fetchall()
    assert before[0] == before[1] > 0
    # It is the run of the command.
    hashed = compose.config_hash(compose.load(small(tmp_path)))
    assert log.execute("SELECT config_hash FROM runs").fetchall() == [(hashed,)]
    assert capfd.readouterr() == ("", "")
    log = lineage.run(small(tmp_path, "experiment.seed=1"), progress=True)
    assert folders(log) == [tmp_path / "runs" / f"{name}-2"]
    assert "1 lineages" in capfd.readouterr().out, "progress is shown where it is asked for"
    # What is finished is opened, and not run again.
    with counting() as requests:
        log = lineage.run(small(tmp_path, f"run.name={name}"))
    assert log.execute(asked).fetchall() == [before] and not requests


def test_a_sweep_is_one_log_with_its_keys(tmp_path: Path) -> None:
    log = lineage.run(small(tmp_path, "run.name=sweep", "suite.drift=0,0.5"), multirun=True)
    found = log.execute('SELECT folder, "suite.drift" FROM runs ORDER BY ALL').fetchall()
    points = tmp_path / "runs" / "sweep"
    assert found == [(str(points / "000"), 0.0), (str(points / "001"), 0.5)]


def test_a_training_is_returned_as_its_opened_log(tmp_path: Path) -> None:
    sizes = ("train.worlds=2", "train.held_out=0", "method.steps=1", "method.warm_steps=0")
    groups = ("method.groups=2", "train.curricula=[open]", "agent=writer")
    log = lineage.train(small(tmp_path, "run.name=toy", *sizes, *groups))
    assert log.execute("SELECT kind, folder FROM runs").fetchall() == [
        ("training", str(tmp_path / "runs" / "toy"))
    ]
    assert log.execute("SELECT count(*) > 0 FROM training").fetchall() == [(True,)]


def test_a_cell_runs_and_an_interrupted_one_stops_its_run_and_says_how_to_go_on(
    tmp_path: Path,
) -> None:
    """As in a notebook, whose kernel runs an event loop in the main thread."""
    asked, given = 0, small(tmp_path, "run.name=cell", "log.journal_steps=1")

    def interrupt(request: Request, answer: Completion) -> Completion:
        nonlocal asked
        asked += 1
        if asked == 3:
            os.kill(os.getpid(), signal.SIGINT)
            # The main thread is told meanwhile: so small a run would be over before.
            time.sleep(0.5)
        return answer

    async def cell() -> Any:
        return lineage.run(given)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    loop = asyncio.new_event_loop()
    try:
        with answering(interrupt), pytest.raises(KeyboardInterrupt) as stopped:
            loop.run_until_complete(cell())
    finally:
        loop.close()
        signal.signal(signal.SIGINT, before)
    folder = tmp_path / "runs" / "cell"
    assert any(f"lineage resume {folder}" in note for note in stopped.value.__notes__)
    assert not (folder / "metrics.json").exists()
    # Nobody holds it any more: it is finished as any other.
    log = asyncio.run(cell())
    assert folders(log) == [folder] and (folder / "metrics.json").exists()
    assert log.execute("SELECT count(*) = count(DISTINCT step_id) FROM steps").fetchall() == [
        (True,)
    ]
    # What a kernel is called is no command that could be given again.
    command = json.loads((folder / "run.json").read_text())["command"]
    assert command == shlex.join(["lineage", "run", *given])


def test_what_is_done_apart_is_handed_back_and_so_is_its_error() -> None:
    assert apart(threading.current_thread) is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        apart(lambda: 1 // 0)


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match=r"did you mean 'suite\.drift'"):
        lineage.run(small(tmp_path, "suite.drif=0"))
    with pytest.raises(TypeError, match=r"such as \['engine=surrogate'\]"):
        lineage.run("engine=surrogate")
    assert not (tmp_path / "runs").exists()


def test_importing_lineage_stays_light() -> None:
    code = (
        "import sys, lineage; lineage.run, lineage.train; "
        "print(sorted({'hydra', 'duckdb', 'rich', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
