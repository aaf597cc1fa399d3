"""The arm `finetune`, engine side: training an adapter and serving it at once.

What its `Tuner` does to weights is in `test_learners.py`, which imports torch already.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from lineage import compose
from lineage.agent import prompt as prompts
from lineage.core.knowledge import EMPTY
from lineage.core.prompts import OURS
from lineage.models.factory import make_engine
from lineage.models.fleet import Fleet
from lineage.models.protocol import Example, Request, Turn

R0, R1 = "smollm2-135m@r0", "smollm2-135m@r1"
CACHE = Path(__file__).resolve().parents[1] / ".cache"
CODES = {
    "pump Birch": "7413", "pump Cedar": "2086", "valve Fern": "5590", "valve Hazel": "3321",
    "fan Holly": "9904", "fan Iris": "4157", "mixer Ivy": "8261", "mixer Lily": "6038",
}  # fmt: skip


def question(name: str) -> str:
    return f"What is the code of {name}?"


def examples(names: list[str]) -> list[Example]:
    return [
        Example(
            (
                *prompts.act_turns(OURS, EMPTY, question(name)),
                Turn("assistant", f"The code of {name} is {CODES[name]}."),
            )
        )
        for name in names
    ]


async def known(engine: Any, version: str, names: list[str]) -> list[bool]:
    """Return which codes `version` knows without any note."""

    async def knows(name: str) -> bool:
        turns = prompts.act_turns(OURS, EMPTY, question(name))
        request = Request(f"{version}/{name}", version, turns, 24, 0.0, 0)
        return CODES[name] in (await engine.generate(request)).text

    return list(await asyncio.gather(*(knows(name) for name in names)))


def test_a_surrogate_knows_what_it_was_trained_on_and_nothing_else(tmp_path: Path) -> None:
    overrides = ["arms=all", f"run.cache={tmp_path}"]
    names = list(CODES)

    async def serve() -> tuple[list[list[bool]], list[bool]]:
        engine = make_engine(compose.load(["engine=surrogate", *overrides]))
        try:
            await engine.start([R0, R1])
            await engine.adapt("one", R1, examples(names[:4]), tmp_path / "one", 0)
            await engine.adapt("two", R1, examples(names[4:]), tmp_path / "two", 0)
            found = [await known(engine, version, names) for version in ("one", "two", R1)]
            await engine.adapt("one", R1, examples(names[:4]), tmp_path / "one", 0)
            return found, await known(engine, "one", names)
        finally:
            await engine.close()

    found, again = asyncio.run(serve())
    check_known(*found, again)


def check_known(one: list[bool], two: list[bool], base: list[bool], again: list[bool]) -> None:
    """Each of the halves of CODES is known to whom it was taught, and to nobody else."""
    assert any(one[:4]) and any(two[4:])
    assert not any(one[4:]) and not any(two[:4]) and not any(base)
    assert again == one


@pytest.mark.cluster
def test_a_hosted_surrogate_knows_the_same_after_it_died(tmp_path: Path) -> None:
    names = list(CODES)
    overrides = ["engine=surrogate", "engine.hosted=true", "arms=all", f"run.cache={tmp_path}"]

    async def serve() -> tuple[list[bool], list[list[bool]], list[bool], int]:
        engine = make_engine(compose.load(overrides))
        assert isinstance(engine, Fleet)
        try:
            await engine.start([R0, R1])
            await engine.adapt("one", R1, examples(names[:4]), tmp_path / "one", 0)
            before = await known(engine, "one", names)
            (replica,) = next(iter(engine.replicas.values()))
            ray.kill(replica.actor)
            # The first to meet the dead actor is this, and it must not be lost with it.
            await engine.adapt("two", R1, examples(names[4:]), tmp_path / "two", 0)
            found = [await known(engine, version, names) for version in ("one", "two", R1)]
            await engine.adapt("one", R1, examples(names[:4]), tmp_path / "one", 0)
            again = await known(engine, "one", names)
            return before, found, again, replica.health.restarts
        finally:
            await engine.close()

    before, found, again, restarts = asyncio.run(serve())
    assert restarts == 1
    check_known(*found, again)
    assert before == found[0]


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_a_real_adapter_is_trained_and_served_without_a_restart(tmp_path: Path) -> None:
    names = list(CODES)

    async def serve() -> dict[str, Any]:
        engine = make_engine(compose.load(["arms=all", f"run.cache={CACHE}"]))
        seen: dict[str, Any] = {}
        try:
            await engine.start([R0, R1])
            seen["before"] = await known(engine, R0, names)
            for version in (R0, R1):
                folder = tmp_path / version.rpartition("@")[2]
                await engine.adapt(folder.name, version, examples(names), folder, 1)
                seen[version] = await known(engine, folder.name, names)
            written = (tmp_path / "r0" / "adapter_model.safetensors").stat().st_mtime_ns
            await engine.adapt("again", R0, examples(names), tmp_path / "r0", 1)
            now = (tmp_path / "r0" / "adapter_model.safetensors").stat().st_mtime_ns
            seen["again"], seen["untouched"] = await known(engine, "again", names), written == now
            seen["base"] = await known(engine, R0, names)
        finally:
            await engine.close()
        return seen

    seen = asyncio.run(serve())
    assert not any(seen["before"]) and not any(seen["base"])
    assert sum(seen[R0]) >= 6
    assert sum(seen[R1]) >= 6
    assert seen["again"] == seen[R0] and seen["untouched"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r0", "r1"]
    children = [child.name() for child in psutil.Process().children(recursive=True)]
    assert not [name for name in children if "ray" in name]
