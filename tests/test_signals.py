"""SIGINT and SIGTERM: one line that says how to go on, 130, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from helpers import flattened

from lineage.cli import main
from lineage.core.signals import INTERRUPTED, SIGNALS, Stoppable, handlers_kept
from lineage.models.surrogate import Surrogate
from lineage.report import write

UNTOUCHED = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
"""The handlers that there are while no command runs."""

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(autouse=True)
def ready() -> Iterator[None]:
    """A shell without job control lets its background processes ignore SIGINT."""
    before = {one: signal.getsignal(one) for one in SIGNALS}
    for one, handler in UNTOUCHED.items():
        signal.signal(one, handler)
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


SMALL = (
    *("engine=surrogate", "experiment=tiny", "experiment.lineages=1", "train.worlds=1"),
    *("arms.names=[inherit]", "arms.ceiling=inherit", "arms.baseline=inherit"),
)


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """What runs as `SMALL` does, from one file."""
    return flattened(tmp_path_factory.mktemp("flat"), *SMALL)


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def interrupted_query(number: int) -> None:
    """Make of the signal what DuckDB does where it hits a query."""
    try:
        os.kill(os.getpid(), number)
    except KeyboardInterrupt as error:
        raise RuntimeError("Query interrupted") from error


def test_a_report_that_is_stopped_is_written_by_resume(
    flat: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    below = (f"run.root={tmp_path / 'runs'}", f"run.cache={tmp_path / 'cache'}")
    folder = tmp_path / "runs" / "x"
    # Of a run, and of one that is gone on with.
    begun = (("run", *flat, *below, "run.name=x"), ("resume", str(folder)))
    for number, words in zip(SIGNALS, begun, strict=True):
        with monkeypatch.context() as patch:
            patch.setattr(write, "summarise_all", lambda log, of=number: interrupted_query(of))
            code = command(*words)
        said = capsys.readouterr().err
        assert (code, said.count("\n")) == (INTERRUPTED, 1)
        assert said.startswith("lineage: stopped") and f"lineage resume {folder}" in said
        assert not (folder / "metrics.json").exists()
        assert {one: signal.getsignal(one) for one in SIGNALS} == UNTOUCHED
    assert command("resume", str(folder)) == 0
    assert (folder / "metrics.json").exists() and (folder / "report.html").exists()
    assert {one: signal.getsignal(one) for one in SIGNALS} == UNTOUCHED


@pytest.mark.parametrize("words", [("run",), ("train", "method.steps=1")])
def test_an_engine_that_takes_the_signals_does_not_keep_them(
    words: Sequence[str],
    flat: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    closed: list[str] = []

    async def start(self: Surrogate, versions: Sequence[str]) -> None:
        with handlers_kept():  # as a cluster is joined, where Ray sets a handler of its own
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(30)

    async def close(self: Surrogate) -> None:
        closed.append("engine")

    monkeypatch.setattr(Surrogate, "start", start)
    monkeypatch.setattr(Surrogate, "close", close)
    root = tmp_path / "runs"
    code = command(
        *(*words, *flat, f"run.root={root}", "run.name=x"),
        f"run.cache={tmp_path / 'cache'}",
        f"model.shelf={tmp_path / 'shelf'}",
    )
    said = capsys.readouterr().err
    assert (code, closed) == (INTERRUPTED, ["engine"])
    assert said.count("\n") == 1 and f"lineage resume {root / 'x'}" in said


def test_what_ray_makes_of_a_signal_while_it_starts_is_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), handlers_kept():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Stoppable() as stoppable:
        os.kill(os.getpid(), signal.SIGINT)
    assert not stoppable.stopped


def test_a_signal_that_a_library_drops_still_stops() -> None:
    with pytest.raises(KeyboardInterrupt), Stoppable(), suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


STUBBORN = """
import ctypes, subprocess, sys
from lineage.core.signals import Stoppable
with Stoppable():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    told = [child.pid]
    while True:
        try:
            while told:
                print(told.pop(), flush=True)
            ctypes.CDLL(None).pause()
        except KeyboardInterrupt:
            pass
"""


def test_the_second_signal_ends_all_at_once() -> None:
    stubborn = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True)
    assert stubborn.stdout is not None
    child = int(stubborn.stdout.readline())
    while stubborn.poll() is None:
        stubborn.terminate()
        time.sleep(0.02)
    assert stubborn.wait() == INTERRUPTED
    # It has ended though nobody has asked what became of it: who inherits it may take seconds.
    with suppress(psutil.NoSuchProcess):
        left = psutil.Process(child)
        for _ in range(500):
            if left.status() == psutil.STATUS_ZOMBIE:
                break
            time.sleep(0.01)
        assert left.status() == psutil.STATUS_ZOMBIE
