"""What a learner is given and gives back: completions with their credit, and a new adapter.

Values only. An *alternative* is one of G handoffs (or episodes) that branch from one snapshot; it
consists of *decisions*, completions that share its reward. A learner sees decisions as samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Sample:
    """One completion and its credit.

    `prompt` is the rendered text; `tokens` are the ids as sampled, the end token with them, and
    `logprobs` their log-probabilities then, before any grammar was applied. `source` names the
    alternative that it is of.
    """

    prompt: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    advantage: float
    source: str = ""


@dataclass(frozen=True)
class Batch:
    """One training step. `kind` is `grpo` or `rft`.

    For `grpo` each group holds G samples whose advantages sum to zero; for `rft` each holds one,
    which is to be imitated. `start` is the folder that the step before left ("": none, the step
    starts from the parent version); `folder` is where this step's appears, whole or not at all.
    """

    kind: str
    step: int
    groups: tuple[tuple[Sample, ...], ...]
    start: str
    folder: str
    seed: int


@dataclass(frozen=True)
class Learnt:
    """What a step did: mean loss, norm of the gradient, KL to the parent (null where not asked),

    mean entropy of the policy in nats a token, tokens learnt from, and seconds. All are null or 0
    where there was nothing to learn from. `dtype` is that of the base's weights, `device` what
    learnt, in words; both are "" where no weights are.
    """

    loss: float | None
    grad_norm: float | None
    kl: float | None
    entropy: float | None
    tokens: int
    seconds: float
    dtype: str = ""
    device: str = ""


class Learner(Protocol):
    """Makes the next adapter of a batch. The same batches and seeds give the same adapters."""

    async def start(self) -> None:
        """Load what is needed. Raises LineageError where that fails."""
        ...

    async def learn(self, batch: Batch) -> Learnt:
        """Learn `batch` and leave `batch.folder`; one that is there already is not made again.

        Raises LineageError where that fails; nothing is left behind then.
        """
        ...

    async def close(self) -> None:
        """Stop everything that `start` started; safe to call twice."""
        ...
