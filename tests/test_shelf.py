"""The shelf of trained versions: whole or not at all, and named before it changes anything."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import Late, measured, steps, surrogate

from lineage import compose
from lineage.cli import main
from lineage.commands.fork import Fork, configured
from lineage.core.config import Config
from lineage.core.config_engine import CheckpointConfig, VersionConfig
from lineage.core.errors import LineageError
from lineage.models import shelf as shelf_module
from lineage.models.checkpoint import ADAPTER_FILES, digest, locate
from lineage.models.shelf import check_name, named, names, parameters, read_version, register
from lineage.models.versions import registry
from lineage.runs.plan import prepare

R0 = "smollm2-135m@r0"
W1 = "smollm2-135m@t1"
W2 = "smollm2-135m@w2"
safetensors, torch = Late("safetensors.torch"), Late("torch")

RECORD = {"minutes": 3.5}


def read(shelf: Path) -> dict[str, VersionConfig]:
    """Return every version on `shelf`."""
    return {name: read_version(shelf, name) for name in names(shelf)}


def adapter(folder: Path, fill: float = 1.5, dtype: torch.dtype | None = None) -> Path:
    """Return the folder of an adapter as PEFT leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    full = torch.full((4, 8), fill, dtype=dtype or torch.float32)
    weights = {"a": full, "b": torch.arange(8, dtype=torch.int64)}
    safetensors.save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "r": 8,
        "target_modules": ["v_proj", "q_proj"],
        "base_model_name_or_path": str(folder.absolute()),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def version(parent: str = R0) -> VersionConfig:
    return replace(shipped().model.versions[R0], parent=parent, released="2026-12-01")


@cache
def shipped() -> Config:
    """Return the shipped configuration; composing it takes half a second."""
    return compose.load([])


def put(shelf: Path, name: str = W1, parent: str = R0, fill: float = 1.5) -> Path:
    """Register a version and return its folder."""
    made = adapter(shelf.parent / f"adapter-{name}-{fill}", fill)
    return register(shelf, name, version(parent), made, "# card", RECORD, {"curve.png": b"png"})


def using(shelf: Path, *overrides: str) -> list[str]:
    return ["engine=surrogate", f"model.shelf={shelf}", *overrides]


def scheduled(name: str) -> str:
    return f"schedule.versions=[{R0},{R0},{name},{name}]"


def test_a_version_is_registered_whole_and_read_back(tmp_path: Path) -> None:
    folder = put(tmp_path / "shelf")
    assert {file.name for file in folder.iterdir()} == {
        *("adapter_config.json", "adapter_model.safetensors", "README.md", "training.json"),
        *("version.yaml", "curve.png"),
    }
    assert (folder / "README.md").read_text() == "# card"
    assert json.loads((folder / "training.json").read_text()) == RECORD
    found = read(tmp_path / "shelf")
    assert list(found) == [W1]
    expected = replace(version(), adapter=str(folder.resolve()), digest=digest(folder))
    assert found[W1] == expected
    assert yaml.safe_load((folder / "version.yaml").read_text())["adapter"] == "."


def test_weights_are_stored_as_bfloat16(tmp_path: Path) -> None:
    folder = put(tmp_path / "shelf")
    weights = safetensors.load_file(folder / "adapter_model.safetensors")
    assert weights["a"].dtype == torch.bfloat16
    assert weights["b"].dtype == torch.int64
    assert weights["a"].tolist() == [[1.5] * 8] * 4
    half = adapter(tmp_path / "half", dtype=torch.bfloat16)
    kept = register(tmp_path / "shelf", W2, version(), half, "", {})
    name = "adapter_model.safetensors"
    assert (kept / name).read_bytes() == (half / name).read_bytes()


def test_the_digest_is_that_of_the_weights_on_any_machine(tmp_path: Path) -> None:
    one = put(tmp_path / "here" / "shelf")
    two = put(tmp_path / "there" / "shelf")
    assert digest(one) == digest(two)
    config = json.loads((one / "adapter_config.json").read_text())
    assert config["target_modules"] == ["q_proj", "v_proj"]
    assert config["base_model_name_or_path"] == "SmolLM2-135M-Instruct.Q4_1.gguf"
    hashes = {
        compose.config_hash(compose.load(using(folder.parent, scheduled(W1))))
        for folder in (one, two)
    }
    assert len(hashes) == 1
    put(tmp_path / "else" / "shelf", fill=2.0)
    other = compose.load(using(tmp_path / "else" / "shelf", scheduled(W1)))
    assert compose.config_hash(other) not in hashes


def test_the_same_again_is_nothing_and_another_is_refused(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    first = put(shelf)
    before = {file: file.stat().st_mtime_ns for file in first.iterdir()}
    later = replace(version(), released="2027-01-01")
    register(shelf, W1, later, tmp_path / f"adapter-{W1}-1.5", "# other words", {})
    assert {file: file.stat().st_mtime_ns for file in first.iterdir()} == before
    with pytest.raises(LineageError, match=r"holds another version 'smollm2-135m@t1'"):
        put(shelf, fill=2.0)
    with pytest.raises(LineageError, match="holds another version"):
        put(shelf, parent="smollm2-135m@r1")
    assert [entry.name for entry in shelf.iterdir()] == [W1]


def test_a_registration_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf"

    def full(folder: Path) -> None:
        assert (folder / "version.yaml").exists()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shelf_module, "sync_tree", full)
        with pytest.raises(OSError, match="No space"):
            put(shelf)
    assert not list(shelf.iterdir())
    with pytest.raises(LineageError, match="is no adapter's configuration: train it again"):
        register(shelf, W1, version(), tmp_path / "nowhere", "", {})
    torn = adapter(tmp_path / "torn")
    file = torn / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(LineageError, match="holds no adapter's weights"):
        register(shelf, W1, version(), torn, "", {})
    assert not list(shelf.iterdir())


def test_two_that_register_at_once_leave_one(tmp_path: Path) -> None:
    shelf, made = tmp_path / "shelf", adapter(tmp_path / "adapter")
    described, errors = version(), []

    def one() -> None:
        try:
            register(shelf, W1, described, made, "", {})
        except Exception as error:  # shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [entry.name for entry in shelf.iterdir()] == [W1]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "ä", "-x", "x" * 101, "a\n"])
def test_names_must_be_safe(name: str, tmp_path: Path) -> None:
    made = adapter(tmp_path / "adapter")
    with pytest.raises(LineageError, match="is no name, it becomes"):
        register(tmp_path / "shelf", name, version(), made, "", {})
    assert names(tmp_path / "shelf") == ()


def test_a_name_of_conf_is_refused_before_training(tmp_path: Path) -> None:
    config = compose.load(using(tmp_path)).model
    check_name(config, W1)
    with pytest.raises(LineageError, match=r"'smollm2-135m@r0' is of conf: .* train\.name"):
        check_name(config, R0)


def cut(folder: Path) -> None:
    file = folder / "version.yaml"
    file.write_text(file.read_text()[:25])


def rewritten(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "version.yaml"
        tree = {**yaml.safe_load(file.read_text()), **changes}
        file.write_text(yaml.safe_dump({k: v for k, v in tree.items() if v is not None}))

    return change


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut, r"version\.yaml: "),
        (lambda folder: (folder / "version.yaml").unlink(), "missing"),
        (lambda folder: (folder / "version.yaml").write_text("{"), r"in line \d"),
        (lambda folder: (folder / "version.yaml").write_text("- 1"), "must be a mapping of keys"),
        (lambda folder: (folder / ADAPTER_FILES[1]).unlink(), "no adapter_model.safetensors"),
        (rewritten(context_window=None), "'context_window' has no value"),
        (rewritten(context_window="wide"), "'wide'"),
        (rewritten(digest=""), "no digest"),
        (rewritten(adapter="../.."), "is not below it"),
        (rewritten(author="x"), "author"),
    ],
)
def test_a_torn_or_foreign_folder_is_one_line(
    spoil: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    spoil(put(tmp_path / "shelf"))
    with pytest.raises(LineageError, match=reason) as raised:
        read(tmp_path / "shelf")
    assert "\n" not in str(raised.value)
    assert f"{tmp_path / 'shelf' / W1} is no trained version" in str(raised.value)
    # Runs that do not name it go on.
    model = replace(shipped().model, shelf=str(tmp_path / "shelf"))
    assert named(model, {R0}) == {}


def test_only_what_is_named_is_in_a_configuration(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    before = compose.load(using(shelf))
    put(shelf)
    put(shelf, W2, W1)
    put(shelf, "other@x", R0)
    # The shipped train.name is that of W1: of what would be made, not of what is needed.
    assert compose.load(using(shelf)) == before
    config = compose.load(using(shelf, scheduled(W2)))
    assert set(config.model.versions) == {*before.model.versions, W1, W2}
    assert registry(config.model)[W2].parent == W1
    assert prepare(config).versions == (R0, W2)


@pytest.mark.parametrize(
    "override",
    [
        f"train.parent={W1}",
        f"arms.defined.x={{receives: none, versions: [{R0}, {R0}, {W1}, {W1}]}}",
        f"+suite.judge={W1}",
    ],
)
def test_a_version_may_be_named_anywhere(override: str, tmp_path: Path) -> None:
    put(tmp_path / "shelf")
    suite = ["suite=longmemeval", "suite.path=x"] if "judge" in override else []
    override = override.removeprefix("+").replace("arms.defined.x", "+arms.defined.x")
    config = compose.load(using(tmp_path / "shelf", *suite, override))
    assert W1 in config.model.versions


def test_a_version_that_only_an_argument_names(tmp_path: Path) -> None:
    put(tmp_path / "shelf")
    assert W1 in compose.load(using(tmp_path / "shelf"), W1).model.versions


def test_training_something_changes_no_other_hash(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    hash = compose.config_hash(compose.load(using(shelf)))
    put(shelf)
    assert compose.config_hash(compose.load(using(shelf))) == hash
    named = compose.config_hash(compose.load(using(shelf, scheduled(W1))))
    put(shelf, W2, W1)
    assert compose.config_hash(compose.load(using(shelf, scheduled(W1)))) == named != hash


def test_a_saved_configuration_needs_no_shelf(tmp_path: Path) -> None:
    put(tmp_path / "shelf")
    config = compose.load(using(tmp_path / "shelf", scheduled(W1)))
    saved = tmp_path / "config.yaml"
    saved.write_text(compose.to_yaml(config))
    shutil.rmtree(tmp_path / "shelf")
    assert compose.load_file(saved) == config
    assert compose.config_hash(compose.load_file(saved)) == compose.config_hash(config)


def test_an_unknown_name_is_told_the_nearest_of_the_shelf(tmp_path: Path) -> None:
    put(tmp_path / "shelf", "smollm2-135m@brief")
    with pytest.raises(LineageError, match="did you mean 'smollm2-135m@brief'"):
        prepare(compose.load(using(tmp_path / "shelf", scheduled("smollm2-135m@brie"))))


def test_a_shelf_must_not_shadow_conf(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    put(shelf).rename(shelf / R0)
    with pytest.raises(LineageError, match="'smollm2-135m@r0' is of conf and on the shelf"):
        compose.load(using(shelf))


def test_an_adapter_is_found_from_any_folder_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    put(Path("shelf"))
    config = compose.load(using(Path("shelf"), scheduled(W1)))
    base = CheckpointConfig("folder", str(tmp_path / "base"))
    moved = replace(config.model.versions[W1], checkpoint=base)
    model = replace(config.model, versions={**config.model.versions, W1: moved})
    monkeypatch.chdir("/")
    one = registry(model)[W1]
    folder = locate(one, tmp_path).adapter
    assert folder == (tmp_path / "shelf" / W1).resolve()
    adapter(folder, fill=3.0)
    with pytest.raises(LineageError, match="is not the one that the configuration names"):
        locate(one, tmp_path)
    shutil.rmtree(folder)
    with pytest.raises(LineageError, match=r"is missing .* lineage train"):
        locate(one, tmp_path)


def test_a_fork_may_go_on_with_a_trained_version(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(compose.to_yaml(compose.load(using(tmp_path / "shelf"))))
    put(tmp_path / "shelf")
    config = configured(tmp_path, Fork("k-1", 0, 1), [scheduled(W1)])
    assert W1 in config.model.versions


def test_versions_lists_conf_and_the_whole_shelf(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "shelf")
    put(tmp_path / "shelf", W2, W1)
    monkeypatch.setenv("COLUMNS", "240")
    with pytest.raises(SystemExit) as stopped:
        main(["versions", f"model.shelf={tmp_path / 'shelf'}", f"train.parent={W1}"])
    assert stopped.value.code == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {line[0]: line[1] for line in lines if line[1:2] in (["conf"], ["shelf"])} == {
        **dict.fromkeys((R0, "smollm2-135m@r1", "smollm2-135m@w1"), "conf"),
        **dict.fromkeys((W1, W2), "shelf"),
    }


def test_parameters_are_counted_from_the_header(tmp_path: Path) -> None:
    made = adapter(tmp_path / "adapter")
    assert parameters(made) == 4 * 8 + 8
    (made / "adapter_model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(LineageError, match="holds no adapter's weights"):
        parameters(made)


def test_a_run_can_be_served_by_a_trained_version(tmp_path: Path) -> None:
    put(tmp_path / "shelf")
    folder = tmp_path / "runs" / "run"
    small = ("experiment.lineages=1", "experiment.episodes=2", scheduled(W1))
    config = surrogate(tmp_path, f"model.shelf={tmp_path / 'shelf'}", *small)
    assert measured(config, folder, ["scores"])["schedule"] == [R0, R0, W1, W1]
    assert W1 in {step["version"] for step in steps(folder)}
