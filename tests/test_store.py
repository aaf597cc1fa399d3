"""Storage by URL: order, patience, refusals, and a mirror, on a real S3-compatible server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3 import KEYS, Between, make_bucket, serving

from lineage.core.config import StorageConfig
from lineage.core.errors import LineageError
from lineage.core.urls import check_url, url_in, url_of
from lineage.log.publish import Mirror, fetch, in_order, is_published
from lineage.log.store import StorageError, Store

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
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
            monkeypatch.setenv(name, value)
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
