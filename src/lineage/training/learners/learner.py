"""The learners of this process: of a toy's skills, and of real weights."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lineage.core.config import MethodConfig
from lineage.core.errors import LineageError, first_line
from lineage.core.files import whole
from lineage.core.jsonfile import read_json
from lineage.models.dice import SKILLS
from lineage.models.surrogate import TRAINED
from lineage.models.tuner import trained
from lineage.training.learners import algorithm, toy
from lineage.training.values import Batch, Learnt, method_of

AGAIN = "remove its folder, and the step is learnt again"
"""What to do where that is damaged."""
FIGURES = "learnt.json"
"""What a step did, in its folder: a run that is resumed logs the same."""
GAIN = 16000.0
"""How much faster the toy learns than weights: its three logits stand for millions of them."""


def learnt_of(folder: Path) -> Learnt | None:
    """Return what the step that left `folder` did; None where it is not whole."""
    if not (trained(folder) and (folder / FIGURES).exists()):
        return None
    return Learnt(**read_json(folder / FIGURES, Learnt, AGAIN))


class ToyLearner:
    """A `Learner` of skills. `batch.folder` holds them in `skills.json`."""

    def __init__(self, method: MethodConfig, skills: Mapping[str, float]) -> None:
        """`skills` are the parent's, one for each of SKILLS."""
        self.method, self.skills = method, {name: float(skills[name]) for name in SKILLS}

    async def start(self) -> None:
        """Do nothing: there is nothing to load."""

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    async def learn(self, batch: Batch) -> Learnt:
        """Learn `batch`. Raises LineageError where it is none of a surrogate's."""
        began, target, samples = time.monotonic(), Path(batch.folder), batch.samples
        if (target / FIGURES).exists():
            return Learnt(**read_json(target / FIGURES, Learnt, AGAIN))
        if not batch.tokens:
            raise LineageError(f"step {batch.step} holds no decision to learn from")
        before = read_skills(Path(batch.start)) if batch.start else self.skills
        rate = GAIN * method_of(self.method, batch.kind).learning_rate
        after, loss, norm = algorithm(batch.kind).learn_toy(before, samples, rate)
        learnt = Learnt(
            loss=loss,
            grad_norm=norm,
            entropy=toy.entropy(before, samples),
            tokens=batch.tokens,
            seconds=time.monotonic() - began,
        )
        with whole(target) as making:
            making.mkdir(parents=True)
            (making / TRAINED).write_text(json.dumps(after))
            (making / FIGURES).write_text(json.dumps(asdict(learnt)))
        return learnt


def read_skills(folder: Path) -> dict[str, float]:
    """Return the skills that a step left in `folder`. Raises LineageError where there are none."""
    try:
        found = json.loads((folder / TRAINED).read_text())
        return {name: float(found[name]) for name in SKILLS}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LineageError(f"{folder} holds no skills: remove it and train again") from error


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
            self.tokenizer = AutoTokenizer.from_pretrained(
                self.checkpoint, padding_side="left", trust_remote_code=False
            )
            self.base = load_base(self.checkpoint, self.method.dtype)
        except (OSError, ValueError, AttributeError) as error:
            reason = f"cannot be trained: {first_line(error)}"
            raise LineageError(f"{self.checkpoint} {reason}") from error

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
        from lineage.training.learners.trainers import device, is_first

        began, first = time.monotonic(), is_first()
        learn, method = algorithm(batch.kind).learn, method_of(self.method, batch.kind)
        set_seed(batch.seed % 2**31)
        with whole(target, first) as making:
            model = with_adapter(self.base, method.rank, batch.start or self.parent or None)
            try:
                learnt = learn(model, self.tokenizer, batch, method, self.parent, making)
            finally:
                # The next step starts from the plain base again, whatever became of this one.
                self.base = model.unload()
            dtype = str(self.base.dtype).removeprefix("torch.")
            seconds = time.monotonic() - began
            learnt = replace(learnt, seconds=seconds, dtype=dtype, device=device())
            if first:
                (making / FIGURES).write_text(json.dumps(asdict(learnt)))
        return learnt
