"""The Ray actor that holds one engine: a thin shell, and its life tied to its owner's."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from lineage.core.config_engine import EngineConfig
from lineage.models.profile import Profile
from lineage.models.protocol import Completion, Example, Request
from lineage.models.surrogate import Surrogate
from lineage.models.versions import ModelVersion
from lineage.models.vllm_engine import VllmEngine, prepare_environment

HOST_MARK = "LINEAGE_ENGINE_HOST"
"""Set in a host's environment, so that vLLM's processes know that they belong to one."""
PR_SET_PDEATHSIG = 1
PREFIX = "lineage-vllm-"
DRAIN_SECONDS = 0.1
"""Between two looks at whether all is answered."""


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies: no orphan keeps the memory."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True)
class Added:
    """A version that was trained from version `base` while the engine ran, kept in `folder`.

    `examples` are what a surrogate learns instead, where there is nothing in a folder.
    """

    name: str
    base: str
    folder: str
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Deployment:
    """What a host serves: a checkpoint's folder and its versions, with the settings of its device.

    `added` are those that came while it ran, where it is `adaptable`. `scratch` is a folder for
    sockets and temporary files that goes with the run, "" where the host must make its own.
    """

    checkpoint: str
    versions: dict[str, ModelVersion]
    engine: EngineConfig
    cache: str
    profile: Profile
    adaptable: bool = False
    scratch: str = ""
    added: list[Added] = field(default_factory=list)


@dataclass(frozen=True)
class Started:
    """What a host tells of its engine: the ids of its processes, its tokenizer and precision.

    A surrogate has no numbers, and for a tokenizer how many letters a token has at most.
    """

    processes: tuple[int, ...]
    tokenizer: str = ""
    dtype: str = ""


class Leaving(Exception):
    """What a host answers that is drained: nothing was begun, another one is to be asked."""


class Host:
    """Starts the engine of its deployment and passes requests on."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.engine: VllmEngine | Surrogate | None = None
        self.scratch = ""
        self.open, self.heard, self.leaving = 0, 0.0, False

    async def start(self) -> Started:
        """Start the engine; it serves what was added before, too."""
        started = self._start()
        for one in self.deployment.added:
            await self.add(one)
        return started

    def _start(self) -> Started:
        deployment = self.deployment
        config = deployment.engine
        if config.kind == "surrogate":
            self.engine = Surrogate(config.surrogate)
            return Started((os.getpid(),), self.engine.tokenizer(next(iter(deployment.versions))))
        os.environ[HOST_MARK] = "1"
        prepare_environment(config.vllm, Path(deployment.cache), deployment.profile)
        self.scratch = deployment.scratch or tempfile.mkdtemp(prefix=PREFIX)
        # For its processes and for this one: vLLM leaves files where the temporary ones are.
        os.environ |= dict.fromkeys(("VLLM_RPC_BASE_PATH", "TMPDIR"), self.scratch)
        tempfile.tempdir = self.scratch
        self.engine = engine = VllmEngine(
            deployment.checkpoint,
            deployment.versions,
            config.vllm,
            deployment.profile,
            deployment.adaptable,
        )
        processes = (os.getpid(), *engine.process_ids())
        return Started(processes, engine.tokenizer_json(), engine.dtype)

    async def generate(self, request: Request) -> Completion:
        """Return the engine's completion. Raises Leaving once it is drained."""
        assert self.engine is not None
        if self.leaving:
            raise Leaving
        if not self.open:
            self.heard = time.monotonic()
        self.open += 1
        try:
            answer = await self.engine.generate(request)
            self.heard = time.monotonic()
            return answer
        finally:
            self.open -= 1

    async def drain(self) -> None:
        """Begin nothing more, and wait until all that is open is answered."""
        self.leaving = True
        while self.open:
            await asyncio.sleep(DRAIN_SECONDS)

    async def silence(self) -> float:
        """Return for how many seconds nothing that is open was answered."""
        return time.monotonic() - self.heard if self.open else 0.0

    async def add(self, added: Added) -> None:
        """Serve one more version, trained while the engine runs."""
        assert self.engine is not None
        name, base, folder = added.name, added.base, Path(added.folder)
        if isinstance(self.engine, Surrogate) and added.examples:
            await self.engine.adapt(name, base, added.examples, folder, 0)
        else:
            await self.engine.serve(name, base, folder)

    async def close(self) -> None:
        """Stop the engine."""
        if self.engine is not None:
            await self.engine.close()
        if self.scratch and not self.deployment.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
