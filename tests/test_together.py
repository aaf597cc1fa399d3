"""Engines of several checkpoints: side by side or in turn, and what a run has of either."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from helpers import run, surrogate, timeless

from lineage import compose
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.log.sittings import Fault
from lineage.models.factory import make_engine
from lineage.models.fleet import Fleet
from lineage.models.protocol import Request, Turn
from lineage.models.together import GIB, by_booking, by_memory, called, engine_bytes
from lineage.models.turns import Turns

SMALL, LARGE = "smollm2-135m@r1", "gemma3-270m@g0"
NEEDS = {"small": 3 * GIB, "large": 5 * GIB}


def test_engines_are_side_by_side_where_memory_allows() -> None:
    both = by_memory(NEEDS, 8 * GIB, None)
    assert both.together and (both.needed, both.room) == (8 * GIB, 8 * GIB)
    assert str(both) == (
        "engines side by side: 2 engines need 8.0 GiB (small 3.0 GiB, large 5.0 GiB) of 8.0 GiB "
        "that are free"
    )
    one = by_memory(NEEDS, 8 * GIB - 1, None)
    assert not one.together and str(one).startswith("engines one after the other: 2 engines need")
    assert by_memory(NEEDS, 8 * GIB, False).why == "engine.together=false"


def test_what_does_not_fit_is_refused_with_what_to_change() -> None:
    with pytest.raises(LineageError, match=r"together=true, but .*set engine\.together=null, or"):
        by_memory(NEEDS, 7 * GIB, True)
    with pytest.raises(LineageError, match=r"of large alone needs 5\.0 GiB, and 4\.0 GiB are free"):
        by_memory(NEEDS, 4 * GIB, None)


def test_on_what_ray_books_it_decides_whether_engines_fit() -> None:
    assert by_booking(2, True, None, False).together
    assert not by_booking(2, False, None, False).together
    assert by_booking(2, False, None, waits=True).together
    assert not by_booking(2, True, False, False).together


def test_an_engine_takes_weights_cache_and_its_processes_once_a_replica() -> None:
    engine = compose.load(["engine.vllm.dtype=bfloat16", "engine.vllm.cpu_kv_cache_gib=4"]).engine
    one = engine_bytes(engine, 10**9)
    assert one - engine_bytes(engine, 0) == 2 * 10**9
    assert engine_bytes(engine, 10**9, "float32") - one == 2 * 10**9
    assert 4 * GIB < engine_bytes(engine, None) < 7 * GIB
    assert engine_bytes(compose.load(["engine.replicas=2"]).engine, 0) == (
        2 * engine_bytes(compose.load([]).engine, 0)
    )


def test_checkpoints_are_called_by_what_tells_them_apart() -> None:
    assert called([[SMALL, "smollm2-135m@r0"], [LARGE]]) == ["smollm2-135m", "gemma3-270m"]
    assert called([["m@a", "m@b"], ["m@c"]]) == ["m@a", "m@c"]


def test_a_turn_ends_where_nothing_is_open_and_another_is_waited_for() -> None:
    said: list[str] = []

    async def switch(before: str, after: str) -> None:
        assert turns.open == 0
        said.append(f"{before}>{after}")
        await asyncio.sleep(0)

    async def ask(one: str, times: int) -> None:
        for _ in range(times):
            async with turns.of(one):
                assert turns.serving == one
                await asyncio.sleep(0.001)
            said.append(one)

    async def all_at_once() -> None:
        global_turns = asyncio.gather(ask("a", 3), ask("b", 2), ask("b", 2), ask("c", 1))
        gone = asyncio.create_task(ask("c", 1))
        await asyncio.sleep(0)
        gone.cancel()
        await global_turns
        await turns.close()

    turns = Turns("a", switch, 0.02)
    asyncio.run(all_at_once())
    assert said == ["a"] * 3 + ["a>b"] + ["b"] * 4 + ["b>c", "c"]
    assert turns.switches == 2 and not +turns.waiting


def test_a_switch_that_fails_is_told_to_all_that_wait() -> None:
    async def switch(before: str, after: str) -> None:
        raise LineageError("an engine did not start: no memory")

    async def ask() -> None:
        turns = Turns("a", switch, 0.001)
        for _ in range(2):
            with pytest.raises(LineageError, match="did not start: no memory"):
                async with turns.of("b"):
                    raise AssertionError("never its turn")

    asyncio.run(ask())


def two(tmp: Path, *overrides: str) -> Config:
    """Return a run of two bases on the stand-in, whose second counts tokens of four letters."""
    return surrogate(
        tmp,
        "experiment=tiny",
        "model=bases",
        f"schedule.versions=[{SMALL},{LARGE},{SMALL}]",
        "+engine.surrogate.skills={" + LARGE + ": {recall: [0.9, 0.8, 0.7, 0.6], infer: 0.4, "
        "write: 0.9, edit: 0.5, open: 0.5, obey: 0.5, finetune: 0.5, token_letters: 2}}",
        *overrides,
    )


def request(number: int, version: str) -> Request:
    turns = (Turn("user", f"What is the code of pump {number}?"),)
    return Request(f"q{number}", version, turns, 8, 0.0, number)


async def _one_dies(tmp: Path) -> None:
    made = make_engine(two(tmp, "engine.hosted=true"))
    assert isinstance(made, Fleet)
    try:
        await made.start([SMALL, LARGE])
        assert made.serving is not None and made.serving.together
        (small,), (large,) = made.replicas.values()
        first = await asyncio.gather(*(made.generate(request(i, SMALL)) for i in range(8)))
        lives = large.life
        waiting = [
            asyncio.create_task(made.generate(request(i, version)))
            for i in range(20)
            for version in (SMALL, LARGE)
        ]
        await asyncio.sleep(0)
        import ray

        ray.kill(small.actor)
        answers = await asyncio.gather(*waiting)
        assert not [one.error for one in answers if one.error]
        assert [one.text for one in answers[:16:2]] == [one.text for one in first]
        async with asyncio.timeout(60):
            # The last answer may have come before the kill: what is asked next meets it.
            while not small.health.restarts:
                assert (await made.generate(request(0, SMALL))).text == first[0].text
        assert (small.health.restarts, large.health.restarts) == (1, 0)
        assert large.life == lives and made.faults() == {Fault.ENGINE_DIED: 1}
        text = "unmistakable"
        assert (await made.counter(SMALL))(text) == 1 and (await made.counter(LARGE))(text) == 6
        assert made.describe()["together"] is True
    finally:
        await made.close()


@pytest.mark.cluster
def test_of_two_checkpoints_one_engine_dies_and_the_other_is_unharmed(tmp_path: Path) -> None:
    asyncio.run(_one_dies(tmp_path))


@pytest.mark.cluster
def test_in_turn_or_side_by_side_a_run_has_the_same_log(tmp_path: Path) -> None:
    logs = []
    for name, more in (
        ("here", ()),
        ("turns", ("engine.hosted=true", "engine.together=false", "run.lineages_in_flight=4")),
    ):
        run(two(tmp_path, *more), tmp_path / name)
        logs.append(timeless(tmp_path / name))
    assert logs[0] == logs[1]
    assert {row["version"] for row in logs[0]} == {SMALL, LARGE}
