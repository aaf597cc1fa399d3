"""One step of group relative policy optimisation (Shao et al. 2024) by TRL's trainer.

The completions are given and so are their advantages, so TRL generates and scales nothing. With
r the ratio of a token's probabilities after and before, and A its sample's advantage, the loss is

    - mean over samples of the mean over a sample's tokens of min(r A, clip(r, 1 - c, 1 + c) A)

plus `method.beta` times the KL divergence to the parent, averaged alike. c is `method.clip`.

- The mean over samples of means over tokens is GRPO's own. DAPO (Yu et al. 2025, arXiv 2503.14476)
  takes one mean over all tokens of a batch; Dr. GRPO (Liu et al. 2025, arXiv 2503.20783) sums a
  sample's tokens and divides by a constant, since dividing by its length lets long wrong answers
  off lightly. Both weigh a sample by its length, and here the samples of a step are of many kinds:
  the choice of a doc is a few tokens, the notes of a handoff are dozens. Per token, writing would
  drown choosing. Length does not run away either: each kind is bounded in tokens, and memories
  have a price.
- Advantages come divided by the standard deviation of their group, unlike Dr. GRPO's: see
  `lineage.training.credit`.
- One c serves both sides. DAPO's is higher above (clip-higher), so that rare tokens can rise.
- Both DAPO and Dr. GRPO leave the KL divergence out, and so does `beta` at 0, as configured.

The probabilities at which the samples were drawn do not correct the loss. They are raw, whereas
what was drawn from was cut by a grammar and sharpened by the temperature, so their ratio to ours
is no importance weight. The policy before a batch stands for the one that sampled it: on the first
of `method.epochs` passes over the batch r is 1 in value and gives the gradient, and nothing is
clipped. Each pass is a step of the optimiser, so that from the second on r tells how far the
policy has moved, and the clip binds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import trl.trainer.utils
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from lineage.core.config import MethodConfig
from lineage.models.sft import save_adapter
from lineage.training.batch import Batch, Learnt, Sample
from lineage.training.learners.group import workers

MAX_GRAD_NORM = 1.0
"""Longer gradients are cut to it. Adam undoes a scale common to all steps, not one odd step's."""
ZERO = 1e-6
"""So near to zero must the advantages of a group sum, which are float sums themselves."""
STATE = Path("trainer") / "optimizer.safetensors"
REFERENCE = "ref"
"""The name by which TRL knows the adapter that the KL divergence is taken to."""

# TRL would otherwise project every position to the vocabulary, prompts too, wherever there is no
# Triton; its reason, which is compilation by shape, does not hold on a CPU.
trl.trainer.utils._use_triton = lambda device: True


@dataclass(frozen=True)
class Plan:
    """How N samples are cut: `passes` forward passes of `rows` on each of `workers`."""

    passes: int
    rows: int
    workers: int

    @property
    def total(self) -> int:
        """Rows of the whole step, with those that only fill it up."""
        return self.passes * self.rows * self.workers

    def share(self, rank: int, rows: Sequence[Any]) -> list[Any]:
        """Return the rows of worker `rank`: of each pass, neighbours, which are of like length."""
        mine: list[Any] = []
        for number in range(self.passes):
            start = (number * self.workers + rank) * self.rows
            mine += rows[start : start + self.rows]
        return mine


def plan(samples: int, most: int, workers: int) -> Plan:
    """Return the plan with the fewest passes of at most `most` rows, and least to fill up."""
    passes = math.ceil(samples / (most * workers))
    rows = math.ceil(samples / (passes * workers))
    # TRL takes no mean of one.
    return Plan(passes, max(rows, 2) if passes * workers == 1 else rows, workers)


class GivenTrainer(GRPOTrainer):
    """TRL's trainer, on samples that are there already, in their order and without padding."""

    def __init__(self, *args: Any, state: dict[str, torch.Tensor], **kwargs: Any) -> None:
        """`state` is the optimiser's, as `optimizer_state` returned it; {} is a fresh one."""
        self.given_state = state
        self.rows: Any = None
        super().__init__(*args, **kwargs)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Make the optimiser and give it back its state."""
        optimizer = super().create_optimizer(*args, **kwargs)
        for name, weight in self.model.named_parameters():
            known = {
                key.rpartition("/")[2]: value.clone()
                for key, value in self.given_state.items()
                if key.rpartition("/")[0] == name
            }
            if known:
                optimizer.state[weight] = {
                    key: value if key == "step" else value.to(weight.device)
                    for key, value in known.items()
                }
        return optimizer

    def optimizer_state(self) -> dict[str, torch.Tensor]:
        """Return the state of the optimiser, by `parameter/quantity`."""
        states = self.optimizer.state
        return {
            f"{name}/{key}": value.detach().cpu().contiguous()
            for name, weight in self.model.named_parameters()
            if weight in states
            for key, value in states[weight].items()
        }

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """Return the rows of this pass; unlike TRL's own, unshuffled: neighbours stay so."""
        if self.rows is None:
            whole = self._generate_and_score_completions(generation_batch)
            self.rows = split_tensor_dict(whole, self.args.steps_per_generation)
        return self.rows[self._step % self.args.steps_per_generation]

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return what TRL does, (rows, completion tokens), without the columns of padding alone."""
        size = batch_size or len(input_ids)
        parts = []
        for start in range(0, len(input_ids), size):
            rows = slice(start, start + size)
            ids, mask = input_ids[rows], attention_mask[rows]
            used = mask.any(dim=0).nonzero().flatten()
            first, last = int(used[0]), int(used[-1]) + 1
            spare = ids.shape[1] - last
            logps, entropies, aux = super()._get_per_token_logps_and_entropies(
                model,
                ids[:, first:last],
                mask[:, first:last],
                logits_to_keep - spare,
                **kwargs,
            )
            pad = torch.nn.functional.pad
            parts.append(
                (
                    pad(logps, (0, spare)),
                    None if entropies is None else pad(entropies, (0, spare)),
                    aux,
                )
            )
        logps, entropies, aux = zip(*parts)
        whole = None if entropies[0] is None else torch.cat(entropies)
        return torch.cat(logps), whole, aux[0]


def grpo_step(
    model: Any, tokenizer: Any, batch: Batch, method: MethodConfig, parent: str, folder: Path
) -> Learnt:
    """Make `method.epochs` passes over `batch` and write adapter and optimiser into `folder`.

    Each pass is one step of the optimiser.

    `model` bears the adapter to go on from, in float32; `parent` is the adapter of the policy that
    the KL divergence is taken to ("": the base itself). In a process group each process takes its
    share, gradients are averaged, and the first one writes. Figures are means over the passes.
    `seconds` is left at zero. Raises ValueError where the advantages of a group do
    not sum to zero: TRL would move them so that they do.
    """
    for group in batch.groups:
        if abs(math.fsum(one.advantage for one in group)) > ZERO:
            raise ValueError("the advantages of a group do not sum to zero")
    samples = [one for group in batch.groups for one in group]
    cut = plan(len(samples), method.batch, workers())
    rows = rollouts(samples, tokenizer, cut.total)

    def rollout(prompts: list[str], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        mine = cut.share(trainer.accelerator.process_index, rows)
        return {name: [row[name] for row in mine] for name in mine[0]}

    def reward(advantage: list[float], **_: Any) -> list[float]:
        return advantage

    trainer = GivenTrainer(
        model=model,
        args=_settings(batch, method, cut, len(samples), folder),
        # All rows are one group to TRL: it takes off a mean, and ours is zero.
        train_dataset=Dataset.from_dict({"prompt": [""]}),
        processing_class=tokenizer,
        reward_funcs=reward,
        rollout_func=rollout,
        state=load_file(state) if (state := Path(batch.start) / STATE).exists() else {},
    )
    trainer.remove_callback(PrinterCallback)
    if method.beta:
        # TRL takes the step's start for the reference; ours stays with the parent.
        model.delete_adapter(REFERENCE)
        if parent:
            model.load_adapter(parent, REFERENCE, is_trainable=False)
    try:
        done = trainer.train()
        seen = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
        if trainer.is_world_process_zero():
            save_adapter(model, folder)
            (folder / STATE).parent.mkdir()
            save_file(trainer.optimizer_state(), folder / STATE)
    finally:
        # TRL replaced it for good, and the base outlives this step.
        vars(model.get_base_model()).pop("forward", None)
    return Learnt(
        loss=done.training_loss,
        grad_norm=fmean(entry["grad_norm"] for entry in seen),
        kl=fmean(entry["kl"] for entry in seen) if method.beta else None,
        entropy=fmean(entry["entropy"] for entry in seen),
        tokens=sum(len(one.tokens) for one in samples),
        seconds=0.0,
    )


def rollouts(samples: Sequence[Sample], tokenizer: Any, total: int) -> list[dict[str, Any]]:
    """Return `total` rows as TRL wants them: the samples, longest first, then weightless ones.

    Advantages are scaled so that a mean over all rows is the mean over the samples.
    """
    encoded = [(tokenizer.encode(one.prompt, add_special_tokens=False), one) for one in samples]
    encoded.sort(key=lambda pair: len(pair[0]) + len(pair[1].tokens), reverse=True)
    rows: list[dict[str, Any]] = [
        {
            "prompt_ids": prompt,
            "completion_ids": list(one.tokens),
            "logprobs": list(one.logprobs),
            "advantage": one.advantage * total / len(samples),
            "env_mask": [1] * len(one.tokens),
        }
        for prompt, one in encoded
    ]
    filler = {
        "prompt_ids": [tokenizer.pad_token_id],
        "completion_ids": [tokenizer.pad_token_id],
        "logprobs": [0.0],
        "advantage": 0.0,
        "env_mask": [0],
    }
    return rows + [filler] * (total - len(samples))


def _settings(
    batch: Batch, method: MethodConfig, cut: Plan, samples: int, folder: Path
) -> GRPOConfig:
    return GRPOConfig(
        output_dir=str(folder),
        use_cpu=not torch.cuda.is_available(),
        bf16=False,  # no autocast: the base has its own type, and the adapter is in float32
        gradient_checkpointing=False,
        max_steps=method.epochs,
        num_iterations=method.epochs,
        per_device_train_batch_size=cut.rows,
        gradient_accumulation_steps=cut.passes,
        num_generations=cut.total,
        learning_rate=method.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=MAX_GRAD_NORM,
        loss_type="grpo",
        scale_rewards="none",
        temperature=method.temperature,
        epsilon=method.clip,
        # As with the advantages: the rows that fill up must not thin it.
        beta=method.beta * cut.total / samples,
        use_vllm=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=batch.seed % 2**31,
    )
