"""A vLLM plugin: LoRA on the CPU by one matrix product an adapter.

vLLM's own CPU kernels gather the adapter's weights once for every token, which made prefill with
an adapter more than ten times as slow as without; and they let a token without an adapter (index
-1) read the last slot, so that with all slots full the base model answers as an adapter. These
stand-ins do the same products grouped by slot, and leave tokens without an adapter alone.

vLLM loads `register` in each of its processes (entry point `vllm.general_plugins`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from lineage.models.host import HOST_MARK, die_with_parent


def register() -> None:
    """Put the grouped kernels in the place of vLLM's; does nothing on other platforms."""
    if os.environ.get(HOST_MARK):
        die_with_parent()
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    for module in (lora_ops, punica_cpu):
        module.bgmv_shrink = shrink
        module.bgmv_expand = expand
        module.bgmv_expand_slice = expand_slice


def _groups(indices: Any, weights: Any, tokens: int) -> Iterator[tuple[Any, Any]]:
    """Yield the rows of each slot in use and its weights (out, in); all rows as a full slice."""
    indices = indices[:tokens]
    slots = indices.unique().tolist()
    for slot in slots:
        if slot < 0:
            continue
        matrix = weights[slot]
        matrix = matrix.squeeze(0) if matrix.dim() == 3 else matrix
        yield (slice(None) if len(slots) == 1 else indices == slot), matrix


def shrink(inputs: Any, weights: Any, output: Any, indices: Any, scaling: float = 1.0) -> None:
    """output[t, :rank] = scaling * A[slot of t] @ inputs[t]; zero where t has no slot."""
    output.zero_()
    for rows, matrix in _groups(indices, weights, inputs.shape[0]):
        product = inputs[rows] @ matrix.to(inputs.dtype).T
        output[rows, : matrix.shape[0]] = scaling * product.to(output.dtype)


def expand(inputs: Any, weights: Any, output: Any, indices: Any, add_inputs: bool = True) -> None:
    """output[t] (+)= B[slot of t] @ inputs[t]."""
    expand_slice(inputs, weights, output, indices, 0, output.shape[1], add_inputs)


def expand_slice(
    inputs: Any,
    weights: Any,
    output: Any,
    indices: Any,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """output[t, offset:offset + size] (+)= B[slot of t] @ inputs[t]."""
    window = output[:, slice_offset : slice_offset + slice_size]
    if not add_inputs:
        window.zero_()
    for rows, matrix in _groups(indices, weights, inputs.shape[0]):
        product = inputs[rows].to(output.dtype) @ matrix.to(output.dtype).T
        common = min(product.shape[1], window.shape[1])
        window[rows, :common] += product[:, :common]
