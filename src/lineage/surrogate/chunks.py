"""A sweep of vectorised lineages as Parquet, a chunk a file: memory stays as it is.

Each chunk is drawn from a seed of its own, so what a file holds does not depend on how many
processes there are, nor on what was written before. Files that are there are not made again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineage.core.errors import LineageError
from lineage.core.files import atomic_write
from lineage.core.seeds import derive
from lineage.log.writer import parquet_bytes
from lineage.surrogate.setting import Setting
from lineage.surrogate.vectorised import simulate

CHUNK = 4096
"""Lineages that are held at once: their notes stay in a processor's cache."""
SCHEMA = pa.schema(
    [
        ("lineage", pa.int64()),
        ("generation", pa.int16()),
        ("version", pa.string()),
        ("work", pa.float32()),
        ("same", pa.float32()),
        ("similar", pa.float32()),
        ("dissimilar", pa.float32()),
        ("memories", pa.int16()),
        ("stated", pa.int16()),
        ("memory_tokens", pa.int32()),
    ]
)
"""A row a lineage and generation: mean scores (NaN: none probed), notes at its end, those of them
that say what is so in the world, and the tokens of the memory block."""


@dataclass(frozen=True)
class Sweep:
    """What is simulated: `versions` are the names of a setting's versions, by number."""

    setting: Setting
    versions: tuple[str, ...]
    lineages: int
    seed: int

    @property
    def chunks(self) -> int:
        """How many files it has."""
        return -(-self.lineages // CHUNK)


def run(sweep: Sweep, folder: Path, workers: int = 1) -> Iterator[int]:
    """Write what is missing of `sweep` to `folder`, and yield how many lineages each file has.

    `workers` are processes. Raises LineageError where `folder` holds another sweep, OSError where
    the disk refuses.
    """
    _claim(sweep, folder)
    missing = [n for n in range(sweep.chunks) if not _file(folder, n).exists()]
    if workers < 2:
        for number in missing:
            yield _write(sweep, folder, number)
        return
    # Not forked: threads of Arrow would be copied as they stand.
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_write, sweep, folder, n) for n in missing]):
            yield done.result()


def chunk_table(sweep: Sweep, number: int) -> pa.Table:
    """Return the rows of chunk `number`."""
    first = number * CHUNK
    count = min(CHUNK, sweep.lineages - first)
    draw = np.random.default_rng(derive("vectorised", sweep.seed, number))
    lineages = np.arange(first, first + count)
    batches = []
    for one in simulate(sweep.setting, count, draw):
        constant = (np.full(count, one.generation), [sweep.versions[one.version]] * count)
        measured = [getattr(one, name) for name in SCHEMA.names[3:]]
        columns = [lineages, *constant, *measured]
        arrays = [
            pa.array(column, field.type, safe=False)
            for column, field in zip(columns, SCHEMA, strict=True)
        ]
        batches.append(pa.record_batch(arrays, SCHEMA))
    return pa.Table.from_batches(batches)


def _write(sweep: Sweep, folder: Path, number: int) -> int:
    table = chunk_table(sweep, number)
    atomic_write(_file(folder, number), parquet_bytes(table))
    return int(table.num_rows) // len(sweep.setting.versions)


def _file(folder: Path, number: int) -> Path:
    return folder / f"chunk-{number:06d}.parquet"


def _claim(sweep: Sweep, folder: Path) -> None:
    record, said = folder / "_setting.txt", f"{sweep}{os.linesep}"
    if record.exists():
        if record.read_text() != said:
            raise LineageError(f"{folder} holds another simulation: name another folder")
        return
    atomic_write(record, said.encode())
