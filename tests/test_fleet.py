"""The fleet in real Ray actors, the surrogate in them: routing, death, and leaving no trace."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray.exceptions import RayActorError
from raynodes import heard_outside

from lineage import compose
from lineage.core.errors import LineageError
from lineage.core.signals import INTERRUPTED, SIGNALS
from lineage.log.sittings import Fault
from lineage.models.cluster import OWNER, PREFIX
from lineage.models.factory import make_engine
from lineage.models.fleet import Fleet
from lineage.models.health import Health, State
from lineage.models.host import Started
from lineage.models.protocol import Request, Turn
from lineage.models.replica import Replica
from lineage.models.versions import lookup, registry

VERSIONS = ["smollm2-135m@r0", "smollm2-135m@r1"]


def fleet(tmp_path: Path, *overrides: str) -> Fleet:
    config = compose.load(
        ["engine=surrogate", "engine.hosted=true", f"run.cache={tmp_path}", *overrides]
    )
    made = make_engine(config)
    assert isinstance(made, Fleet)
    return made


def request(number: int) -> Request:
    turns = (Turn("user", f"What is the code of pump {number}?"),)
    return Request(f"q{number}", VERSIONS[number % 2], turns, 8, 0.0, number)


def test_versions_name_the_nearest_and_refuse_cycles() -> None:
    config = compose.load([]).model
    with pytest.raises(LineageError, match="did you mean 'smollm2-135m@r0'"):
        lookup(registry(config), "smollm2-135@r0")
    first = dataclasses.replace(config.versions["smollm2-135m@r0"], parent="smollm2-135m@r1")
    versions = {**config.versions, "smollm2-135m@r0": first}
    with pytest.raises(LineageError, match="its own ancestor"):
        registry(dataclasses.replace(config, versions=versions))


def test_health_restarts_until_its_restarts_are_used_up() -> None:
    health = Health(most_restarts=1).started()
    assert health.state is State.HEALTHY
    assert health.restarting() == health
    again = health.died("first").restarting()
    assert (again.state, again.restarts) == (State.STARTING, 1)
    gone = again.started().died("second")
    assert (gone.state, gone.error) == (State.RETIRED, "second")
    assert gone.restarting() == gone.started() == gone.died("third") == gone


def left_behind() -> list[str]:
    children = [c.name() for c in psutil.Process().children(recursive=True)]
    folders = [
        str(folder)
        for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*")
        if (folder / OWNER).exists() and (folder / OWNER).read_text() == str(os.getpid())
    ]
    return [name for name in children if "ray" in name or "gcs" in name] + folders


@pytest.fixture(scope="module", autouse=True)
def clean() -> Iterator[None]:
    yield
    assert not left_behind()


def ray_processes() -> list[psutil.Process]:
    return [
        one
        for one in psutil.Process().children(recursive=True)
        if "ray" in one.name() or "gcs" in one.name()
    ]


def check_closed_to_others(made: Fleet) -> None:
    """Ray listens on the loopback interface only, and its files are nobody else's."""
    assert heard_outside() == []
    folder = made.cluster.folder
    assert folder is not None and folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "auth_token").stat().st_mode & 0o777 == 0o600


async def _die(actor: Any) -> None:
    """Kill `actor` and wait until it is dead: `ray.kill` returns before."""
    ray.kill(actor)
    with pytest.raises(RayActorError):
        while True:
            await actor.generate.remote(request(0))


async def _kill_while_open(tmp_path: Path) -> None:
    made = fleet(tmp_path, "engine.replicas=1", "engine.max_restarts=1")
    try:
        handlers = {one: signal.getsignal(one) for one in SIGNALS}
        await made.start(VERSIONS)
        assert {one: signal.getsignal(one) for one in SIGNALS} == handlers
        check_closed_to_others(made)
        first = await asyncio.gather(*(made.generate(request(i)) for i in range(8)))
        (replicas,) = made.replicas.values()
        assert len(replicas) == 1, "one engine serves both versions"
        nice = {psutil.Process(one).nice() for one in replicas[0].processes}
        assert nice == {psutil.Process().nice()}, "an engine waits for no other work"
        waiting = [asyncio.create_task(made.generate(request(i))) for i in range(40)]
        await asyncio.sleep(0)
        ray.kill(replicas[0].actor)
        again = await asyncio.gather(*waiting)
        assert all(not c.error for c in again)
        assert [c.text for c in again[:8]] == [c.text for c in first]
        assert replicas[0].health.restarts == 1 and made.faults() == {Fault.ENGINE_DIED: 1}
        await _die(replicas[0].actor)
        with pytest.raises(LineageError, match=r"more than engine\.max_restarts times"):
            await made.generate(request(0))
        assert (await made.counter(VERSIONS[0]))("two words") == 2
    finally:
        processes = ray_processes()
        await made.close()
        await made.close()
        assert processes and not [one for one in processes if one.is_running()]


@pytest.mark.cluster
def test_a_replica_that_dies_is_restarted_and_its_open_requests_run_again(tmp_path: Path) -> None:
    asyncio.run(_kill_while_open(tmp_path))
    assert not left_behind()


async def _hang_while_open(tmp_path: Path) -> None:
    made = fleet(tmp_path, "engine.hang_timeout_s=1")
    try:
        await made.start(VERSIONS)
        first = await asyncio.gather(*(made.generate(request(i)) for i in range(8)))
        (replica,) = next(iter(made.replicas.values()))
        await asyncio.sleep(2)
        assert not made.faults(), "who is asked nothing may be silent"
        os.kill(replica.processes[0], signal.SIGSTOP)
        again = await asyncio.gather(*(made.generate(request(i)) for i in range(8)))
        assert [c.text for c in again] == [c.text for c in first]
        assert made.faults() == {Fault.ENGINE_HUNG: 1}
        # As shards ask, past the fleet.
        os.kill(replica.processes[0], signal.SIGSTOP)
        with pytest.raises(RayActorError):
            await replica.actor.generate.remote(request(0))
        assert made.faults() == {Fault.ENGINE_HUNG: 2}
    finally:
        await made.close()


@pytest.mark.cluster
def test_a_replica_that_hangs_is_started_again_and_its_open_requests_run_again(
    tmp_path: Path,
) -> None:
    asyncio.run(_hang_while_open(tmp_path))
    assert not left_behind()


def test_a_request_that_comes_during_a_restart_waits_and_kills_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(ray, "kill", killed.append)

    class Slow(Replica):
        async def launch(self) -> Started:
            self.actor = self.life = self.life + 1
            await asyncio.sleep(0.05)
            self.health = self.health.started()
            return Started(())

    async def both() -> Replica:
        nothing: Any = None
        replica = Slow(nothing, Health(3), nothing, here=False)
        await replica.launch()
        met = asyncio.create_task(replica.mend(1, "lost"))
        await asyncio.sleep(0.01)
        assert replica.health.state is State.STARTING and replica.life == 2
        assert await replica.generate(request(0)) is None
        await met
        return replica

    replica = asyncio.run(both())
    assert (killed, replica.life) == ([1], 2)
    assert replica.health == Health(3, State.HEALTHY, 1, "lost")


@pytest.mark.cluster
def test_too_few_cpus_is_one_clear_line(tmp_path: Path) -> None:
    async def start() -> None:
        made = fleet(tmp_path, "engine.vllm.cpus=1000", "engine.start_timeout_s=1")
        try:
            await made.start(VERSIONS)
        finally:
            await made.close()

    with pytest.raises(LineageError, match=r"lower engine.replicas or engine.vllm.cpus"):
        asyncio.run(start())
    assert not left_behind()


def of_environment(name: str, value: str) -> list[psutil.Process]:
    """Return the processes that were started with `name` set to `value`, whoever their parent."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.mark.cluster
def test_a_hosted_run_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    # Not below `tmp_path`, which is too long for Ray's sockets.
    with tempfile.TemporaryDirectory(prefix="lineage-") as place:
        run = tmp_path / "runs" / "stopped"
        words = ("engine=surrogate", "engine.hosted=true", "experiment.lineages=200")
        child = subprocess.Popen(
            [sys.executable, "-m", "lineage", "run", *words, "log.journal_steps=1"]
            + [f"run.root={run.parent}", f"run.name={run.name}", f"run.cache={tmp_path / 'cache'}"],
            env={**os.environ, "TMPDIR": place},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while child.poll() is None and not any(run.glob("journal/*.jsonl")):
            time.sleep(0.05)
        child.terminate()
        _, said = child.communicate()
        assert child.returncode == INTERRUPTED, said
        assert said.startswith("lineage: stopped") and said.count("\n") == 1
        assert f"lineage resume {run}" in said
        assert not of_environment("TMPDIR", place)
        assert not list(Path(place).glob(f"{PREFIX}*"))


def test_requests_and_completions_are_values() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        request(0).id = "other"  # type: ignore[misc]
