"""Train `smollm2-135m@r1`: a LoRA that answers from notes and writes them, on worlds of its own.

    python jobs/train_r1.py --checkpoint FOLDER --out src/lineage/adapters/smollm2-135m-r1

The worlds' seeds are hashed from "r1-docs" and a lesson number, which no experiment's are.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    TrainingArguments,
    set_seed,
)

from lineage.compose import load_suite
from lineage.models.precision import AUTO, PRECISIONS
from lineage.models.sft import Conversations, LabelledTrainer, load_base, with_adapter
from lineage.training.lessons import lesson


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder of the plain model")
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapter")
    parser.add_argument("--base", default="HuggingFaceTB/SmolLM2-135M-Instruct", help="its name")
    parser.add_argument("--lessons", type=int, default=1280)
    parser.add_argument("--batch", type=int, default=8, help="lessons a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--dtype", default=AUTO, choices=PRECISIONS, help="of the base weights")
    parser.add_argument("--seed", default="r1-docs", help="name of the lessons' seeds")
    args = parser.parse_args()

    set_seed(0)
    suite = load_suite("codebook")
    tokenizer = AutoTokenizer.from_pretrained(args.checkpoint)
    base = load_base(str(args.checkpoint), args.dtype)
    args.dtype = str(base.dtype).removeprefix("torch.")  # for the record: what auto came to
    model = with_adapter(base, args.rank, None)
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
        train_dataset=Conversations(
            tokenizer, [lesson(suite, args.seed, i).turns for i in range(args.lessons)]
        ),
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
