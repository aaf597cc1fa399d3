"""TRL's GRPO trainer on samples that are there already: the one module that knows TRL's insides.

Completions and their advantages are given, so TRL generates and scales nothing. What is overridden,
and why, stands beside it; tests of `tests/test_learners.py` say whether the installed TRL still is
as it was taken to be. Import this module where torch may be loaded only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from trl import import_utils

from lineage.core.config import MethodConfig
from lineage.training.learners.trainers import is_first, mean_of, settings, train, workers
from lineage.training.values import Batch, Learnt, Sample

# Nothing is generated here, and yet TRL would import vLLM: five seconds of each process.
import_utils.is_vllm_available = lambda *_, **__: False

import trl.trainer.utils  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402
from trl.trainer.utils import split_tensor_dict  # noqa: E402

MAX_GRAD_NORM = 1.0
"""Longer gradients are cut to it. Adam undoes a scale common to all steps, not one odd step's."""
EVEN = 1e-6
"""So near to zero is a sum of advantages, which are float sums themselves."""
STATE = Path("trainer") / "optimizer.safetensors"
REFERENCE = "ref"
"""The name by which TRL knows the adapter that the KL divergence is taken to."""

# TRL would otherwise project every position to the vocabulary, prompts too, wherever there is no
# Triton; its reason, which is compilation by shape, does not hold on a CPU.
trl.trainer.utils._use_triton = lambda device: True


def cut(samples: int, most: int, workers: int) -> tuple[int, int]:
    """Return the fewest passes of at most `most` rows on each of `workers`, and the fewest rows."""
    passes = math.ceil(samples / (most * workers))
    rows = math.ceil(samples / (passes * workers))
    # TRL takes no mean of one.
    return passes, max(rows, 2) if passes * workers == 1 else rows


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
        weights = dict(self.model.named_parameters())
        for key, value in self.given_state.items():
            name, _, quantity = key.rpartition("/")
            device = value.device if quantity == "step" else weights[name].device
            optimizer.state[weights[name]][quantity] = value.to(device, copy=True)
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
        for ids, mask in zip(input_ids.split(size), attention_mask.split(size)):
            used = mask.any(dim=0).nonzero().flatten()
            first, last = int(used[0]), int(used[-1]) + 1
            spare = ids.shape[1] - last
            *found, aux = super()._get_per_token_logps_and_entropies(
                model, ids[:, first:last], mask[:, first:last], logits_to_keep - spare, **kwargs
            )
            pad = torch.nn.functional.pad
            parts.append((*(None if one is None else pad(one, (0, spare)) for one in found), aux))
        logps, entropies, aux = zip(*parts)
        return torch.cat(logps), None if entropies[0] is None else torch.cat(entropies), aux[0]


def learn_given(
    model: Any,
    tokenizer: Any,
    batch: Batch,
    method: MethodConfig,
    parent: str,
    folder: Path,
    **loss: Any,
) -> Learnt:
    """Make `method.epochs` passes over `batch`, a step of the optimiser each, as `Algorithm` says.

    `loss` are those arguments of TRL's that say which. The optimiser's state is kept beside the
    adapter. `method.beta` weighs the KL divergence to the policy of `parent`.
    """
    samples, processes = batch.samples, workers()
    # Where advantages are not centred, a row is wanted that bears the rest: see `rows_of`.
    passes, size = cut(len(samples) + (_rest(samples) != 0), method.batch, processes)
    total = passes * size * processes
    rows = rows_of(samples, tokenizer, total)

    def rollout(prompts: list[str], trainer: GRPOTrainer) -> dict[str, list[Any]]:
        # Neighbours, which are of like length, are in one pass of all processes.
        mine = rows[trainer.accelerator.process_index :: processes]
        return {name: [row[name] for row in mine] for name in mine[0]}

    def reward(advantage: list[float], **_: Any) -> list[float]:
        return advantage

    trainer = GivenTrainer(
        model=model,
        args=GRPOConfig(
            **settings(batch, folder),
            **loss,
            bf16=False,  # no autocast: the base has its own type, and the adapter is in float32
            gradient_checkpointing=False,
            max_steps=method.epochs,
            num_iterations=method.epochs,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=passes,
            num_generations=total,
            learning_rate=method.learning_rate,
            lr_scheduler_type="constant",
            max_grad_norm=MAX_GRAD_NORM,
            scale_rewards="none",
            temperature=method.temperature,
            # As with the advantages: the rows that fill up must not thin it.
            beta=method.beta * total / len(samples),
            use_vllm=False,
        ),
        # All rows are one group to TRL: it takes off a mean, and that of `rows_of` is zero.
        train_dataset=Dataset.from_dict({"prompt": [""]}),
        processing_class=tokenizer,
        reward_funcs=reward,
        rollout_func=rollout,
        state=load_file(state) if (state := Path(batch.start) / STATE).exists() else {},
    )
    if method.beta:
        # TRL takes the step's start for the reference; ours stays with the parent.
        model.delete_adapter(REFERENCE)
        if parent:
            model.load_adapter(parent, REFERENCE, is_trainable=False)
    try:
        learnt = train(trainer, model, batch, folder)
        if is_first():
            (folder / STATE).parent.mkdir()
            save_file(trainer.optimizer_state(), folder / STATE)
    finally:
        # TRL replaced it for good, and the base outlives this step.
        vars(model.get_base_model()).pop("forward", None)
    kl = mean_of(trainer, "kl") if method.beta else None
    return replace(learnt, kl=kl, entropy=mean_of(trainer, "entropy"))


def rows_of(samples: Sequence[Sample], tokenizer: Any, total: int) -> list[dict[str, Any]]:
    """Return `total` rows as TRL wants them: the samples, longest first, then weightless ones.

    Advantages are scaled so that a mean over all rows is the mean over the samples. Those
    that are weightless, of which no token is learnt from, have what is left to a sum of zero.
    """
    encoded = [(tokenizer.encode(one.prompt, add_special_tokens=False), one) for one in samples]
    encoded.sort(key=lambda pair: len(pair[0]) + len(pair[1].tokens), reverse=True)
    scale, pad = total / len(samples), tokenizer.pad_token_id
    rows = [_row(ids, one.tokens, one.logprobs, one.advantage * scale, 1) for ids, one in encoded]
    spare = total - len(samples)
    fill = _rest(samples) * scale / max(spare, 1)
    return rows + [_row([pad], [pad], [0.0], fill, 0)] * spare


def _rest(samples: Sequence[Sample]) -> float:
    """Return what the advantages of `samples` lack to a sum of zero; 0.0 where that is rounding."""
    rest = -math.fsum(one.advantage for one in samples)
    return rest if abs(rest) > EVEN else 0.0


def _row(
    prompt: list[int],
    tokens: Sequence[int],
    logprobs: Sequence[float],
    advantage: float,
    learnt: int,
) -> dict[str, Any]:
    return {
        "prompt_ids": prompt,
        "completion_ids": list(tokens),
        "logprobs": list(logprobs),
        "advantage": advantage,
        "env_mask": [learnt] * len(tokens),
    }
