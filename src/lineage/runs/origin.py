"""Where figures come from: the code, the machine and the command that a record names.

Everything here is read from this process and its machine. What cannot be told is None, which the
tables write as n/a.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from lineage.core.config_engine import OPENAI
from lineage.core.installed import SERVING, installed

SOURCE = ("src", "conf", "pyproject.toml")
"""What of a checkout decides a run: a change elsewhere does not make it dirty."""
GIB = 2**30
LIBRARIES = ("lineage", "pyarrow", "duckdb")
GIT_SECONDS = 10.0
"""So long may git take to answer."""


_COMMAND: ContextVar[tuple[str, ...]] = ContextVar("command")


@contextmanager
def commanded(*words: str) -> Iterator[None]:
    """Let records that are made meanwhile name this command: what this process is called tells
    nothing where a program or a notebook asks for a run.
    """
    token = _COMMAND.set(words)
    try:
        yield
    finally:
        _COMMAND.reset(token)


def origin(arguments: list[str] | None = None) -> dict[str, Any]:
    """Return `commit`, `dirty`, `machine` and `command` of this process, as a record holds them.

    `arguments` are those of the command (default: what is `commanded`, or this process's own).
    `commit` and `dirty` are None where the package was not imported from a git checkout.
    """
    known = _COMMAND.get(tuple(sys.argv)) if arguments is None else arguments
    name, *rest = known
    program = Path(name)
    if program.name == "__main__.py":  # asked for by python -m: the package is the command
        program = program.parent
    commit, dirty = _checkout(Path(__file__).resolve().parents[3])
    return {
        "commit": commit,
        "dirty": dirty,
        "machine": machine(),
        "command": shlex.join([program.name, *rest]),
    }


def libraries(kind: str) -> dict[str, str]:
    """Return the versions of the libraries that a run on an engine of this `kind` rests on.

    Those that are not installed are left out.
    """
    serving = {"vllm": SERVING, OPENAI: (OPENAI,)}.get(kind, ())
    return installed(*LIBRARIES, *serving)


def machine() -> dict[str, Any]:
    """Return what kind of machine this is, in words: no name of it and no path."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / GIB),
        "system": platform.system(),
        "python": platform.python_version(),
    }


@dataclass(frozen=True)
class Load:
    """Processor seconds of the whole machine and of this process with its descendants, so far."""

    machine: float
    own: float

    @classmethod
    def now(cls) -> Load:
        """Return the load so far."""
        times = psutil.cpu_times()
        # psutil counts a guest's time in user's too, and steal is somebody else's.
        busy = times.user + times.nice + times.system + times.irq + times.softirq
        return cls(busy, _own())

    def others_since(self, before: Load, seconds: float) -> float:
        """Return the share of the machine that other processes took in the `seconds` since."""
        others = (self.machine - before.machine) - (self.own - before.own)
        return max(others, 0.0) / max(seconds * (psutil.cpu_count() or 1), 1e-9)


def _own() -> float:
    me, total = psutil.Process(), 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _checkout(root: Path) -> tuple[str | None, bool | None]:
    if not (root / ".git").exists():
        return None, None
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--", *SOURCE)
    return commit, None if status is None else bool(status)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
