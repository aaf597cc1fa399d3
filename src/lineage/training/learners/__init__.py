"""Learners, and the algorithms that they learn by: each is one file here and one line below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lineage.core.config import MethodConfig
from lineage.core.errors import LineageError
from lineage.training.learners import grpo, rft
from lineage.training.values import Batch, Group, Learnt, Sample, Samples


class Algorithm(Protocol):
    """What a step learns from, and how: a module. Only its `learn` may import torch, inside."""

    def advantages(
        self, groups: Sequence[Group], most: int, shares: Mapping[str, float]
    ) -> Samples:
        """Return at most `most` samples of `groups`; each curriculum has its share of them."""
        ...

    def learn(
        self,
        model: Any,
        tokenizer: Any,
        batch: Batch,
        method: MethodConfig,
        parent: str,
        folder: Path,
    ) -> Learnt:
        """Learn `batch` and write the adapter, in float32, into `folder`.

        `model` bears the adapter to go on from; `parent` is the folder of the parent's ("": none).
        In a process group each process takes its share, gradients are averaged, and the first one
        writes. Figures are means over the steps of the optimiser.
        """
        ...

    def learn_toy(
        self, skills: Mapping[str, float], samples: Sequence[Sample], rate: float
    ) -> tuple[dict[str, float], float, float]:
        """Return the skills of the toy after a step of `rate`, the loss and the step's norm."""
        ...


ALGORITHMS: dict[str, Algorithm] = {"grpo": grpo, "rft": rft}


def algorithm(kind: str) -> Algorithm:
    """Return the algorithm `kind`. Raises LineageError where there is none."""
    if kind not in ALGORITHMS:
        raise LineageError(f"method.kind is {kind!r}: it must be one of {', '.join(ALGORITHMS)}")
    return ALGORITHMS[kind]
