"""`lineage.open`: views over a run, a sweep, a training, a run in progress, old and bad ones."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import FULL, run, steps, surrogate

import lineage
from lineage.core.errors import LineageError
from lineage.log.schema import SCHEMA_VERSION, STEP_SCHEMA, VERSION_KEY
from lineage.log.views.blank import kept_file
from lineage.log.views.description import Description
from lineage.log.views.places import run_patterns
from lineage.log.views.sql import VIEWS
from lineage.metrics.summary import summarise, summarise_all
from lineage.report.lookup import rows_of, totals

SOME = ("scores", "totals", "memory_size")
"""Metrics that are looked at here: `test_measure_tables` compares all of them."""
ARMS = ("arms.names=[inherit,cold]", "arms.ceiling=inherit")
NAMES = (
    *("runs", "steps", "knowledge", "worlds", "training", "curve", "skipped"),
    *(view.name for view in VIEWS),
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two points, two pairs each."""
    tmp = tmp_path_factory.mktemp("sweep")
    for number, drift in enumerate((0.0, 0.5)):
        overrides = ("experiment=tiny", "experiment.lineages=2", f"suite.drift={drift}", *ARMS)
        run(surrogate(tmp, *overrides), tmp / "runs" / "all" / f"{number:03d}")
    return tmp / "runs" / "all"


@pytest.fixture(scope="module")
def one(sweep: Path) -> Path:
    return sweep / "000"


@pytest.fixture(scope="module")
def opened(one: Path) -> duckdb.DuckDBPyConnection:
    """The log of `one`, for tests that but ask it."""
    return lineage.open(one)


@pytest.fixture(scope="module")
def summary(one: Path) -> dict[str, Any]:
    return summarise(one, SOME)


def count(log: duckdb.DuckDBPyConnection, view: str, where: str = "true") -> int:
    (found,) = log.execute(f"SELECT count(*) FROM {view} WHERE {where}").fetchone() or (0,)
    return int(found)


def test_the_views_hold_what_the_files_do(one: Path, opened: duckdb.DuckDBPyConnection) -> None:
    log, logged = opened, steps(one)
    assert count(log, "steps") == len(logged)
    acts = [step for step in logged if step["kind"] in ("act", "probe")]
    assert count(log, "episodes") == len(acts)
    assert count(log, "probes") == sum(step["kind"] == "probe" for step in acts)
    assert count(log, "edits") == sum(step["kind"] == "edit" for step in logged) > 0
    assert count(log, "handoffs") == sum(
        step["kind"] == "handoff" and step["phase"] != "reward" for step in logged
    )
    scores = log.execute("SELECT score FROM probes ORDER BY lineage, generation, episode")
    wanted = [step["score"] for step in logged if step["kind"] == "probe"]
    assert sorted(row[0] for row in scores.fetchall()) == sorted(wanted)
    done = list((one / "done").glob("*.json"))
    assert count(log, "generations") == len(done)
    assert count(log, "lineages") == len({step["lineage"] for step in logged})
    assert count(log, "training") == count(log, "curve") == count(log, "skipped") == 0


def test_entries_are_those_of_the_snapshots(opened: duckdb.DuckDBPyConnection) -> None:
    log = opened
    wanted = {"memories": set(), "docs": set()}
    made = "SELECT lineage, generation, knowledge, content FROM knowledge"
    for *place, content in log.execute(made).fetchall():
        for kind, found in wanted.items():
            found |= {(*place, entry["id"]) for entry in json.loads(content)[kind]}
    columns = "lineage, generation, knowledge, entry, created_episode"
    for kind, found in wanted.items():
        rows = log.execute(f"SELECT {columns} FROM {kind}").fetchall()
        assert {row[:4] for row in rows} == found and len(rows) == len(found)
        assert found and all(row[4] for row in rows)


def test_the_memories_that_a_generation_left_are_found_by_lineage_and_generation(
    opened: duckdb.DuckDBPyConnection,
) -> None:
    left = opened.execute(
        "SELECT entry FROM memories JOIN generations USING (lineage, generation, knowledge) "
        "WHERE lineage = '000-inherit' AND generation = 1"
    ).fetchall()
    (held,) = opened.execute(
        "SELECT any_value(memories) FROM generations "
        "WHERE lineage = '000-inherit' AND generation = 1"
    ).fetchone() or (None,)
    assert held and len({entry for (entry,) in left}) == held


def test_a_notebook_shows_what_a_view_holds_as_a_table(opened: duckdb.DuckDBPyConnection) -> None:
    found = lineage.describe(opened, "probes")
    page = found._repr_html_()
    assert page.startswith("<table>") and page.count("<tr>") == len(found) + 1 == found.num_rows + 1
    assert "<code>family</code>" in page and "one row an episode that only measures" in page
    assert "<th" in page and "score" in repr(found) and "probes: one row" in repr(found)
    assert pa.table(found) == found.table
    hostile = Description("v", "<b>", pa.table({"column": ["<i>"], "type": ["&"], "doc": ["<u>"]}))
    assert not {"<b>:", "<i>", "<u>"} & set(hostile._repr_html_().split())
    assert "&lt;i&gt;" in hostile._repr_html_()


def test_every_view_names_the_folder_first_and_documents_every_column(
    opened: duckdb.DuckDBPyConnection,
) -> None:
    log = opened
    for name in NAMES:
        columns = lineage.describe(log, name).to_pylist()
        assert columns[0]["column"] == "folder"
        assert [column["column"] for column in columns if not column["doc"]] == []
    commented = "SELECT view_name FROM duckdb_views() WHERE comment IS NOT NULL AND NOT internal"
    assert len(log.execute(commented).fetchall()) == len(NAMES) - 2  # runs and skipped are tables
    with pytest.raises(LineageError, match="did you mean 'probes'"):
        lineage.describe(log, "probe")


def test_what_a_log_says_of_itself_does_not_rest_on_the_file_that_it_is_copied_from(
    one: Path,
) -> None:
    def said(log: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
        of = {"columns": "table_name, column_name, data_type", "views": "view_name"}
        of["tables"] = "table_name"
        return [
            row
            for name, what in of.items()
            for row in log.execute(
                f"SELECT {what}, comment FROM duckdb_{name}() WHERE schema_name = 'main' "
                "AND NOT internal ORDER BY ALL"
            ).fetchall()
        ]

    wanted = said(lineage.open(one, connection=duckdb.connect()))
    assert len(wanted) > 99 and {*NAMES} <= {row[0] for row in wanted if row[-1]}
    assert said(lineage.open(one)) == wanted
    Path(kept_file(os.getpid())).unlink()
    assert said(lineage.open(one)) == wanted and Path(kept_file(os.getpid())).exists()


def test_a_sweep_is_one_log_with_its_settings_as_columns(
    sweep: Path, summary: dict[str, Any]
) -> None:
    log = lineage.open(sweep)
    rows = log.execute('SELECT folder, "suite.drift" FROM runs ORDER BY folder').fetchall()
    assert rows == [(str(sweep / "000"), 0.0), (str(sweep / "001"), 0.5)]
    whole = summarise_all(log, SOME)
    for point in ("000", "001"):
        folder = str(sweep / point)
        assert count(log, "steps", f"folder = '{folder}'") == len(steps(sweep / point))
        alone = summary if point == "000" else summarise(sweep / point, SOME)
        assert whole[folder] == alone
    assert lineage.describe(log, "runs").column("doc").to_pylist()[-1] == "setting"


def test_a_glob_takes_a_run_once_however_many_links_name_it(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep, tmp_path / "runs")
    (tmp_path / "runs" / "latest").symlink_to("001")
    assert count(lineage.open(tmp_path / "runs"), "runs") == 2
    assert count(lineage.open(f"{tmp_path}/runs/*"), "runs") == 2
    assert count(lineage.open(f"{tmp_path}/runs/*1"), "runs") == 1
    assert count(lineage.open(tmp_path / "runs" / "latest"), "runs") == 1


def test_what_is_finished_later_is_in_later_queries(one: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(one, copy)
    last = sorted((copy / "steps").glob("**/*.parquet"))[-1]
    kept = last.read_bytes()
    last.unlink()
    log = lineage.open(copy)
    before = count(log, "steps")
    last.write_bytes(kept)
    assert count(log, "steps") == len(steps(one)) > before


@pytest.mark.usefixtures("undrawn")
def test_a_training_has_its_steps(tmp_path: Path) -> None:
    from rich.console import Console
    from test_training import toy

    from lineage.training.run import execute

    folder = tmp_path / "runs" / "toy"
    overrides = ("train.curricula=[open]", "train.held_out=0", "train.worlds=2", "method.steps=2")
    overrides += ("method.groups=2", "method.warm_groups=2", "method.group=2", "train.episodes=2")
    execute(toy(tmp_path, *overrides), folder, Console(quiet=True))
    log = lineage.open(folder)
    assert log.execute("SELECT kind, experiment FROM runs").fetchall() == [
        ("training", "smollm2-135m@mine")
    ]
    assert count(log, "curve") == 2
    groups = log.execute('SELECT count(DISTINCT (step, "group")) FROM training').fetchone()
    assert groups == (4,)
    assert count(log, "episodes") > 0 and count(log, "generations") == 0


def test_files_that_name_no_schema_are_of_the_first(
    one: Path, summary: dict[str, Any], tmp_path: Path
) -> None:
    """As those that were written before the first release."""
    shutil.copytree(one, tmp_path / "early")
    for file in (tmp_path / "early").glob("*/arm=*/**/*.parquet"):
        rows = pq.read_table(file, partitioning=None)
        assert rows.schema.metadata == {VERSION_KEY.encode(): b"1"}
        pq.write_table(rows.replace_schema_metadata({"lineage.schema_version": "4"}), file)
    shutil.copytree(one, tmp_path / "new")
    log = lineage.open(tmp_path)
    assert [f[0] for f in log.sql("SELECT * FROM steps").description] == [
        "folder", "arm", "generation", *STEP_SCHEMA.names
    ]  # fmt: skip
    for name in NAMES:
        log.sql(f"SELECT * FROM {name}").to_arrow_table()
    for these, those in (("early", "new"), ("new", "early")):
        every = f"SELECT * EXCLUDE folder FROM steps WHERE folder = '{tmp_path / these}'"
        other = every.replace(these, those)
        assert log.execute(f"{every} EXCEPT {other}").fetchall() == []
    early = summarise(tmp_path / "early", ["scores"])
    assert rows_of(early, "scores") == rows_of(summary, "scores")


def broken(source: Path, folder: Path, how: str) -> Path:
    """Return a copy of `source` that is broken in one way."""
    shutil.copytree(source, folder)
    file = sorted((folder / "steps").glob("**/*.parquet"))[1]
    if how == "torn":
        file.write_bytes(file.read_bytes()[:-20])
    elif how == "newer":
        file = sorted((folder / "steps").glob("**/*.parquet"))[0]
        table = pq.read_table(file, partitioning=None)
        newer = {VERSION_KEY: str(SCHEMA_VERSION + 1)}
        pq.write_table(table.replace_schema_metadata(newer), file)
    elif how == "empty":
        shutil.rmtree(folder / "steps")
    elif how == "record":
        (folder / "run.json").write_text('{"run":')
    return folder


BROKEN = {
    "torn": "no whole Parquet file: move it away",
    "newer": "upgrade lineage",
    "empty": "no finished generation yet",
    "record": "no whole JSON file",
}


def test_what_is_broken_is_named_and_left_out_only_when_told_to(one: Path, tmp_path: Path) -> None:
    shutil.copytree(one, tmp_path / "good")
    whole = len(steps(one))
    for how, said in BROKEN.items():
        bad = broken(one, tmp_path / how, how)
        with pytest.raises(LineageError, match=said) as caught:
            lineage.open(tmp_path / "good", bad)
        assert str(bad) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(LineageError, match=f"{tmp_path}/({'|'.join(BROKEN)})"):
        lineage.open(tmp_path)
    log = lineage.open(tmp_path, skip=True)
    reasons = dict(log.execute("SELECT folder, reason FROM skipped").fetchall())
    assert reasons.keys() == {str(tmp_path / how) for how in BROKEN}
    assert all(said in reasons[str(tmp_path / how)] for how, said in BROKEN.items())
    assert count(log, "steps", f"folder = '{tmp_path / 'good'}'") == whole
    for how in BROKEN:
        left = count(log, "steps", f"folder = '{tmp_path / how}'")
        assert 0 < left < whole if how in ("torn", "newer") else left == 0


TORN = (b"", b"PAR1 torn", b"no Parquet at all, and of some length")
TORN_BY_NAME = [
    *(("steps", held) for held in TORN),
    *((name, held) for name in ("knowledge", "worlds") for held in (TORN if FULL else TORN[1:2])),
]


@pytest.mark.parametrize(("name", "held"), TORN_BY_NAME)
def test_a_torn_file_among_very_many_is_named_by_what_reads_all_at_once(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, held: bytes
) -> None:
    monkeypatch.setattr("lineage.log.views.datasets.ASKED", 2)
    copied = shutil.copytree(one, tmp_path / "run")
    torn = sorted((copied / name).glob("**/*.parquet"))[1]
    torn.write_bytes(held)
    with pytest.raises(LineageError, match="no whole Parquet file") as told:
        summarise(copied, SOME)
    assert str(torn) in str(told.value)


def test_nothing_to_open_says_so(one: Path, tmp_path: Path) -> None:
    for where in (tmp_path, tmp_path / "nowhere", f"{tmp_path}/*"):
        with pytest.raises(LineageError, match="no run folder"):
            lineage.open(where)
    bad = broken(one, tmp_path / "bad", "empty")
    with pytest.raises(LineageError, match="nothing can be read"):
        lineage.open(bad, skip=True)


def test_urls_are_built_as_paths_are(
    sweep: Path, one: Path, opened: duckdb.DuckDBPyConnection
) -> None:
    assert run_patterns("s3://bucket/runs/first/") == (
        "s3://bucket/runs/first/run.json",
        "s3://bucket/runs/first/*/run.json",
        "s3://bucket/runs/first/*/*/run.json",
    )
    assert run_patterns("s3://bucket/runs/*")[0] == "s3://bucket/runs/*/run.json"
    # A folder that is there is no glob, whatever its name.
    assert run_patterns(str(one))[0] == f"{one}/run.json"
    by_url, first = lineage.open(f"file://{sweep}"), "folder LIKE '%/000'"
    assert count(by_url, "runs") == 2
    assert count(by_url, "steps", first) == len(steps(one))
    assert count(by_url, "probes", first) == count(opened, "probes")


def test_a_run_behind_a_url_is_read(one: Path, opened: duckdb.DuckDBPyConnection) -> None:
    fsspec = pytest.importorskip("fsspec")
    bucket, files = "/lineage-bucket/first", fsspec.filesystem("memory")
    files.put(str(one), bucket, recursive=True)
    connection = duckdb.connect()
    connection.register_filesystem(files)
    try:
        log = lineage.open(f"memory:/{bucket}", connection=connection)
        # A run has no files of the datasets of a training.
        assert (count(log, "training"), count(log, "curve")) == (0, 0)
        for view in ("runs", "steps", "episodes", "probes", "memories", "lineages"):
            assert count(log, view) == count(opened, view)
        files.rm(f"{bucket}/knowledge", recursive=True)
        again = duckdb.connect()
        again.register_filesystem(files)
        with pytest.raises(LineageError, match=r"yet \(nothing in knowledge"):
            lineage.open(f"memory:/{bucket}", connection=again)
    finally:
        files.rm(bucket, recursive=True)


def test_failed_episodes_are_counted(one: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(one, copy)
    file = sorted((copy / "steps").glob("**/*.parquet"))[0]
    table = pq.read_table(file, partitioning=None)
    failed = [
        "the engine gave up" if kind in ("act", "probe") else ""
        for kind in table.column("kind").to_pylist()
    ]
    at = table.schema.get_field_index("error")
    pq.write_table(table.set_column(at, "error", pa.array(failed)), file)
    log = lineage.open(copy)
    lost = sum(map(bool, failed))
    assert count(log, "episodes", "error <> ''") == lost > 0
    assert log.execute("SELECT sum(errors)::BIGINT FROM generations").fetchone() == (lost,)
    assert totals(summarise(copy, ["scores", "totals"]))["errors"] == lost


BROUGHT = {
    "import lineage": "duckdb pyarrow ray",
    "import lineage.cli": "duckdb numpy pyarrow ray scipy",
    "import lineage.runs.run, lineage.training.run": "matplotlib ray torch transformers vllm",
}
"""What is imported, one after the other, and what that must not bring."""


def test_importing_brings_only_what_is_used() -> None:
    import subprocess

    tell = "print(sorted({{*{!r}.split()}} & {{*sys.modules}}))"
    lines = ["import sys", *(f"{code}\n{tell.format(those)}" for code, those in BROUGHT.items())]
    command = [sys.executable, "-c", "\n".join(lines)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n" * 3
