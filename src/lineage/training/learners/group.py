"""The process group of a training: who is first in it, how many it has, what they compute on."""

from __future__ import annotations

import torch
from torch import distributed

from lineage.models.precision import cores


def is_first() -> bool:
    """Whether this is the process that writes: the only one, or the first of its group."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def workers() -> int:
    """Return how many processes learn together: those of this one's group, or it alone."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def device() -> str:
    """Return what this process computes on, in words, with the others of its group."""
    if not torch.cuda.is_available():
        return f"{cores()} cores without a GPU"
    return f"{workers()} x {torch.cuda.get_device_name()}"
