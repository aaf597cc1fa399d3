"""The real learner: holds the base model between steps and lets each step's folder appear whole."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

from lineage.config import MethodConfig
from lineage.models.sft import with_adapter
from lineage.models.tuner import put, trained
from lineage.training.batch import Batch, Learnt
from lineage.training.learners.steps import grpo_step, imitation_step, quiet

LEARNT = "learnt.json"
"""What a step did, beside its adapter: a run that goes on logs what the first one measured."""


class TorchLearner:
    """Learns batches one after another, from the checkpoint in the folder `checkpoint`.

    It may be one of several `workers` that learn together; only the `first` writes.
    """

    def __init__(
        self, checkpoint: str, method: MethodConfig, workers: int = 1, first: bool = True
    ) -> None:
        quiet()
        self.workers, self.first = workers, first
        if not torch.cuda.is_available():
            # Ray gives its workers one thread; the engine is idle while this learns.
            torch.set_num_threads(os.cpu_count() or 1)
        self.method = method
        self.tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
        self.base: Any = AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=getattr(torch, method.dtype)
        )

    def learn(self, batch: Batch) -> Learnt:
        """Learn `batch` and leave its folder; one that is whole already is only read."""
        target = Path(batch.folder)
        if trained(target) and (target / LEARNT).exists():
            return Learnt(**json.loads((target / LEARNT).read_text()))
        began = time.monotonic()
        unfinished = target.with_name(f"{target.name}.tmp")
        if self.first:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        step = grpo_step if batch.kind == "grpo" else imitation_step
        set_seed(batch.seed % 2**32)
        model = with_adapter(self.base, self.method.rank, batch.start or None)
        try:
            figures = step(model, self.tokenizer, batch, self.method, unfinished, self.workers)
            if self.first:
                model.save_pretrained(unfinished)
        finally:
            # The next step begins with the plain base again, whatever became of this one.
            self.base = model.unload()
        learnt = Learnt(
            **asdict(figures),
            tokens=sum(len(s.tokens) for group in batch.groups for s in group),
            seconds=time.monotonic() - began,
        )
        if self.first:
            (unfinished / LEARNT).write_text(json.dumps(asdict(learnt)))
            put(unfinished, target)
        return learnt
