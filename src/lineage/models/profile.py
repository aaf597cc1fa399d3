"""What an engine runs with: what conf says and, where that is null, what suits its device. Pure.

This is the one place that knows what suits a device.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from lineage.core.config_engine import EngineConfig

T = TypeVar("T")

CPU, GPU = "cpu", "gpu"
MODEL_OWN = "auto"
"""vLLM's name of a KV cache in the model's own numbers."""
MEMORY = 0.85
"""Share of a GPU that engines take: of the rest live CUDA itself and a trainer's peaks."""
PLACED = ("device", "gpus", "tensor_parallel", "pipeline_parallel", "max_in_flight")
"""What is true of any engine in an actor; the others are vLLM's own."""


@dataclass(frozen=True)
class Suits:
    """What suits a device. `batches`: the requests in flight, in batches of all engines."""

    enforce_eager: bool
    chunked_prefill: bool
    max_num_seqs: int
    batches: int
    block_size: int | None


SUITS = {
    # A prompt that is cut in two kills vLLM 0.32 where its request has a seed: it would turn back
    # the random generator, which torch cannot do on the CPU.
    # Prompts share whole blocks only, and reading is what takes a processor's time: of vLLM's own
    # blocks of 128 tokens a prompt of some 300 shares one or two.
    CPU: Suits(
        enforce_eager=True, chunked_prefill=False, max_num_seqs=64, batches=1, block_size=32
    ),
    # vLLM's own for most GPUs. One batch waits while one runs: no engine idles between answers.
    GPU: Suits(
        enforce_eager=False, chunked_prefill=True, max_num_seqs=256, batches=2, block_size=None
    ),
}


@dataclass(frozen=True)
class Profile:
    """What each engine of a fleet runs with.

    `block_size` is None where vLLM chooses it. `gpus` is what Ray books for one engine, a share of
    one where several have it. `max_in_flight` is of the whole fleet. `gpu_memory_utilization` is
    None on a CPU, where `sharing` engines have the cores of a machine among them.
    """

    device: str
    enforce_eager: bool
    chunked_prefill: bool
    max_num_seqs: int
    max_in_flight: int
    kv_cache_dtype: str
    block_size: int | None
    gpu_memory_utilization: float | None
    tensor_parallel: int
    pipeline_parallel: int
    gpus: float
    sharing: int = 1

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self.device == GPU

    @property
    def spread(self) -> int:
        """Over how many devices one engine is spread."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def staged(self) -> bool:
        """Whether its stages may be on several nodes."""
        return self.on_gpu and self.pipeline_parallel > 1

    def threads(self, cores: int) -> int:
        """Return how many of a machine's `cores` one engine takes.

        Engines with more threads than cores wait for one another inside each product: on two cores,
        two of two threads wrote a third of the tokens of two of one.
        """
        return max(1, cores // self.sharing)

    def told(self, kind: str) -> dict[str, Any]:
        """Return what the record of a run holds of it, for an engine of `kind`."""
        found = asdict(self)
        return found if kind == "vllm" else {name: found[name] for name in PLACED}


def resolve(engine: EngineConfig, gpus: bool, engines: int = 1, here: bool = False) -> Profile:
    """Return what the `engines` of a fleet run with, in a Ray that has `gpus` or has none.

    `here`: all of them are on one machine.
    """
    vllm = engine.vllm
    device = GPU if gpus and vllm.gpus != 0 else CPU
    suits = SUITS[device]
    batch = _or(vllm.max_num_seqs, suits.max_num_seqs)
    # On a CPU as many as ever, however many engines there are: they share its cores.
    flight = suits.batches * batch * engines if device == GPU else suits.max_num_seqs
    spread = vllm.tensor_parallel * vllm.pipeline_parallel
    return Profile(
        device=device,
        enforce_eager=_or(vllm.enforce_eager, suits.enforce_eager),
        chunked_prefill=_or(vllm.chunked_prefill, suits.chunked_prefill),
        max_num_seqs=batch,
        max_in_flight=_or(engine.max_in_flight, flight),
        kv_cache_dtype=_or(vllm.kv_cache_dtype, MODEL_OWN),
        block_size=_or(vllm.block_size, suits.block_size),
        gpu_memory_utilization=memory(vllm.gpu_memory_utilization, vllm.gpus)
        if device == GPU
        else None,
        tensor_parallel=vllm.tensor_parallel,
        pipeline_parallel=vllm.pipeline_parallel,
        gpus=float(_or(vllm.gpus, spread)) if device == GPU else 0.0,
        sharing=max(engines, 1) if device == CPU and here else 1,
    )


def memory(configured: float | None, gpus: float | None) -> float:
    """Return the share of each of its GPUs that an engine takes, of which it books `gpus`."""
    booked = 1.0 if gpus is None or gpus == 0 else min(gpus, 1.0)
    return _or(configured, round(MEMORY * booked, 4))


def _or(configured: T | None, suits: T) -> T:
    return suits if configured is None else configured
