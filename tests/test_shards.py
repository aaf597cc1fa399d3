"""Runs in shards: cut by pure rules, and lived on Ray nodes of this machine that are killed.

The engine is the surrogate, hosted: the log is to be that of a run in one process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest
from helpers import run, surrogate, timeless
from ray.cluster_utils import Cluster as Nodes
from raynodes import cluster, processes

from lineage.cli import main
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.core.seeds import derive
from lineage.log.record import read_record
from lineage.log.sittings import Fault, met, read_sittings
from lineage.metrics import summarise
from lineage.models.routing import less_loaded
from lineage.report.headline import faults_words
from lineage.runs.parts import Deaths, Member, cut, in_shards, share, working_on
from lineage.runs.shard import sees

LINEAGE = (sys.executable, "-m", "lineage")
PATIENT = ("engine.start_timeout_s=120", "engine.max_restarts=5")
SLOW = ("run.lineages_in_flight=4", "log.journal_steps=1")
WIDE = ("experiment.lineages=5", "arms.names=[inherit,shuffled,cold]", "arms.ceiling=inherit")
GENERATIONS = 60
"""Of all lineages of that run."""


pytestmark = [pytest.mark.usefixtures("undrawn"), pytest.mark.timeout(900)]


def test_pairs_are_cut_into_neighbours_and_none_is_lost() -> None:
    for pairs in (1, 2, 7, 100):
        for shards in (1, 2, 3, 7, 200):
            parts = cut(range(pairs), shards)
            assert [one for part in parts for one in part] == list(range(pairs))
            assert len(parts) == min(pairs, shards)
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_shares_are_the_whole_but_never_nothing() -> None:
    assert [share(64, 3, part) for part in range(3)] == [22, 21, 21]
    assert [share(2, 4, part) for part in range(4)] == [1, 1, 1, 1]


def test_the_less_loaded_of_two_is_asked() -> None:
    draw = Random(0)
    assert less_loaded([], [], draw) is None
    assert less_loaded([3, 1], [True, True], draw) == 1
    assert less_loaded([3, 1], [True, False], draw) == 0
    assert less_loaded([3, 1], [False, False], draw) in (0, 1)
    asked = [less_loaded([5, 0, 9, 7], [True] * 4, draw) for _ in range(400)]
    # The most loaded loses to each, the least loaded wins wherever it is drawn: half the time.
    assert 2 not in asked and 150 < asked.count(1) < 250 and {0, 1, 3} == set(asked)
    loads = [0] * 50
    for _ in range(5_000):
        loads[less_loaded(loads, [True] * 50, draw) or 0] += 1
    assert max(loads) - min(loads) <= 6


A, B, C, D = Member("a"), Member("b", borrows=True), Member("c"), Member("d")


def test_a_shard_works_on_those_alone_then_in_order_then_borrowers() -> None:
    assert working_on([A, B, C, D], (), 2) == ["a", "c"]
    assert working_on([A, B, C, D], ("c",), 2) == ["c"]
    assert working_on([A, B, D], ("b",), 3) == ["a", "d"]
    assert working_on([B], ("b",), 3) == ["b"]
    assert working_on([], (), 3) == []


def test_only_what_kills_alone_is_given_up() -> None:
    stands = {"a": (0, 0), "c": (0, 0), "d": (0, 0)}
    deaths = Deaths()
    for _ in range(2):
        deaths = deaths.died([A, C, D], stands, 8)
    assert deaths.alone == ("a", "c", "d") and not deaths.given_up
    # a finished by itself; c has the shard now.
    deaths = deaths.died([A, C, D], {"c": (0, 0), "d": (0, 0)}, 8)
    assert deaths.given_up == ("c",) and deaths.alone == ("d",)


def test_a_lineage_that_comes_further_is_never_given_up() -> None:
    deaths = Deaths()
    for size in range(20):
        deaths = deaths.died([A], {"a": (0, size)}, 8)
    assert not deaths.given_up and not deaths.alone


def test_a_node_sees_a_run_where_it_reads_its_record(tmp_path: Path) -> None:
    assert not sees(tmp_path, b"this run")
    (tmp_path / "run.json").write_bytes(b"another run")
    assert not sees(tmp_path, b"this run") and sees(tmp_path, b"another run")


def test_shards_of_a_driver_outside_its_cluster_are_one_line(tmp_path: Path) -> None:
    where = ("run.ray_address=ray://127.0.0.1:10001", "run.shards=2")
    with pytest.raises(LineageError, match=r"^run\.shards is 2, and ray://\S+ is joined from out"):
        run(surrogate(tmp_path, *where), tmp_path / "runs" / "x")


def test_a_run_in_a_ray_of_its_own_has_no_shards_unless_asked(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "x"
    # Of two pairs, which could be cut.
    alone = ("arms.names=[inherit]", "arms.ceiling=inherit", "arms.baseline=inherit")
    config = surrogate(tmp_path, "experiment=tiny", "experiment.lineages=2", *alone)
    assert not in_shards(config) and in_shards(replace(config, run=replace(config.run, shards=2)))
    run(config, folder)
    assert not list(folder.glob(".shard-*")) and failed(folder) == {}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head, which this process is on, and two more."""
    with pytest.MonkeyPatch.context() as patch:
        # The workers of a node look for modules where it was told to: for `deadly` of the tests.
        told = os.environ.get("PYTHONPATH")
        here = str(Path(__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join((here, told) if told else (here,)))
        with cluster(*[{"num_cpus": 1}] * 3) as made:
            yield made


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The log of the run as one process makes it."""
    tmp = tmp_path_factory.mktemp("local")
    run(surrogate(tmp, *WIDE), tmp / "runs" / "x")
    return timeless(tmp / "runs" / "x")


def during(folder: Path, finished: int, shards: int, act: Callable[[], None]) -> threading.Thread:
    """Let a thread `act` once so many generations of the run in `folder` are finished.

    And once so many `shards` are at work.
    """

    def wait() -> None:
        for _ in range(12_000):
            done, begun = folder.glob("done/*.json"), folder.glob(".shard-*")
            if len(list(done)) >= finished and len(list(begun)) >= shards:
                act()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def failed(folder: Path) -> dict[str, int]:
    """Return what failed in a run and was mended."""
    found = met(read_sittings(folder))
    assert found is not None
    return found


def wide(tmp: Path, *overrides: str) -> Config:
    """Return the run of `local` in shards, slow enough to be killed in the midst of it."""
    return surrogate(tmp, *WIDE, *PATIENT, *SLOW, *overrides)


@pytest.mark.cluster
def test_the_log_of_a_run_in_shards_is_that_of_one_process(
    nodes: Nodes, local: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "x"
    run(surrogate(tmp_path, *WIDE, *PATIENT, "run.shards=3"), folder)
    assert timeless(folder) == local
    assert failed(folder) == {} and "given_up" not in read_record(folder)
    ended = [one for kind in ("Shard", "Host", "Keeper") for one in processes(f"ray::{kind}")]
    assert not psutil.wait_procs(ended, timeout=120)[1]
    assert not list(folder.glob("journal/*"))


@pytest.mark.cluster
def test_a_shard_and_an_engine_that_are_killed_cost_no_step(
    nodes: Nodes, local: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder, killed = tmp_path / "runs" / "x", list[str]()

    def kill(title: str) -> None:
        processes(title)[0].kill()
        killed.append(title)

    titles = {8: "ray::Shard", 30: "ray::Host"}
    threads = [during(folder, at, 2, partial(kill, title)) for at, title in titles.items()]
    run(wide(tmp_path, "run.shards=2"), folder)
    for thread in threads:
        thread.join()
    assert sorted(killed) == ["ray::Host", "ray::Shard"] and timeless(folder) == local
    assert failed(folder) == {Fault.SHARD_DIED: 1, Fault.ENGINE_DIED: 1}


@pytest.mark.cluster
def test_a_lineage_that_kills_its_shard_is_given_up_and_the_others_finish(
    nodes: Nodes, tmp_path: Path
) -> None:
    arms = ["inherit", "shuffled"]
    named = (f"arms.names=[{','.join(arms)}]", "arms.ceiling=inherit", "arms.baseline=shuffled")
    small = surrogate(tmp_path, *PATIENT, *named, "experiment.probes.dissimilar=0", "run.shards=2")
    seed = derive("home", small.experiment.name, small.experiment.seed, 1)
    suite = {"_target_": "deadly.Deadly", "deadly": f"codebook-{seed:x}"}
    folder = tmp_path / "runs" / "x"
    run(replace(small, suite=small.suite | suite), folder)
    # All of pair 1, and who borrows from it.
    given = {"000-shuffled", *(f"001-{arm}" for arm in arms)}
    assert set(read_record(folder)["given_up"]) == given
    whole = {file.name.rpartition("-g")[0] for file in folder.glob("done/*-g03.json")}
    assert whole == {f"{pair:03d}-{arm}" for pair in range(3) for arm in arms} - given
    assert "given up: 000-shuffled, 001-" in faults_words(summarise(folder))


@pytest.mark.cluster
def test_a_run_whose_driver_and_then_keeper_are_killed_is_gone_on_with(
    nodes: Nodes, local: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "x"
    where = (f"run.root={folder.parent}", "run.name=x", f"run.cache={tmp_path / 'cache'}")
    given = ("engine=surrogate", "agent.docs=true", f"run.ray_address={nodes.address}")
    driver = subprocess.Popen(
        [*LINEAGE, "run", *given, *WIDE, *PATIENT, *SLOW, *where, "run.shards=2"]
    )
    during(folder, 10, 2, driver.kill).join()
    assert driver.wait(timeout=60) == -signal.SIGKILL
    done = len(list(folder.glob("done/*.json")))
    thread = during(folder, done + 10, 2, lambda: processes("ray::Keeper")[-1].kill())
    assert resumed(folder) == 1
    thread.join()
    said = capsys.readouterr().err.strip()
    assert "the keeper of the engines died" in said and "lineage resume" in said
    assert "\n" not in said and len(list(folder.glob("done/*.json"))) < GENERATIONS
    assert resumed(folder) == 0 and timeless(folder) == local


def resumed(folder: Path) -> int | str | None:
    """Go on with the run in `folder`, and return the exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["resume", str(folder)])
    return ended.value.code


@pytest.mark.cluster
def test_a_node_that_is_killed_with_its_raylet_costs_no_step(
    nodes: Nodes, local: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "x"

    def kill() -> None:
        for node in nodes.list_all_nodes()[1:]:
            raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
            if processes("ray::Shard", raylet):
                break
        # A worker looks only now and then whether its raylet is there: it goes with the node.
        for one in (raylet, *processes("ray::", raylet)):
            one.kill()
        nodes.remove_node(node, allow_graceful=False)

    thread = during(folder, 10, 3, kill)
    run(wide(tmp_path, "run.shards=3"), folder)
    thread.join()
    assert timeless(folder) == local
    assert failed(folder)[Fault.SHARD_DIED] >= 1
