"""The actor that trains adapters for the arm `finetune`, one at a time, beside the engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lineage.core.config_engine import FinetuneConfig
from lineage.core.files import whole
from lineage.models.checkpoint import ADAPTER_FILES
from lineage.models.protocol import Example


def trained(folder: Path) -> bool:
    """Whether `folder` holds a whole adapter: it appears by a rename, or not at all."""
    return all((folder / name).exists() for name in ADAPTER_FILES)


class Tuner:
    """Holds the base model between trainings, so that only the first one pays for loading it."""

    def __init__(self, checkpoint: str, config: FinetuneConfig, dtype: str) -> None:
        """`dtype` is that of the base's weights, as in `engine.vllm.dtype`."""
        self.checkpoint, self.config, self.dtype = checkpoint, config, dtype
        self.base: Any = None
        self.tokenizer: Any = None

    def train(
        self, examples: Sequence[Example], adapter: str | None, folder: str, seed: int
    ) -> None:
        """Train on `examples`, from the adapter in `adapter` or a new one, and keep it in `folder`.

        The same examples and seed give the same adapter on one machine.
        """
        import torch
        from transformers import (
            AutoTokenizer,
            DataCollatorForSeq2Seq,
            PrinterCallback,
            TrainingArguments,
            set_seed,
        )

        from lineage.models.sft import (
            Conversations,
            LabelledTrainer,
            be_quiet,
            load_base,
            use_all_cores,
            with_adapter,
        )

        be_quiet()
        use_all_cores()
        if self.base is None:
            self.tokenizer = AutoTokenizer.from_pretrained(self.checkpoint, trust_remote_code=False)
            self.base = load_base(self.checkpoint, self.dtype)
        set_seed(seed % 2**32)
        config = self.config
        with whole(Path(folder)) as making:
            model = with_adapter(self.base, config.rank, adapter)
            settings = TrainingArguments(
                output_dir=str(making),
                use_cpu=not torch.cuda.is_available(),
                num_train_epochs=config.epochs,
                per_device_train_batch_size=config.batch,
                learning_rate=config.learning_rate,
                lr_scheduler_type="linear",
                weight_decay=0.0,
                logging_strategy="no",
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                dataloader_pin_memory=False,
                seed=seed % 2**32,
            )
            trainer = LabelledTrainer(
                model=model,
                args=settings,
                train_dataset=Conversations(self.tokenizer, [one.turns for one in examples]),
                data_collator=DataCollatorForSeq2Seq(self.tokenizer, label_pad_token_id=-100),
            )
            trainer.remove_callback(PrinterCallback)
            try:
                trainer.train()
                # Not `model.to`: it would round the base's rotary frequencies for all that follow.
                for weight in (w for w in model.parameters() if w.requires_grad):
                    weight.data = weight.data.to(torch.bfloat16)
                model.save_pretrained(making)
            finally:
                # The next training starts from the plain base again, whatever became of this one.
                self.base = model.unload()
