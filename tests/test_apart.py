"""Shards on nodes that see no folder of the run: each works in one of its own, and publishes it.

They share this machine's disk, and are kept from knowing that.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from helpers import run, surrogate, timeless
from ray.cluster_utils import Cluster as Nodes
from raynodes import cluster, processes
from s3 import make_bucket, point, serving

from lineage import compose
from lineage.cli import main
from lineage.log.place import Place
from lineage.log.publish import Mirror
from lineage.log.sittings import Fault, met, read_sittings
from lineage.log.store import Store
from lineage.runs import spread
from lineage.runs.apart import APART, Apart, of_lineages, own_folder
from lineage.runs.folder import worked_on
from lineage.runs.stored import read_from

ROOT = "s3://apart/runs"
WIDE = (
    *("experiment.lineages=4", "arms.names=[inherit,shuffled]"),
    *("arms.baseline=shuffled", "arms.ceiling=inherit"),
)


@pytest.fixture(scope="module")
def bucket() -> Iterator[None]:
    with serving() as address, pytest.MonkeyPatch.context() as patch:
        make_bucket(address, "apart")
        point(patch, address)
        yield


@pytest.fixture(scope="module")
def nodes(bucket: None) -> Iterator[Nodes]:
    """Two nodes, whose workers have the environment of this process."""
    with cluster({"num_cpus": 1}, {"num_cpus": 1}) as made:
        yield made


def test_a_shard_fetches_what_is_of_its_lineages() -> None:
    mine = of_lineages({"001-cold", "001-inherit"})
    for name in (
        *("done/001-cold-g00.json", "steps/arm=cold/generation=0/001-cold.parquet"),
        *("knowledge/arm=inherit/generation=3/001-inherit.parquet",),
        "worlds/arm=cold/generation=0/compacted.parquet",
    ):
        assert mine(name), name
    for name in (
        *("done/011-cold-g00.json", "steps/arm=cold/generation=0/002-cold.parquet", "run.json"),
        *("sittings.json", "done/001-cold.json", "training/001-cold.parquet", ".shard-0001"),
    ):
        assert not mine(name), name


def test_each_shard_has_a_folder_of_its_own(tmp_path: Path) -> None:
    one = compose.load([f"run.cache={tmp_path}"]).run
    places = {own_folder(one, f"{ROOT}/{name}", node, 0) for name in "ab" for node in "nm"}
    places.add(own_folder(one, f"{ROOT}/a", "n", 1))
    assert len(places) == 5 and all(place.is_relative_to(tmp_path / APART) for place in places)


def test_what_a_donor_left_is_brought_and_not_put_again(bucket: None, tmp_path: Path) -> None:
    alone = ("arms.names=[inherit]", "arms.ceiling=inherit", "arms.baseline=inherit")
    config = surrogate(tmp_path, "experiment=tiny", "experiment.lineages=2", *alone)
    made, url = tmp_path / "runs" / "x", "s3://apart/donor"
    run(config, made)
    place = Place("inherit", 1, "001-inherit", 0)
    places = [place, Place("inherit", 1, "001-inherit", 1)]

    async def lived() -> None:
        apart = Apart(tmp_path / "own", url, config.run, ["000-inherit"])
        await apart.begin(3, b"0 node")
        assert not await apart.left(places)
        with Mirror(made, Store(url, config.run.storage), print):
            pass
        assert await apart.left(places)
        found = {one.name for one in (tmp_path / "own").rglob("*") if one.is_file()}
        assert found == {"001-inherit.parquet", "001-inherit-g00.json", "001-inherit-g01.json"}
        own = tmp_path / "own" / "done" / "000-inherit-g00.json"
        own.write_bytes(b"{}")
        put = list[str]()
        apart.store.write = lambda name, data: put.append(name)  # type: ignore[method-assign]
        await apart.publish()
        assert put == ["done/000-inherit-g00.json"]
        await apart.end()
        assert not (tmp_path / "own").exists()

    asyncio.run(lived())
    assert Store(url, config.run.storage).read(".shard-0003") == b"0 node"


@pytest.mark.cluster
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("undrawn")
def test_the_log_of_shards_without_a_shared_disk_is_that_of_one_process(
    nodes: Nodes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def none_sees(folder: Path, nodes: Sequence[str]) -> frozenset[str]:
        return frozenset()

    monkeypatch.setattr(spread, "seeing", none_sees)
    run(surrogate(tmp_path, *WIDE), tmp_path / "runs" / "local")
    config = surrogate(tmp_path, *WIDE, f"run.root={ROOT}")
    store, killed = Store(f"{ROOT}/x", config.run.storage), list[int]()

    def kill() -> None:
        for _ in range(6_000):
            if sum(name.startswith("done/") for name in store.sizes()) >= 4:
                victim = processes("ray::Shard")[0]
                victim.kill()
                killed.append(victim.pid)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    given = ("engine=surrogate", "agent.docs=true", *WIDE, f"run.cache={tmp_path / 'cache'}")
    where = (f"run.root={ROOT}", "run.name=x", f"run.ray_address={nodes.address}", "run.shards=2")
    slow = ("run.lineages_in_flight=2", "log.journal_steps=1", "run.storage.every_s=0.2")
    with pytest.raises(SystemExit) as ended:
        main(["run", *given, *where, *slow, "engine.start_timeout_s=120"])
    thread.join()
    told = capsys.readouterr()
    assert not ended.value.code and killed, told.err
    assert "2 shards on 2 nodes, each in a folder of its own" in told.out
    folder, local = worked_on(config.run, f"{ROOT}/x"), timeless(tmp_path / "runs" / "local")
    assert timeless(folder) == local
    assert timeless(read_from(config.run, f"{ROOT}/x")) == local
    assert met(read_sittings(folder)) == {Fault.SHARD_DIED: 1}
    left = [one for one in (tmp_path / "cache" / APART).rglob("*") if one.is_file()]
    assert [one.name for one in left] == [".lineage"]
    assert not [name for name in store.sizes() if ".shard" in name]
