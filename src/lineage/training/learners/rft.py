"""One step of rejection sampling: imitating the best of each group.

As in STaR (Zelikman et al. 2022) and RAFT (Dong et al. 2023), but from the adapter of the step
before rather than from the base.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq, PrinterCallback, TrainingArguments

from lineage.core.config import MethodConfig
from lineage.models.sft import IGNORED, LabelledTrainer, save_adapter
from lineage.training.batch import Batch, Learnt, Sample
from lineage.training.learners.group import workers


class ImitationTrainer(LabelledTrainer):
    """A `LabelledTrainer` for several processes: it asks the model as a whole, which averages."""

    def labelled_logits(self, model: Any, inputs: Any, learnt: torch.Tensor) -> Any:
        """Return logits (labels, vocabulary); rows end together, so few columns are computed."""
        columns = learnt.any(dim=0).nonzero().flatten()
        kept = model(**inputs, logits_to_keep=columns, use_cache=False).logits
        return kept[learnt[:, columns]]


def encode_sample(tokenizer: Any, sample: Sample) -> dict[str, list[int]]:
    """Return ids and labels of `sample`; only the completion is labelled."""
    prompt = tokenizer.encode(sample.prompt, add_special_tokens=False)
    ids = [*prompt, *sample.tokens]
    return {
        "input_ids": ids,
        "labels": [IGNORED] * len(prompt) + list(sample.tokens),
        "attention_mask": [1] * len(ids),
    }


def rft_step(
    model: Any, tokenizer: Any, batch: Batch, method: MethodConfig, folder: Path
) -> Learnt:
    """Imitate the samples of `batch` and write the adapter, in float32, into `folder`.

    `model` bears the adapter to go on from. In a process group each process takes its share,
    gradients are averaged, and the first one writes. `grad_norm` is the mean over optimiser steps.
    `seconds` is left at zero.
    """
    samples = [one for group in batch.groups for one in group]
    warm = method.kind == "grpo"
    settings = TrainingArguments(
        output_dir=str(folder),
        use_cpu=not torch.cuda.is_available(),
        num_train_epochs=method.epochs,
        per_device_train_batch_size=max(1, method.batch // workers()),
        learning_rate=method.warm_learning_rate if warm else method.learning_rate,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=batch.seed % 2**31,
    )
    trainer = ImitationTrainer(
        model=model,
        args=settings,
        train_dataset=[encode_sample(tokenizer, one) for one in samples],
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
    )
    trainer.remove_callback(PrinterCallback)
    done = trainer.train()
    if trainer.is_world_process_zero():
        save_adapter(model, folder)
    norms = [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry]
    return Learnt(
        loss=done.training_loss,
        grad_norm=fmean(norms),
        kl=None,
        entropy=None,
        tokens=sum(len(one.tokens) for one in samples),
        seconds=0.0,
    )
