"""A sandbox for SQL that a model wrote: no files, no network, no settings, and limits on all else.

Statements run in processes of their own (`jail.py` says why). A process that dies of a statement
costs that statement only: the next one gets a new process. Every failure is a text.
"""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import LifoQueue
from typing import Any

from lineage.core.plaintext import clean

JAIL = Path(__file__).with_name("jail.py")

Cell = None | bool | int | float | str


@dataclass(frozen=True)
class Table:
    """A table: its name, and for each column a name, a type of DuckDB, and the cells.

    Dates and times are texts, as ISO 8601 writes them.
    """

    name: str
    columns: tuple[tuple[str, str, tuple[Cell, ...]], ...]

    @property
    def schema(self) -> str:
        """Return the table as a prompt names it: `orders(id INTEGER, site VARCHAR)`."""
        return f"{self.name}({', '.join(f'{name} {kind}' for name, kind, _ in self.columns)})"


@dataclass(frozen=True)
class Limits:
    """What one statement may take, and how many databases one process holds at once."""

    seconds: float
    memory_mb: int  # that DuckDB accounts for
    process_mb: int  # that the process may grow by, with what DuckDB does not account for
    rows: int  # of a result
    databases: int


@dataclass(frozen=True)
class Result:
    """A result set, or why there is none. With `more`, rows beyond the limit were left out."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    more: bool = False
    error: str = ""


class Sandbox:
    """Runs statements on databases that are built when they are first asked for.

    Safe to call from many threads: `processes` statements run at once, the others wait.
    """

    def __init__(self, limits: Limits, processes: int) -> None:
        self._slots: LifoQueue[_Process] = LifoQueue()
        self._all = [_Process(limits) for _ in range(processes)]
        for process in self._all:
            self._slots.put(process)
        atexit.register(self.close)

    def run(self, database: str, tables: Callable[[], tuple[Table, ...]], sql: str) -> Result:
        """Return what `sql` gives on the database named `database`; never raises for `sql`.

        `tables` makes its tables, and is called where no process holds the database yet.
        """
        process = self._slots.get()
        try:
            return process.ask(database, tables, sql)
        finally:
            self._slots.put(process)

    def close(self) -> None:
        """End the processes; a later `run` starts new ones."""
        for process in self._all:
            process.end()


class _Process:
    """One process, started when it is first asked."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[str] | None = None

    def ask(self, database: str, tables: Callable[[], tuple[Table, ...]], sql: str) -> Result:
        # A text that UTF-8 cannot hold (a lone surrogate) is no SQL, but costs no process.
        request: dict[str, Any] = {"database": database, "sql": clean(sql)}
        reply = self._exchange(request)
        if reply.get("missing"):
            made = [{"name": table.name, "columns": table.columns} for table in tables()]
            reply = self._exchange({**request, "tables": made})
        if "error" in reply:
            return Result(error=reply["error"])
        rows = tuple(tuple(row) for row in reply["rows"])
        return Result(tuple(reply["columns"]), rows, reply["more"])

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        try:
            self._send(process, request)
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            reply: dict[str, Any] = json.loads(line)
            return reply
        code = process.wait()
        self.end()
        if code == -signal.SIGALRM:
            return {"error": f"stopped after {self._limits.seconds:g} seconds"}
        if code < 0:
            return {"error": f"needs more than {self._limits.process_mb} MiB of memory"}
        return {"error": f"the sandbox ended with code {code}"}

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(JAIL)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            # Arenas, one a thread, would use up the address space that is limited.
            env={"MALLOC_ARENA_MAX": "1"},
        )
        self._send(self._process, asdict(self._limits))
        return self._process

    @staticmethod
    def _send(process: subprocess.Popen[str], message: dict[str, Any]) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()
