"""Processes of `lineage` that tests kill, forked from one that has imported what they need.

To start an interpreter for each takes longer than what is to be killed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

FORKING = get_context("forkserver")
# None of the tests: the process that forks does not look for modules where they lie. The last two
# are what Arrow imports when it first makes a table, or reads one.
FORKING.set_forkserver_preload(
    [
        *("lineage.cli", "lineage.commands.runs", "lineage.runs.points", "lineage.training.run"),
        *("pandas", "pyarrow.dataset"),
    ]
)
SECONDS = 200.0
"""So long may it take until there is something to be killed."""


def begin(*arguments: str) -> BaseProcess:
    """Start `lineage` with `arguments`, in this folder and with these variables, without a word."""
    child = FORKING.Process(target=_lineage, args=(arguments, dict(os.environ)), daemon=True)
    child.start()
    return child


def kill(child: BaseProcess, when: Callable[[], bool]) -> bool:
    """Kill `child` as soon as `when` says so; return whether it still ran then."""
    until, met = time.monotonic() + SECONDS, False
    while child.is_alive() and time.monotonic() < until and not (met := when()):
        time.sleep(0.005)
    child.kill()
    child.join()
    return met and child.exitcode == -signal.SIGKILL


def _lineage(arguments: tuple[str, ...], variables: dict[str, str]) -> None:
    with Path(os.devnull).open("w") as quiet:
        for stream in (1, 2):
            os.dup2(quiet.fileno(), stream)
    os.environ.clear()
    os.environ.update(variables)
    from lineage.cli import main

    main(arguments)
