"""What lineage tells vLLM of an engine, argument by argument, and what of it conf may add to.

No vLLM here: a test can say what an engine is started with, on any machine. The names are those of
vLLM's `EngineArgs`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lineage.core.config_engine import EXTRA, VllmConfig
from lineage.core.errors import LineageError
from lineage.models import layers
from lineage.models.profile import MODEL_OWN, Profile
from lineage.models.versions import ModelVersion

KV_CACHE = "kv_cache_dtype"
BACKEND, HERE = "distributed_executor_backend", "uni"
"""What starts vLLM's workers; `HERE`: there are none, it computes where it schedules."""
SPREAD = "engine.vllm.tensor_parallel and engine.vllm.pipeline_parallel"
OURS = {
    "model": "checkpoint of the version in model.versions",
    "max_model_len": "context_window of the version in model.versions",
    "enable_lora": "adapter of the version in model.versions",
    "lora_target_modules": "adapter of the version in model.versions",
    "max_loras": "engine.vllm.max_loras",
    "max_cpu_loras": "engine.vllm.max_cpu_loras",
    "max_lora_rank": "engine.vllm.max_lora_rank",
    "dtype": "engine.vllm.dtype",
    KV_CACHE: "engine.vllm.kv_cache_dtype",
    "block_size": "engine.vllm.block_size",
    "enforce_eager": "engine.vllm.enforce_eager",
    "max_num_seqs": "engine.vllm.max_num_seqs",
    "enable_chunked_prefill": "engine.vllm.chunked_prefill",
    "gpu_memory_utilization": "engine.vllm.gpu_memory_utilization",
    "tensor_parallel_size": "engine.vllm.tensor_parallel",
    "pipeline_parallel_size": "engine.vllm.pipeline_parallel",
    BACKEND: SPREAD,
    "prefill_context_parallel_size": SPREAD,
    "nnodes": SPREAD,
    "node_rank": SPREAD,
    "master_addr": SPREAD,
    "master_port": SPREAD,
    "device_ids": "engine.vllm.gpus",
    "data_parallel_size": "engine.replicas",
    "data_parallel_size_local": "engine.replicas",
    "data_parallel_rank": "engine.replicas",
    "data_parallel_start_rank": "engine.replicas",
    "data_parallel_address": "engine.replicas",
    "data_parallel_rpc_port": "engine.replicas",
    "data_parallel_backend": "engine.replicas",
    "data_parallel_hybrid_lb": "engine.replicas",
    "data_parallel_external_lb": "engine.replicas",
    "data_parallel_multi_port_external_lb": "engine.replicas",
}
"""By argument the key of conf that sets it, or that decides where an engine is."""


def arguments(
    checkpoint: str,
    versions: Mapping[str, ModelVersion],
    config: VllmConfig,
    profile: Profile,
    dtype: str,
    adaptable: bool,
) -> dict[str, Any]:
    """Return the arguments of the engine that serves `versions` of `checkpoint`, but for `extra`.

    `adaptable`: adapters may come while it runs. `dtype` is the precision, resolved.
    """
    folders = [one.adapter for one in versions.values() if one.adapter]
    found: dict[str, Any] = {
        "model": checkpoint,
        "dtype": dtype,
        "enforce_eager": profile.enforce_eager,
        "max_model_len": max(one.context_window for one in versions.values()),
        "max_num_seqs": profile.max_num_seqs,
        "enable_prefix_caching": True,
        "enable_chunked_prefill": profile.chunked_prefill,
        "tensor_parallel_size": profile.tensor_parallel,
        "disable_log_stats": True,
        # Without it a small model pads JSON with white space until its limit.
        "structured_outputs_config": {
            "backend": "xgrammar",
            "disable_any_whitespace": True,
        },
    }
    if folders or adaptable:
        most = config.max_loras if adaptable else min(config.max_loras, len(folders))
        found |= {
            "enable_lora": True,
            "max_loras": most,
            "max_cpu_loras": max(config.max_cpu_loras, most),
            "max_lora_rank": config.max_lora_rank,
            # Else every layer is multiplied by an adapter's weights, those that it lacks too.
            "lora_target_modules": changed_layers(checkpoint, folders),
        }
    if profile.gpu_memory_utilization is not None:
        found["gpu_memory_utilization"] = profile.gpu_memory_utilization
    if profile.kv_cache_dtype != MODEL_OWN:
        found[KV_CACHE] = profile.kv_cache_dtype
    if profile.block_size is not None:
        found["block_size"] = profile.block_size
    if profile.pipeline_parallel > 1:
        found["pipeline_parallel_size"] = profile.pipeline_parallel
    if backend := _backend(profile):
        found[BACKEND] = backend
    return found


def changed_layers(checkpoint: str, folders: Sequence[str]) -> list[str] | None:
    """Return the attention's projections of the `checkpoint`, which adapters of ours change.

    None, which lets vLLM take any layer: an adapter in `folders` changes another, or none is known.
    """
    ours = layers.attention(layers.shapes_of(Path(checkpoint)))
    return layers.changed(ours, [Path(folder) for folder in folders])


def _backend(profile: Profile) -> str:
    """Return how vLLM starts its workers, "" where it need not be told.

    In a placement group it would ask Ray for each of them, and the actor has booked the GPUs.
    """
    if profile.staged:
        return "ray"
    if profile.spread > 1:
        return "mp"
    return "" if profile.on_gpu else HERE


def further(config: VllmConfig) -> dict[str, Any]:
    """Return by argument what vLLM alone can check: `extra`, but for what is null, and the cache.

    Raises LineageError for an argument that another key of conf sets.
    """
    for name in config.extra or {}:
        if name in OURS:
            raise LineageError(f"{EXTRA}.{name} is set by lineage itself: use {OURS[name]}")
    found = {name: value for name, value in (config.extra or {}).items() if value is not None}
    cache = {} if config.kv_cache_dtype is None else {KV_CACHE: config.kv_cache_dtype}
    return found | cache


def key_of(name: str) -> str:
    """Return the key of conf that an argument of `further` is from."""
    return OURS.get(name, f"{EXTRA}.{name}")
