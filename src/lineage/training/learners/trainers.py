"""What the trainers of the algorithms share. Import this module where torch may be loaded only."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import distributed
from transformers import PrinterCallback, Trainer

from lineage.models.precision import cores
from lineage.models.sft import LabelledTrainer, save_adapter
from lineage.training.values import Batch, Learnt


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


def settings(batch: Batch, folder: Path) -> dict[str, Any]:
    """Return what the arguments of any trainer of `batch` say."""
    return {
        "output_dir": str(folder),
        "use_cpu": not torch.cuda.is_available(),
        "weight_decay": 0.0,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "seed": batch.seed % 2**31,
    }


def train(trainer: Trainer, model: Any, batch: Batch, folder: Path) -> Learnt:
    """Let `trainer` train `model`, and write the adapter into `folder`."""
    trainer.remove_callback(PrinterCallback)
    done = trainer.train()
    if trainer.is_world_process_zero():
        save_adapter(model, folder)
    return Learnt(done.training_loss, mean_of(trainer, "grad_norm"), tokens=batch.tokens)


def mean_of(trainer: Trainer, figure: str) -> float:
    """Return the mean of a logged `figure` over the steps of the optimiser."""
    seen = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    return fmean(entry[figure] for entry in seen)


class ImitationTrainer(LabelledTrainer):
    """A `LabelledTrainer` for several processes: it asks the model as a whole, which averages."""

    def labelled_logits(self, model: Any, inputs: Any, learnt: torch.Tensor) -> Any:
        """Return logits (labels, vocabulary); rows end together, so few columns are computed."""
        columns = learnt.any(dim=0).nonzero().flatten()
        kept = model(**inputs, logits_to_keep=columns, use_cache=False).logits
        return kept[learnt[:, columns]]
