"""The Ray actor that holds one engine: a thin shell, and its life tied to its owner's."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lineage.core.config import EngineConfig
from lineage.models.protocol import Completion, Example, Request
from lineage.models.surrogate import Surrogate
from lineage.models.vllm_engine import Served, VllmEngine, prepare_environment

HOST_MARK = "LINEAGE_ENGINE_HOST"
"""Set in a host's environment, so that vLLM's processes know that they belong to one."""
PR_SET_PDEATHSIG = 1
PREFIX = "lineage-vllm-"


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies: no orphan keeps the memory."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True)
class Job:
    """What a host serves: a checkpoint's folder and its versions, on CPU or GPU.

    `versions` grows by the adapters that are trained while it runs, where `adaptable`; `lessons`
    are what a surrogate has instead: by name, the base and the examples. `scratch` is a folder for
    sockets that goes with the run, "" where the host must make its own.
    """

    checkpoint: str
    versions: dict[str, Served]
    engine: EngineConfig
    cache: str
    on_gpu: bool
    adaptable: bool = False
    scratch: str = ""
    lessons: dict[str, tuple[str, tuple[Example, ...]]] = field(default_factory=dict)


class Host:
    """Starts the engine of its job and passes requests on."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.engine: VllmEngine | Surrogate | None = None
        self.scratch = ""

    async def start(self) -> list[int]:
        """Start the engine; returns the ids of this process and of the engine's own."""
        job = self.job
        if job.engine.kind == "surrogate":
            self.engine = Surrogate(job.engine.surrogate)
            for name, (base, examples) in job.lessons.items():
                await self.adapt(name, base, examples)
            for name, served in job.versions.items():
                if served.base:
                    await self.serve(name, served)
            return [os.getpid()]
        os.environ[HOST_MARK] = "1"
        prepare_environment(job.engine.vllm, Path(job.cache), job.on_gpu)
        self.scratch = job.scratch or tempfile.mkdtemp(prefix=PREFIX)
        os.environ["VLLM_RPC_BASE_PATH"] = self.scratch
        self.engine = VllmEngine(
            job.checkpoint, job.versions, job.engine.vllm, job.on_gpu, job.adaptable
        )
        return [os.getpid(), *self.engine.process_ids()]

    async def generate(self, request: Request) -> Completion:
        """Return the engine's completion."""
        assert self.engine is not None
        return await self.engine.generate(request)

    async def tokenizer_json(self) -> str:
        """Return the engine's tokenizer, "" where it has none of its own."""
        return self.engine.tokenizer_json() if isinstance(self.engine, VllmEngine) else ""

    async def dtype(self) -> str:
        """Return what the engine computes in, "" where it has no numbers."""
        return self.engine.dtype if isinstance(self.engine, VllmEngine) else ""

    async def serve(self, name: str, served: Served) -> None:
        """Serve one more version, trained while the engine runs."""
        if isinstance(self.engine, Surrogate):
            assert served.adapter is not None
            await self.engine.serve(name, served.base, Path(served.adapter))
        elif self.engine is not None:
            await self.engine.serve(name, served)

    async def adapt(self, name: str, base: str, examples: Sequence[Example]) -> None:
        """Let a surrogate learn `examples`."""
        assert isinstance(self.engine, Surrogate)
        await self.engine.adapt(name, base, examples, Path(), 0)

    async def close(self) -> None:
        """Stop the engine."""
        if isinstance(self.engine, VllmEngine):
            self.engine.close()
        if self.scratch and not self.job.scratch:
            shutil.rmtree(self.scratch, ignore_errors=True)
