"""The sandbox for SQL: what must not run fails cleanly, and the database is as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from helpers import FULL

from lineage.suites.warehouse.results import same, shown
from lineage.suites.warehouse.sandbox import Limits, Result, Sandbox, Table

TABLES = (
    Table(
        "t",
        (
            ("a", "INTEGER", tuple(range(200))),
            ("s", "VARCHAR", ("x", None) * 100),
            ("d", "DATE", ("2024-01-02",) * 200),
            ("h", "TIMESTAMP", ("2024-01-02T03:04:05",) * 200),
        ),
    ),
)
LIMITS = Limits(seconds=0.2, memory_mb=32, process_mb=256, rows=500, databases=2)
ALL = """
SELECT 'a row', a::VARCHAR, {s: s, d: d, h: h}::VARCHAR FROM t
UNION ALL SELECT 'a table', table_name, '' FROM duckdb_tables()
UNION ALL SELECT 'a setting', name, value FROM duckdb_settings()
ORDER BY ALL
"""
LATE = "stopped after 0.2 seconds"
PATIENT = replace(LIMITS, seconds=60)
TRIES = 10


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(LIMITS, 1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def patient() -> Iterator[Sandbox]:
    """One whose limit of time no machine is too slow for."""
    made = Sandbox(PATIENT, 1)
    yield made
    made.close()


def run(sandbox: Sandbox, sql: str) -> Result:
    return sandbox.run("db", lambda: TABLES, sql)


def read(sandbox: Sandbox, sql: str) -> Result:
    """Return what `sql` reads, asked again where it was this machine that took too long."""
    for _ in range(TRIES):
        given = run(sandbox, sql)
        if given.error != LATE:
            break
    return given


def whole(sandbox: Sandbox) -> Result:
    """Return all that a reader can see: rows, tables, and settings."""
    found = read(sandbox, ALL)  # one statement: each of several would wait for a process
    assert not found.error and not found.more
    assert {row[0] for row in found.rows} == {"a row", "a table", "a setting"}
    return found


@pytest.fixture(scope="module")
def before(sandbox: Sandbox) -> Result:
    """All that a reader saw at first, and is to see after each test."""
    return whole(sandbox)


FORBIDDEN = [
    "SELECT * FROM '{file}'",
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM read_parquet('{file}')",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM sniff_csv('{file}')",
    "SELECT * FROM query('SELECT * FROM read_text(''{file}'')')",
    "COPY t TO '{folder}/out.csv'",
    "COPY t FROM '{file}'",
    "EXPORT DATABASE '{folder}/out'",
    "ATTACH '{folder}/other.db'",
    "ATTACH ':memory:' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{file}'",
    "SELECT * FROM 'https://localhost/x.csv'",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "SET memory_limit = '10GB'",
    "RESET memory_limit",
    "PRAGMA threads = 4",
    "PRAGMA enable_profiling",
    "SET VARIABLE x = 1",
    "SELECT * FROM enable_logging()",
    "CALL enable_logging()",
    "CREATE SECRET s (TYPE http)",
    "CREATE TABLE x (a INTEGER)",
    "CREATE TEMP TABLE x (a INTEGER)",
    "CREATE MACRO f() AS 1",
    "DROP TABLE t",
    "DELETE FROM t",
    "DELETE FROM t RETURNING *",
    "WITH x AS (SELECT 1) INSERT INTO t SELECT 1, 'y', NULL, NULL",
    "UPDATE t SET a = 0",
    "TRUNCATE t",
    "EXPLAIN ANALYZE DELETE FROM t",
    "EXPLAIN ANALYZE CREATE TABLE x (a INTEGER)",
    "PREPARE p AS DELETE FROM t",
    "BEGIN TRANSACTION",
    "COMMIT; DROP TABLE t",
    "SELECT 1; DELETE FROM t",
    "SELECT * FROM secret_of_python",
    "SELECT getenv('HOME')",
    "SELECT ?",
    "SELECT",
    "",
    "\ud800 no text",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000,
]


AT_ONCE = 1 if FULL else 7
"""Statements after which is looked at what a reader sees, which takes longer than they do."""


@pytest.mark.parametrize(
    "several",
    [FORBIDDEN[n : n + AT_ONCE] for n in range(0, len(FORBIDDEN), AT_ONCE)],
    ids=lambda several: several[0][:40],
)
def test_what_is_not_a_read_of_the_tables_fails_and_changes_nothing(
    sandbox: Sandbox, before: Result, tmp_path: Path, several: list[str]
) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("canary\n4711\n")
    secret_of_python = pa.table({"canary": [4711]})
    for sql in several:
        given = run(sandbox, sql.replace("{file}", str(file)).replace("{folder}", str(tmp_path)))
        assert given.error and not given.rows, sql
        assert "4711" not in given.error and "\n" not in given.error, sql
    assert whole(sandbox) == before
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]
    assert secret_of_python.num_rows == 1


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r",
        "SELECT count(*) FROM t a, t b, t c, t d, t e",
        *(["SELECT sum(i) FROM range(100000000000) x(i)"] if FULL else []),
    ],
)
def test_an_endless_query_is_stopped(sandbox: Sandbox, before: Result, sql: str) -> None:
    assert not read(sandbox, "SELECT 1").error
    running = sandbox._all[0]._process
    assert run(sandbox, sql).error == LATE
    assert whole(sandbox) == before
    assert sandbox._all[0]._process is running


def test_what_cannot_be_interrupted_is_killed(sandbox: Sandbox, before: Result) -> None:
    # One call of one function.
    given = run(sandbox, "SELECT regexp_matches(repeat('a', 3000000), '(a?){500}(a){500}b')")
    assert given.error == LATE
    assert sandbox._all[0]._process is None
    assert whole(sandbox) == before


@pytest.mark.parametrize(
    "sql",
    [
        *(["SELECT list(a.a) FROM t a, t b, t c, t d"] if FULL else []),
        "SELECT * FROM t a, t b, t c ORDER BY a.a + b.a * c.a",
        # Beyond DuckDB's own count, and beyond its interrupts: one call of one function.
        "SELECT length(repeat('x', 3000000000))",
        "SELECT list_sum(range(500000000))",
        "SELECT t.a, repeat('x', 300000000) FROM t",
    ],
)
def test_a_memory_blow_up_fails(patient: Sandbox, sql: str) -> None:
    before = whole(patient)
    given = run(patient, sql)
    assert given.error and not given.rows
    assert "stopped after" not in given.error
    assert whole(patient) == before


def test_a_killed_process_costs_one_statement(sandbox: Sandbox) -> None:
    assert not read(sandbox, "SELECT 1").error
    running = sandbox._all[0]._process
    assert running is not None
    running.kill()
    assert run(sandbox, "SELECT 1").error
    assert read(sandbox, "SELECT count(*) FROM t").rows == ((200,),)


def test_a_huge_result_is_cut(patient: Sandbox) -> None:
    given = run(patient, "SELECT a.a, repeat('x', 5000) FROM t a, t b, t c")
    assert given.more and len(given.rows) == LIMITS.rows
    assert all(len(str(text)) == 1000 for _, text in given.rows)
    exact = run(patient, f"SELECT * FROM range({LIMITS.rows})")
    assert not exact.more and len(exact.rows) == LIMITS.rows


def test_reads_run_and_keep_types(patient: Sandbox) -> None:
    given = run(patient, "SELECT 1, 2.5, 'x', NULL, true, max(d), max(h), sum(a) FROM t")
    assert given.rows == (
        (1, 2.5, "x", None, True, "2024-01-02", "2024-01-02 03:04:05", 19900),
    )  # fmt: skip
    for sql in ("DESCRIBE t", "SHOW TABLES", "SUMMARIZE t", "FROM t", "EXPLAIN SELECT * FROM t"):
        assert run(patient, sql).rows, sql
    assert run(patient, "WITH x AS (SELECT 7 AS n) SELECT n FROM x; -- done").rows == ((7,),)


def test_many_threads_and_databases_at_once() -> None:
    made, built, lock = Sandbox(PATIENT, 2), [0], threading.Lock()

    def tables(number: int) -> tuple[Table, ...]:
        with lock:
            built[0] += 1
        return (Table("n", (("n", "INTEGER", (number,)),)),)

    def ask(at: int) -> bool:
        number = at % 5
        given = made.run(str(number), lambda: tables(number), "SELECT n FROM n")
        return given.rows == ((number,),)

    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(30 if FULL else 16)))
        # More than two processes could have built for five databases, had they kept them all.
        assert built[0] > 10
    finally:
        made.close()


def test_one_sessions_seed_does_not_reach_the_next(sandbox: Sandbox) -> None:
    read(sandbox, "SELECT setseed(0.5)")
    assert read(sandbox, "SELECT random()").rows != read(sandbox, "SELECT random()").rows
    first = read(sandbox, "SELECT setseed(0.5), random()").rows[0][1]
    read(sandbox, "SELECT setseed(0.5)")
    assert read(sandbox, "SELECT random()").rows[0][0] != first


@pytest.mark.parametrize(
    ("given", "reference", "ordered", "equal"),
    [
        ([(1,), (2,)], [(2,), (1,)], False, True),
        ([(1,), (2,)], [(2,), (1,)], True, False),
        ([(1.0000001,)], [(1,)], False, True),
        ([(1.001,)], [(1,)], False, False),
        ([(None,)], [(None,)], False, True),
        ([(None,)], [(0,)], False, False),
        ([("1",)], [(1,)], False, False),
        ([(True,)], [(1,)], False, False),
        ([(1,), (1,)], [(1,), (2,)], False, False),
        ([(1,), (1,)], [(1,)], False, False),
        ([(1, 2)], [(2, 1)], False, False),
        ([(float("nan"),)], [(float("nan"),)], False, True),
    ],
)
def test_result_sets_compare_by_position_within_tolerance(
    given: list[tuple[object, ...]], reference: list[tuple[object, ...]], ordered: bool, equal: bool
) -> None:
    a = Result(("x",) * len(given[0]), tuple(given))  # type: ignore[arg-type]
    b = Result(("y",) * len(reference[0]), tuple(reference))  # type: ignore[arg-type]
    assert same(a, b, ordered, 1e-6) is equal


def test_errors_and_cut_results_equal_nothing_and_show_as_text() -> None:
    good = Result(("x",), ((1,), (None,), (3,)))
    assert same(good, good, False, 1e-6)
    assert not same(Result(("x",), good.rows, more=True), good, False, 1e-6)
    assert not same(Result(error="no"), Result(error="no"), False, 1e-6)
    assert shown(good, 2, 100) == "x\n1\nNULL\n... more rows"
    assert shown(Result(("x",)), 2, 100) == "x\nno rows"
    assert shown(Result(error="no"), 2, 100) == "Error: no"
    assert len(shown(good, 3, 8)) == 8
