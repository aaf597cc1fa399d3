"""Supervised fine-tuning of a LoRA on conversations: what r1's training and `finetune` share.

PEFT makes the adapter and transformers' Trainer runs the loop; what is our own is that logits are
computed only where there is a label. Import this module only where torch may be loaded.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase, Trainer
from transformers.utils import logging

from lineage.core.errors import LineageError
from lineage.models.chat_template import learnable
from lineage.models.layers import attention
from lineage.models.precision import cores, precision
from lineage.models.protocol import Turn

IGNORED = -100
"""The label of a token that is not to be learnt, by the convention of transformers."""


def encode(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> dict[str, list[int]]:
    """Return token ids and labels of a conversation, as the tokenizer's own template renders it.

    Only what a model writes is labelled: the assistant's turns and what ends them. Each answer is
    encoded apart from what stands before it, as an engine does. Raises LineageError where the
    template fails.
    """
    ids: list[int] = []
    labels: list[int] = []
    for text, learnt in learnable(tokenizer, turns):
        found = tokenizer(text, add_special_tokens=False).input_ids
        ids += found
        labels += found if learnt else [IGNORED] * len(found)
    return {"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)}


class Conversations(Dataset[dict[str, list[int]]]):
    """Conversations, encoded once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, turns: Sequence[Sequence[Turn]]) -> None:
        self.items = [encode(tokenizer, one) for one in turns]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return self.items[index]


class LabelledTrainer(Trainer):
    """A Trainer that computes logits only where there is a label.

    Most of a conversation is prompt; with a vocabulary of 49,152, or 262,144, its logits would
    cost more memory and time than the layers do. A turn of n tokens weighs sqrt(n), not n: else
    the short turns that choose a doc would drown in the long ones that write.
    """

    def compute_loss(self, model: Any, inputs: Any, **_: Any) -> Any:
        """Return the weighted mean loss over labelled tokens."""
        labels = inputs.pop("labels")[:, 1:]
        learnt = labels != IGNORED
        logits = self.labelled_logits(model, inputs, learnt).float()
        weights = turn_weights(learnt)
        losses = torch.nn.functional.cross_entropy(logits, labels[learnt], reduction="none")
        return (losses * weights).sum() / weights.sum()

    def labelled_logits(self, model: Any, inputs: Any, learnt: torch.Tensor) -> Any:
        """Return logits (labels, vocabulary) where `learnt` (rows, tokens - 1) says so."""
        causal = model.get_base_model()
        hidden = causal.base_model(**inputs).last_hidden_state[:, :-1][learnt]
        logits = causal.get_output_embeddings()(hidden)
        cap = getattr(causal.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)


def turn_weights(learnt: torch.Tensor) -> torch.Tensor:
    """Return 1 / sqrt(length of its turn) for each learnt token of `learnt` (rows, tokens)."""
    starts = learnt.clone()
    starts[:, 1:] &= ~learnt[:, :-1]
    turn = starts.flatten().cumsum(0)[learnt.flatten()]
    return turn.bincount()[turn].float().rsqrt()


def load_base(checkpoint: str, dtype: str) -> Any:
    """Return the model in the folder `checkpoint`, its weights in `dtype` (auto: see `precision`).

    Raises OSError or ValueError where there is none, or where it is made by code of its own: that
    is not run, and nobody is asked whether it may be.
    """
    found = getattr(torch, precision(dtype, torch.cuda.is_available()))
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=found, trust_remote_code=False)


def with_adapter(base: Any, rank: int, adapter: str | None) -> Any:
    """Return `base` with a trainable adapter: a new one of `rank`, or a copy of that in `adapter`.

    A new one changes the projections of the attention, whatever the family calls them. `base`
    itself is changed, as PEFT does; `unload` of what is returned undoes it. Raises LineageError
    where no such layers are found.
    """
    if adapter:
        return PeftModel.from_pretrained(base, adapter, is_trainable=True)
    layers = attention({name: tuple(one.shape) for name, one in base.named_parameters()})
    if not layers:
        raise LineageError(
            f"no LoRA can be made for {type(base).__name__}: it has no attention by a known name"
        )
    lora = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=list(layers), task_type="CAUSAL_LM"
    )
    return get_peft_model(base, lora)


def save_adapter(model: Any, folder: Path) -> None:
    """Write the adapter that `model` learns into `folder`; equal ones give equal bytes."""
    model.save_pretrained(folder, selected_adapters=["default"])
    # PEFT writes a set, in an order that differs from process to process, and a card of the model.
    config = folder / "adapter_config.json"
    fields = json.loads(config.read_text())
    fields["target_modules"] = sorted(fields["target_modules"])
    config.write_text(json.dumps(fields, indent=2, sort_keys=True))
    (folder / "README.md").unlink(missing_ok=True)


def be_quiet() -> None:
    """Let the training libraries of this process print nothing but errors."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")


def use_all_cores(processes: int = 1) -> None:
    """Give torch all cores, shared among `processes`.

    Ray starts an actor that books less than two CPUs with OMP_NUM_THREADS=1.
    """
    torch.set_num_threads(max(1, cores() // processes))
