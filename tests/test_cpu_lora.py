"""Our CPU kernels for LoRA against the definition, token by token."""

from __future__ import annotations

import pytest
from helpers import Late

from lineage.models import vllm_cpu_lora

torch = Late("torch")

SLOTS, RANK, INPUTS, OUTPUTS = 3, 4, 10, 6


@pytest.mark.parametrize(
    "slots", [[0, 0, 0], [2, 2, 2], [-1, -1, -1], [0, -1, 2, 1, -1, 0], [1, -1, 1]]
)
def test_each_token_gets_its_own_adapter_and_a_plain_one_none(slots: list[int]) -> None:
    torch.manual_seed(0)
    tokens = len(slots)
    inputs = torch.randn(tokens, INPUTS)
    a = torch.randn(SLOTS, 1, RANK, INPUTS)
    b = torch.randn(SLOTS, 1, OUTPUTS, RANK)
    base = torch.randn(tokens, OUTPUTS + 2)
    indices = torch.tensor(slots)
    buffer = torch.full((tokens, RANK), 7.0)
    output = base.clone()
    vllm_cpu_lora.shrink(inputs, a, buffer, indices, 0.5)
    vllm_cpu_lora.expand_slice(buffer, b, output, indices, 1, OUTPUTS, True)
    wanted = base.clone()
    for token, slot in enumerate(slots):
        if slot >= 0:
            wanted[token, 1 : 1 + OUTPUTS] += b[slot, 0] @ (0.5 * (a[slot, 0] @ inputs[token]))
    torch.testing.assert_close(output, wanted)


def test_padding_of_the_indices_is_ignored() -> None:
    inputs = torch.ones(2, INPUTS)
    buffer = torch.zeros(2, RANK)
    a = torch.ones(SLOTS, 1, RANK, INPUTS)
    vllm_cpu_lora.shrink(inputs, a, buffer, torch.tensor([0, -1, 2, 2]), 1.0)
    assert buffer.tolist() == [[INPUTS] * RANK, [0.0] * RANK]
