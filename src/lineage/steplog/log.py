"""The writer of a run folder: a journal of single steps, then one file a finished generation.

    run.json, config.yaml             what was run
    journal/<lineage>-g00/*.parquet   steps of an unfinished generation, as they finish
    steps/..., knowledge/..., worlds/...   the datasets: whole generations only
    done/<lineage>-g00.json           a generation's record, written last

A reader of `steps/` sees a consistent prefix of each lineage. After a crash the journal holds
what was finished, so that nothing finished is generated again.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lineage.files import atomic_write
from lineage.knowledge import Knowledge
from lineage.steplog.place import Place, done_file
from lineage.steplog.reading import rows_of, steps_of
from lineage.steplog.schema import KNOWLEDGE_SCHEMA, WORLD_SCHEMA, Step, table
from lineage.tasks import World


class GenerationLog:
    """Collects one generation's steps; `known` are those that an earlier process finished."""

    def __init__(self, run: Path, place: Place, journal_steps: int, config_hash: str) -> None:
        self.run, self.place, self.config_hash = run, place, config_hash
        self.journal_steps = journal_steps
        self.journal = run / "journal" / place.name
        self.known: dict[str, Step] = {}
        self.held: dict[str, Step] = {}
        self.waiting: list[Step] = []
        self.snapshots: dict[str, Knowledge] = {}
        pieces = sorted(self.journal.glob("*.parquet"))
        self.pieces, written = len(pieces), rows_of(run, "steps", place)
        self.compacted = written is not None and not place.file(run / "steps").exists()
        for rows in (*(pq.read_table(file, partitioning=None) for file in pieces), written):
            found = [] if rows is None else steps_of(rows, place)
            self.known |= {step.step_id: step for step in found if step.kind}
            self.held |= {step.step_id: step for step in found if not step.kind}

    @property
    def answered(self) -> dict[str, Step]:
        """The steps whose completion an earlier process got, whether it wrote them or not."""
        return self.held | self.known

    def hold(self, step: Step) -> None:
        """Journal an answer, as a step without a kind, before its own step can be written.

        Handoffs are asked for all at once and applied in order: one that is answered early must
        survive a crash as well.
        """
        if step.step_id in self.known or step.step_id in self.held:
            return
        self.held[step.step_id] = step
        self._wait(step)

    def append(self, step: Step) -> None:
        """Log a finished step; one that is known already is not logged twice."""
        if step.step_id in self.known:
            return
        self.known[step.step_id] = step
        self._wait(step)

    def _wait(self, step: Step) -> None:
        self.waiting.append(step)
        if len(self.waiting) >= self.journal_steps:
            self._flush()

    def snapshot(self, knowledge: Knowledge) -> None:
        """Keep a snapshot of Knowledge for the dataset."""
        self.snapshots.setdefault(knowledge.id, knowledge)

    def finish(self, knowledge: Knowledge, world: World) -> None:
        """Write the generation's files, then its record, then drop the journal.

        `world` is the lineage's own world as it is in this generation.
        """
        tables = {
            "worlds": _world_table(self.place, world),
            "knowledge": _snapshot_table(self.place, list(self.snapshots.values())),
            "steps": table(list(self.known.values())),
        }
        write_generation(
            self.run, self.place, tables, knowledge.id, self.config_hash, self.compacted
        )
        self.waiting = []  # written with the rest: a later flush must not make a journal again
        drop_journal(self.run, self.place)

    def flush(self) -> None:
        """Make everything that waits durable."""
        if self.waiting:
            self._flush()

    def _flush(self) -> None:
        data = parquet_bytes(table(self.waiting))
        atomic_write(self.journal / f"{self.pieces:06d}.parquet", data)
        self.pieces += 1
        self.waiting = []


def write_generation(
    run: Path,
    place: Place,
    tables: Mapping[str, pa.Table],
    knowledge: str,
    config_hash: str,
    compacted: bool = False,
) -> None:
    """Write the `tables` of a generation by dataset, then its record; it left `knowledge`.

    `compacted`: its rows are in a compacted file, and a file of their own would hold them twice.
    """
    files = {dataset: parquet_bytes(rows) for dataset, rows in tables.items()}
    for dataset, data in () if compacted else files.items():
        atomic_write(place.file(run / dataset), data)
    record = {
        "lineage": place.lineage,
        "arm": place.arm,
        "pair": place.pair,
        "generation": place.generation,
        "steps": tables["steps"].num_rows,
        "steps_sha256": hashlib.sha256(files["steps"]).hexdigest(),
        "knowledge": knowledge,
        "config_hash": config_hash,
    }
    atomic_write(done_file(run, place), json.dumps(record, indent=1).encode())


def drop_journal(run: Path, place: Place) -> None:
    """Remove the journal of a generation whose record is written."""
    shutil.rmtree(run / "journal" / place.name, ignore_errors=True)


def parquet_bytes(data: pa.Table) -> bytes:
    """Return `data` as a Parquet file of the log."""
    buffer = io.BytesIO()
    pq.write_table(data, buffer, compression="zstd")
    return buffer.getvalue()


def _snapshot_table(place: Place, snapshots: list[Knowledge]) -> pa.Table:
    rows = [
        {
            "knowledge": k.id,
            "parent": k.parent,
            "lineage": place.lineage,
            "pair": place.pair,
            "memories": len(k.memories),
            "docs": len(k.docs),
            "content": k.canonical(),
        }
        for k in snapshots
    ]
    return pa.Table.from_pylist(rows, schema=KNOWLEDGE_SCHEMA)


def _world_table(place: Place, world: World) -> pa.Table:
    rows = [
        {
            "lineage": place.lineage,
            "pair": place.pair,
            "world": world.id,
            "key": fact.key,
            "value": fact.value,
            "text": fact.text,
        }
        for fact in world.facts
    ]
    return pa.Table.from_pylist(rows, schema=WORLD_SCHEMA)
