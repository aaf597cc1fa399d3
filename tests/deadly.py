"""A suite that kills the process which scores an answer in one of its worlds."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from lineage.core.tasks import Task
from lineage.suites.codebook import Codebook


@dataclass(frozen=True)
class Deadly(Codebook):
    """A codebook with a `deadly` world."""

    deadly: str

    def score(self, task: Task, completion: str) -> float:
        """Score as a codebook does, where that is to be survived."""
        if task.world == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(task, completion)
