"""What a machine computes in: the precision and the cores."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from helpers import Late

from lineage import compose
from lineage.core.errors import LineageError
from lineage.models.precision import cores, precision
from lineage.models.profile import resolve
from lineage.models.vllm_engine import environment, prepare_environment

torch = Late("torch")


@pytest.mark.parametrize("supported", [True, False])
def test_auto_is_bfloat16_only_where_the_processor_has_it(
    supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert precision("auto", on_gpu=False) == ("bfloat16" if supported else "float32")
    assert precision("auto", on_gpu=True) == "bfloat16"
    assert precision("bfloat16", on_gpu=False) == "bfloat16"
    assert precision("float32", on_gpu=True) == "float32"


@pytest.mark.parametrize("key", ["engine.vllm.dtype", "method.dtype"])
def test_an_unknown_precision_is_one_line(key: str) -> None:
    with pytest.raises(LineageError, match=f"{key} is 'half': it must be one of auto, bfloat16"):
        compose.load([f"{key}=half"])


@pytest.mark.parametrize(
    ("physical", "usable", "expected"), [(4, 8, 4), (4, 2, 2), (None, 3, 3), (1, 1, 1)]
)
def test_a_core_counts_once_and_only_where_it_may_be_used(
    physical: int | None, usable: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: physical)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(usable)))
    assert cores() == expected


@pytest.mark.parametrize(("engines", "expected"), [(1, "5"), (2, "2"), (9, "1")])
def test_engines_of_one_machine_share_its_cores(
    engines: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineage.models.vllm_engine.cores", lambda: 5)
    engine = compose.load([]).engine
    here = resolve(engine, gpus=False, engines=engines, here=True)
    assert environment(engine.vllm, tmp_path, here)["OMP_NUM_THREADS"] == expected
    # Where a cluster's engines are is Ray's to say.
    apart = resolve(engine, gpus=False, engines=engines)
    assert environment(engine.vllm, tmp_path, apart)["OMP_NUM_THREADS"] == "5"


def test_an_engine_on_the_cpu_gets_its_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    engine = compose.load(["engine.vllm.threads=3"]).engine
    os.environ.pop("OMP_NUM_THREADS", None)
    prepare_environment(engine.vllm, tmp_path, resolve(engine, gpus=True))
    assert "OMP_NUM_THREADS" not in os.environ
    prepare_environment(engine.vllm, tmp_path, resolve(engine, gpus=False, engines=2, here=True))
    assert os.environ["OMP_NUM_THREADS"] == "3"
