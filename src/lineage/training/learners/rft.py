"""Rejection sampling: imitating the best rollout of each group.

As in STaR (Zelikman et al. 2022, arXiv 2203.14465) and RAFT (Dong et al. 2023, arXiv 2304.06767),
but from the adapter of the step before rather than from the base.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lineage.core.config import MethodConfig
from lineage.training.advantages import shared_out
from lineage.training.learners.toy import imitated, surprise
from lineage.training.values import Batch, Group, Learnt, Sample, Samples, sample


def advantages(groups: Sequence[Group], most: int, shares: Mapping[str, float]) -> Samples:
    """Return what is imitated: the completions of each group's best rollout, by itself each.

    A group in which nothing was answered rightly teaches nothing. The same answer to the same
    prompt is imitated once. A curriculum's groups take turns, so that the samples are of as many as
    can be.
    """
    best = [(group, number) for group in groups if (number := _best(group)) is not None]
    queues = [(group, number, group.rollouts[number].completions) for group, number in best]
    seen: set[tuple[str, tuple[int, ...]]] = set()
    found: list[tuple[str, tuple[Sample, ...]]] = []
    for turn in range(max((len(completions) for _, _, completions in queues), default=0)):
        for group, number, completions in queues:
            for place in list(completions)[turn : turn + 1]:
                one = sample(group, number, place, 1.0)
                if one.tokens and (one.prompt, one.tokens) not in seen:
                    seen.add((one.prompt, one.tokens))
                    found.append((group.curriculum, (one,)))
    return shared_out(found, most, shares)


def _best(group: Group) -> int | None:
    """Return the number of the rollout of the highest reward, of equals the first.

    None where no probe of any was answered rightly.
    """
    totals = {
        number: one.reward.total
        for number, one in enumerate(group.rollouts)
        if one.reward and any((one.reward.same, one.reward.similar, one.reward.dissimilar))
    }
    return max(totals, key=totals.__getitem__, default=None)


def learn(
    model: Any, tokenizer: Any, batch: Batch, method: MethodConfig, parent: str, folder: Path
) -> Learnt:
    """Imitate the samples of `batch`: see `lineage.training.learners.Algorithm`."""
    from transformers import DataCollatorForSeq2Seq, TrainingArguments

    from lineage.models.sft import IGNORED
    from lineage.training.learners.trainers import ImitationTrainer, settings, train, workers

    def encoded(one: Sample) -> dict[str, list[int]]:
        """Return ids and labels of a sample; only the completion is labelled."""
        prompt = tokenizer.encode(one.prompt, add_special_tokens=False)
        ids = [*prompt, *one.tokens]
        labels = [IGNORED] * len(prompt) + list(one.tokens)
        return {"input_ids": ids, "labels": labels, "attention_mask": [1] * len(ids)}

    trainer = ImitationTrainer(
        model=model,
        args=TrainingArguments(
            **settings(batch, folder),
            num_train_epochs=method.epochs,
            per_device_train_batch_size=max(1, method.batch // workers()),
            learning_rate=method.learning_rate,
            lr_scheduler_type="linear",
        ),
        train_dataset=[encoded(one) for one in batch.samples],
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
    )
    return train(trainer, model, batch, folder)


def learn_toy(
    skills: Mapping[str, float], samples: Sequence[Sample], rate: float
) -> tuple[dict[str, float], float, float]:
    """Move the skills towards the share of successes: see `lineage.training.learners.Algorithm`."""
    after = imitated(skills, samples, min(rate, 1.0))
    return after, surprise(skills, samples), math.dist(skills.values(), after.values())
