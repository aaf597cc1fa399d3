"""Storage by URL: order, patience, refusals, and a mirror, on a real S3-compatible server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from s3 import KEYS, Between, make_bucket, point, serving

from lineage import compose
from lineage.cli import main
from lineage.core.config import StorageConfig
from lineage.core.config_engine import CheckpointConfig, VersionConfig
from lineage.core.errors import LineageError
from lineage.core.files import mark
from lineage.core.plainyaml import dump
from lineage.core.urls import check_url, url_in, url_of
from lineage.log.blobs import bring, put
from lineage.log.lease import FOLDER, Holder, Lease
from lineage.log.publish import Mirror, fetch, in_order, is_published
from lineage.log.store import StorageError, Store
from lineage.models.checkpoint import digest, locate, shared_cache
from lineage.models.gguf import converted
from lineage.models.shelf import Shelf
from lineage.models.shelves import of, relocated
from lineage.models.versions import version
from lineage.runs.folder import at_home

R0 = "smollm2-135m@r0"
PATIENT = ("run.storage.backoff_s=0.01",)
QUICK = StorageConfig(attempts=4, backoff_s=0.0, every_s=3600.0)
DONE = {"arm": "cold", "lineage": "000-cold", "generation": 0}
DATA = [f"{name}/arm=cold/generation=0/000-cold.parquet" for name in ("steps", "knowledge")]
MARK = "done/000-cold-g00.json"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as address:
        make_bucket(address, "bucket")
        yield address


@pytest.fixture
def between(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Between]:
    one = Between(server)
    with one.serving() as address:
        point(monkeypatch, address)
        yield one


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"s3://bucket/{tmp_path.name}/runs/first"


def written(folder: Path, content: bytes = b"rows") -> Path:
    """Return `folder` with a finished generation, and with what is not to be published."""
    files = {
        "run.json": b"{}", "config.yaml": b"a: 1", MARK: json.dumps(DONE).encode(),
        ".lock": b"", "journal/000-cold-g01.jsonl": b"x", "steps/.a.parquet.0a0b0c0d.tmp": b"half",
        **dict.fromkeys(DATA, content),
    }  # fmt: skip
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_url_is_one_of_names_alone() -> None:
    check_url("run.root", "s3://bucket/runs/")
    for wrong in ("gs://b", "s3://", "s3://b//c", "s3://k:secret@b/r", "s3://b/r?x=1", "s3://b/.."):
        with pytest.raises(LineageError) as told:
            check_url("run.root", wrong)
        assert "secret" not in str(told.value)
    assert (
        url_in(str(Path("s3://bucket/runs"))) == url_in("s3://bucket/runs/") == "s3://bucket/runs"
    )
    assert url_in("runs/first") is None
    assert url_of(Path("/c/stored-s3/bucket/runs/x").parts) == "s3://bucket/runs/x"
    assert url_of(Path("/c/runs/x").parts) is None


def test_what_vouches_comes_last_and_what_is_local_does_not() -> None:
    names = [MARK, *DATA, "metrics.json", "config.yaml", "run.json", "training/a/done/x.json"]
    assert in_order(names) == [
        ["run.json"], ["config.yaml"], sorted([*DATA, "metrics.json"]),
        sorted([MARK, "training/a/done/x.json"]),
    ]  # fmt: skip
    for name in (".lock", "journal/x.jsonl", "a/.b.json.00112233.tmp", "../x", "/etc/x", "a.tmp/b"):
        assert not is_published(name)


def test_what_was_put_is_there(between: Between, url: str) -> None:
    store = Store(url, QUICK)
    store.check()
    assert store.sizes() == {}
    store.write("done/a.json", b"hello")
    store.write("empty", b"")
    assert store.sizes() == {"done/a.json": 5, "empty": 0}
    assert store.read("done/a.json") == b"hello"
    store.remove("done/a.json")
    store.remove("done/a.json")
    assert store.sizes() == {"empty": 0}
    # A single request makes an object.
    assert sum(method == "PUT" and "a.json" in path for method, path in between.seen) == 1


def test_what_errs_for_a_while_is_tried_again_so_many_times(between: Between, url: str) -> None:
    waited: list[float] = []
    store = Store(url, StorageConfig(attempts=4, backoff_s=0.5), waited.append)
    left = [3]

    def refuse(method: str, path: str) -> tuple[int, str] | None:
        left[0] -= 1
        return (503, "SlowDown") if left[0] >= 0 else None

    between.refuse = refuse
    store.write("a", b"1")
    assert waited == [0.5, 1.0, 2.0] and between.refused == 3
    left[0] = 1000
    with pytest.raises(StorageError, match=r"after 4 attempts.*run.storage.attempts") as told:
        store.write("b", b"1")
    assert "\n" not in str(told.value) and between.refused == 7


def test_what_is_refused_is_one_line_at_once(between: Between, url: str) -> None:
    with pytest.raises(StorageError, match="there is no bucket nowhere: make it first"):
        Store("s3://nowhere/runs", QUICK).check()
    with pytest.raises(StorageError, match="there is no bucket nowhere: make it first"):
        Store("s3://nowhere/runs", QUICK).write("a", b"1")
    between.refuse = lambda method, path: (403, "AccessDenied")
    for call in (lambda s: s.check(), lambda s: s.sizes(), lambda s: s.read("a"),
                 lambda s: s.write("a", b"1")):  # fmt: skip
        before = between.refused
        with pytest.raises(StorageError, match="permission is denied: set AWS_ACCESS") as told:
            call(Store(url, QUICK))
        assert between.refused == before + 1 and "\n" not in str(told.value)


def test_a_folder_goes_to_its_url_and_back(between: Between, url: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "run")
    with Mirror(folder, Store(url, QUICK), print):
        pass
    put = [path.rpartition("first/")[2] for method, path in between.seen if method == "PUT"]
    assert len(put) == 5 and put[:2] == ["run.json", "config.yaml"] and put[-1] == MARK
    assert set(Store(url, QUICK).sizes()) == {"run.json", "config.yaml", MARK, *DATA}
    back = tmp_path / "back"
    fetch(back, Store(url, QUICK))
    for name in ("run.json", "config.yaml", MARK, *DATA):
        assert (back / name).read_bytes() == (folder / name).read_bytes()
    between.seen.clear()
    with Mirror(back, Store(url, QUICK), print) as mirror:
        (back / "metrics.json").write_text("{}")
        mirror.publish()
        mirror.publish()
    put = [path.rpartition("first/")[2] for method, path in between.seen if method == "PUT"]
    # The record and the settings may be newer here; what is finished is the same.
    assert put == ["run.json", "config.yaml", "metrics.json"]


def test_a_record_is_never_there_without_its_files(
    between: Between, url: str, tmp_path: Path
) -> None:
    folder = written(tmp_path / "run")
    between.refuse = lambda method, path: (500, "X") if "knowledge" in path else None
    store = Store(url, QUICK)
    kept = r"all is kept in .*publish it by lineage resume s3://"
    with pytest.raises(StorageError, match=kept), Mirror(folder, store, print):
        pass
    assert MARK not in store.sizes()
    between.refuse = lambda method, path: None
    with Mirror(folder, store, print):
        pass
    assert MARK in store.sizes()


def test_a_store_that_errs_keeps_nobody_from_working(
    between: Between, url: str, tmp_path: Path
) -> None:
    import time

    said: list[str] = []
    store = Store(url, StorageConfig(attempts=1, backoff_s=0.0, every_s=0.01))
    folder = written(tmp_path / "run")
    with Mirror(folder, store, said.append):
        between.refuse = lambda method, path: (503, "SlowDown")
        (folder / "metrics.json").write_text("{}")
        while not said:
            time.sleep(0.01)
        between.refuse = lambda method, path: None
        while len(said) < 2:
            time.sleep(0.01)
    assert "the run goes on" in said[0] and "is written again" in said[1]
    assert "metrics.json" in store.sizes()


def test_of_two_that_finished_one_generation_the_first_counts(
    between: Between, url: str, tmp_path: Path
) -> None:
    store = Store(url, QUICK)
    with Mirror(written(tmp_path / "a"), store, print):
        pass
    late = written(tmp_path / "b", b"ROWS")
    (late / MARK).write_text(json.dumps({**DONE, "steps": 7}))
    fetch(late, store)
    assert (late / MARK).read_bytes() == (tmp_path / "a" / MARK).read_bytes()
    assert {(late / name).read_bytes() for name in DATA} == {b"rows"}


def checkpoint(folder: Path) -> Path:
    """Return `folder` as what a checkpoint is converted to."""
    (folder / "more").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "more" / "model.safetensors").write_bytes(b"weights" * 1000)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = (one for one in folder.rglob("*") if one.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_a_folder_is_put_once_and_comes_back_whole(
    between: Between, url: str, tmp_path: Path
) -> None:
    store, folder = Store(url, QUICK), checkpoint(tmp_path / "a")
    assert not bring(store, "x/one.json", tmp_path / "b")
    between.refuse = lambda method, path: (500, "X") if path.endswith(".json") else None
    with pytest.raises(StorageError):
        put(store, "x/one.json", folder)
    # Its files are there, and nothing says so.
    assert store.below("x") == [] and len(store.below("blobs")) == 3
    between.refuse = lambda method, path: None
    between.seen.clear()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: put(store, "x/one.json", folder), range(4)))
    assert {path.rpartition("/")[2] for method, path in between.seen if method == "PUT"} == {
        "one.json"
    }
    assert bring(store, "x/one.json", tmp_path / "b") and store.below("x") == ["one.json"]
    assert contents(tmp_path / "b") == contents(folder)
    blob = store.below("blobs")[0]
    store.write(f"blobs/{blob}", b"other")
    with pytest.raises(StorageError, match=f"{blob} is damaged: remove it") as told:
        bring(store, "x/one.json", tmp_path / "c")
    assert "\n" not in str(told.value) and not (tmp_path / "c").exists()
    put(store, "x/one.json", folder)
    assert bring(store, "x/one.json", tmp_path / "c")


def test_a_manifest_names_nothing_outside_its_folder(
    between: Between, url: str, tmp_path: Path
) -> None:
    store = Store(url, QUICK)
    for name in ("../out", "/out", "a//b", ".hidden"):
        store.write("one.json", json.dumps({"files": {name: "0" * 64}}).encode())
        with pytest.raises(LineageError, match="which is not safe"):
            bring(store, "one.json", tmp_path / "b")
    store.write("one.json", b"{")
    with pytest.raises(LineageError, match=r"no whole JSON file.*remove it"):
        bring(store, "one.json", tmp_path / "b")


def test_a_cache_at_a_url_has_what_was_converted_elsewhere(
    between: Between, url: str, tmp_path: Path
) -> None:
    source, content = tmp_path / "model.gguf", b"GGUF"
    source.write_bytes(content)
    known = CheckpointConfig("gguf", str(source), sha256=hashlib.sha256(content).hexdigest())
    first = VersionConfig(known, context_window=64)
    run = replace(
        compose.load([]).run, cache=url, storage=replace(QUICK, copy=str(tmp_path / "here"))
    )
    here, elsewhere = Path(run.cache_folder), tmp_path / "elsewhere"
    assert here == tmp_path / "here"
    made = checkpoint(converted(known, [source], here))
    shared = shared_cache(run)
    assert locate(version("a@0", first), here, shared).checkpoint == made
    assert Store(url, QUICK).below("checkpoints") == [f"{known.sha256}.json"]
    # There the file is told by its content alone, or by its checksum where it is not at all.
    other = replace(known, path=str(tmp_path / "other.gguf"), sha256="")
    Path(other.path).write_bytes(content)
    source.unlink()
    for one in (other, known):
        found = locate(version("a@0", replace(first, checkpoint=one)), elsewhere, shared)
        assert found.checkpoint.is_relative_to(elsewhere)
        assert contents(found.checkpoint) == contents(made)
    with pytest.raises(LineageError, match="is missing"):
        locate(version("a@0", first), tmp_path / "third", None)


def trained(shelf: Path, name: str, weights: bytes) -> Path:
    """Return the folder of a version of smollm2-135m@r0 on a `shelf`, as it is registered."""
    folder = shelf / name
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(weights)
    parent = compose.load([]).model.versions[R0]
    made = replace(parent, parent=R0, adapter=".", digest=digest(folder))
    (folder / "version.yaml").write_bytes(dump(asdict(made)).encode())
    return folder


def test_a_shelf_at_a_url_is_read_where_it_is_named(
    between: Between, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def at(machine: str) -> Shelf:
        where = (f"run.cache={tmp_path / machine}", f"model.shelf={url}", *PATIENT)
        return of(compose.load(where))

    here = at("here")
    trained(here.folder, "mine@1", b"weights")
    trained(here.folder, "mine@2", b"others")
    here.offer("mine@1")
    here.offer("mine@1")
    here.offer("mine@2")
    assert here.names() == ("mine@1", "mine@2")
    # Elsewhere only what is named comes.
    there = at("there")
    scheduled = [f"schedule.versions=[{R0},mine@1]", f"model.shelf={url}"]
    named = compose.load([*scheduled, f"run.cache={tmp_path / 'there'}", *PATIENT])
    found = Path(named.model.versions["mine@1"].adapter)
    assert found.is_relative_to(there.folder.resolve()) and not (there.folder / "mine@2").exists()
    assert (found / "adapter_model.safetensors").read_bytes() == b"weights"
    # A configuration that was saved on another machine finds its adapter again.
    moved = {"mine@1": replace(named.model.versions["mine@1"], adapter="/nowhere")}
    saved = replace(named, model=replace(named.model, versions={**named.model.versions, **moved}))
    assert relocated(saved) == named
    # Of two that register one name the second is told, and the first stays.
    third = at("third")
    trained(third.folder, "mine@1", b"later")
    with pytest.raises(LineageError, match="holds another version 'mine@1': choose another") as one:
        third.offer("mine@1")
    assert "\n" not in str(one.value)
    third.refresh("mine@1")
    assert (third.folder / "mine@1" / "adapter_model.safetensors").read_bytes() == b"weights"
    words = ["versions", f"model.shelf={url}", f"run.cache={tmp_path / 'x'}", *PATIENT]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    assert f"2 of them on the shelf, {url}" in " ".join(capsys.readouterr().out.split())
    between.refuse = lambda method, path: (403, "AccessDenied")
    with pytest.raises(SystemExit, match="1"):
        main(words)
    said = capsys.readouterr().err
    assert "permission is denied" in said and said.count("\n") == 1


def test_a_saved_url_is_trusted_in_the_bucket_of_its_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    copy = tmp_path / "copy"
    config = compose.load(["run.cache=s3://bucket/cache", f"run.storage.copy={copy}"])
    config = replace(config, model=replace(config.model, shelf="s3://bucket/shelf"))
    for marks in (False, True):
        if marks:
            mark(copy)
        kept = str(copy) if marks else ".cache"
        mine = at_home(config, tmp_path, "s3://bucket/runs/first")
        assert (mine.run.cache, mine.model.shelf) == ("s3://bucket/cache", "s3://bucket/shelf")
        for url in ("s3://other/runs/first", None):
            theirs = at_home(config, tmp_path, url)
            assert (theirs.run.cache, theirs.model.shelf) == (".cache", "versions")
        assert mine.run.cache_folder == theirs.run.storage.copy == kept


LONG = replace(QUICK, lease_s=3600.0)
"""In which no lease is renewed by itself."""


def hold(store: Store, holder: Holder) -> None:
    """Put the lease of another one."""
    store.write(f"{FOLDER}/other", json.dumps(asdict(holder)).encode())


def never(seconds: float) -> None:
    raise AssertionError("nobody is waited for")


def test_one_process_at_a_time_holds_a_url(between: Between, url: str) -> None:
    store, said = Store(url, LONG), list[str]()
    with Lease(store, said.append, never) as first:
        with pytest.raises(LineageError, match="is being written by process"):
            Lease(store, said.append, never).__enter__()
        assert said == []
        # On another machine it is one that is renewed while it is looked at.
        first.holder = replace(first.holder, space="elsewhere")
        first.renew()
        with pytest.raises(LineageError, match="is being written by process") as told:
            Lease(store, said.append, lambda seconds: first.renew()).__enter__()
        assert "\n" not in str(told.value) and len(said) == 1 and "which may be dead" in said[0]
        assert store.below(FOLDER) == [first.name.rpartition("/")[2]]
        first.check()
        # One that ends while it is waited for.
        waiting = Lease(store, said.append, lambda seconds: first.__exit__(None, None, None))
        with waiting:
            assert store.below(FOLDER) == [waiting.name.rpartition("/")[2]]
    assert store.below(FOLDER) == []


def test_a_dead_one_s_lease_ends(between: Between, url: str, tmp_path: Path) -> None:
    store = Store(url, LONG)
    mine = Lease(store, print, never).holder
    # On this machine it is known at once, also where another process has its number now.
    for process, started in ((mine.process, mine.started - 60), (2**30, mine.started)):
        hold(store, replace(mine, process=process, started=started))
        with Lease(store, print, never):
            pass
        assert store.below(FOLDER) == []
    # Of another machine it is waited for; should it only sleep, it publishes nothing afterwards.
    with Lease(store, print, never) as asleep:
        asleep.holder = replace(asleep.holder, space="elsewhere", lasts_s=0.05)
        asleep.renew()
        waited: list[float] = []
        with Lease(store, print, waited.append):
            # On a busy machine it is old by the store's clock already.
            assert set(waited) <= {0.05 / 6}
            asleep.renew()
            with pytest.raises(LineageError, match="was taken over by another process"):
                asleep.check()
            folder = written(tmp_path / "run")
            with (
                pytest.raises(LineageError, match="nothing more is published"),
                Mirror(folder, store, print, check=asleep.check),
            ):
                pass
            assert MARK not in store.sizes()
    assert store.below(FOLDER) == []
    store.write(f"{FOLDER}/other", b"{}")
    with pytest.raises(LineageError, match="other is damaged"):
        Lease(store, print, never).__enter__()
