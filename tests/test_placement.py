"""Where engines are placed: by pure rules, and in Rays that are told to have GPUs.

The engine is the surrogate, which books what vLLM's would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util.placement_group import placement_group_table
from raynodes import NODE, cluster, place

from lineage import compose
from lineage.core.config_engine import CheckpointConfig
from lineage.core.errors import LineageError
from lineage.models.factory import make_engine
from lineage.models.fleet import Fleet
from lineage.models.placement import bundles, fits, no_room, single
from lineage.models.profile import resolve

BASE, OTHER = "smollm2-135m@r0", "other@r0"
SLOW = "engine.start_timeout_s=20"
"""For fleets whose first engines start."""


def booked(*overrides: str, gpus: bool = True) -> list[dict[str, float]]:
    config = compose.load(list(overrides)).engine
    return bundles(resolve(config, gpus), config.vllm.cpus)


def parallel(tensor: int, pipeline: int = 1) -> list[str]:
    return [f"engine.vllm.tensor_parallel={tensor}", f"engine.vllm.pipeline_parallel={pipeline}"]


def test_an_engine_is_one_bundle_and_a_stage_is_one_too() -> None:
    assert booked(gpus=False) == [{"CPU": 1.0}]
    assert booked(*parallel(2, 2), gpus=False) == [{"CPU": 1.0}]
    assert booked("engine.vllm.gpus=0.5") == [{"CPU": 1.0, "GPU": 0.5}]
    assert booked("engine.vllm.gpus=0") == [{"CPU": 1.0}]
    assert booked(*parallel(2)) == [{"CPU": 1.0, "GPU": 2.0}]
    stages = booked(*parallel(2, 3))
    assert stages == [{"CPU": 1.0, "GPU": 2.0}, {"GPU": 2.0}, {"GPU": 2.0}]
    alone = single(stages)
    assert [stage for stage, _ in alone] == [0, 0, 1, 1, 2, 2]
    assert [one for _, one in alone] == [{"CPU": 1.0, "GPU": 1.0}] + [{"GPU": 1.0}] * 5


def nodes(*gpus: float, cpus: float = 4.0) -> list[dict[str, float]]:
    return [{"CPU": cpus} | ({"GPU": one} if one else {}) for one in gpus]


def test_bundles_fit_where_each_has_a_node() -> None:
    two = [{"CPU": 1.0, "GPU": 2.0}]
    assert fits(two, nodes(2)) and fits(two * 2, nodes(3, 3)) and fits(two * 3, nodes(1, 4, 3))
    assert not fits(two, nodes(1, 1)) and not fits(two * 2, nodes(3)) and not fits(two, [])
    assert fits([{"GPU": 0.1}] * 10, nodes(1)) and not fits([{"GPU": 0.1}] * 11, nodes(1))
    # The bundle with processors goes where these are, whoever is placed first.
    assert fits([{"GPU": 2.0}, {"CPU": 1.0, "GPU": 2.0}], [{"CPU": 1, "GPU": 2}, {"GPU": 2}])


@pytest.mark.parametrize(
    ("tensor", "pipeline", "engines", "has", "words"),
    [
        (2, 1, 1, [1], "needs 1 CPU and 2 GPUs on one node (it has 4 CPUs and 1 GPU): lower engi"),
        (2, 1, 1, [1], "lower engine.vllm.tensor_parallel, or engine.vllm.gpus where that is set"),
        (4, 1, 1, [3, 3], "(it has 8 CPUs and 6 GPUs, at most 3 GPUs on a node)"),
        (4, 1, 1, [3, 3], "or spread the engine over nodes with engine.vllm.pipeline_parallel"),
        (2, 4, 1, [3, 3], "an engine that needs 4 stages of 2 GPUs, each on one node (it has"),
        (2, 4, 1, [3, 3], "lower engine.vllm.pipeline_parallel"),
        (2, 3, 1, [1, 3, 3], "lower engine.vllm.tensor_parallel: the GPUs of a stage are on one"),
        (1, 1, 3, [1, 1], "3 engines that each need 1 CPU and 1 GPU (it has 8 CPUs and 2 GPUs"),
        (1, 1, 3, [1, 1], "lower engine.replicas, or let engines share a GPU with engine.vllm.gp"),
        (1, 1, 9, [9], "lower engine.replicas or engine.vllm.cpus"),
        (1, 1, 2, [2], "others have booked it: wait for them, or lower engine.replicas"),
    ],
)
def test_too_little_room_says_what_there_is_and_what_to_lower(
    tensor: int, pipeline: int, engines: int, has: list[float], words: str
) -> None:
    said = no_room(booked(*parallel(tensor, pipeline)), engines, nodes(*has))
    assert said.startswith("Ray found no room for ") and words in said and "\n" not in said


def fleet(tmp_path: Path, *overrides: str) -> Fleet:
    """Return a fleet over two checkpoints: a stand-in of each of two models."""
    words = ["engine=surrogate", "engine.hosted=true", "engine.start_timeout_s=60"]
    config = compose.load([*words, f"run.cache={tmp_path}", *overrides])
    held = CheckpointConfig(kind="folder", path=str(tmp_path / "other"))
    other = replace(config.model.versions[BASE], checkpoint=held)
    versions = {**config.model.versions, OTHER: other}
    made = make_engine(replace(config, model=replace(config.model, versions=versions)))
    assert isinstance(made, Fleet)
    return made


def gpus_by_node() -> dict[str, float]:
    return {node["NodeID"]: node["Resources"].get("GPU", 0.0) for node in ray.nodes()}


def left() -> float:
    return float(ray.available_resources().get("GPU", 0.0))


async def until_left(gpus: float) -> None:
    """Wait until Ray has told its driver that so many GPUs are free, or it will not."""
    for _ in range(200):
        if left() == gpus:
            return
        await asyncio.sleep(0.1)


def placed(made: Fleet, *versions: str) -> dict[str, Any]:
    """Start `made` and return where its engines are, what is left, and what its record says."""

    async def start() -> dict[str, Any]:
        try:
            await until_left(sum(gpus_by_node().values()))
            await made.start(versions)
            groups = [one.group for among in made.replicas.values() for one in among]
            tables = [placement_group_table(group) for group in groups]
            engines = [[one for _, one in sorted(table["bundles"].items())] for table in tables]
            booked = sum(one.get("GPU", 0.0) for engine in engines for one in engine)
            await until_left(sum(gpus_by_node().values()) - booked)
            return {
                "bundles": engines,
                "nodes": [
                    [node for _, node in sorted(table["bundles_to_node_id"].items())]
                    for table in tables
                ],
                "left": left(),
                "spare": made.spare_gpus(),
                "record": made.describe(),
            }
        finally:
            await made.close()

    return asyncio.run(start())


def refused(made: Fleet, *versions: str) -> str:
    with pytest.raises(LineageError) as raised:
        placed(made, *versions)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture(scope="module")
def one_gpu() -> Iterator[None]:
    """A Ray of one node that says it has four processors and a GPU."""
    with place() as folder:
        ray.init(
            num_cpus=4,
            num_gpus=1,
            log_to_driver=False,
            _temp_dir=folder,
            **NODE,
        )
        yield


@pytest.mark.cluster
@pytest.mark.usefixtures("one_gpu")
def test_two_engines_share_a_gpu_and_more_find_no_room_or_have_turns(tmp_path: Path) -> None:
    half = "engine.vllm.gpus=0.5"
    found = placed(fleet(tmp_path, half), BASE, OTHER)
    assert found["bundles"] == [[{"CPU": 1.0, "GPU": 0.5}]] * 2
    assert (found["left"], found["spare"]) == (0.0, 0.0)
    record = found["record"]
    assert (record["device"], record["settings"]["gpus"]) == ("gpu", 0.5)
    more = (half, "engine.replicas=2", SLOW)
    said = refused(fleet(tmp_path, *more, "engine.together=true"), BASE, OTHER)
    assert "4 engines that each need 1 CPU and 0.5 GPUs (it has 4 CPUs and 1 GPU)" in said
    assert "lower engine.replicas" in said
    turns = fleet(tmp_path, *more)
    assert placed(turns, BASE, OTHER)["left"] == 0.0
    assert turns.serving is not None and not turns.serving.together


@pytest.mark.cluster
@pytest.mark.usefixtures("one_gpu")
def test_an_engine_may_leave_the_gpu_to_others(tmp_path: Path) -> None:
    found = placed(fleet(tmp_path, "engine.vllm.gpus=0"), BASE)
    assert found["bundles"] == [[{"CPU": 1.0}]]
    assert (found["left"], found["spare"]) == (1.0, 1.0)
    assert found["record"]["device"] == "cpu"
    assert found["record"]["settings"]["max_in_flight"] == 256


@pytest.mark.cluster
@pytest.mark.usefixtures("one_gpu")
def test_too_few_gpus_is_one_clear_line(tmp_path: Path) -> None:
    short = (*parallel(2), "engine.start_timeout_s=2")
    said = refused(fleet(tmp_path, *short), BASE)
    assert "needs 1 CPU and 2 GPUs on one node (it has 4 CPUs and 1 GPU)" in said
    assert "lower engine.vllm.tensor_parallel" in said


@pytest.fixture(scope="module")
def uneven() -> Iterator[str]:
    """The address of a cluster of three nodes, of one GPU, three and three."""
    few, many = {"num_cpus": 4, "num_gpus": 1}, {"num_cpus": 2, "num_gpus": 3}
    with cluster(few, many, many) as nodes:
        yield str(nodes.address)


@pytest.mark.cluster
def test_a_tensor_parallel_engine_is_on_one_node(uneven: str, tmp_path: Path) -> None:
    found = placed(fleet(tmp_path, *parallel(3), "engine.replicas=2"), BASE)
    assert found["bundles"] == [[{"CPU": 1.0, "GPU": 3.0}]] * 2
    where = [node for (node,) in found["nodes"]]
    assert len({*where}) == 2 and {gpus_by_node()[node] for node in where} == {3.0}
    assert found["left"] == 1.0
    assert found["record"]["settings"]["tensor_parallel"] == 3


@pytest.mark.cluster
def test_the_stages_of_an_engine_are_whole_on_uneven_nodes(uneven: str, tmp_path: Path) -> None:
    # By single GPUs Ray would put three on one node and one on another.
    found = placed(fleet(tmp_path, *parallel(2, 2)), BASE)
    assert found["bundles"] == [[{"CPU": 1.0, "GPU": 1.0}, *[{"GPU": 1.0}] * 3]]
    ((first, second, third, fourth),) = found["nodes"]
    assert first == second != third == fourth
    assert found["left"] == 3.0
    assert found["record"]["settings"]["gpus"] == 4.0


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (parallel(4), "at most 3 GPUs on a node): lower engine.vllm.tensor_parallel, or spread"),
        (parallel(2, 4), "4 stages of 2 GPUs, each on one node (it has 8 CPUs and 7 GPUs, at mo"),
        (parallel(2, 3), "lower engine.vllm.tensor_parallel: the GPUs of a stage are on one node"),
        (
            [*parallel(3), "engine.replicas=3", SLOW],
            "3 engines that each need 1 CPU and 3 GPUs on one",
        ),
    ],
)
def test_a_cluster_without_room_says_what_to_lower(
    overrides: list[str], words: str, uneven: str, tmp_path: Path
) -> None:
    said = refused(fleet(tmp_path, "engine.start_timeout_s=3", *overrides), BASE)
    assert words in said


@pytest.mark.cluster
def test_what_was_booked_is_free_again(uneven: str) -> None:
    assert sorted(gpus_by_node().values()) == [1.0, 3.0, 3.0]
    asyncio.run(until_left(7.0))
    assert left() == 7.0
