"""What an engine runs with on which device, and what vLLM is told of it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from lineage import compose
from lineage.core.config_engine import CheckpointConfig, EngineConfig
from lineage.core.errors import LineageError
from lineage.models import vllm_arguments, vllm_engine
from lineage.models.profile import Profile, resolve
from lineage.models.versions import ModelVersion
from lineage.models.vllm_arguments import OURS, arguments, further, key_of
from lineage.models.vllm_engine import environment, intel_openmp

HELD = CheckpointConfig(kind="folder", path="m")
VERSIONS = {
    "m@r0": ModelVersion("m@r0", HELD, "", 2048, "", ""),
    "m@r1": ModelVersion("m@r1", HELD, "an-adapter", 2048, "", ""),
}


@pytest.fixture(autouse=True)
def no_adapter_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_arguments, "changed_layers", lambda checkpoint, folders: [*folders])


def engine(*overrides: str) -> EngineConfig:
    return compose.load(list(overrides)).engine


def told(config: EngineConfig, profile: Profile, adaptable: bool = False) -> dict[str, Any]:
    one = VERSIONS if adaptable else {"m@r0": VERSIONS["m@r0"]}
    return arguments("m", one, config.vllm, profile, "bfloat16", adaptable)


PLAIN = {
    "model": "m",
    "dtype": "bfloat16",
    "enforce_eager": True,
    "max_model_len": 2048,
    "max_num_seqs": 64,
    "block_size": 32,
    "enable_prefix_caching": True,
    "tensor_parallel_size": 1,
    "disable_log_stats": True,
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
    "enable_chunked_prefill": False,
    "distributed_executor_backend": "uni",
}
"""What the default configuration tells vLLM on a CPU, of a version without an adapter."""
ON_GPU = {
    name: value
    for name, value in PLAIN.items()
    if name not in ("distributed_executor_backend", "block_size")
} | {
    "enforce_eager": False,
    "max_num_seqs": 256,
    "enable_chunked_prefill": True,
    "gpu_memory_utilization": 0.85,
}


def test_on_a_processor_one_process_computes_with_the_openmp_that_vllm_wants(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/mine.so")
    there = environment(engine().vllm, tmp_path, resolve(engine(), gpus=False))
    assert there["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert there["LD_PRELOAD"].split(":")[-1] == "/mine.so"
    assert all(Path(file).is_file() for file in intel_openmp())
    monkeypatch.setattr(vllm_engine, "intel_openmp", lambda: ["/mine.so"])
    again = environment(engine().vllm, tmp_path, resolve(engine(), gpus=False))
    assert again["LD_PRELOAD"] == "/mine.so"
    on_gpu = environment(engine().vllm, tmp_path, resolve(engine(), gpus=True))
    assert not {"VLLM_ENABLE_V1_MULTIPROCESSING", "LD_PRELOAD"} & on_gpu.keys()


def test_the_default_on_a_cpu_is_told_to_vllm_as_ever() -> None:
    config = engine()
    profile = resolve(config, gpus=False, engines=3)
    assert profile.max_in_flight == 64
    assert told(config, profile) == PLAIN


def test_adapters_are_told_to_vllm_as_ever() -> None:
    config = engine()
    lora = {"enable_lora": True, "max_cpu_loras": 64, "max_lora_rank": 8}
    expected = PLAIN | lora | {"lora_target_modules": ["an-adapter"]}
    profile = resolve(config, gpus=False)
    assert told(config, profile, adaptable=True) == expected | {"max_loras": 2}
    fixed = arguments("m", VERSIONS, config.vllm, profile, "bfloat16", False)
    assert fixed == expected | {"max_loras": 1}


def test_the_default_on_a_gpu_is_for_a_gpu() -> None:
    config = engine()
    profile = resolve(config, gpus=True)
    assert told(config, profile) == ON_GPU
    assert (profile.gpus, profile.max_in_flight) == (1.0, 512)
    assert resolve(config, gpus=True, engines=4).max_in_flight == 2048


CONFIGURED = [
    "engine.vllm.enforce_eager=true",
    "engine.vllm.max_num_seqs=8",
    "engine.vllm.chunked_prefill=false",
    "engine.vllm.gpu_memory_utilization=0.5",
    "engine.vllm.kv_cache_dtype=fp8",
    "engine.vllm.block_size=64",
    "engine.max_in_flight=9",
]


@pytest.mark.parametrize("gpus", [True, False])
def test_what_is_configured_holds_on_any_device(gpus: bool) -> None:
    config = engine(*CONFIGURED)
    profile = resolve(config, gpus, engines=2)
    found = told(config, profile)
    assert (found["enforce_eager"], found["max_num_seqs"]) == (True, 8)
    assert (found["enable_chunked_prefill"], found["kv_cache_dtype"]) == (False, "fp8")
    assert found.get("gpu_memory_utilization") == (0.5 if gpus else None)
    assert (found["block_size"], profile.max_in_flight) == (64, 9)


@pytest.mark.parametrize(
    ("overrides", "device", "gpus", "memory", "backend"),
    [
        ([], "gpu", 1.0, 0.85, None),
        (["engine.vllm.gpus=0.5"], "gpu", 0.5, 0.425, None),
        (["engine.vllm.gpus=0.25"], "gpu", 0.25, 0.2125, None),
        (["engine.vllm.gpus=0"], "cpu", 0.0, None, "uni"),
        (["engine.vllm.tensor_parallel=2"], "gpu", 2.0, 0.85, "mp"),
        (["engine.vllm.tensor_parallel=2", "engine.vllm.gpus=3"], "gpu", 3.0, 0.85, "mp"),
        (["engine.vllm.pipeline_parallel=2"], "gpu", 2.0, 0.85, "ray"),
    ],
)
def test_what_an_engine_books_follows_from_what_it_is_spread_over(
    overrides: list[str], device: str, gpus: float, memory: float | None, backend: str | None
) -> None:
    config = engine(*overrides)
    profile = resolve(config, gpus=True)
    assert (profile.device, profile.gpus) == (device, gpus)
    assert profile.gpu_memory_utilization == memory
    assert told(config, profile).get("distributed_executor_backend") == backend


@pytest.mark.parametrize(
    ("tensor", "pipeline", "gpus"), [(2, 1, 0.5), (2, 1, 1), (1, 2, 1), (1, 2, 3), (2, 2, 2)]
)
def test_too_few_or_too_many_gpus_for_its_spread_is_one_line(
    tensor: int, pipeline: int, gpus: float
) -> None:
    words = [f"tensor_parallel={tensor}", f"pipeline_parallel={pipeline}", f"gpus={gpus}"]
    with pytest.raises(LineageError) as raised:
        engine(*(f"engine.vllm.{word}" for word in words))
    assert str(raised.value).startswith(f"engine.vllm.gpus is {gpus:g}, but tensor_parallel=")
    assert f"spread an engine over {tensor * pipeline}: leave it null" in str(raised.value)


def test_the_record_tells_all_that_was_open() -> None:
    profile = resolve(engine(), gpus=True)
    assert profile.told("vllm") == asdict(profile) == json.loads(json.dumps(asdict(profile)))
    # What vLLM alone knows to choose is not told to it.
    assert [name for name, value in asdict(profile).items() if value is None] == ["block_size"]
    assert set(profile.told("surrogate")) < set(profile.told("vllm"))
    assert profile.told("surrogate")["gpus"] == 1.0


def test_an_argument_of_ours_names_the_key_that_sets_it() -> None:
    default = compose.load([])
    for name, key in OURS.items():
        config = replace(default.engine.vllm, extra={name: 1})
        with pytest.raises(LineageError, match=r"engine\.vllm\.extra\.\w+ is set by lineage") as e:
            further(config)
        assert str(e.value) == f"engine.vllm.extra.{name} is set by lineage itself: use {key}"
    keys = {key for key in OURS.values() if " " not in key}
    tree = compose.plain(default)
    for key in keys:
        node: Any = tree
        for part in key.split("."):
            node = node[part]


def test_all_that_vllm_is_told_is_ours_or_has_no_key() -> None:
    config = engine("engine.vllm.kv_cache_dtype=fp8", "engine.vllm.pipeline_parallel=2")
    found = told(config, resolve(config, gpus=True), adaptable=True)
    free = {"enable_prefix_caching", "disable_log_stats", "structured_outputs_config"}
    assert found.keys() - OURS.keys() == free


def test_what_is_null_is_as_vllm_has_it() -> None:
    config = replace(engine().vllm, extra={"max_logprobs": None, "seed": 3}, kv_cache_dtype="fp8")
    assert further(config) == {"seed": 3, "kv_cache_dtype": "fp8"}
    assert key_of("seed") == "engine.vllm.extra.seed"
    assert key_of("kv_cache_dtype") == "engine.vllm.kv_cache_dtype"


def test_what_conf_adds_comes_by_its_name() -> None:
    added = engine("+engine.vllm.extra.max_num_batched_tokens=8192").vllm.extra
    assert added == {"max_num_batched_tokens": 8192}
    whole = engine("engine.vllm.extra={quantization: fp8, compilation_config: {mode: 3}}")
    assert whole.vllm.extra == {"quantization": "fp8", "compilation_config": {"mode": 3}}
