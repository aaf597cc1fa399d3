"""What the thread of an engine does where the real one can hardly be made to: fail, be left."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from lineage.models import stepped
from lineage.models.stepped import EngineDied, SteppedEngine


@dataclass
class Output:
    request_id: str
    finished: bool
    text: str


@dataclass
class Steps:
    """An engine that answers a prompt after as many steps as it says, in calls like vLLM's."""

    left: dict[str, int] = field(default_factory=dict)
    begun: list[tuple[str, ...]] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    adapters: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    closed: bool = False

    @property
    def engine_core(self) -> Steps:
        return self

    def shutdown(self) -> None:
        self.closed = True

    def add_request(self, name: str, prompt: Any, sampling: Any, lora_request: Any) -> None:
        if prompt["steps"] < 0:
            raise ValueError("no prompt of ours")
        self.left[name] = prompt["steps"]

    def abort_request(self, names: list[str]) -> None:
        self.aborted += names
        for name in names:
            del self.left[name]

    def add_lora(self, adapter: str) -> bool:
        self.threads.add(threading.current_thread().name)
        self.adapters.append(adapter)
        return True

    def has_unfinished_requests(self) -> bool:
        return bool(self.left)

    def step(self) -> list[Output]:
        self.threads.add(threading.current_thread().name)
        self.begun.append(tuple(self.left))
        if 666 in self.left.values():
            raise RuntimeError("no memory")
        time.sleep(0.005)
        self.left = {name: steps - 1 for name, steps in self.left.items()}
        found = [Output(name, steps <= 0, name) for name, steps in self.left.items()]
        self.left = {name: steps for name, steps in self.left.items() if steps > 0}
        return found


async def ask(engine: SteppedEngine, steps: int, request: str = "a") -> str:
    found = [one.text async for one in engine.generate({"steps": steps}, None, request)]
    (text,) = found
    return str(text)


def lived(work: Any) -> Steps:
    """Have `work` ask an engine, and return that when its thread has ended."""
    made = Steps()

    async def all_of() -> None:
        engine = SteppedEngine(lambda: made)
        try:
            await work(engine)
        finally:
            engine.shutdown()
            while not made.closed:
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(all_of(), 30))
    return made


def test_all_that_is_asked_at_once_is_in_the_first_step_and_answered_to_whoever_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stepped, "GATHER_SECONDS", 0.2)

    async def work(engine: SteppedEngine) -> None:
        answers = await asyncio.gather(*(ask(engine, steps, f"r{steps}") for steps in (3, 1, 2)))
        assert [one.split("-")[1] for one in answers] == ["r3", "r1", "r2"]
        # One id twice at once: runs that share an engine may ask so.
        assert len(set(await asyncio.gather(ask(engine, 2), ask(engine, 2)))) == 2

    made = lived(work)
    assert [len(one) for one in made.begun if one][:3] == [3, 2, 1]
    assert made.threads == {"engine"}


def test_what_is_left_is_aborted_and_the_others_go_on() -> None:
    async def work(engine: SteppedEngine) -> None:
        left = asyncio.create_task(ask(engine, 10_000, "left"))
        stays = asyncio.create_task(ask(engine, 20, "stays"))
        await asyncio.sleep(0.02)
        left.cancel()
        assert (await stays).endswith("-stays")
        with pytest.raises(asyncio.CancelledError):
            await left

    made = lived(work)
    assert [one.split("-")[1] for one in made.aborted] == ["left"]


def test_what_is_refused_is_told_to_whoever_asked_alone() -> None:
    async def work(engine: SteppedEngine) -> None:
        other = asyncio.create_task(ask(engine, 5))
        with pytest.raises(ValueError, match="no prompt of ours"):
            await ask(engine, -1)
        assert await other
        await engine.add_lora("r2")

    assert lived(work).adapters == ["r2"]


def test_an_engine_that_fails_answers_all_that_is_open_and_all_that_comes_with_that() -> None:
    async def work(engine: SteppedEngine) -> None:
        open_ = asyncio.gather(ask(engine, 50), ask(engine, 666), return_exceptions=True)
        assert [type(one) for one in await open_] == [EngineDied, EngineDied]
        with pytest.raises(EngineDied, match="RuntimeError: no memory"):
            await ask(engine, 1)

    lived(work)


def test_one_that_does_not_start_says_why() -> None:
    def make() -> Any:
        raise ValueError("no such argument")

    with pytest.raises(ValueError, match="no such argument"):
        SteppedEngine(make)
