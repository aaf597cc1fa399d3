"""A real agent's memory: imported, brought to another version, handed to lineages, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers import run, steps, surrogate

from lineage.cli import main
from lineage.core.knowledge import EMPTY
from lineage.markdown.folder import import_knowledge


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder as agents keep them: an index of short memories, and a file a doc."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "MEMORY.md").write_text("- The code of pump Birch is 7413.\n- Use tabs.\n")
    (folder / "pumps.md").write_text("# Pump guide\nThe zone of pump Birch is north.\n")
    return folder


def code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def carried(tmp_path: Path, notes: Path, kind: str) -> int:
    places = (f"run.root={tmp_path / 'runs'}", f"run.cache={tmp_path / 'cache'}")
    overrides = (f"migration={kind}", "engine=surrogate", *places)
    out = str(tmp_path / "out")
    return code("migrate", str(notes), out, "--to", "smollm2-135m@r1", *overrides)


@pytest.mark.parametrize("kind", ["verbatim", "rewrite", "distil"])
def test_a_folder_goes_through_a_migration_and_comes_back(
    kind: str, notes: Path, tmp_path: Path
) -> None:
    assert carried(tmp_path, notes, kind) == 0
    came, left = import_knowledge(notes), import_knowledge(tmp_path / "out")
    assert [m.id for m in left.memories] == [m.id for m in came.memories]
    assert [d.id for d in left.docs] == [d.id for d in came.docs]
    if kind == "verbatim":
        assert left == came
    (folder,) = (tmp_path / "runs").glob("*-migrate")
    (migrated,) = (row for row in steps(folder) if row["episode"] == "migrate")
    assert (migrated["detail"], migrated["version"]) == (kind, "smollm2-135m@r1")
    assert migrated["knowledge_after"] == left.id


def test_a_migration_does_not_go_on_in_a_folder_that_is_there(
    notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    places = (f"run.root={tmp_path / 'runs'}", "run.name=mine", "engine=surrogate")
    to = ("--to", "smollm2-135m@r1", *places)
    assert code("migrate", str(notes), str(tmp_path / "out"), *to) == 1
    assert "choose another run.name" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert code("migrate", str(notes), str(tmp_path / "file"), *to) == 1
    assert "no empty folder" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["verify", "rebuild"])
def test_a_migration_that_needs_raw_episodes_is_refused(
    kind: str, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert carried(tmp_path, notes, kind) == 1
    error = capsys.readouterr().err
    assert "needs the raw episodes" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_lineages_may_begin_with_imported_knowledge(notes: Path, tmp_path: Path) -> None:
    config = surrogate(tmp_path, "experiment=tiny", f"start.folder={notes}")
    folder = tmp_path / "runs" / "imported"
    run(config, folder)
    log = steps(folder)
    first = [r for r in log if r["arm"] == "inherit" and r["generation"] == 0]
    (migrated,) = (r for r in first if r["episode"] == "migrate" and r["pair"] == 0)
    assert migrated["knowledge_before"] not in ("", EMPTY.id)
    assert all("Use tabs." in r["prompt"] for r in first if r["kind"] == "act")
    cold = [r for r in log if r["arm"] == "cold" and r["prompt"]]
    assert not any("Use tabs." in r["prompt"] for r in cold)
    record = json.loads((folder / "run.json").read_text())
    assert record["defined"]["inherit"]["receives"] == "inherit"


def test_a_start_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = f"start.folder={tmp_path / 'no'}"
    assert code("run", "engine=surrogate", missing, f"run.root={tmp_path / 'r'}") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "r").exists()
