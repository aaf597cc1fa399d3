"""Metrics, views and report over a step log written by hand."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import FULL, OF_EACH_THEME
from rich.console import Console

from lineage.core.errors import LineageError
from lineage.core.intervals import DIFFERENCE, SHARE, interval
from lineage.core.knowledge import EMPTY, Memory, Origin
from lineage.log.schema import KNOWLEDGE_SCHEMA, Step, step_id, table
from lineage.log.views import gathering
from lineage.log.views.connect import SCORE_SQL, connect, rows
from lineage.metrics import METRICS, summarise, summarise_all
from lineage.report import generations, run_page
from lineage.report import write as writing
from lineage.report.figures import reward_by_generation
from lineage.report.lookup import cells, rows_of, totals
from lineage.report.page import drawn
from lineage.report.run_page import report_html
from lineage.report.run_text import show_summary
from lineage.report.tables import more
from lineage.report.tables import scores as sheet_of_scores
from lineage.report.write import write_report

HOSTILE = "<script>alert(1)</script>\x1b[31m\x07\ud800\u202e</details>"
RECORD = {
    "run": "hand-1",
    "experiment": "hand",
    "config_hash": "1",
    "arms": ["inherit", "cold", "oracle"],
    "families": ["same", "similar", "dissimilar"],
    "baseline": "cold",
    "ceiling": "oracle",
    "schedule": ["m@r0", "m@r1"],
    "memory_budget": 320,
    "confidence": 0.5,
}
# By arm and family, the scores of each probe: [pair][generation]; None is a failed probe.
Scores = list[list[list[float | None]]]
SCORES: dict[str, dict[str, Scores]] = {
    "cold": {
        "same": [[[0, 0], [0, 1]], [[0, 0], [1, 0]]],
        "similar": [[[0, 1], [0, 0]], [[0, 0], [0, 0]]],
        "dissimilar": [[[1], [1]], [[1], [0]]],
    },
    "inherit": {
        "same": [[[1, None], [1, 1]], [[0, 1], [1, 0]]],
        "similar": [[[1, 0], [1, 1]], [[0, 0], [1, 0]]],
        "dissimilar": [[[0], [1]], [[1], [0]]],
    },
    "oracle": {
        "same": [[[1, 1], [1, 1]], [[1, 1], [1, 1]]],
        "similar": [[[1, 1], [1, 1]], [[1, 1], [1, 1]]],
        "dissimilar": [[[1], [1]], [[1], [0]]],
    },
}

APART = ("x[1]", "a*b?", "it's", "a=b")
"""Names of folders, each of which only one thing can be wrong with."""
OF_ALL_FILES = ("scores", "memory_size")
"""Metrics that read both steps and snapshots."""
PICTURE = "<figure></figure>"


def generation(arm: str, pair: int, number: int) -> list[Step]:
    lineage = f"{pair:03d}-{arm}"
    shared: dict[str, Any] = {
        "run": "hand-1", "arm": arm, "pair": pair, "lineage": lineage, "generation": number,
        "version": ["m@r0", "m@r1"][number],
    }  # fmt: skip

    def step(phase: str, episode: str, kind: str, **more: Any) -> Step:
        id_ = step_id("hand-1", lineage, number, episode, 0)
        return Step(**shared, phase=phase, episode=episode, step=0, step_id=id_, kind=kind, **more)

    found = [step("work", "w0", "act", score=float(number), prompt=HOSTILE, completion=HOSTILE)]
    count = 0
    for family, pairs in SCORES[arm].items():
        for i, score in enumerate(pairs[pair][number]):
            found.append(
                step(
                    "probe", f"p{count}", "probe", family=family, task=f"{family}{i}",
                    met=min(i, number) if family == "same" else None, prompt_tokens=10,
                    score=score, error="" if score is not None else f"boom {HOSTILE}",
                )
            )  # fmt: skip
            count += 1
    if arm == "inherit":
        id_ = knowledge().id
        found += [
            step("handoff", "h0", "edit", detail="add: applied", entry="m1"),
            step("probe", "o0", "open", entry="d1"),
            step("probe", "o1", "open"),
            step(
                "reward", "reward", "handoff", knowledge_after=id_, memory_tokens=20 + pair,
                reward=0.5, reward_same=0.75, reward_memory=-0.25,
            ),
        ]  # fmt: skip
    return found


def knowledge() -> Any:
    origin = Origin(0, "m@r0", "w0")
    return EMPTY.evolve(memories=(Memory("m1", HOSTILE, origin, origin),), next_id=2)


def write(folder: Path, name: str, lineage: str, arm: str, number: int, data: pa.Table) -> None:
    place = folder / name / f"arm={arm}" / f"generation={number}" / f"{lineage}.parquet"
    place.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(data, place)


def build(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(RECORD))
    (folder / "config.yaml").write_text("a: <b>\n")
    snapshot = knowledge()
    for arm in SCORES:
        for pair in (0, 1):
            lineage = f"{pair:03d}-{arm}"
            row = {
                "knowledge": snapshot.id, "parent": "", "lineage": lineage, "pair": pair,
                "memories": 1, "docs": 0, "content": snapshot.canonical(),
            }  # fmt: skip
            for number in (0, 1):
                write(folder, "steps", lineage, arm, number, table(generation(arm, pair, number)))
                data = pa.Table.from_pylist([row], schema=KNOWLEDGE_SCHEMA)
                write(folder, "knowledge", lineage, arm, number, data)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("hand") / "run")


def undrawn(figures: Sequence[object | None], prefix: str) -> str:
    return PICTURE * sum(figure is not None for figure in figures)


@pytest.fixture(scope="module")
def written(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A copy of the run with its report, and its metrics; the files of its log were gone before
    any metric was computed. To save its pictures would take longer than all else.
    """
    tmp = tmp_path_factory.mktemp("written")
    run = Path(shutil.copytree(folder, tmp / folder.name))

    def gone(log: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
        for name in ("steps", "knowledge", "worlds"):
            shutil.rmtree(run / name, ignore_errors=True)
        return summarise_all(log)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "summarise_all", gone)
        patch.setattr(run_page, "pictured", undrawn)
        patch.setattr(writing, "score_by_generation", lambda summary: None)
        return run, write_report(run, tmp)


@pytest.fixture(scope="module")
def summary(written: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    return written[1]


@pytest.fixture(scope="module")
def log(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with gathering.gathered(folder) as log:
        yield log


def only(summary: dict[str, Any], metric: str, **keys: Any) -> dict[str, Any]:
    (one,) = rows_of(summary, metric, **keys)
    return one


def test_scores_by_hand(summary: dict[str, Any]) -> None:
    # inherit, same: pair 0 has 3 of 3 (one failed), pair 1 has 2 of 4.
    scores = cells(summary, "scores", "arm", "family")
    assert scores["inherit", "same"]["mean"] == 0.75
    assert scores["cold", "same"]["mean"] == 0.25
    assert scores["inherit", "similar"]["mean"] == 0.5
    assert scores["inherit", "same"]["n"] == 2


def test_gain_and_share_by_hand(summary: dict[str, Any]) -> None:
    gain = cells(summary, "inheritance_gain", "family", arm="inherit")
    # Pair 0: the probe that failed is missing in cold too, so 3 of 3 less 1 of 3; pair 1: 1/4.
    by_hand = (2 / 3 + 1 / 4) / 2
    assert gain["same"]["mean"] == pytest.approx(by_hand)
    assert gain["same"]["share_of_possible"] == pytest.approx(by_hand / 0.75)
    expected = interval({0: 2 / 3, 1: 1 / 4}, 0.5, DIFFERENCE)
    assert (gain["same"]["low"], gain["same"]["high"]) == pytest.approx(
        (expected.low, expected.high)
    )
    assert gain["same"]["excludes_zero"] and gain["same"]["share_reason"] is None
    # Two pairs earn no star; each of the arms but cold has a gain in each family.
    assert not gain["same"]["starred"]
    stars = summary["stars"]["inheritance_gain"]
    assert stars == {"cells": 0, "by_chance": 0.0, "correction": "none"}
    # Oracle and cold are equal on dissimilar tasks: there is nothing to have a share of.
    assert gain["dissimilar"]["share_of_possible"] is None
    assert "holds 0" in gain["dissimilar"]["share_reason"]
    assert not rows_of(summary, "inheritance_gain", arm="cold")


def test_harm_forward_retention_by_hand(summary: dict[str, Any]) -> None:
    harm = only(summary, "harm", arm="inherit", family="dissimilar")
    assert (harm["failed"], harm["solved_by_baseline"], harm["mean"]) == (1, 3, 1 / 3)
    assert only(summary, "harm", arm="inherit", family="similar")["mean"] == 1.0
    assert only(summary, "forward_transfer", arm="inherit")["mean"] == 0.375
    met = only(summary, "retention", arm="inherit", generation=1, met=0)
    assert (met["mean"], met["high"], met["n"]) == (1.0, 1.0, 2)
    assert met["low"] == interval({0: 1.0, 1: 1.0}, 0.5, SHARE).low < 1
    assert only(summary, "retention", arm="inherit", generation=1, met=1)["mean"] == 0.5


def test_counts_by_hand(summary: dict[str, Any]) -> None:
    assert only(summary, "edits", generation=0)["edits"] == 2
    opens = only(summary, "opens", generation=1)
    assert (opens["arm"], opens["asked"], opens["opened"]) == ("inherit", 4, 2)
    assert only(summary, "work_scores", arm="cold", generation=1)["mean"] == 1.0
    memory = rows_of(summary, "memory_size", generation=0)
    assert {row["measure"]: row["mean"] for row in memory} == {
        "tokens": 20.5, "memories": 1.0, "docs": 0.0
    }  # fmt: skip
    reward = cells(summary, "reward", "part", generation=0)
    parts = [reward[part]["mean"] for part in ("reward", "same", "similar")]
    assert parts == [0.5, 0.75, None]
    errors, unscored = summary["metrics"]["errors"], summary["metrics"]["unscored"]
    assert errors == [{"arm": "inherit", "kind": "probe", "errors": 1}]
    assert len(unscored) == 9
    lost = only(summary, "unscored", arm="inherit", family="same")
    assert (lost["overlong"], lost["missing"]) == (0, 1)
    assert sum(row["overlong"] + row["missing"] for row in unscored) == 1
    assert totals(summary)["prompt_tokens"] == 3 * 2 * 2 * 5 * 10


def test_the_query_to_paste_equals_the_metrics(
    folder: Path, written: tuple[Path, dict[str, Any]]
) -> None:
    run, summary = written
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics == summary
    found = duckdb.sql(SCORE_SQL.format(run=folder)).fetchall()
    assert len(found) == 9
    scores = cells(metrics, "scores", "arm", "family")
    for arm, family, score, _ in found:
        assert scores[arm, family]["mean"] == score
    assert {(arm, family): n for arm, family, _, n in found}["inherit", "same"] == 7


def test_means_are_those_of_plain_sql_where_nothing_failed(summary: dict[str, Any]) -> None:
    for arm, families in SCORES.items():
        for family, pairs in families.items():
            flat = [s for pair in pairs for scores in pair for s in scores if s is not None]
            if len(flat) == sum(len(s) for pair in pairs for s in pair):
                score = only(summary, "scores", arm=arm, family=family)
                assert score["mean"] == sum(flat) / len(flat)


def test_a_snapshot_is_there_once(folder: Path) -> None:
    (count,) = rows(connect(folder), "SELECT count(*) AS n FROM snapshots")
    assert count["n"] == 1


@pytest.mark.parametrize("name", ["steps", "knowledge"])
@pytest.mark.parametrize("size", [0, 100])
def test_a_torn_file_is_named(folder: Path, tmp_path: Path, name: str, size: int) -> None:
    run = Path(shutil.copytree(folder, tmp_path / "run"))
    torn = sorted(run.glob(f"{name}/**/*.parquet"))[1]
    torn.write_bytes(torn.read_bytes()[:size])
    with pytest.raises(LineageError) as caught:
        summarise(run)
    assert str(torn) in str(caught.value)


def test_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="no run folder"):
        summarise(tmp_path / "nothing")
    (tmp_path / "run.json").write_text(json.dumps(RECORD))
    with pytest.raises(LineageError, match="no finished generation"):
        summarise(tmp_path)
    (tmp_path / "run.json").write_text('{"run": ')
    with pytest.raises(LineageError, match=r"run\.json is no whole JSON"):
        summarise(tmp_path)


@pytest.mark.parametrize("name", ["a=b it's x[1] a*b?", *(APART if FULL else ())])
def test_metrics_are_the_same_each_time_in_a_folder_of_any_name(
    folder: Path, tmp_path: Path, summary: dict[str, Any], name: str
) -> None:
    run = Path(shutil.copytree(folder, tmp_path / name))
    names = METRICS.keys() if FULL else {*OF_EACH_THEME, *OF_ALL_FILES}
    again = summarise(run, names)
    assert all(again["metrics"][name] for name in OF_ALL_FILES)
    for part in ("metrics", "stars"):
        assert again[part] == {n: rows for n, rows in summary[part].items() if n in names}
        del again[part]
    assert again == {name: summary[name] for name in again}


def test_a_folder_that_hides_a_column_is_refused(folder: Path, tmp_path: Path) -> None:
    # DuckDB would read pair 7 in every row.
    with pytest.raises(LineageError, match="pair=7"):
        summarise(Path(shutil.copytree(folder, tmp_path / "pair=7")))


def test_the_report_escapes_and_says_how_much_it_shows(
    written: tuple[Path, dict[str, Any]],
) -> None:
    run, summary = written
    page = (run / "report.html").read_text(encoding="utf-8")
    first = drawn(sheet_of_scores(summary)).partition("</table>")[0]
    assert page.partition("</table>")[0].endswith(first)
    assert "<script" not in page and "alert(1)" in page
    assert not set("\x1b\x07\u202e") & set(page)
    assert page.count("</details>") == page.count("<details")
    assert "12 of 12 generations of the first 2 of 2 pairs" in page
    assert "Episodes (3 of 6)" in page and "add: applied" in page
    assert "000-cold, generation 1" in page and "a: &lt;b&gt;" in page


def test_a_long_report_is_cut(
    log: duckdb.DuckDBPyConnection,
    written: tuple[Path, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, summary = written
    page = (run / "report.html").read_text(encoding="utf-8")
    monkeypatch.setattr(generations, "ROOM", 1000)
    monkeypatch.setattr(generations, "LONGEST", 10)
    short = generations.tell(log, summary, 1)
    told = [len(re.findall("<h3>000-.*?, generation ", text)) for text in (short, page)]
    assert 0 < told[0] < told[1] and "of 6 generations of the first 1 of 2 pairs" in short
    assert "6 of 6" not in short and "more characters" in short


def test_a_report_reads_each_file_of_a_run_once(
    folder: Path,
    log: duckdb.DuckDBPyConnection,
    written: tuple[Path, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of a large run, to open its files for each question was nearly all of the work.
    run, summary = written
    assert not (run / "steps").exists() and (folder / "steps").exists()
    page = (run / "report.html").read_text(encoding="utf-8")
    monkeypatch.setattr(run_page, "pictured", undrawn)
    assert page.count(PICTURE) == 5
    assert page == report_html(folder, summary, log)


def test_no_room_for_the_log_of_a_report_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = nullcontext(str(tmp_path / "missing"))
    monkeypatch.setattr(gathering.tempfile, "TemporaryDirectory", lambda **_: missing)
    with pytest.raises(LineageError, match=r"the log cannot be gathered in .*: IO Error"):
        summarise(folder)


def test_what_a_killed_reader_gathered_is_removed_by_the_next(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering.tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen(["true"])
    ended.wait()
    prefix = gathering.PREFIX
    dead, living, other = f"{prefix}{ended.pid}-a", f"{prefix}{os.getpid()}-b", f"{prefix}none"
    for name in (dead, living, other):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.duckdb").touch()
    with gathering.gathered(folder):
        found = {one.name for one in tmp_path.glob(f"{prefix}*")}
        assert found > {living, other} and dead not in found and len(found) == 3
    assert {one.name for one in tmp_path.glob(f"{prefix}*")} == {living, other}


def test_a_handoff_without_a_reward_is_shown(folder: Path, summary: dict[str, Any]) -> None:
    with gathering.gathered(folder) as log:
        log.execute("UPDATE gathered.steps SET reward = NULL")
        # The rest of the metrics does not read rewards.
        (found,) = summarise_all(log, METRICS if FULL else ("scores", "reward")).values()
        found = {**summary, "metrics": {**summary["metrics"], **found["metrics"]}}
        assert found["metrics"]["reward"] == []
        assert reward_by_generation(found) is None
        assert all(map(drawn, more(found)))
        assert "1 memories, 20 tokens, 0 docs." in generations.tell(log, found, 1)


def test_the_table_fits_80_columns_without_a_terminal(summary: dict[str, Any]) -> None:
    out = io.StringIO()
    show_summary({**summary, "run": "[red]x[/red]", "confidence": 0.9}, Console(file=out, width=80))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "[red]x[/red]" in out.getvalue() and "[90% interval]" in out.getvalue()
    assert "1 errors" in out.getvalue() and "\x1b" not in out.getvalue()
