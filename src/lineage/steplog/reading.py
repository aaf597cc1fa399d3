"""What a run folder holds of a generation, read back: its steps, its snapshots, what it left."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lineage.errors import LineageError
from lineage.knowledge import EMPTY, Knowledge, knowledge_from_json
from lineage.steplog.place import Place, done_file
from lineage.steplog.schema import LISTS, PARTITION, SCHEMA_VERSION, Step

PARQUET = b"PAR1"
"""How a whole Parquet file ends (Apache Parquet, file format)."""


def check_end(file: Path) -> None:
    """Raise LineageError where `file` does not end as a Parquet file does."""
    with file.open("rb") as data:
        data.seek(max(0, file.stat().st_size - len(PARQUET)))
        if data.read() != PARQUET:
            raise LineageError(f"{file} is no whole Parquet file: move it away")


def check_file(file: Path) -> None:
    """Raise LineageError where `file` is torn, or of a newer schema than this lineage reads."""
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise LineageError(f"{file} is no whole Parquet file: move it away") from error
    check_newer(file, schema)


def check_newer(file: Path, schema: pa.Schema) -> None:
    """Raise LineageError where `file`, of `schema`, is newer than this lineage reads."""
    found = int((schema.metadata or {}).get(b"lineage.schema_version", b"1"))
    if found > SCHEMA_VERSION:
        raise LineageError(
            f"{file} has schema {found}, this lineage reads up to {SCHEMA_VERSION}: upgrade lineage"
        )


@dataclass(frozen=True)
class Record:
    """What `done/` says of a finished generation: its steps, the hash of their file as it was
    written, and the id of the Knowledge that it left."""

    place: Place
    steps: int
    steps_sha256: str
    knowledge: str


def read_records(run: Path) -> Iterator[Record]:
    """Yield the record of every finished generation; raises LineageError where one is torn."""
    for file in sorted((run / "done").glob("*.json")):
        try:
            found = json.loads(file.read_bytes())
            place = Place(found["arm"], found["pair"], found["lineage"], found["generation"])
            yield Record(place, found["steps"], found["steps_sha256"], found["knowledge"])
        except (ValueError, KeyError, TypeError) as error:
            raise LineageError(f"{file} is no whole record: {error}") from error


def rows_of(run: Path, dataset: str, place: Place) -> pa.Table | None:
    """Return the rows of the generation at `place`; None where the dataset holds none.

    Raises LineageError where their file is torn.
    """
    own, shared = place.file(run / dataset), place.compacted(run / dataset)
    file = own if own.exists() else shared
    if not file.exists():
        return None
    try:
        if file == own:
            return pq.read_table(own, partitioning=None)
        rows = pq.read_table(shared, partitioning=None, filters=[("lineage", "=", place.lineage)])
    except pa.ArrowInvalid as error:
        raise LineageError(f"{file} is no whole Parquet file: move it away") from error
    return rows if rows.num_rows else None


def finished(run: Path, place: Place) -> Knowledge | None:
    """Return the Knowledge that a finished generation left, None where it is not finished."""
    record_file = done_file(run, place)
    if not record_file.exists():
        return None
    wanted = json.loads(record_file.read_bytes())["knowledge"]
    snapshots = rows_of(run, "knowledge", place)
    for row in [] if snapshots is None else snapshots.to_pylist():
        if row["knowledge"] == wanted:
            return knowledge_from_json(row["content"], row["parent"])
    return EMPTY if wanted == EMPTY.id else None


def check_finished(folder: Path) -> None:
    """Raise LineageError where the steps of a finished generation are not what its record says.

    Checked for the run in `folder` and for those that it holds: a training's, a school's.
    """
    for run in sorted({file.parents[1] for file in folder.glob("**/done/*.json")}):
        for record in read_records(run):
            _check_steps(run, record)


def _check_steps(run: Path, record: Record) -> None:
    place = record.place
    own, shared = place.file(run / "steps"), place.compacted(run / "steps")
    if own.exists():
        whole = hashlib.sha256(own.read_bytes()).hexdigest() == record.steps_sha256
    else:
        found = rows_of(run, "steps", place) if shared.exists() else None
        whole = record.steps == (0 if found is None else found.num_rows)
    if not whole:
        file = shared if shared.exists() and not own.exists() else own
        raise LineageError(
            f"{file} is {'not what' if file.exists() else 'missing:'} "
            f"{done_file(run, place)} tells of{'' if file.exists() else ' it'}: restore it, or "
            f"have it made again: remove from {run / 'done'} the records of {place.lineage} from "
            f"generation {place.generation} on"
        )


def read_snapshots(run: Path, pair: int) -> list[tuple[str, str, str]]:
    """Return id, parent and content of the snapshots that a run holds of the lineages of `pair`.

    Those of an earlier generation come first.
    """
    found = []
    for file in sorted((run / "knowledge").glob("**/*.parquet"), key=_in_order):
        rows = pq.read_table(file, partitioning=None, filters=[("pair", "=", pair)])
        for row in rows.to_pylist():
            found.append((row["knowledge"], row["parent"], row["content"]))
    return found


def _in_order(file: Path) -> list[tuple[int, str]]:
    """Return what sorts generation 9 before generation 10."""
    return [(int(part or 0), rest) for part, rest in re.findall(r"(\d*)(\D*)", str(file))]


def read_steps(run: Path, place: Place) -> list[Step]:
    """Return the steps of the finished generation at `place`."""
    found = rows_of(run, "steps", place)
    return [] if found is None else steps_of(found, place)


def steps_of(rows: pa.Table, place: Place) -> list[Step]:
    """Return the rows of the generation at `place` as steps."""
    partition = {name: getattr(place, name) for name in PARTITION}
    return [
        Step(**row | {name: tuple(row[name] or ()) for name in LISTS if name in row}, **partition)
        for row in rows.to_pylist()
    ]
