"""The learner on real weights: one base model in memory, an adapter on it for each step."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lineage.core.config import MethodConfig
from lineage.core.errors import LineageError
from lineage.core.files import put_folder
from lineage.core.jsonfile import read_json
from lineage.models.tuner import trained
from lineage.training.batch import Batch, Learnt

AGAIN = "remove its folder, and the step is learnt again"
"""What to do where that is damaged."""
FIGURES = "learnt.json"
"""What a step did, in its folder: a run that is resumed logs the same."""


def learnt_of(folder: Path) -> Learnt | None:
    """Return what the step that left `folder` did; None where it is not whole."""
    if not (trained(folder) and (folder / FIGURES).exists()):
        return None
    return Learnt(**read_json(folder / FIGURES, Learnt, AGAIN))


def unfinished(folder: Path) -> Path:
    """Return where `folder` is made."""
    return folder.with_name(f"{folder.name}.tmp")


class TorchLearner:
    """A `Learner` in this process, which must be one that may load torch.

    In a process group each process has one and learns every batch; the first one writes.
    """

    def __init__(self, checkpoint: str, method: MethodConfig, parent: str = "") -> None:
        """`parent` is the folder of the parent's adapter; "": the parent is the base itself."""
        self.checkpoint, self.method, self.parent = checkpoint, method, parent
        self.base: Any = None
        self.tokenizer: Any = None

    async def start(self) -> None:
        """Load the base. Raises LineageError where that fails."""
        await asyncio.to_thread(self.load)

    async def learn(self, batch: Batch) -> Learnt:
        """Learn `batch`. Raises LineageError where that fails."""
        return await asyncio.to_thread(self.step, batch)

    async def close(self) -> None:
        """Let go of the base."""
        self.base = self.tokenizer = None

    def load(self) -> None:
        """Load base and tokenizer, once. Raises LineageError where that fails."""
        from transformers import AutoTokenizer

        from lineage.models.sft import be_quiet, load_base

        be_quiet()
        if self.base is not None:
            return
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(self.checkpoint, padding_side="left")
            self.base = load_base(self.checkpoint, self.method.dtype)
        except (OSError, ValueError, AttributeError) as error:
            raise LineageError(
                f"{self.checkpoint} cannot be trained: {first_line(error)}"
            ) from error

    def step(self, batch: Batch) -> Learnt:
        """Leave `batch.folder` and return what was done. Raises LineageError where that fails."""
        target = Path(batch.folder)
        if (known := learnt_of(target)) is not None:
            return known
        self.load()
        try:
            return self._step(batch, target)
        except LineageError:
            raise
        except Exception as error:
            raise LineageError(f"step {batch.step} was not learnt: {first_line(error)}") from error

    def _step(self, batch: Batch, target: Path) -> Learnt:
        from transformers import set_seed

        from lineage.models.sft import with_adapter
        from lineage.training.learners.group import device, is_first

        began, making = time.monotonic(), unfinished(target)
        first = is_first()
        if first:
            shutil.rmtree(making, ignore_errors=True)
        set_seed(batch.seed % 2**31)
        model = with_adapter(self.base, self.method.rank, batch.start or self.parent or None)
        try:
            learnt = self._dispatch(model, batch, making)
            learnt = replace(
                learnt,
                seconds=time.monotonic() - began,
                dtype=str(self.base.dtype).removeprefix("torch."),
                device=device(),
            )
            if first:
                (making / FIGURES).write_text(json.dumps(asdict(learnt)))
                put_folder(making, target)
        finally:
            # The next step starts from the plain base again, whatever became of this one.
            self.base = model.unload()
            if first:
                shutil.rmtree(making, ignore_errors=True)
        return learnt

    def _dispatch(self, model: Any, batch: Batch, folder: Path) -> Learnt:
        # Imported here: TRL takes seconds to load and warns of a vLLM that is not used.
        if batch.kind == "rft":
            from lineage.training.learners.rft import rft_step

            return rft_step(model, self.tokenizer, batch, self.method, folder)
        if batch.kind == "grpo":
            from lineage.training.learners.grpo import grpo_step

            return grpo_step(model, self.tokenizer, batch, self.method, self.parent, folder)
        raise LineageError(f"kind {batch.kind!r} of a batch is unknown: choose from grpo, rft")


def first_line(error: Exception) -> str:
    """Return the first line of what `error` says, or its kind."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
