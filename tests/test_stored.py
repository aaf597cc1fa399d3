"""Runs whose `run.root` is a URL: published, gone on with elsewhere, read, refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from helpers import FULL, flattened, run, timeless
from killed import begin, kill
from rich.console import Console
from s3 import KEYS, Between, make_bucket, point, serving

import lineage
from lineage import compose
from lineage.cli import main
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.inspect.listing import ASKED
from lineage.log.store import Store
from lineage.log.sweep import Point, SweepRecord, read_sweep, write_sweep
from lineage.metrics import summarise
from lineage.runs.folder import published_to, worked_on
from lineage.runs.stored import read_from, stored

TOY = (
    *("engine=surrogate", "method.steps=2", "method.warm_steps=1", "train.held_out=0"),
    *("train.worlds=1", "train.curricula=[edit]", "train.episodes=2", "method.group=2"),
    *(
        "method.groups=1",
        "method.warm_groups=1",
        "train.probes={same: 1, similar: 0, dissimilar: 0}",
    ),
)
STEP = "curve/step%3D{:03d}.parquet"
"""As a path of a request names it."""
TINY = (
    *("engine=surrogate", "experiment=tiny", "experiment.lineages=1", "agent.docs=true"),
    *("arms.names=[inherit]", "arms.ceiling=inherit", "arms.baseline=inherit"),
)
"""Each file of a run is a request or two: it has few."""
COUNTED = ("log.objective.metric=totals", "log.objective.figure=steps")
"""A figure that a run of one arm has."""


pytestmark = pytest.mark.usefixtures("undrawn", "few")


@pytest.fixture(scope="module")
def few() -> Iterator[None]:
    """Let what shows a run compute no more metrics than `undrawn` leaves in its metrics.json."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lineage.metrics.current.summarise", lambda run, names: summarise(run, ASKED))
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of each test's own, and a folder to work in whose cache is conf's."""
    name = f"b-{tmp_path.name.replace('_', '-').lower()[:50]}"
    make_bucket(server, name)
    monkeypatch.chdir(tmp_path)
    point(monkeypatch, server)
    return name


@pytest.fixture
def root(bucket: str) -> str:
    return f"s3://{bucket}/runs"


@pytest.fixture
def between(bucket: str, server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    """Who sees all requests, and lets through what a test says: each takes longer by it."""
    one = Between(server)
    with one.serving() as address:
        point(monkeypatch, address)
        yield one


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, made in a folder."""
    tmp = tmp_path_factory.mktemp("local")
    below = (f"run.root={tmp}", f"run.cache={tmp / 'c'}")
    run(compose.load([*TINY, *below]), tmp / "first")
    return tmp / "first"


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return flattened(tmp_path_factory.mktemp("flat"), *TINY)


def main_code(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def arguments(flat: tuple[str, ...], root: str, *more: str) -> list[str]:
    return ["run", *flat, f"run.root={root}", "run.name=first", *more]


def logged(folder: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Return which files of its datasets a run has, and its steps without their clock columns."""
    files = [*folder.rglob("*.parquet"), *folder.glob("done/*")]
    return sorted(file.relative_to(folder).as_posix() for file in files), timeless(folder)


def count(log: duckdb.DuckDBPyConnection, view: str) -> int:
    (found,) = log.execute(f"SELECT count(*) FROM {view}").fetchone() or (0,)
    return int(found)


def here(root: str) -> Config:
    return compose.load([f"run.root={root}"])


def test_a_run_is_at_its_url_as_it_would_be_in_a_folder(
    between: Between,
    server: str,
    root: str,
    local: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A store that errs for a while changes nothing. Not by turns, which would never let through
    # what takes two requests, as to remove an object.
    draw = Random(0)

    def refuse(method: str, path: str) -> tuple[int, str] | None:
        return (503, "SlowDown") if draw.random() < 0.6 else None

    between.refuse = refuse
    patient = ("run.storage.backoff_s=0.001", "run.storage.attempts=20")
    log = lineage.run([*TINY, f"run.root={root}", "run.name=first", *patient], progress=False)
    assert between.refused > 10
    between.refuse = lambda method, path: None
    assert log.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert not (tmp_path / "s3:").exists()
    copy, first = read_from(here(root).run, f"{root}/first"), f"{root}/first"
    assert logged(copy) == logged(local)
    names = Store(first, here(root).run.storage).sizes()
    assert {"run.json", "config.yaml", "sittings.json", "metrics.json", "report.html"} <= {*names}
    assert not [name for name in names if "journal" in name or ".lock" in name]
    secret = KEYS["AWS_SECRET_ACCESS_KEY"].encode()
    assert not [
        file for file in ("run.json", "config.yaml") if secret in (copy / file).read_bytes()
    ]
    _is_opened(first, log, between)
    for nothing in (f"{root}/nothing", "s3://nowhere/runs"):
        with pytest.raises(LineageError) as told:
            lineage.open(nothing)
        assert "\n" not in str(told.value) and nothing in str(told.value)
    # On a machine that never saw it.
    shutil.rmtree(tmp_path / ".cache")
    point(monkeypatch, server)
    # All find their run in one way: to measure two for `compare` takes half a second.
    more = [("compare", first, first), ("show", first)] * FULL
    for words in (("show", first, "1"), ("ls", root), *more, ("report", first)):
        assert main_code(*words) == 0, words
    said = capsys.readouterr().out
    assert "finished" in said and f"{root}/first/report.html" in said
    # A fork lies beside it, and another machine goes on with that too.
    assert main_code("fork", first, "--at", "000-inherit@0", "run.name=branch") == 0
    settings = Store(f"{root}/branch", here(root).run.storage).read("config.yaml").decode()
    assert f"run: {first}" in settings
    shutil.rmtree(tmp_path / ".cache")
    assert main_code("resume", f"{root}/branch") == 0
    for words in (("compact", f"{root}/first"), ("show", f"{root}/nothing"), ("ls", f"{root}/no")):
        assert main_code(*words) == 1
        assert capsys.readouterr().err.count("\n") == 1


def _is_opened(url: str, log: duckdb.DuckDBPyConnection, between: Between) -> None:
    """Assert that the run at `url` is opened as `log` is, with few requests."""
    between.seen.clear()
    behind = lineage.open(url)
    listed = [path for _, path in between.seen if "list-type" in path]
    # All files of a dataset at once, not folder by folder.
    assert listed and not [path for path in listed if "arm" in path]
    for view in ("steps", "probes", "memories"):
        count = f"SELECT count(*) FROM {view}"
        between.seen.clear()
        assert behind.execute(count).fetchone() == log.execute(count).fetchone() != (0,)
        heads = [path for method, path in between.seen if method == "HEAD"]
        # Once a time that it is opened: what it is like was listed.
        assert len(heads) < 3 * len(set(heads))


def test_a_killed_run_is_gone_on_with_where_its_folder_is_not(
    between: Between,
    server: str,
    root: str,
    flat: tuple[str, ...],
    local: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(f"{root}/first", here(root).run.storage)

    def finished() -> bool:
        return any("done/" in name for name in store.sizes())

    # What is put after the first generation waits, so that the run is killed before it.
    def refuse(method: str, path: str) -> tuple[int, str] | None:
        ended = any(how == "PUT" and "done/" in name for how, name in between.seen)
        late = ended or "-g01.json" in path
        return (503, "SlowDown") if method == "PUT" and late else None

    between.refuse = refuse
    waiting = ("run.storage.attempts=100", "run.storage.every_s=0.05")
    begun = begin(*arguments(flat, root, *waiting))
    assert kill(begun, lambda: between.refused > 0 and finished())
    point(monkeypatch, server)
    names = store.sizes()
    assert [name for name in names if "done/" in name] == ["done/000-inherit-g00.json"]
    assert "metrics.json" not in names
    shutil.rmtree(tmp_path / ".cache")
    assert main_code("resume", f"{root}/first") == 0
    assert f"published to {root}/first" in capsys.readouterr().out
    copy = read_from(here(root).run, f"{root}/first")
    assert logged(copy) == logged(local)


def test_what_cannot_be_stored_is_said_before_anything_is_begun(
    between: Between,
    root: str,
    flat: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(*words: str) -> str:
        assert main_code(*words) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        return said

    for place, words in (
        ("s3://nowhere/runs", "there is no bucket nowhere"), (root, "permission is denied")
    ):  # fmt: skip
        with pytest.raises(LineageError, match=words) as told:
            lineage.run([*TINY, f"run.root={place}"], progress=False)
        assert "\n" not in str(told.value)
        between.refuse = lambda method, path: (403, "AccessDenied")
    between.refuse = lambda method, path: None
    assert "hydra.run.dir" in refused(*arguments(flat, root, f"hydra.run.dir={tmp_path / 'x'}"))
    swept = f"hydra.sweep.dir={tmp_path / 'x'}"
    assert "hydra.sweep.dir" in refused(*arguments(flat, root, "-m", swept, "suite.drift=0,0.1"))
    if FULL:  # it is handed over as a run is
        elsewhere = (f"run.root={root}", f"hydra.run.dir={tmp_path}")
        assert "hydra.run.dir" in refused("train", *TOY, *elsewhere)
    assert not list(tmp_path.rglob("run.json"))


def test_a_folder_is_published_where_lineage_says_so_alone(tmp_path: Path) -> None:
    folder = tmp_path / "stored-s3" / "bucket" / "runs" / "first"
    folder.mkdir(parents=True)
    assert published_to(folder) is None
    (tmp_path / "stored-s3" / ".lineage").touch()
    assert published_to(folder) == "s3://bucket/runs/first"
    assert published_to(tmp_path) is None


def test_a_sweep_is_at_its_url_point_by_point(
    root: str, flat: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = (f"run.root={root}", "run.name=all")
    assert main_code("run", "-m", *flat, *COUNTED, *where, "suite.drift=0,0.2") == 0
    url = f"{root}/all"
    assert f"published to {url}" in capsys.readouterr().out
    assert not (tmp_path / "s3:").exists()
    store = Store(url, here(root).run.storage)
    whole = worked_on(here(root).run, url)
    expected = {name: logged(whole / name) for name in ("000", "001")}
    assert len(read_sweep(whole).points) == 2 and expected["000"] != expected["001"]
    # What a machine leaves that is lost while the second point goes on.
    kept = [name for name in store.sizes() if name.startswith("001/done/")]
    for name in (*kept[1:], "001/metrics.json", "001/report.html"):
        store.remove(name)
    record = json.loads(store.read("sweep.json"))
    record["points"][1] |= {"objective": None}
    store.write("sweep.json", json.dumps(record).encode())
    shutil.rmtree(tmp_path / ".cache")
    assert main_code("resume", url) == 0
    assert "1 of 2 points are to be run" in capsys.readouterr().out
    # On a machine that never saw it.
    shutil.rmtree(tmp_path / ".cache")
    for words in (("ls", root), ("show", url), ("show", f"{url}/001"), ("report", url)):
        assert main_code(*words) == 0, words
    said = capsys.readouterr().out
    assert "all/001" in said and f"{url}/sweep.html" in said and store.has("sweep.html")
    copy = read_from(here(root).run, url)
    assert {name: logged(copy / name) for name in expected} == expected
    assert all(one.objective is not None for one in read_sweep(copy).points)
    assert count(lineage.open(url), "runs") == 2
    if FULL:
        assert main_code("compare", url, "0", "1") == 0


def test_what_two_machines_noted_of_a_sweep_is_in_its_record(root: str) -> None:
    def noted(*points: Point) -> SweepRecord:
        return SweepRecord("run", 1.0, ("a=1,2,3",), ("a",), "basic", "fleet", points=points)

    run, url = here(root).run, f"{root}/all"
    done, failed, open = (Point(0, "000", ("a=1",), "", 0.5), Point(1, "001", ("a=2",), "x"),
                          Point(2, "002", ("a=3",)))  # fmt: skip
    folder = worked_on(run, url)
    write_sweep(folder, noted(done, replace(failed, failed=""), open))
    with stored(run, folder, Console(quiet=True)):
        pass
    # Of what is read again later no old copy stays.
    assert read_sweep(read_from(run, url)).points == (done, replace(failed, failed=""), open)
    write_sweep(folder, noted(replace(done, objective=None), failed, open))
    with stored(run, folder, Console(quiet=True)):
        assert read_sweep(folder).points == (done, failed, open)
        assert len(Store(url, run.storage).below(".lease")) == 1
    assert read_sweep(read_from(run, url)).points == (done, failed, open)
    assert Store(url, run.storage).below(".lease") == []


def test_a_training_is_at_its_url_step_by_step(
    between: Between,
    server: str,
    root: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, run = f"{root}/toy", here(root).run
    lineage.train([*TOY, f"run.root={root}", "run.name=toy"], progress=False)
    whole, store = worked_on(run, url), Store(url, run.storage)
    expected = [_rows(whole, name) for name in ("curve", "training")]
    assert all(expected)
    order = [path.rpartition("/toy/")[2] for method, path in between.seen if method == "PUT"]
    assert order.index("adapters/step-000/skills.json") < order.index(STEP.format(0))
    # What a machine leaves that is lost during the second step.
    for name in store.sizes():
        if "step=001" in name or "step-001" in name or name.startswith("training."):
            store.remove(name)
    shutil.rmtree(tmp_path / ".cache")
    between.seen.clear()
    assert main_code("resume", url) == 0
    assert f"published to {url}" in capsys.readouterr().out
    put = [path.rpartition("/toy/")[2] for method, path in between.seen if method == "PUT"]
    assert STEP.format(1) in put and STEP.format(0) not in put
    # On a machine that never saw it.
    shutil.rmtree(tmp_path / ".cache")
    point(monkeypatch, server)
    for command in (*[("ls", root)] * FULL, ("show", url), ("report", url)):
        assert main_code(*command) == 0, command
    assert f"{url}/training.html" in capsys.readouterr().out
    copy = read_from(run, url)
    assert [_rows(copy, name) for name in ("curve", "training")] == expected
    assert count(lineage.open(url), "curve") == 2


def _rows(folder: Path, dataset: str) -> list[dict[str, Any]]:
    """Return the rows of a training's dataset, without its clock columns."""
    files = sorted((folder / dataset).glob("*.parquet"))
    found = [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in found]
