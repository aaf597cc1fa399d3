"""`lineage compact`: nothing is lost, whatever it meets and wherever it is cut off."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from helpers import FULL, OF_EACH_THEME, run, steps, surrogate, timeless
from test_training import QUIET, curve, toy

import lineage
from lineage import cli
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.log import compaction
from lineage.log.compaction import COMPACTING, compact, settle, size
from lineage.log.place import COMPACTED
from lineage.log.schema import SCHEMA_VERSION, STEP_SCHEMA, VERSION_KEY
from lineage.metrics import summarise
from lineage.runs.folder import locked
from lineage.training.run import execute

DATASETS = ("steps", "knowledge", "worlds")
PAIRS = 2
SMALL = ("experiment=tiny", "arms.names=[inherit,cold]", "arms.ceiling=inherit")

pytestmark = pytest.mark.usefixtures("undrawn")


def config(tmp: Path, pairs: int = PAIRS) -> Config:
    return surrogate(tmp, *SMALL, f"experiment.lineages={pairs}")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two pairs."""
    tmp = tmp_path_factory.mktemp("one")
    run(config(tmp), tmp / "runs" / "one")
    return tmp / "runs" / "one"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of three pairs: where one file is gone, two are still there to be put together."""
    tmp = tmp_path_factory.mktemp("three")
    run(config(tmp, 3), tmp / "runs" / "three")
    return tmp / "runs" / "three"


@pytest.fixture(scope="module")
def kept(one: Path) -> dict[str, Counter[str]]:
    """The rows of that run."""
    return rows(one)


@pytest.fixture
def copy(one: Path, tmp_path: Path) -> Path:
    shutil.copytree(one, tmp_path / "runs" / "copy")
    return tmp_path / "runs" / "copy"


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a run."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def rows(folder: Path) -> dict[str, Counter[str]]:
    """Return the rows of each dataset, as often as they are there."""
    return rows_of(lineage.open(folder))


def rows_of(log: duckdb.DuckDBPyConnection) -> dict[str, Counter[str]]:
    return {
        name: Counter(str(row[1:]) for row in log.execute(f"SELECT * FROM {name}").fetchall())
        for name in DATASETS
    }


def test_rows_and_metrics_are_the_same_to_the_last_digit(
    one: Path, copy: Path, kept: dict[str, Counter[str]]
) -> None:
    log = lineage.open(copy)  # opened before: its globs find the new files
    compact(copy)
    assert rows(copy) == kept
    assert summarise(copy, OF_EACH_THEME) == summarise(one, OF_EACH_THEME)
    (seen,) = log.execute("SELECT count(*) FROM steps").fetchone() or (0,)
    asked = steps(one)
    assert seen == len(asked)
    arms, generations = (len({s[name] for s in asked}) for name in ("arm", "generation"))
    assert size(copy).files == arms * generations * len(DATASETS) < size(one).files
    assert {file.name for file in copy.glob("steps/**/*.parquet")} == {COMPACTED}
    assert not (copy / COMPACTING).exists()
    before = contents(copy)
    compact(copy)
    assert contents(copy) == before


def test_a_row_group_holds_whole_lineages_in_order(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "ROW_GROUP", 1)
    compact(copy)
    at = STEP_SCHEMA.get_field_index("lineage")
    for file in copy.glob("steps/**/*.parquet"):
        metadata = pq.read_metadata(file)
        groups = [metadata.row_group(i).column(at) for i in range(metadata.num_row_groups)]
        found = [(group.statistics.min, group.statistics.max) for group in groups]
        assert found == [(name, name) for name in sorted({low for low, _ in found})]
        assert len(found) == PAIRS and {group.compression for group in groups} == {"ZSTD"}
        ids = pq.read_table(file, columns=["step_id"], partitioning=None)["step_id"].to_pylist()
        assert ids == sorted(ids)


def test_a_run_that_was_stopped_goes_on_after_it(one: Path, copy: Path, tmp_path: Path) -> None:
    # Of one lineage nothing after generation 0 is finished, of another a record is missing.
    for name in ("001-inherit-g01", "001-inherit-g02", "001-inherit-g03"):
        (copy / "done" / f"{name}.json").unlink(missing_ok=True)
    for file in (path for name in DATASETS for path in copy.glob(f"{name}/**/001-inherit.parquet")):
        if "generation=0" not in str(file):
            file.unlink()
    (copy / "done" / "000-cold-g00.json").unlink()
    compact(copy)
    assert [file.name for file in copy.glob("steps/arm=cold/generation=0/*")] != [COMPACTED]
    run(config(tmp_path), copy)
    whole = timeless(one)
    assert timeless(copy) == whole
    compact(copy)
    assert {file.name for file in copy.glob("*/arm=*/*/*.parquet")} == {COMPACTED}
    assert timeless(copy) == whole
    # What is compacted and has lost its record is not written a second time.
    (copy / "done" / "000-cold-g00.json").unlink()
    run(config(tmp_path), copy)
    assert timeless(copy) == whole


def test_a_fork_reads_what_is_compacted(copy: Path, tmp_path: Path) -> None:
    log = lineage.open(copy)
    (at,) = log.execute(
        "SELECT knowledge FROM generations WHERE lineage = '001-inherit' AND generation = 0"
    ).fetchone() or ("",)
    forks = []
    for name in ("before", "after"):
        start = (f"start.run={copy}", f"start.knowledge={at}", "start.pair=1", "start.generation=0")
        run(surrogate(tmp_path, *SMALL, "experiment.lineages=1", *start), tmp_path / "runs" / name)
        forks.append(timeless(tmp_path / "runs" / name))
        compact(copy)
    assert forks[0] == forks[1] and forks[0]


# Each dataset has two renames: all of one, the first of the next and the very last tell of all.
@pytest.mark.parametrize("at", range(6) if FULL else (0, 1, 2, 5))
def test_cut_off_between_any_two_renames_it_is_the_old_log_or_the_new(
    one: Path,
    copy: Path,
    kept: dict[str, Counter[str]],
    monkeypatch: pytest.MonkeyPatch,
    at: int,
) -> None:
    calls, rename = iter(range(100)), Path.rename

    def cut(self: Path, target: Path) -> Path:
        if next(calls) == at:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", cut)
        compact(copy)
    if at == 1:  # the old steps are away, the new ones not there yet
        with pytest.raises(LineageError, match="cut off: lineage compact"):
            lineage.open(copy)
    settle(copy)
    log = lineage.open(copy)
    assert rows_of(log) == kept
    compact(copy)
    assert rows_of(log) == kept and size(copy).files < size(one).files


def spoilt(copy: Path, how: str) -> str:
    """Spoil a run in one way; return what must be named."""
    file = sorted(copy.glob("steps/**/*.parquet"))[4]
    done = copy / "done" / f"{file.stem}-g{file.parent.name.removeprefix('generation='):>02}.json"
    table = pq.read_table(file, partitioning=None)
    if how == "torn":
        file.write_bytes(file.read_bytes()[:-20])
    elif how == "newer":
        newer = {VERSION_KEY: str(SCHEMA_VERSION + 1)}
        pq.write_table(table.replace_schema_metadata(newer), file)
    elif how == "changed":
        pq.write_table(table.slice(1), file)
    elif how == "gone":
        file.unlink()
        return str(file.parent)
    elif how == "record":
        done.write_text('{"lineage":')
        return str(done)
    return str(file)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("torn", "no whole Parquet file"),
        ("newer", "upgrade lineage"),
        ("changed", "is not what"),
        ("gone", "which tells of"),
        ("record", "no whole JSON file"),
    ],
)
def test_what_is_wrong_is_named_and_the_run_stays_as_it_was(
    three: Path, tmp_path: Path, how: str, said: str
) -> None:
    copy = shutil.copytree(three, tmp_path / "copy")
    named = spoilt(copy, how)
    before = contents(copy)
    with pytest.raises(LineageError, match=said) as caught:
        compact(copy)
    assert named in str(caught.value) and "\n" not in str(caught.value)
    assert contents(copy) == before and not (copy / COMPACTING).exists()


def test_a_training_goes_on_after_it(tmp_path: Path) -> None:
    overrides = ("train.curricula=[signal]", "train.held_out=0", "train.worlds=2", "method.steps=2")
    overrides += ("method.groups=2", "method.warm_groups=2", "method.group=2", "train.episodes=2")
    settings, folder = toy(tmp_path, *overrides), tmp_path / "runs" / "toy"
    execute(settings, folder, QUIET)
    wanted, kept = {name: curve(folder, name) for name in ("curve", "training")}, timeless(folder)
    # As if killed in the last step, with all its groups sampled.
    for path in (*folder.glob("curve/step=*1.parquet"), *folder.glob("training/step=*1.parquet")):
        path.unlink()
    many = size(folder).files
    compact(folder)
    assert size(folder).files < many
    execute(settings, folder, QUIET)
    assert timeless(folder) == kept
    assert curve(folder, "training") == wanted["training"]
    assert [row["loss"] for row in curve(folder)] == [row["loss"] for row in wanted["curve"]]


def test_the_command_says_what_it_did_and_keeps_off_a_run_that_is_written(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(["compact", *arguments])
        captured = capsys.readouterr()
        assert bool(ended.value.code) == bool(captured.err)
        return " ".join((captured.out + captured.err).split())

    with locked(copy):
        assert "is being written by another process" in said(str(copy))
    assert "files of" in said(str(copy.parent)) and size(copy).files
    assert "nothing to put together" in said(str(copy))
    assert "no run" in said(str(copy / "nowhere"))
    assert json.loads((copy / "run.json").read_text())["arms"]
