"""One training step on torch: GRPO through TRL, or fine-tuning on chosen samples. PEFT throughout.

A step is a function of a model with a trainable adapter and a batch: what there is to
remember between steps (the optimiser's moments) lies in the folder that a step leaves.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainingArguments,
)
from transformers.utils import logging as transformers_logging

from lineage.config import MethodConfig
from lineage.models.sft import IGNORED, LabelledTrainer
from lineage.training.batch import Batch, Sample

STATE = "trainer"
"""Folder beside the adapter: the trainer's own checkpoint, optimiser and all."""
MAX_GRAD_NORM = 1.0


@dataclass(frozen=True)
class Figures:
    """What a trainer said of its step."""

    loss: float
    grad_norm: float
    kl: float | None
    entropy: float | None


def grpo_step(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    batch: Batch,
    method: MethodConfig,
    out: Path,
    workers: int,
) -> Figures:
    """Take one step of GRPO on `batch`, and leave the optimiser in `out`.

    TRL generates nothing: it is handed our samples, and for rewards our advantages, which it is
    told not to scale. Those of a group sum to zero, so subtracting the group's mean leaves them as
    they are: what is logged is what is learnt from. There is one step a batch, so the ratio to the
    old policy is 1, and the probabilities that vLLM sampled with are not used: they are of the
    distribution under a grammar, which transformers does not compute.
    """
    from trl import GRPOConfig, GRPOTrainer

    groups = shared_evenly(batch.groups, workers)
    samples = [sample for group in groups for sample in group]
    per_device, pieces = _pieces(len(samples) // workers, method.batch)
    state = Path(batch.start) / STATE if batch.start else None
    if state is not None and not state.is_dir():
        state = None
    done = _state_step(state) if state is not None else 0
    settings = GRPOConfig(
        output_dir=str(out / "checkpoints"),
        use_cpu=not torch.cuda.is_available(),
        per_device_train_batch_size=per_device,
        gradient_accumulation_steps=pieces,
        num_generations=len(groups[0]),
        max_completion_length=max(len(sample.tokens) for sample in samples),
        max_steps=done + 1,
        learning_rate=method.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=MAX_GRAD_NORM,
        temperature=method.temperature,
        beta=method.beta,
        epsilon=method.clip,
        scale_rewards="none",
        loss_type="dapo",
        shuffle_dataset=False,
        ignore_data_skip=True,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="steps",
        save_steps=1,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=batch.seed % 2**32,
        bf16=False,
    )
    trainer = GRPOTrainer(
        model=model,
        args=settings,
        reward_funcs=_advantage,
        train_dataset=_numbers(len(groups)),
        processing_class=tokenizer,
        rollout_func=_handing_out(tokenizer, groups),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(state) if state is not None else None)
    saved = Path(settings.output_dir) / f"checkpoint-{done + 1}"
    if trainer.is_world_process_zero():
        saved.rename(out / STATE)
        shutil.rmtree(out / "checkpoints")
    log = next(entry for entry in reversed(trainer.state.log_history) if "loss" in entry)
    return Figures(
        loss=float(log["loss"]),
        grad_norm=float(log.get("grad_norm", 0.0)),
        kl=float(log["kl"]) if "kl" in log else None,
        entropy=float(log["entropy"]) if "entropy" in log else None,
    )


def imitation_step(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    batch: Batch,
    method: MethodConfig,
    out: Path,
    workers: int,
) -> Figures:
    """Fine-tune on the samples of `batch`, one a group."""
    rows = [_labelled(tokenizer, sample) for group in batch.groups for sample in group]
    settings = TrainingArguments(
        output_dir=str(out / "checkpoints"),
        use_cpu=not torch.cuda.is_available(),
        num_train_epochs=method.epochs,
        per_device_train_batch_size=method.batch,
        learning_rate=(method.learning_rate if method.kind == "rft" else method.warm_learning_rate),
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=MAX_GRAD_NORM,
        train_sampling_strategy="group_by_length",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=batch.seed % 2**32,
    )
    trainer = LabelledTrainer(
        model=model,
        args=settings,
        train_dataset=rows,
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    return Figures(
        loss=sum(float(entry["loss"]) for entry in log) / len(log),
        grad_norm=sum(float(entry["grad_norm"]) for entry in log) / len(log),
        kl=None,
        entropy=None,
    )


def quiet() -> None:
    """Silence what transformers, TRL and PEFT would say to a user who cannot act on it."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    warnings.simplefilter("ignore")


def _labelled(tokenizer: PreTrainedTokenizerBase, sample: Sample) -> dict[str, list[int]]:
    prompt = tokenizer.encode(sample.prompt, add_special_tokens=False)
    ids = [*prompt, *sample.tokens]
    labels = [*(IGNORED for _ in prompt), *sample.tokens]
    return {"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)}


def shared_evenly(
    groups: Sequence[tuple[Sample, ...]], workers: int
) -> Sequence[tuple[Sample, ...]]:
    """Return as many of `groups` as `workers` can share, equally many whole groups each."""
    count = len(groups) - len(groups) % workers
    if count == 0:
        raise ValueError(f"{len(groups)} groups cannot feed {workers} workers: raise method.groups")
    return groups[:count]


def _pieces(samples: int, most: int) -> tuple[int, int]:
    """Return samples a forward pass and passes, so that `samples` are one optimiser step.

    TRL wants a whole number of passes: the largest size up to `most` that divides them.
    """
    size = next(n for n in range(min(most, samples), 0, -1) if samples % n == 0)
    return size, samples // size


def _numbers(groups: int) -> Any:
    """Return the data set that TRL walks through: the numbers of the groups."""
    from datasets import Dataset

    return Dataset.from_dict({"prompt": [str(number) for number in range(groups)]})


def _handing_out(
    tokenizer: PreTrainedTokenizerBase, groups: Sequence[Sequence[Sample]]
) -> Callable[[list[str], Any], dict[str, Any]]:
    """Return TRL's rollout function: it is asked for numbers and hands out their samples.

    A number comes once for each sample of its group, in a row; each worker has whole groups.
    """

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        given: dict[str, int] = {}
        found = []
        for number in prompts:
            place = given[number] = given.get(number, -1) + 1
            found.append(groups[int(number)][place])
        return {
            "prompt_ids": [tokenizer.encode(s.prompt, add_special_tokens=False) for s in found],
            "completion_ids": [list(sample.tokens) for sample in found],
            "logprobs": [list(sample.logprobs) for sample in found],
            "credit": [sample.advantage for sample in found],
        }

    return rollout


def _advantage(credit: list[float], **_: Any) -> list[float]:
    """TRL's reward function: the credit that came with each sample."""
    return credit


def _state_step(state: Path) -> int:
    from transformers import TrainerState

    return int(TrainerState.load_from_json(str(state / "trainer_state.json")).global_step)
