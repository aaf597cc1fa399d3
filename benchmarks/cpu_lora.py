"""vLLM's own CPU kernels for LoRA against ours, side by side: seconds and their ratio.

    python benchmarks/cpu_lora.py

One adapter of rank 8 on a layer of 576 inputs and 576 outputs (SmolLM2-135M), over a prefill of
2,048 tokens, a mixed batch (every second token plain), and a decode step of 64 tokens.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from ratios import Measured, Setup, in_turn
from rich.console import Console
from rich.table import Table
from vllm.lora.ops.torch_ops import lora_ops

from lineage.models import vllm_cpu_lora

WIDTH, RANK, ROUNDS = 576, 8, 7
CASES = (
    ("prefill, 2,048 tokens", 2048, 1),
    ("mixed, 2,048 tokens", 2048, 2),
    ("decode, 64 tokens", 64, 1),
)


def layer(
    shrink: Callable[..., None], expand: Callable[..., None], tokens: int, every: int
) -> float:
    """Return the seconds of one layer's LoRA over `tokens`, of which one in `every` has it."""
    torch.manual_seed(0)
    inputs = torch.randn(tokens, WIDTH, dtype=torch.bfloat16)
    # The last slot is empty: vLLM's kernels read it for tokens without an adapter.
    a = torch.zeros(2, 1, RANK, WIDTH, dtype=torch.bfloat16)
    b = torch.zeros(2, 1, WIDTH, RANK, dtype=torch.bfloat16)
    a[0], b[0] = torch.randn_like(a[0]), torch.randn_like(b[0])
    indices = torch.where(torch.arange(tokens) % every == 0, 0, -1)
    output = torch.zeros(tokens, WIDTH, dtype=torch.bfloat16)
    began = time.perf_counter()
    buffer = torch.zeros(tokens, RANK, dtype=torch.float32)
    shrink(inputs, a, buffer, indices, 1.0)
    expand(buffer, b, output, indices, 0, WIDTH, True)
    return time.perf_counter() - began


def ratios(setup: Setup) -> dict[str, Measured]:
    """Measure our kernels beside vLLM's, by case: milliseconds of a layer."""
    found = {}
    for name, tokens, every in CASES:
        setup.tick(name)

        def ours(tokens: int = tokens, every: int = every) -> float:
            return 1e3 * layer(vllm_cpu_lora.shrink, vllm_cpu_lora.expand_slice, tokens, every)

        def theirs(tokens: int = tokens, every: int = every) -> float:
            return 1e3 * layer(lora_ops.bgmv_shrink, lora_ops.bgmv_expand_slice, tokens, every)

        times = in_turn(ours, theirs, Setup(small=setup.small), repeats=ROUNDS)
        found[f"lora-{name.partition(',')[0]}"] = Measured(*times)
    return found


def main() -> None:
    theirs = (lora_ops.bgmv_shrink, lora_ops.bgmv_expand_slice)
    ours = (vllm_cpu_lora.shrink, vllm_cpu_lora.expand_slice)
    table = Table("case", "vLLM, ms", "lineage, ms", "ratio", box=None)
    for name, tokens, every in CASES:
        pairs = [
            (layer(*theirs, tokens, every), layer(*ours, tokens, every)) for _ in range(ROUNDS)
        ]
        one, two = (statistics.median(times) for times in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        table.add_row(name, f"{one * 1e3:.2f}", f"{two * 1e3:.2f}", f"{ratio:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
