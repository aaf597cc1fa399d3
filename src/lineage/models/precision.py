"""What this machine computes in: the precision and the cores of whoever loads a model."""

from __future__ import annotations

import os
from typing import get_args

import psutil

from lineage.core.config_engine import Precision

AUTO = "auto"
"""In conf: what suits the machine."""
PRECISIONS: tuple[str, ...] = get_args(Precision)


def precision(wanted: str, on_gpu: bool) -> str:
    """Return `wanted`; where that is "auto", bfloat16 if this machine multiplies it, else float32.

    A processor without instructions for it (AVX-512, AMX, Arm's BF16) converts every number of a
    product: benchmarks/precision.py says what that costs. On a CPU, "auto" loads torch.
    """
    if wanted != AUTO:
        return wanted
    if on_gpu:
        return "bfloat16"
    import torch

    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bfloat16" if supported else "float32"


def cores() -> int:
    """Return how many cores this process may use; the second thread of a core is no core."""
    usable = len(os.sched_getaffinity(0))
    return min(psutil.cpu_count(logical=False) or usable, usable)
