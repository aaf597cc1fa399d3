"""Runs whose `run.root` is a URL: published, gone on with elsewhere, read, refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import run, timeless
from s3 import KEYS, Between, make_bucket, serving

import lineage
from lineage import compose
from lineage.cli import main
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.log.store import Store
from lineage.runs.folder import published_to
from lineage.runs.stored import read_from

TINY = ("engine=surrogate", "experiment=tiny", "experiment.lineages=2", "agent.docs=true")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture
def between(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """A bucket of each test's own, and a folder to work in whose cache is conf's."""
    one = Between(server)
    make_bucket(server, f"b-{tmp_path.name.replace('_', '-').lower()[:50]}")
    monkeypatch.chdir(tmp_path)
    with one.serving() as address:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
            monkeypatch.setenv(name, value)
        yield one


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, made in a folder."""
    return plain(tmp_path_factory.mktemp("local"))


@pytest.fixture
def root(tmp_path: Path) -> str:
    return f"s3://b-{tmp_path.name.replace('_', '-').lower()[:50]}/runs"


def main_code(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def arguments(root: str, *more: str) -> list[str]:
    patient = ("run.storage.backoff_s=0.01", "run.storage.every_s=0.05")
    return ["run", *TINY, f"run.root={root}", "run.name=first", *patient, *more]


def plain(tmp_path: Path, *more: str) -> Path:
    """Return the folder of the same run, made in a folder."""
    overrides = [*TINY, *more, f"run.root={tmp_path / 'plain'}", f"run.cache={tmp_path / 'c'}"]
    run(compose.load(overrides), tmp_path / "plain" / "first")
    return tmp_path / "plain" / "first"


def here(root: str) -> Config:
    return compose.load([f"run.root={root}"])


@pytest.mark.usefixtures("undrawn")
def test_a_run_is_at_its_url_as_it_would_be_in_a_folder(
    between: Between, root: str, local: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_code(*arguments(root)) == 0
    assert f"published to {root}/first" in capsys.readouterr().out
    assert not (tmp_path / "s3:").exists()
    copy = read_from(here(root).run, f"{root}/first")
    assert timeless(copy) == timeless(local)
    names = Store(f"{root}/first", here(root).run.storage).sizes()
    assert {"run.json", "config.yaml", "sittings.json", "metrics.json", "report.html"} <= {*names}
    assert not [name for name in names if "journal" in name or ".lock" in name]
    secret = KEYS["AWS_SECRET_ACCESS_KEY"].encode()
    assert not [
        file for file in ("run.json", "config.yaml") if secret in (copy / file).read_bytes()
    ]
    # On a machine that never saw it.
    shutil.rmtree(tmp_path / ".cache")
    first = f"{root}/first"
    looks = (("show", first), ("show", first, "1"), ("ls", root), ("compare", first, first))
    for words in (*looks, ("report", first)):
        assert main_code(*words) == 0, words
    said = capsys.readouterr().out
    assert "finished" in said and f"{root}/first/report.html" in said
    for words in (("compact", f"{root}/first"), ("show", f"{root}/nothing"), ("ls", f"{root}/no")):
        assert main_code(*words) == 1
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.usefixtures("undrawn")
def test_a_killed_run_is_gone_on_with_where_its_folder_is_not(
    between: Between, root: str, tmp_path: Path
) -> None:
    many = "experiment.lineages=12"
    command = [sys.executable, "-m", "lineage", *arguments(root, many, "run.lineages_in_flight=1")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    store, until = Store(f"{root}/first", here(root).run.storage), time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        if any("done/" in name for name in store.sizes()):
            break
        time.sleep(0.02)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    names = store.sizes()
    assert any("done/" in name for name in names) and "metrics.json" not in names
    shutil.rmtree(tmp_path / ".cache")
    assert main_code("resume", f"{root}/first") == 0
    copy = read_from(here(root).run, f"{root}/first")
    assert timeless(copy) == timeless(plain(tmp_path, many))


@pytest.mark.usefixtures("undrawn")
def test_a_store_that_errs_for_a_while_changes_nothing(
    between: Between, root: str, local: Path, tmp_path: Path
) -> None:
    count = [0]

    def refuse(method: str, path: str) -> tuple[int, str] | None:
        count[0] += 1
        return (503, "SlowDown") if count[0] % 2 else None

    between.refuse = refuse
    assert main_code(*arguments(root, "run.storage.attempts=20")) == 0
    assert between.refused > 10
    between.refuse = lambda method, path: None
    copy = read_from(here(root).run, f"{root}/first")
    assert timeless(copy) == timeless(local)


def test_what_cannot_be_stored_is_said_before_anything_is_begun(
    between: Between, root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: str) -> str:
        assert main_code(*words) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    assert "there is no bucket nowhere" in refused(*arguments("s3://nowhere/runs"))
    between.refuse = lambda method, path: (403, "AccessDenied")
    assert "permission is denied" in refused(*arguments(root))
    between.refuse = lambda method, path: None
    assert "hydra.run.dir" in refused(*arguments(root, f"hydra.run.dir={tmp_path / 'x'}"))
    assert "a sweep" in refused(*arguments(root, "-m", "suite.drift=0,0.1"))
    assert "a training" in refused("train", "engine=surrogate", f"run.root={root}")
    assert not list(tmp_path.rglob("run.json"))


def test_a_folder_is_published_where_lineage_says_so_alone(tmp_path: Path) -> None:
    folder = tmp_path / "stored-s3" / "bucket" / "runs" / "first"
    folder.mkdir(parents=True)
    assert published_to(folder) is None
    (tmp_path / "stored-s3" / ".lineage").touch()
    assert published_to(folder) == "s3://bucket/runs/first"
    assert published_to(tmp_path) is None


@pytest.mark.usefixtures("undrawn")
def test_from_python_too(between: Between, root: str, local: Path, tmp_path: Path) -> None:
    log = lineage.run([*TINY, f"run.root={root}", "run.name=first"], progress=False)
    assert log.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    copy = read_from(here(root).run, f"{root}/first")
    assert timeless(copy) == timeless(local)
    behind = lineage.open(f"{root}/first")
    for view in ("steps", "probes", "memories"):
        count = f"SELECT count(*) FROM {view}"
        assert behind.execute(count).fetchone() == log.execute(count).fetchone() != (0,)
    for nothing in (f"{root}/nothing", "s3://nowhere/runs"):
        with pytest.raises(LineageError) as told:
            lineage.open(nothing)
        assert "\n" not in str(told.value) and nothing in str(told.value)
    with pytest.raises(LineageError, match="a training"):
        lineage.train(["engine=surrogate", f"run.root={root}"], progress=False)
