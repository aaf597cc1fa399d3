"""The datasets of a training: one file a step, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from lineage.core.files import atomic_write
from lineage.log.schema import CURVE_SCHEMA, TRAINING_SCHEMA
from lineage.log.writer import parquet_bytes
from lineage.models.protocol import Completion
from lineage.training.advantages import group_advantages
from lineage.training.rollout import reward_columns
from lineage.training.values import Group, Rollout, Samples, rollout_name


def curve_file(folder: Path, step: int) -> Path:
    """Return where the record of a finished step is; it is written last."""
    return folder / "curve" / f"step={step:03d}.parquet"


def write_rollouts(
    folder: Path, groups: Sequence[Group], learnt: Samples, about: Mapping[str, Any]
) -> None:
    """Write a row for each rollout of a step; `learnt` is what that learns from.

    `about` are the columns of the step. The dataset calls a rollout an alternative.
    """
    known = {sample.rollout for samples in learnt for sample in samples}
    rows = [
        {
            **about,
            "curriculum": group.curriculum,
            "group": group.id,
            "world": group.history.plans[0].world.id,
            "alternative": number,
            "episode": rollout_name(number),
            "advantage": advantage,
            "learnt": group.rollout_id(number) in known,
            **_columns(rollout),
        }
        for group in groups
        for number, (rollout, advantage) in enumerate(
            zip(group.rollouts, group_advantages(group), strict=True)
        )
    ]
    file = folder / "training" / f"step={about['step']:03d}.parquet"
    atomic_write(file, parquet_bytes(pa.Table.from_pylist(rows, schema=TRAINING_SCHEMA)))


def write_curve(folder: Path, about: Mapping[str, Any], **columns: Any) -> None:
    """Write the step's own row."""
    data = pa.Table.from_pylist([{**about, **columns}], schema=CURVE_SCHEMA)
    atomic_write(curve_file(folder, about["step"]), parquet_bytes(data))


def entropy(completions: Iterable[Completion]) -> float | None:
    """Return the mean of -logprob over the tokens of `completions`, in nats; None without tokens.

    Where the tokens were sampled at temperature 1 and without a constraint, its expectation is
    the policy's entropy.
    """
    values = [value for completion in completions for value in completion.logprobs]
    return -sum(values) / len(values) if values else None


def _columns(rollout: Rollout) -> dict[str, Any]:
    completions = rollout.completions.values()
    return {
        **(reward_columns(rollout.reward) if rollout.reward is not None else {}),
        "completion_tokens": sum(len(one.tokens) for one in completions),
        "entropy": entropy(completions),
        **asdict(rollout.diagnostics),
        "error": rollout.error,
    }
