"""The process that runs SQL: DuckDB locked down, in a process with limits of its own.

It is started by `sandbox.py` as a file, in Python's isolated mode, and imports nothing of
lineage. Line by line it reads requests from its standard input and writes replies, both JSON.
DuckDB's own memory limit and interrupts do not reach into one call of a function (`repeat`,
`range` and the like make values of many gigabytes), so the kernel holds the limits as well: an
address space for memory, and an alarm that ends the process for time.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
from collections import OrderedDict
from decimal import Decimal
from typing import Any, TextIO

import duckdb

READS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
"""DESCRIBE, SHOW, SUMMARIZE, WITH, FROM and VALUES are parsed as SELECT."""

CELL_CHARS = 1000
ERROR_CHARS = 400
CHUNK = 64
GRACE = 2.0
"""The alarm rings at so many times the time limit: first DuckDB is asked to stop by itself."""


def open_database(tables: list[dict[str, Any]], memory_mb: int) -> Any:
    """Return a connection to a new database in memory that holds `tables`, and is then locked."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
            "memory_limit": f"{memory_mb}MiB",
            "temp_directory": "",
            "threads": "1",
        },
    )
    for table in tables:
        columns = table["columns"]
        shape = ", ".join(f"{name} {kind}" for name, kind, _ in columns)
        connection.execute(f"CREATE TABLE {table['name']} ({shape})")
        # Texts become dates and times in the insert: JSON has neither.
        cells = ", ".join("unnest(?)" for _ in columns)
        connection.execute(
            f"INSERT INTO {table['name']} SELECT {cells}", [cells for *_, cells in columns]
        )
    connection.execute("SET lock_configuration = true")
    return connection


def answer(connection: Any, sql: str, rows: int, seconds: float) -> dict[str, Any]:
    """Return the result of `sql`, at most `rows` rows of it, or its error."""
    cursor = connection.cursor()
    stop = threading.Timer(seconds, cursor.interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds * GRACE)
    stop.start()
    try:
        statements = cursor.extract_statements(sql)
        if len(statements) != 1:
            return {"error": f"one statement at a time, not {len(statements)}"}
        if statements[0].type not in READS:
            kind = statements[0].type.name
            return {"error": f"only statements that read (SELECT, DESCRIBE) run, not {kind}"}
        # EXPLAIN ANALYZE runs what it explains, whatever that is.
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        cursor.execute(statements[0])
        names = [column[0][:CELL_CHARS] for column in cursor.description or ()]
        found: list[list[Any]] = []
        while len(found) <= rows and (chunk := cursor.fetchmany(CHUNK)):
            found += [[cell(value) for value in row] for row in chunk]
        return {"columns": names, "rows": found[:rows], "more": len(found) > rows}
    except duckdb.InterruptException:
        return {"error": f"stopped after {seconds:g} seconds"}
    except (duckdb.Error, MemoryError, ValueError, RuntimeError, OverflowError) as error:
        return {"error": " ".join(str(error).split())[:ERROR_CHARS] or type(error).__name__}
    finally:
        stop.cancel()
        # Waits for an interrupt that is under way, so that it stops nothing later.
        stop.join()
        cursor.close()
        signal.setitimer(signal.ITIMER_REAL, 0)


def cell(value: Any) -> Any:
    """Return `value` as JSON holds it; what is neither number nor text becomes a text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Decimal):
        return float(value)
    return str(value)[:CELL_CHARS]


def confine(process_mb: int) -> None:
    """Let the process grow by `process_mb` MiB from here, not more.

    Set before every statement: an open database alone takes some 70 MiB of addresses.
    """
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        held = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + process_mb * 2**20, resource.RLIM_INFINITY))


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answer each request: a database's id, a statement, and the tables where they are new."""
    limits = json.loads(requests.readline())
    shelf: OrderedDict[str, Any] = OrderedDict()
    for line in requests:
        request = json.loads(line)
        name = request["database"]
        if "tables" in request:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            shelf[name] = open_database(request["tables"], limits["memory_mb"])
            while len(shelf) > limits["databases"]:
                shelf.popitem(last=False)[1].close()
        if name in shelf:
            shelf.move_to_end(name)
            confine(limits["process_mb"])
            reply = answer(shelf[name], request["sql"], limits["rows"], limits["seconds"])
        else:
            reply = {"missing": True}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints must not come between the replies.
    own = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    serve(sys.stdin, own)
