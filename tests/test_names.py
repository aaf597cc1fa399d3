"""Names that become paths: one rule, at the start and on reading what somebody else saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from helpers import run, surrogate
from test_bad_input import fails
from test_terminal import document

from lineage import compose
from lineage.commands.fork import Fork, configured
from lineage.core.errors import LineageError
from lineage.core.files import atomic_write
from lineage.core.names import LENGTH, check_name, check_names
from lineage.log.place import Place, done_file
from lineage.log.reader import read_records

WRONG = (
    *("", ".", "..", ".x", "a/b", "a\\b", "a=b", "a%2Fb", "a b", "ä", "-x", "a\n", "a\x00"),
    *("a\x1b", "../../../../../x", "/x", "\ud800", "x" * (LENGTH + 1)),
)
RIGHT = (
    *("smollm2-135m@r1", "20261128-164222-upgrade", "r0-r1", "cold-r1", "lambda-0.1", "000", "7"),
    *("inherit", "x" * LENGTH),
)
TINY = ("experiment=tiny", "experiment.lineages=1")


@pytest.mark.parametrize("name", WRONG)
def test_a_name_that_is_no_part_of_a_path_is_one_line(name: str) -> None:
    with pytest.raises(LineageError, match=r"^arms\.names: .* is no name, it becomes") as refused:
        check_name("arms.names", name)
    line = str(refused.value)
    assert line.isprintable() and len(line) < 250
    assert repr(name)[:50] in line


@pytest.mark.parametrize("name", RIGHT)
def test_names_of_runs_that_are_there_stay_valid(name: str) -> None:
    check_name("run.name", name)


def test_two_names_that_are_one_folder_are_refused() -> None:
    check_names("arms.names", ["a", "b"])
    with pytest.raises(LineageError, match="'b' twice: leave one out"):
        check_names("arms.names", ["a", "b", "b"])
    with pytest.raises(LineageError, match="'B' twice, as 'b': choose other names"):
        check_names("arms.names", ["a", "b", "B"])


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("arms.names=[inherit,cold,oracle,'a=b']", "arms.names: 'a=b'"),
        ("arms.names=[inherit,cold,oracle,'x/y']", "arms.names: 'x/y'"),
        ("arms.names=[inherit,cold,cold,oracle]", "arms.names names 'cold' twice"),
        ("+schedule.trained={_x:smollm2-135m@r0}", "schedule.trained: '_x'"),
        ("train.name='a/b'", "train.name: 'a/b'"),
        ("train.curricula=['a/b']", "train.curricula: 'a/b'"),
        ("run.name='..'", "run.name: '..'"),
        (f"run.name={'x' * 300}", "run.name: 'xxx"),
        ("experiment.name='a/b'", "experiment.name: 'a/b'"),
    ],
)
def test_a_wrong_name_is_refused_before_the_start(
    override: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not override.startswith("run.name"):
        assert key in fails(capsys, "run", "engine=surrogate", f"run.root={tmp_path}/r", override)
    if override.startswith(("run", "train")):
        assert key in fails(capsys, "train", "engine=surrogate", f"run.root={tmp_path}/r", override)
    assert not list(tmp_path.iterdir())


def test_a_root_that_is_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r").write_text("")
    told = fails(capsys, "run", "engine=surrogate", *TINY, f"run.root={tmp_path}/r")
    assert told.startswith(f"lineage: {tmp_path}/r is in the way of") and "move it away" in told


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that tests copy."""
    tmp = tmp_path_factory.mktemp("one")
    run(surrogate(tmp, *TINY), tmp / "runs" / "one")
    return tmp / "runs" / "one"


@pytest.fixture
def given(one: Path, tmp_path: Path) -> Path:
    """A run folder as somebody else may hand it over, deep enough to climb out of."""
    return Path(shutil.copytree(one, tmp_path / "deep" / "er" / "given"))


def edited(folder: Path, **nodes: object) -> None:
    file = folder / "config.yaml"
    tree = yaml.safe_load(file.read_text())
    for node, values in nodes.items():
        tree[node] |= values
    file.write_text(yaml.safe_dump(tree))


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_an_arm_of_somebody_else_writes_nothing_outside(
    given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arm = "../../../../../x"
    edited(given, arms={"names": [arm, "cold", "oracle"], "defined": {arm: {"receives": "cold"}}})
    before = everything(tmp_path)
    assert "arms.names" in fails(capsys, "resume", str(given))
    with pytest.raises(LineageError, match=r"arms\.names: .* is no name") as refused:
        compose.load_file(given / "config.yaml")
    assert str(given / "config.yaml") in str(refused.value)
    with pytest.raises(LineageError, match=r"arms\.names: .* is no name"):
        configured(given, Fork("k-1", 0, 0), [])
    assert everything(tmp_path) == before


def test_a_record_of_somebody_else_writes_nothing_outside(
    given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arm = "../../../../x"
    for pair in (0, 1):
        place = Place(arm, pair, f"{pair:03d}-x", 0)
        record = {"arm": arm, "pair": pair, "lineage": place.lineage, "generation": 0}
        data = json.dumps(record | {"steps": 0, "steps_sha256": "", "knowledge": ""})
        atomic_write(done_file(given, place), data.encode())
    before = everything(tmp_path)
    for command in ("compact", "resume"):
        assert "000-x-g00.json" in fails(capsys, command, str(given))
    assert everything(tmp_path) == before
    with pytest.raises(LineageError, match="is no name, it becomes"):
        list(read_records(given))


def test_a_run_that_is_named_in_digits_hides_no_other(one: Path, tmp_path: Path) -> None:
    for name in ("7", "2026", "other"):
        shutil.copytree(one, tmp_path / name)
    found = {row["folder"]: row["sweep"] for row in document("ls", tmp_path)["runs"]}
    assert found == {"7": "", "2026": "", "other": ""}
    # Nor do those of a folder of runs.
    (tmp_path / "old").mkdir()
    (tmp_path / "other").rename(tmp_path / "old" / "000")
    found = {row["folder"]: row["sweep"] for row in document("ls", tmp_path)["runs"]}
    assert found == {"7": "", "2026": "", "old/000": ""}
    found = {row["folder"]: row["sweep"] for row in document("ls", tmp_path / "old")["runs"]}
    assert found == {"000": ""}


def test_where_a_saved_configuration_says_it_was_named_counts_for_nothing(given: Path) -> None:
    edited(given, run={"name": "nested/as/it/was"})
    assert compose.load_file(given / "config.yaml").run.name is None
