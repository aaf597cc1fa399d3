"""Whether the engines of several checkpoints serve side by side, or one after the other.

Pure, but for `on_cpu`, which asks this machine for its memory and the files for their weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from lineage.core.config_engine import CheckpointConfig, EngineConfig
from lineage.core.errors import LineageError
from lineage.models.checkpoint import weights_in

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 2}
"""Of a weight, by precision; one that is not known yet is taken for the larger."""
PROCESS_BYTES = 5 * GIB // 2
"""What the process of an engine on a CPU takes beside weights and cache, and some to spare: with
both it was 3.7 GiB of its own for vLLM 0.32 with SmolLM2-135M in float32 and a cache of 2 GiB."""
LIMIT, USED, STAT = (
    Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current", "memory.stat")
)
"""Where a container says what it may take (cgroup v2)."""


@dataclass(frozen=True)
class Serving:
    """How the engines of several checkpoints serve: side by side (`together`) or in turn, and why.

    `needed` and `room` are bytes of this machine's memory, for all engines side by side and for
    whatever may be taken; None where they are not what decides.
    """

    together: bool
    why: str
    needed: int | None = None
    room: int | None = None

    def __str__(self) -> str:
        return f"engines {'side by side' if self.together else 'one after the other'}: {self.why}"


def engine_bytes(engine: EngineConfig, weights: int | None, precision: str = "") -> int:
    """Return what the replicas of one checkpoint take of a machine's memory on the CPU.

    `weights` is how many the checkpoint has; where that is not known they count as none.
    """
    if engine.kind != "vllm":
        return 0
    known = precision if precision in BYTES else engine.vllm.dtype
    weight = BYTES.get(known, max(BYTES.values()))
    cache = engine.vllm.cpu_kv_cache_gib * GIB
    return engine.bounds.max * ((weights or 0) * weight + cache + PROCESS_BYTES)


def by_memory(needs: Mapping[str, int], room: int, wanted: bool | None) -> Serving:
    """Return how engines serve that take `needs` bytes each, by checkpoint, of `room` bytes.

    `wanted` is `engine.together`. Raises LineageError where they have no room in that way.
    """
    whole, largest = sum(needs.values()), max(needs, key=lambda name: needs[name])
    parts = ", ".join(f"{name} {gib(size)}" for name, size in needs.items())
    said = f"{len(needs)} engines need {gib(whole)} ({parts}) of {gib(room)} that are free"
    if wanted and whole > room:
        raise LineageError(
            f"engine.together=true, but {said}: set engine.together=null, or lower "
            "engine.vllm.cpu_kv_cache_gib or engine.replicas"
        )
    if wanted is False:
        return Serving(False, "engine.together=false", whole, room)
    if whole <= room:
        return Serving(True, said, whole, room)
    if needs[largest] > room:
        raise LineageError(
            f"the engine of {largest} alone needs {gib(needs[largest])}, and {gib(room)} are free: "
            "lower engine.vllm.cpu_kv_cache_gib or engine.replicas"
        )
    return Serving(False, said, whole, room)


def by_booking(engines: int, fit: bool, wanted: bool | None, waits: bool) -> Serving:
    """Return how so many `engines` serve for which Ray books GPUs, or nodes that others have too.

    `fit`: it has room for all of them.
    `waits`: Ray is a cluster that may get more nodes, so that room is waited for.
    """
    if wanted is False:
        return Serving(False, "engine.together=false")
    if fit or wanted or waits:
        return Serving(True, f"Ray books what each of {engines} engines needs")
    return Serving(False, f"Ray has too little for {engines} engines at once")


def on_cpu(
    engine: EngineConfig,
    served: Mapping[CheckpointConfig, Sequence[str]],
    cache: Path,
    precision: str = "",
) -> Serving | None:
    """Return how engines on the CPU serve the versions `served`, by their checkpoints.

    None where there is one checkpoint. Raises LineageError as `by_memory` does.
    """
    if len(served) < 2:
        return None
    names = called(list(served.values()))
    sizes = (
        engine_bytes(engine, weights_in(one, cache) if engine.kind == "vllm" else None, precision)
        for one in served
    )
    return by_memory(dict(zip(names, sizes, strict=True)), room_of(engine), engine.together)


def called(served: Sequence[Sequence[str]]) -> list[str]:
    """Return what checkpoints are called that serve these versions: what stands before their @.

    Where two have that in common, a checkpoint is called by its first version.
    """
    stems = [versions[0].partition("@")[0] for versions in served]
    common = Counter(stems)
    return [
        stem if common[stem] == 1 else versions[0]
        for stem, versions in zip(stems, served, strict=True)
    ]


def room_of(engine: EngineConfig) -> int:
    """Return the bytes that engines may take of this machine: as conf says, else what is free."""
    return free_memory() if engine.memory_gib is None else round(engine.memory_gib * GIB)


def free_memory() -> int:
    """Return the bytes that may be taken of this machine, and of the container that this is in."""
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError, KeyError):
        stat = dict(line.split() for line in STAT.read_text().splitlines())
        # What is cached of files is given back when it is needed.
        used = int(USED.read_text()) - int(stat["inactive_file"])
        free = min(free, int(LIMIT.read_text()) - used)
    return max(free, 0)


def gib(size: int) -> str:
    """Return "4.3 GiB"."""
    return f"{size / GIB:.1f} GiB"
