"""The writer of a run folder: a journal of single steps, then one file a finished generation.

    run.json, config.yaml             what was run
    journal/<lineage>-g00.jsonl       steps of an unfinished generation, as they finish
    steps/..., knowledge/..., worlds/...   the datasets: whole generations only
    done/<lineage>-g00.json           a generation's record, written last

A reader of `steps/` sees a consistent prefix of each lineage. After a crash the journal holds
what was finished, so that nothing finished is generated again. A generation that goes on is lived
again from its beginning, on the answers that it got: its log is what this process lived, and of
what stayed the same the earlier process's row, with its clock.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lineage.core.errors import LineageError
from lineage.core.files import atomic_writes
from lineage.core.knowledge import Knowledge
from lineage.core.tasks import World
from lineage.log.journal import Answer, Journal
from lineage.log.place import Place, done_file
from lineage.log.reader import rows_of, steps_of
from lineage.log.schema import CLOCK_COLUMNS, KNOWLEDGE_SCHEMA, WORLD_SCHEMA, Step, table

CODEC = "lz4"
"""Of a generation's files. Their columns are so short that zstd makes them no smaller and takes
twice as long; compacted files, which are long, have it."""


class GenerationLog:
    """Collects one generation's steps; `answered` are those whose completion is there already."""

    def __init__(self, run: Path, place: Place, journal_steps: int, config_hash: str) -> None:
        self.run, self.place, self.config_hash = run, place, config_hash
        self.journal_steps = journal_steps
        self.journal = Journal(run, place)
        rows = rows_of(run, "steps", place)
        self.compacted = rows is not None and not place.file(run / "steps").exists()
        found = [] if rows is None else steps_of(rows, place)
        earlier = (*map(Answer, found), *self.journal.answers)
        self.answered = {answer.step.step_id: answer for answer in earlier}
        self.known = {answer.step.step_id: answer.step for answer in earlier if answer.step.kind}
        self.lived: dict[str, Step] = {}
        self.waiting: list[Answer] = []
        self.snapshots: dict[str, Knowledge] = {}

    def hold(self, step: Step, asked: str = "") -> None:
        """Journal an answer, as a step without a kind, before its own step can be written.

        `asked` is the digest of its request. Handoffs are asked for all at once and applied in
        order: one that is answered early must survive a crash as well.
        """
        held = self.answered.get(step.step_id)
        if held is None or (held.asked, held.step.completion) != (asked, step.completion):
            self._wait(Answer(step, asked))

    def append(self, step: Step, asked: str = "") -> None:
        """Log a finished step, `asked` as in `hold`; one that is known already keeps its clock."""
        id = step.step_id
        known = self.known.get(id)
        same = known is not None and _timed_as(known, step) == step
        if known is None or not same:
            known = self.known[id] = step
        self.lived[id] = known
        if not same or self.answered[id].asked != asked:
            self._wait(Answer(known, asked))

    def _wait(self, answer: Answer) -> None:
        self.answered[answer.step.step_id] = answer
        self.waiting.append(answer)
        if len(self.waiting) >= self.journal_steps:
            self._write()

    def snapshot(self, knowledge: Knowledge) -> None:
        """Keep a snapshot of Knowledge for the dataset."""
        self.snapshots.setdefault(knowledge.id, knowledge)

    def finish(self, knowledge: Knowledge, world: World) -> None:
        """Write the generation's files, then its record, then drop the journal.

        `world` is the lineage's own world as it is in this generation.
        """
        if self.compacted and self.lived != self.known:
            raise LineageError(
                f"{self.place.compacted(self.run / 'steps')} holds other steps of "
                f"{self.place.at} than were made now: begin another run"
            )
        # A record of files that are about to change would be false where this is cut off.
        done_file(self.run, self.place).unlink(missing_ok=True)
        tables = {
            "worlds": _world_table(self.place, world),
            "knowledge": _snapshot_table(self.place, list(self.snapshots.values())),
            "steps": table(list(self.lived.values())),
        }
        write_generation(
            self.run, self.place, tables, knowledge.id, self.config_hash, self.compacted
        )
        self.waiting = []  # written with the rest: a later flush must not make a journal again
        self.journal.drop()

    def flush(self) -> None:
        """Make everything that waits durable."""
        if self.waiting:
            self._write()
        self.journal.wait()

    def _write(self) -> None:
        self.journal.write(self.waiting)
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
    atomic_writes(
        {} if compacted else {place.file(run / name): data for name, data in files.items()},
        {done_file(run, place): json.dumps(record, indent=1).encode()},
    )


def _timed_as(step: Step, other: Step) -> Step:
    """Return `step` with the clock of `other`."""
    return replace(step, **{name: getattr(other, name) for name in CLOCK_COLUMNS})


def parquet_bytes(data: pa.Table) -> bytes:
    """Return `data` as a Parquet file of the log."""
    buffer = io.BytesIO()
    pq.write_table(data, buffer, compression=CODEC)
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
    facts = world.facts
    columns = {
        "lineage": [place.lineage] * len(facts),
        "pair": [place.pair] * len(facts),
        "world": [world.id] * len(facts),
        "key": [fact.key for fact in facts],
        "value": [fact.value for fact in facts],
        "text": [fact.text for fact in facts],
    }
    return pa.table(columns, schema=WORLD_SCHEMA)
