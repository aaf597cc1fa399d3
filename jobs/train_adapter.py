"""Train an adapter that answers from notes and writes them, on worlds of its own.

    python jobs/train_adapter.py smollm2-135m@r0 --out FOLDER              this made r1
    python jobs/train_adapter.py gemma3-270m@g0 model=bases --out FOLDER   and this g1
    python jobs/train_adapter.py smollm2-135m@r0 --start ADAPTER --kinds open=6 act=2 read=2 \
        --out FOLDER                                      more of what an adapter cannot do yet

Any plain version of the registry can be named; its checkpoint is found, or made in the cache. The
layers that are changed follow from its architecture, and what is learnt is rendered by its own chat
template. The worlds' seeds are hashed from the name of `--seed` and a lesson's number, which no
experiment's are. A training that was stopped goes on from its last checkpoint, beside `--out`.
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

from lineage import compose
from lineage.models.checkpoint import locate, shared_cache
from lineage.models.precision import AUTO, PRECISIONS
from lineage.models.sft import Conversations, LabelledTrainer, load_base, with_adapter
from lineage.models.versions import lookup, registry
from lineage.training.lessons import LESSONS, lesson

WARMUP = 0.125
"""Of the steps: in these the rate rises to its peak."""


def share(text: str) -> tuple[str, float]:
    """Return kind and share of `kind=share`. Raises ArgumentTypeError for anything else."""
    kind, _, number = text.partition("=")
    if kind not in LESSONS:
        raise argparse.ArgumentTypeError(f"{kind!r} is none of {', '.join(LESSONS)}")
    try:
        value = float(number or 1)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: a share is a number above 0, as in open=2")
    return kind, value


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("version", help="the plain version that is trained, of conf/model")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapter")
    parser.add_argument("--base", help="name of the base for the record (default: the version's)")
    parser.add_argument("--lessons", type=int, default=1280)
    parser.add_argument("--first", type=int, default=0, help="number of the first lesson")
    parser.add_argument("--start", type=Path, help="adapter to go on from (default: a new one)")
    parser.add_argument("--batch", type=int, default=8, help="lessons a step")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--dtype", default=AUTO, choices=PRECISIONS, help="of the base weights")
    parser.add_argument("--seed", default="r1-docs", help="name of the lessons' seeds")
    parser.add_argument(
        "--kinds",
        nargs="+",
        type=share,
        metavar="KIND=SHARE",
        help=f"kinds of lessons (default: all): {', '.join(LESSONS)}",
    )
    args = parser.parse_args()

    config = compose.load(args.overrides, args.version)
    version = lookup(registry(config.model), args.version)
    cache = Path(config.run.cache_folder)
    checkpoint = locate(version, cache, shared_cache(config.run)).checkpoint
    args.base = args.base or args.version
    set_seed(0)
    suite = compose.load_suite("codebook")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    base = load_base(str(checkpoint), args.dtype)
    args.dtype = str(base.dtype).removeprefix("torch.")  # for the record: what auto came to
    model = with_adapter(base, args.rank, str(args.start) if args.start else None)
    model.print_trainable_parameters()
    saved = args.out.with_suffix(".tmp")
    steps = -(-args.lessons // args.batch)
    settings = TrainingArguments(
        output_dir=str(saved),
        use_cpu=not torch.cuda.is_available(),
        num_train_epochs=1,
        per_device_train_batch_size=args.batch,
        learning_rate=args.rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(round(WARMUP * steps), 20),
        weight_decay=0.0,
        max_grad_norm=1.0,
        logging_steps=5,
        save_strategy="steps",
        save_steps=min(60, max(steps // 4, 1)),
        report_to=[],
        train_sampling_strategy="group_by_length",
        seed=0,
    )
    numbers = range(args.first, args.first + args.lessons)
    shares = dict(args.kinds) if args.kinds else None
    lessons = [lesson(suite, args.seed, number, shares=shares) for number in numbers]
    trainer = LabelledTrainer(
        model=model,
        args=settings,
        train_dataset=Conversations(tokenizer, [one.turns for one in lessons]),
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=-100),
    )
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=any(saved.glob("checkpoint-*")))
    model = model.to(torch.bfloat16)
    model.peft_config["default"].base_model_name_or_path = args.base
    model.save_pretrained(args.out)
    places = ("version", "overrides", "out", "start")
    record: dict[str, Any] = {k: str(v) for k, v in vars(args).items() if k not in places}
    record["loss"] = [(h["step"], h["loss"]) for h in trainer.state.log_history if "loss" in h]
    record["minutes"] = round((time.monotonic() - began) / 60, 1)
    (args.out / "training.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
