"""Puts the small files of finished generations together: one file an arm and generation number.

A compacted dataset is made beside the old one and takes its place by a rename, so that no glob ever
meets both: a query that runs meanwhile fails at worst, and never counts a row twice. Where this was
cut off, `settle` ends it, and every writer of a run calls that first.

Rows are sorted by lineage, and a row group holds whole lineages: by its statistics a query for one
lineage reads one group of each file.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lineage.core.errors import LineageError
from lineage.core.files import sync_folder, sync_tree
from lineage.log.place import done_file
from lineage.log.reader import Record, check_file, read_records, rows_of
from lineage.log.schema import KEYS, OF_GENERATION

COMPACTING = ".compacting"
"""The folder in which compacted datasets are made."""
ROW_GROUP = 20_000
"""Rows after which a row group ends, with the lineage that it is at."""


@dataclass(frozen=True)
class Size:
    """Of the Parquet datasets of a run."""

    files: int
    bytes: int


def size(run: Path) -> Size:
    """Return how many files the datasets of `run` have, and how large they are together."""
    files = [file for name in OF_GENERATION for file in (run / name).glob("**/*.parquet")]
    return Size(len(files), sum(file.stat().st_size for file in files))


def compact(run: Path, track: Callable[[list[Path]], Iterable[Path]] = iter) -> None:
    """Put the files of the finished generations of `run` together; nobody else may be writing it.

    `track` is given what is to be made, and yields it as the work goes on. What is not finished
    keeps its own files.

    Raises LineageError, and leaves the run as it was, where a file is torn, of a newer schema, or
    not what the generation's record says.
    """
    settle(run)
    leaves = defaultdict[Path, list[Record]](list)
    for record in read_records(run):
        for name in OF_GENERATION:
            leaves[record.place.compacted(run / name)].append(record)
    held = {shared: _held_in(shared, those) for shared, those in leaves.items()}
    due = {shared: files for shared, files in held.items() if len(files) > 1}
    if not due:
        return
    made = run / COMPACTING
    try:
        for shared in track(sorted(due)):
            target = made / shared.relative_to(run)
            _merge(run, shared, leaves[shared], due[shared], target)
        names = [name for name in OF_GENERATION if (made / name).exists()]
        gone = {file for files in due.values() for file in files}
        for name in names:
            _copy_but(gone, run / name, made / name)
        sync_tree(made)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    for name in names:
        (run / name).rename(made / f"old-{name}")
        (made / name).rename(run / name)
    sync_folder(run)
    shutil.rmtree(made, ignore_errors=True)


def settle(folder: Path) -> None:
    """End what was cut off in `folder` or below: each dataset is the old one or the new one."""
    for made in list(folder.rglob(COMPACTING)):
        run = made.parent
        for name in OF_GENERATION:
            # The old one is out of the way already, so the new ones were all whole.
            if (made / name).exists() and not (run / name).exists():
                (made / name).rename(run / name)
                sync_folder(run)
        shutil.rmtree(made, ignore_errors=True)


def _held_in(shared: Path, records: list[Record]) -> list[Path]:
    """Return the files that hold `records`."""
    own = [shared.with_name(f"{one.place.lineage}.parquet") for one in records]
    return [file for file in (shared, *own) if file.exists()]


def _merge(run: Path, shared: Path, records: list[Record], files: list[Path], target: Path) -> None:
    """Write the rows of `records`, which `files` hold, to `target`: it will be `shared`."""
    name = shared.relative_to(run).parts[0]
    schema, rows = OF_GENERATION[name], 0
    if shared.exists():
        check_file(shared)
    order = [(column, "ascending") for column in ("lineage", "step_id") if column in schema.names]
    target.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(
        target,
        schema,
        compression="zstd",
        sorting_columns=pq.SortingColumn.from_ordering(schema, order),
    ) as writer:
        for group in _groups(run, name, sorted(records, key=lambda one: one.place.lineage)):
            writer.write_table(group, row_group_size=max(1, group.num_rows))
            rows += group.num_rows
    held = sum(pq.read_metadata(file).num_rows for file in files)
    told = sum(one.steps for one in records) if name == "steps" else held
    if not rows == held == told:
        raise LineageError(
            f"{shared.parent} holds {held:,} rows, {rows:,} of them of generations in "
            f"{run / 'done'}, which tells of {told:,}: nothing was compacted"
        )


def _groups(run: Path, name: str, records: list[Record]) -> Iterator[pa.Table]:
    """Yield the rows of `records` in tables of `ROW_GROUP` rows or a few more."""
    waiting, rows = [], 0
    for record in records:
        table = _checked(run, name, record)
        waiting.append(table)
        rows += table.num_rows
        if rows >= ROW_GROUP:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, rows = [], 0
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()


def _checked(run: Path, name: str, record: Record) -> pa.Table:
    place = record.place
    own = place.file(run / name)
    if own.exists():
        check_file(own, KEYS[name])
        data = own.read_bytes()
        if name == "steps" and hashlib.sha256(data).hexdigest() != record.steps_sha256:
            # The record was written after the file: what differs has been changed since.
            raise LineageError(
                f"{own} is not what {done_file(run, place)} tells of: nothing was compacted"
            )
        found = _parsed(data, own)
    else:
        found = rows_of(run, name, place)
    if found is None:
        return OF_GENERATION[name].empty_table()
    return found.sort_by("step_id") if name == "steps" else found


def _parsed(data: bytes, file: Path) -> pa.Table:
    try:
        return pq.ParquetFile(pa.BufferReader(data)).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise LineageError(f"{file} cannot be read: nothing was compacted ({error})") from error


def _copy_but(gone: set[Path], old: Path, new: Path) -> None:
    """Copy to `new` the files of `old` that are not among `gone`."""
    for file in old.glob("**/*.parquet"):
        if file not in gone:
            target = new / file.relative_to(old)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
