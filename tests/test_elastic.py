"""Replicas whose number follows the load: by pure rules, and in a Ray that gets a node late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import ray
from helpers import run, surrogate, timeless
from ray.cluster_utils import Cluster as Nodes
from raynodes import NODE, cluster

from lineage import compose
from lineage.core.config_engine import ReplicasConfig
from lineage.core.errors import LineageError
from lineage.log.record import read_record
from lineage.metrics import summarise
from lineage.models.cluster import Cluster
from lineage.models.factory import make_engine
from lineage.models.fleet import Fleet
from lineage.models.health import Health, State
from lineage.models.host import Host, Leaving
from lineage.models.protocol import Completion, Example, Request, Turn
from lineage.models.scaling import Scale, Standing, Step
from lineage.report.headline import provenance
from lineage.runs.folder import write_described
from lineage.runs.plan import prepare
from lineage.runs.spread import Spread

BOUNDS = ReplicasConfig(1, 3, None, upscale_delay_s=2.0, downscale_delay_s=5.0)
VERSION = "smollm2-135m@r0"
QUICK = (
    "engine.replicas={min: 1, max: 2, target_in_flight: 2, upscale_delay_s: 0.1, "
    "downscale_delay_s: 0.5}"
)


def looked(scale: Scale, *looks: Standing) -> tuple[Scale, list[Step]]:
    """Return what comes of looks a second apart."""
    steps = []
    for one in looks:
        scale, step = scale.looked(one, 1.0)
        steps.append(step)
    return scale, steps


def test_one_more_comes_once_the_load_has_lasted() -> None:
    busy, calm = Standing(9, 1), Standing(4, 1)
    scale = Scale(BOUNDS, 4)
    assert [scale.wanted(load) for load in (0, 4, 5, 8, 9, 99)] == [1, 1, 2, 2, 3, 3]
    assert looked(scale, busy, busy)[1] == [Step.STAY, Step.MORE]
    assert looked(scale, busy, calm, busy)[1] == [Step.STAY] * 3
    assert looked(scale, busy, busy, busy, busy)[1].count(Step.MORE) == 2
    # While one waits for its place nobody asks for another.
    waiting = Standing(99, 1, coming=True)
    assert set(looked(scale, *[waiting] * 9)[1]) == {Step.STAY}


def test_no_more_come_than_the_bounds_say_and_what_failed_counts() -> None:
    scale = Scale(BOUNDS, 4)
    assert set(looked(scale, *[Standing(99, 3)] * 9)[1]) == {Step.STAY}
    assert set(looked(scale, *[Standing(99, 2, lost=1)] * 9)[1]) == {Step.STAY}
    assert Step.MORE in looked(scale, *[Standing(0, 0, lost=1)] * 2)[1], "fewer than min"


def test_one_fewer_goes_once_it_has_not_been_needed_for_long() -> None:
    scale, idle = Scale(BOUNDS, 4), Standing(4, 2)
    assert looked(scale, *[idle] * 5)[1] == [Step.STAY] * 4 + [Step.LESS]
    assert looked(scale, *[idle] * 4, Standing(5, 2), *[idle] * 4)[1] == [Step.STAY] * 9
    assert set(looked(scale, *[Standing(0, 1)] * 9)[1]) == {Step.STAY}, "never below min"
    # One that waits in vain is given up first.
    assert looked(scale, *[Standing(0, 1, coming=True)] * 5)[1][-1] is Step.LESS


def test_whatever_the_load_they_stay_within_the_bounds() -> None:
    draw, scale, serving, coming = Random(0), Scale(BOUNDS, 4), 1, False
    for _ in range(3_000):
        load = draw.choice((0, 0, 3, 7, 13, 40))
        for _ in range(draw.randrange(8)):
            scale, step = scale.looked(Standing(load, serving, coming), 1.0)
            if step is Step.MORE:
                assert not coming
                coming = True
            elif step is Step.LESS and coming:
                coming = False
            elif step is Step.LESS:
                serving -= 1
            elif coming and draw.random() < 0.3:
                serving, coming = serving + 1, False
            assert 1 <= serving <= serving + coming <= 3


def test_who_is_drained_is_restarted_no_more() -> None:
    health = Health(2).started().draining()
    assert health.state is State.DRAINING
    assert health.died("late") == health == health.restarting() == health.started()
    assert health.released().state is State.RELEASED
    assert Health(2).draining() == Health(2), "who starts has nothing to end"


def test_a_host_that_is_drained_ends_what_it_has_and_begins_nothing() -> None:
    class Engine:
        async def generate(self, asked: Any) -> Completion:
            await asyncio.sleep(0.05)
            return Completion(text="yes")

    async def drained() -> None:
        nothing: Any = None
        host = Host(nothing)
        host.engine = Engine()  # type: ignore[assignment]
        open_ = asyncio.create_task(host.generate(request(0)))
        await asyncio.sleep(0)
        assert host.open == 1
        ending = asyncio.create_task(host.drain())
        await asyncio.sleep(0)
        with pytest.raises(Leaving):
            await host.generate(request(1))
        await ending
        assert open_.done() and (await open_).text == "yes" and host.open == 0

    asyncio.run(drained())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("0", "engine.replicas is 0: it must be 1 or more (actors a checkpoint)"),
        ("many", "engine.replicas is 'many': it must be a whole number"),
        ("null", "engine.replicas is null: it must be a whole number"),
        ("{min: 0, max: 2}", "engine.replicas.min is 0: it must be 1 or more (actors a check"),
        ("{min: 1}", "conf key 'engine.replicas.max' has no value: set it"),
        ("{min: 3, max: 2}", "engine.replicas.max is 2, less than engine.replicas.min (3)"),
        (
            "{min: 1, max: 2, upscale_delay: 3}",
            "unknown conf key 'engine.replicas.upscale_delay': did you mean "
            "'engine.replicas.upscale_delay_s'?",
        ),
    ],
)
def test_wrong_bounds_are_one_line(given: str, said: str) -> None:
    with pytest.raises(LineageError) as raised:
        compose.load([f"engine.replicas={given}"])
    assert str(raised.value).startswith(said)


def test_bounds_change_no_hash_and_are_saved_and_read(tmp_path: Path) -> None:
    plain, bounded = compose.load([]), compose.load([QUICK])
    assert plain.engine.replicas == 1 and plain.engine.bounds == ReplicasConfig(1, 1)
    assert compose.config_hash(plain) == compose.config_hash(bounded)
    file = tmp_path / "config.yaml"
    file.write_text(compose.to_yaml(bounded))
    assert compose.load_file(file) == bounded
    file.write_text(compose.to_yaml(plain))
    assert "\n  replicas: 1\n" in file.read_text()


def request(number: int, version: str = VERSION) -> Request:
    turns = (Turn("user", f"What is the code of pump {number}?"),)
    return Request(f"q{number}", version, turns, 8, 0.0, number)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head with room for one engine."""
    with cluster({"num_cpus": 1}) as made:
        yield made


async def until(found: Any) -> None:
    """Wait until `found` gives something true, for as long as it takes a busy machine."""
    for _ in range(6_000):
        if found():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came")


async def _grown_and_drained(made: Fleet, nodes: Nodes, tmp_path: Path) -> None:
    answers, busy = list[Completion](), True

    async def ask(number: int) -> None:
        while busy:
            answers.append(await made.generate(request(number)))

    try:
        await made.start([VERSION])
        assert made.following is not None
        (among,), (elastic,) = made.replicas.values(), made.following.elastic
        asking = [asyncio.create_task(ask(number)) for number in range(8)]
        await until(lambda: elastic.coming is not None)
        # There is no room for it: it waits, and nobody waits for it.
        before = len(answers)
        await until(lambda: len(answers) > before + 100)
        assert len(among) == 1 and elastic.coming is not None
        learnt = (Example((Turn("assistant", "7413"),)),)
        await made.adapt("later", VERSION, learnt, tmp_path / "later", 0)
        nodes.add_node(num_cpus=1, **NODE)
        await until(lambda: len(among) == 2)
        assert [one.name for one in among[1].deployment.added] == ["later"]
        asked: Completion = await among[1].actor.generate.remote(request(0, "later"))
        assert asked.text and not asked.error
        await until(lambda: among[1].open > 0)
        busy = False
        await asyncio.gather(*asking)
        await until(lambda: among[1].health.state is State.RELEASED)
        assert not (await made.generate(request(0))).error
        counts = [one["replicas"] for one in made.describe()["scaled"]]
        assert counts == [1, 2, 1] and made.faults() == {}
        assert not [one for one in answers if one.error]
        alike = {(one.prompt, one.text) for one in answers}
        assert len(alike) == len({prompt for prompt, _ in alike}) == 8
    finally:
        busy = False
        await made.close()


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_one_more_waits_for_a_node_and_is_drained_when_it_is_idle(
    nodes: Nodes, tmp_path: Path
) -> None:
    words = ("engine=surrogate", "engine.hosted=true", f"run.ray_address={nodes.address}")
    made = make_engine(compose.load([*words, QUICK, f"run.cache={tmp_path}"]), adaptable=True)
    assert isinstance(made, Fleet)
    asyncio.run(_grown_and_drained(made, nodes, tmp_path))


@pytest.mark.cluster
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("undrawn")
def test_the_log_of_a_run_in_shards_is_the_same_however_many_replicas_there_are(
    nodes: Nodes, tmp_path: Path
) -> None:
    if len(nodes.list_all_nodes()) == 1:
        nodes.add_node(num_cpus=1, **NODE)
    wide = ("experiment.lineages=12", "arms.names=[inherit,cold]", "arms.ceiling=inherit")
    run(surrogate(tmp_path, *wide), tmp_path / "local" / "x")
    folder, slow = tmp_path / "runs" / "x", ("log.journal_steps=1", "engine.start_timeout_s=120")
    bounds = QUICK.replace("downscale_delay_s: 0.5", "downscale_delay_s: 60")
    where = f"run.ray_address={nodes.address}"
    run(surrogate(tmp_path, *wide, *slow, bounds, where, "run.shards=2"), folder)
    assert timeless(folder) == timeless(tmp_path / "local" / "x")
    counts = [one["replicas"] for one in read_record(folder)["engine"]["scaled"]]
    assert counts == [1, 2]
    assert "engine surrogate, 1 to 2 replicas, device cpu" in provenance(summarise(folder))


@pytest.mark.cluster
def test_a_shard_may_be_on_a_node_that_joined_later(nodes: Nodes, tmp_path: Path) -> None:
    folder, config = tmp_path / "x", surrogate(tmp_path, "experiment=tiny")
    write_described(folder, {"run": "x"}, config)
    here = ray.get_runtime_context().get_node_id()
    later = Spread(prepare(config), folder, Cluster(None, 1), frozenset({here}), 2)
    joined = nodes.add_node(num_cpus=1, **NODE)
    assert joined.node_id not in later.nodes
    assert joined.node_id in asyncio.run(later._there())
