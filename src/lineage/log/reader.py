"""What a run folder holds of a generation, read back: its steps, its snapshots, what it left."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic.dataclasses import dataclass as checked_dataclass

from lineage.core.errors import LineageError
from lineage.core.fields import Whole
from lineage.core.jsonfile import read_file, read_json
from lineage.core.knowledge import EMPTY, Knowledge, knowledge_from_json
from lineage.core.names import check_name
from lineage.log.place import Place, done_file
from lineage.log.record import OPEN
from lineage.log.schema import KEYS, LISTS, PARTITION, SCHEMA_VERSION, VERSION_KEY, Step

AGAIN = "remove it, and lineage resume makes its generation again"
"""What to do with a damaged record."""
PARQUET = b"PAR1"
"""How a whole Parquet file ends (Apache Parquet, file format)."""


def check_end(file: Path) -> None:
    """Raise LineageError where `file` does not end as a Parquet file does."""
    with _opened(file):
        pass


def check_file(file: Path, column: str = "") -> None:
    """Raise LineageError where `file` is torn, or of a newer schema than this lineage reads.

    And where it lacks the `column` that files of its dataset have (see `schema.KEYS`).
    """
    with _opened(file) as data:
        try:
            schema = pq.read_schema(data)
        except (pa.ArrowException, OSError) as error:
            raise LineageError(f"{file} is no whole Parquet file: move it away") from error
    check_newer(file, schema)
    if column and column not in schema.names:
        raise LineageError(f"{file} has no column {column}, it is of another dataset: restore it")


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Yield `file`, of which the end is that of a Parquet file; else raise LineageError."""
    if not file.is_file():
        raise LineageError(f"{file} is no file: move it away")
    with file.open("rb") as data:
        data.seek(max(0, file.stat().st_size - len(PARQUET)))
        if data.read() != PARQUET:
            raise LineageError(f"{file} is no whole Parquet file: move it away")
        yield data


def check_newer(file: Path, schema: pa.Schema) -> None:
    """Raise LineageError where `file`, of `schema`, is newer than this lineage reads."""
    told = (schema.metadata or {}).get(VERSION_KEY.encode(), b"1")
    found = int(told) if told.isdigit() else 1
    if found > SCHEMA_VERSION:
        raise LineageError(
            f"{file} has schema {found}, this lineage reads up to {SCHEMA_VERSION}: upgrade lineage"
        )


@dataclass(frozen=True)
class Record:
    """What `done/` says of a finished generation: its steps, the hash of their file as it was
    written, the id of the Knowledge that it left, and the hash of its configuration ("": an older
    version did not note it)."""

    place: Place
    steps: int
    steps_sha256: str
    knowledge: str
    config_hash: str


@checked_dataclass(frozen=True, config=OPEN)
class _Done:
    arm: str
    pair: Whole
    lineage: str
    generation: Whole
    steps: Whole
    steps_sha256: str
    knowledge: str
    config_hash: str = ""


def read_records(run: Path) -> Iterator[Record]:
    """Yield the record of every finished generation; raises LineageError where one is damaged."""
    for file in sorted((run / "done").glob("*.json")):
        yield _record(file)


def _record(file: Path) -> Record:
    found = read_json(file, _Done, AGAIN)
    place = Place(found["arm"], found["pair"], found["lineage"], found["generation"])
    # It may be somebody else's, and its names are parts of paths.
    for key in ("arm", "lineage"):
        check_name(f"{file}, {key}", found[key])
    if file.stem != place.name:
        raise LineageError(f"{file} is the record of {place.name}: {AGAIN}")
    noted = found.get("config_hash", "")
    return Record(place, found["steps"], found["steps_sha256"], found["knowledge"], noted)


def rows_of(run: Path, dataset: str, place: Place) -> pa.Table | None:
    """Return the rows of the generation at `place`; None where the dataset holds none.

    Raises LineageError where their file is torn.
    """
    own, shared = place.file(run / dataset), place.compacted(run / dataset)
    file = own if own.exists() else shared
    if not file.exists():
        return None
    check_file(file, KEYS[dataset])
    try:
        if file == own:
            # A third of what `read_table` takes, which looks for a dataset of many files first.
            with pq.ParquetFile(own) as data:
                return data.read()
        rows = pq.read_table(shared, partitioning=None, filters=[("lineage", "=", place.lineage)])
    except (pa.ArrowException, OSError) as error:
        raise LineageError(f"{file} is no whole Parquet file: move it away") from error
    return rows if rows.num_rows else None


def finished(run: Path, place: Place) -> Knowledge | None:
    """Return the Knowledge that a finished generation left, None where it is not finished."""
    record_file = done_file(run, place)
    if not record_file.exists():
        return None
    wanted = _record(record_file).knowledge
    snapshots = rows_of(run, "knowledge", place)
    for row in [] if snapshots is None else snapshots.to_pylist():
        if row["knowledge"] == wanted:
            return knowledge_of(row["content"], row["parent"], run)
    return EMPTY if wanted == EMPTY.id else None


def knowledge_of(content: str, parent: str, run: Path) -> Knowledge:
    """Return the Knowledge that `run` logged as `content`; raises LineageError where it is none."""
    try:
        return knowledge_from_json(content, parent)
    except ValueError as error:
        raise LineageError(f"{run / 'knowledge'} is damaged ({error}): restore it") from error


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
        whole = hashlib.sha256(read_file(own)).hexdigest() == record.steps_sha256
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
        check_file(file, KEYS["knowledge"])
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
    try:
        return [
            Step(
                **row | {name: tuple(row[name] or ()) for name in LISTS if name in row},
                **partition,
            )
            for row in rows.to_pylist()
        ]
    except TypeError as error:
        line = f"the rows of {place.at} are no steps ({error}): restore them"
        raise LineageError(line) from error
