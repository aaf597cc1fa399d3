"""Train `smollm2-135m@r1`: a LoRA that answers from notes and writes them, on worlds of its own.

    python jobs/train_r1.py --checkpoint FOLDER --out src/lineage/adapters/smollm2-135m-r1

The worlds' seeds are hashed from "r1" and a lesson number, which no experiment's are.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)

from lineage.config import SuiteConfig
from lineage.suites.codebook import Codebook
from lineage.training.lessons import Lesson, lesson


def encode(tokenizer: PreTrainedTokenizerBase, lesson: Lesson) -> dict[str, list[int]]:
    """Return token ids and labels; only what the assistant writes is labelled."""
    ids: list[int] = []
    labels: list[int] = []
    for turn in lesson.turns:
        head = tokenizer(f"<|im_start|>{turn.role}\n", add_special_tokens=False).input_ids
        body = tokenizer(f"{turn.content}<|im_end|>", add_special_tokens=False).input_ids
        tail = tokenizer("\n", add_special_tokens=False).input_ids
        learnt = body if turn.role == "assistant" else [-100] * len(body)
        ids += head + body + tail
        labels += [-100] * len(head) + learnt + [-100] * len(tail)
    return {"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)}


class Lessons(Dataset[dict[str, list[int]]]):
    """Lessons `start` to `start + count` of the seed, encoded once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, seed: str, start: int, count: int):
        suite = Codebook(SuiteConfig())
        numbers = range(start, start + count)
        self.items = [encode(tokenizer, lesson(suite, seed, i)) for i in numbers]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return self.items[index]


class LabelledTrainer(Trainer):
    """A Trainer that computes logits only where there is a label.

    Most of a lesson is prompt; with a vocabulary of 49,152 its logits would cost more memory
    and time than the layers do.
    """

    def compute_loss(self, model: Any, inputs: Any, **_: Any) -> Any:
        labels = inputs.pop("labels")[:, 1:]
        causal = model.get_base_model()
        hidden = causal.model(**inputs).last_hidden_state[:, :-1]
        learnt = labels != -100
        logits = causal.lm_head(hidden[learnt]).float()
        return torch.nn.functional.cross_entropy(logits, labels[learnt])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder of the plain model")
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapter")
    parser.add_argument("--base", default="HuggingFaceTB/SmolLM2-135M-Instruct", help="its name")
    parser.add_argument("--lessons", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=8, help="lessons a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--seed", default="r1", help="name that the lessons' seeds are hashed from")
    args = parser.parse_args()

    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(args.checkpoint)
    model = AutoModelForCausalLM.from_pretrained(args.checkpoint, dtype=getattr(torch, args.dtype))
    lora = LoraConfig(
        r=args.rank,
        lora_alpha=2 * args.rank,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, lora)
    model.print_trainable_parameters()
    settings = TrainingArguments(
        output_dir=str(args.out.with_suffix(".tmp")),
        use_cpu=not torch.cuda.is_available(),
        num_train_epochs=1,
        per_device_train_batch_size=args.batch,
        learning_rate=args.rate,
        lr_scheduler_type="cosine",
        warmup_steps=20,
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_steps=5,
        save_strategy="steps",
        save_steps=60,
        report_to=[],
        train_sampling_strategy="group_by_length",
        seed=0,
    )
    trainer = LabelledTrainer(
        model=model,
        args=settings,
        train_dataset=Lessons(tokenizer, args.seed, 0, args.lessons),
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
    )
    began = time.monotonic()
    trainer.train()
    model = model.to(torch.bfloat16)
    model.peft_config["default"].base_model_name_or_path = args.base
    model.save_pretrained(args.out)
    places = ("checkpoint", "out")
    record: dict[str, Any] = {k: str(v) for k, v in vars(args).items() if k not in places}
    record["loss"] = [(h["step"], h["loss"]) for h in trainer.state.log_history if "loss" in h]
    record["minutes"] = round((time.monotonic() - began) / 60, 1)
    (args.out / "training.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
