"""Going on with what was stopped: with the same prompts, one process at a time, from anywhere."""

from __future__ import annotations

import fcntl
import importlib.util
import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from helpers import answering, flattened, run, steps, surrogate, timeless
from rich.console import Console

from lineage import compose, prompts
from lineage.cli import main
from lineage.core import files as files_module
from lineage.core import prompts as prompt_module
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.models.protocol import Completion, Request
from lineage.runs import run as run_module
from lineage.runs.folder import locked
from lineage.training import run as training_module
from lineage.training.run import execute

QUIET = Console(quiet=True)
EDITED = "Take great care."
SMALL = (
    *("experiment=tiny", "experiment.lineages=1", "log.journal_steps=1"),
    *("arms.names=[inherit]", "arms.ceiling=inherit", "arms.baseline=inherit"),
    *("train.curricula=[signal]", "train.worlds=1", "train.held_out=0"),
)
"""Of a run, or a training: one choice of options, which takes longer to compose than to run."""

pytestmark = pytest.mark.usefixtures("undrawn")


def small(tmp: Path, *overrides: str) -> Config:
    return surrogate(tmp, *SMALL, *overrides)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that tests copy."""
    tmp = tmp_path_factory.mktemp("one")
    run(small(tmp), tmp / "runs" / "one")
    return tmp / "runs" / "one"


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """What runs as `small` does, and trains, from one file."""
    return flattened(tmp_path_factory.mktemp("flat"), "engine=surrogate", *SMALL)


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the prompts that lineage reads; what is edited there holds from `forget` on."""
    copy = tmp_path / "prompts"
    shutil.copytree(Path(str(prompts.__file__)).parent, copy)
    spec = importlib.util.spec_from_file_location(
        "lineage.prompts", copy / "__init__.py", submodule_search_locations=[str(copy)]
    )
    assert spec is not None
    monkeypatch.setitem(sys.modules, "lineage.prompts", importlib.util.module_from_spec(spec))
    forget()
    yield copy
    monkeypatch.undo()
    forget()


def forget() -> None:
    """Let prompts be read anew, as a new process reads them."""
    prompt_module.ours.cache_clear()


def edit(folder: Path) -> None:
    file = folder / "act.md"
    file.write_text(f"{EDITED}\n{file.read_text()}")
    forget()


@contextmanager
def stopping(after: int, module: ModuleType = run_module) -> Iterator[None]:
    """Let an engine be gone for good after so many answers."""
    asked = itertools.count(1)

    def stop(request: Request, answer: Completion) -> Completion:
        if next(asked) > after:
            raise LineageError("planted")
        return answer

    with answering(stop, module):
        yield


def cli(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return the exit code of `lineage` and what it said on stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0), capsys.readouterr().err


def one_line(said: tuple[int, str]) -> str:
    code, error = said
    assert code == 1 and error.startswith("lineage: ") and error.count("\n") == 1, error
    return error


def test_a_run_with_other_prompts_stops_or_asks_again(
    tmp_path: Path, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = small(tmp_path), tmp_path / "runs" / "cut"
    with stopping(3), pytest.raises(LineageError, match="planted"):
        run(config, folder)
    edit(edited)
    with stopping(0):
        error = one_line(cli(capsys, "resume", str(folder)))
        assert "prompts" in error and f"lineage resume {folder} --changed" in error
        assert "planted" in one_line(cli(capsys, "resume", str(folder), "--changed"))
    run(config, folder)
    run(config, tmp_path / "runs" / "whole")
    # Not one answer to the old prompt is among them.
    assert timeless(folder) == timeless(tmp_path / "runs" / "whole")
    assert all(EDITED in row["prompt"] for row in steps(folder) if row["kind"] == "act")
    record = json.loads((folder / "run.json").read_text())
    (change,) = record["changes"]
    assert change["prompts"] != record["code"]["prompts"]


def test_a_run_of_another_version_stops(one: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "copy"
    shutil.copytree(one, folder)
    record = json.loads((folder / "run.json").read_text())
    record["code"]["lineage"] = "0.0.1"
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(LineageError, match=r"lineage 0\.0\.1, now .*--changed$"):
        run(small(tmp_path), folder)
    # Of a version that did not note it nothing is known.
    del record["code"]
    (folder / "run.json").write_text(json.dumps(record))
    run(small(tmp_path), folder)


def test_a_training_with_other_prompts_stops_or_goes_on(
    tmp_path: Path, edited: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = small(tmp_path), tmp_path / "runs" / "cut"
    with stopping(3, training_module), pytest.raises(LineageError, match="planted"):
        execute(config, folder, QUIET)
    edit(edited)
    with stopping(0, training_module):
        assert "--changed" in one_line(cli(capsys, "resume", str(folder)))
        # The run that its histories are read from is held to the same.
        assert "planted" in one_line(cli(capsys, "resume", str(folder), "--changed"))
        assert "planted" in one_line(cli(capsys, "resume", str(folder)))


def test_a_lock_is_never_held_by_two(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with locked(folder):
        # Another process has opened the file, and gets the lock as soon as it is free.
        late = (folder / ".lock").open("w")
    with late:
        fcntl.flock(late, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(LineageError, match="another process"), locked(folder):
            pass
    with locked(folder):
        pass


def test_a_lock_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run" / ".lock").mkdir(parents=True)
    with pytest.raises(LineageError, match=r"\.lock: move it away$"), locked(tmp_path / "run"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(LineageError, match=r"move it away$"), locked(tmp_path / "file" / "run"):
        pass


@pytest.mark.parametrize("training", [False, True])
def test_a_run_is_finished_from_another_folder(
    flat: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    training: bool,
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    folder = here / "runs" / "x"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    for module in (run_module, training_module):
        monkeypatch.setattr(module.Meter, "generate", _refused)
    config = (*flat, "run.root=runs", "run.name=x", "run.cache=cache")
    assert "planted" in one_line(cli(capsys, "train" if training else "run", *config))
    assert (here / "runs" / "latest").readlink() == Path("x")
    monkeypatch.chdir(there)
    assert "planted" in one_line(cli(capsys, "resume", str(folder)))
    assert not (there / "runs").exists()


async def _refused(self: object, request: Request) -> Completion:
    raise LineageError("planted")


@pytest.mark.parametrize("command", ["run", "train"])
@pytest.mark.parametrize("name", ["latest", "./latest", "x/../latest"])
def test_a_run_is_not_named_as_the_link_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    places = (f"run.root={tmp_path / 'runs'}", f"run.cache={tmp_path}", f"run.name={name}")
    assert "choose another" in one_line(cli(capsys, command, "engine=surrogate", *places))
    assert not (tmp_path / "runs").exists()


def test_the_shelf_is_known_without_composing() -> None:
    assert compose.shipped_shelf() == compose.load([]).model.shelf


def test_a_link_to_itself_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "latest").symlink_to("latest")
    assert "leads to itself" in one_line(cli(capsys, "resume", str(tmp_path / "latest")))
    (tmp_path / "x").symlink_to("one")
    assert files_module.behind(tmp_path / "x") == tmp_path / "one"


@pytest.mark.parametrize("how", ["gone", "other", "torn"])
def test_steps_of_a_finished_generation_are_what_its_record_says(
    one: Path, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "runs" / "copy"
    shutil.copytree(one, folder)
    file = folder / "steps" / "arm=inherit" / "generation=0" / "000-inherit.parquet"
    if how == "gone":
        file.unlink()
    elif how == "other":
        shutil.copy(file.parents[1] / "generation=1" / file.name, file)
    else:
        file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(LineageError, match="from generation 0 on") as refused:
        run(small(tmp_path), folder)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)
    # As it says: then they are made again, and the same.
    file.unlink(missing_ok=True)
    for record in (folder / "done").glob("000-inherit-g*.json"):
        record.unlink()
    run(small(tmp_path), folder)
    assert timeless(folder) == timeless(one)
