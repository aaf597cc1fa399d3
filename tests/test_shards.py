"""Runs in shards: cut by pure rules, and lived on Ray nodes of this machine that are killed.

The engine is the surrogate, hosted, so the log is to be that of a run in one process.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest
from helpers import run, surrogate, timeless
from ray.cluster_utils import Cluster as Nodes
from raynodes import NODE, cluster

from lineage.core.errors import LineageError
from lineage.core.seeds import derive
from lineage.models.routing import less_loaded
from lineage.runs.parts import Deaths, Member, cut, share, working_on

HOSTED = ("engine.hosted=true", "engine.start_timeout_s=120", "engine.max_restarts=5")
WIDE = ("experiment.lineages=6", "arms.names=[inherit,shuffled,cold,oracle]")


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


def test_shards_of_an_engine_in_this_process_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match=r"engine\.hosted=true"):
        run(surrogate(tmp_path, "run.shards=2"), tmp_path / "runs" / "x")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head, which this process is on, and two more."""
    with pytest.MonkeyPatch.context() as patch:
        # The workers of a node look for modules where it was told to: for `deadly` of the tests.
        told = os.environ.get("PYTHONPATH")
        here = str(Path(__file__).parent)
        patch.setenv("PYTHONPATH", os.pathsep.join((here, told) if told else (here,)))
        with cluster(*[{"num_cpus": 3}] * 3) as made:
            yield made


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The log of the run as one process makes it."""
    tmp = tmp_path_factory.mktemp("local")
    run(surrogate(tmp, *WIDE), tmp / "runs" / "x")
    return timeless(tmp / "runs" / "x")


def processes(title: str) -> list[psutil.Process]:
    """Return what runs below this process under a `title` of Ray's."""
    found = []
    for one in psutil.Process().children(recursive=True):
        try:
            if " ".join(one.cmdline()).startswith(title):
                found.append(one)
        except psutil.Error:
            continue
    return found


def during(folder: Path, finished: int, act: Callable[[], None]) -> threading.Thread:
    """Let a thread `act` once so many generations of the run in `folder` are finished."""

    def wait() -> None:
        for _ in range(2_000):
            if len(list(folder.glob("done/*.json"))) >= finished:
                act()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("shards", [2, 3, 5])
def test_the_log_is_the_same_whatever_the_number_of_shards(
    nodes: Nodes, local: list[dict[str, Any]], tmp_path: Path, shards: int
) -> None:
    folder = tmp_path / "runs" / "x"
    run(surrogate(tmp_path, *WIDE, *HOSTED, f"run.shards={shards}"), folder)
    assert timeless(folder) == local
    record = json.loads((folder / "run.json").read_text())
    assert record["faults"] == {"shards": 0} and record["given_up"] == []
    assert not processes("ray::Shard") and not processes("ray::Host")
    assert not list(folder.glob("journal/*"))


@pytest.mark.parametrize("title", ["ray::Shard", "ray::Host"])
def test_a_shard_or_an_engine_that_is_killed_costs_no_step(
    nodes: Nodes, local: list[dict[str, Any]], tmp_path: Path, title: str
) -> None:
    folder, killed = tmp_path / "runs" / "x", list[int]()

    def kill() -> None:
        victim = processes(title)[0]
        killed.append(victim.pid)
        victim.kill()

    thread = during(folder, 10, kill)
    slow = ("run.lineages_in_flight=3", "log.journal_steps=1")
    run(surrogate(tmp_path, *WIDE, *HOSTED, *slow, "run.shards=3"), folder)
    thread.join()
    assert killed and timeless(folder) == local
    record = json.loads((folder / "run.json").read_text())
    assert record["faults"] == {"shards": int(title == "ray::Shard")}


def test_a_lineage_that_kills_its_shard_is_given_up_and_the_others_finish(
    nodes: Nodes, tmp_path: Path
) -> None:
    config = surrogate(tmp_path)
    seed = derive("home", config.experiment.name, config.experiment.seed, 1)
    deadly = ("suite._target_=deadly.Deadly", f"+suite.deadly=codebook-{seed:x}")
    arms = "arms.names=[inherit,shuffled,cold,oracle]"
    folder = tmp_path / "runs" / "x"
    none = "experiment.probes.dissimilar=0"
    run(surrogate(tmp_path, *HOSTED, *deadly, arms, none, "run.shards=3"), folder)
    record = json.loads((folder / "run.json").read_text())
    # The borrowers of pair 1's own, and whoever borrows from it.
    given = {"001-inherit", "001-shuffled", "001-cold", "001-oracle", "000-shuffled"}
    assert set(record["given_up"]) == given
    whole = {file.name.rpartition("-g")[0] for file in folder.glob("done/*-g03.json")}
    every = {f"{pair:03d}-{arm}" for pair in range(3) for arm in config_arms(arms)}
    assert whole == every - given


def config_arms(override: str) -> list[str]:
    return override.partition("[")[2].rstrip("]").split(",")


def test_a_node_that_is_killed_with_its_raylet_costs_no_step(
    nodes: Nodes, local: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "x"
    lost = nodes.add_node(num_cpus=3, **NODE)
    thread = during(folder, 10, lambda: nodes.remove_node(lost, allow_graceful=False))
    slow = ("run.lineages_in_flight=4", "log.journal_steps=1")
    run(surrogate(tmp_path, *WIDE, *HOSTED, *slow, "run.shards=4"), folder)
    thread.join()
    assert timeless(folder) == local
    assert json.loads((folder / "run.json").read_text())["faults"]["shards"] >= 1
