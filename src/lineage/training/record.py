"""The datasets of a training: one file a step, whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lineage.core.files import atomic_write
from lineage.log.schema import CURVE_SCHEMA, TRAINING_SCHEMA
from lineage.models.recorder import Decision
from lineage.training.batch import Sample
from lineage.training.credit import group_advantages, source_of
from lineage.training.rollout import Alternative, Group, reward_columns


def curve_file(folder: Path, step: int) -> Path:
    """Return where the record of a finished step is; it is written last."""
    return folder / "curve" / f"step={step:03d}.parquet"


def write_step(
    folder: Path,
    step: int,
    kind: str,
    version: str,
    groups: Sequence[Group],
    learnt: Sequence[Sequence[Sample]],
) -> None:
    """Write a row for each alternative of a step; `learnt` are the samples it learns from."""
    sources = {sample.source for samples in learnt for sample in samples}
    rows = [
        _row(group, number, alternative, advantage, source_of(group, number) in sources)
        | {"step": step, "kind": kind, "version": version}
        for group in groups
        for number, (alternative, advantage) in enumerate(
            zip(group.alternatives, group_advantages(group), strict=True)
        )
    ]
    data = pa.Table.from_pylist(rows, schema=TRAINING_SCHEMA)
    atomic_write(folder / "training" / f"step={step:03d}.parquet", _parquet(data))


def write_curve(folder: Path, step: int, **columns: Any) -> None:
    """Write the step's own row."""
    data = pa.Table.from_pylist([{"step": step, **columns}], schema=CURVE_SCHEMA)
    atomic_write(curve_file(folder, step), _parquet(data))


def entropy(decisions: Sequence[Decision]) -> float | None:
    """Return the mean of -logprob over the tokens of `decisions`, in nats; None without tokens.

    Where the tokens were sampled at temperature 1 and without a constraint, its expectation is
    the policy's entropy.
    """
    values = [value for decision in decisions for value in decision.logprobs]
    return -sum(values) / len(values) if values else None


def _row(
    group: Group,
    number: int,
    alternative: Alternative,
    advantage: float | None,
    learnt: bool,
) -> dict[str, Any]:
    measured, decisions = alternative.measured, alternative.decisions
    rewards = reward_columns(alternative.reward) if alternative.reward is not None else {}
    return {
        "curriculum": group.curriculum,
        "group": group.id,
        "alternative": number,
        "episode": f"a{number:02d}",
        "world": group.world,
        **rewards,
        "advantage": advantage,
        "learnt": learnt,
        "memory_tokens": measured.memory_tokens,
        "completion_tokens": sum(len(one.tokens) for one in decisions),
        "entropy": entropy(decisions),
        "copied": measured.copied,
        "density": measured.density,
        "staleness": measured.staleness,
        "opened": alternative.opened,
        "error": alternative.error,
    }


def _parquet(data: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(data, buffer, compression="zstd")
    return buffer.getvalue()
