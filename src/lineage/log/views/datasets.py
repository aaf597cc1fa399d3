"""The Parquet datasets of run folders: their files, whether these are whole, and SQL over them."""

from __future__ import annotations

import glob
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from lineage.core.errors import LineageError
from lineage.core.urls import is_url
from lineage.log.compaction import COMPACTING
from lineage.log.reader import check_end, check_file
from lineage.log.schema import (
    CURVE_SCHEMA,
    KEYS,
    OF_GENERATION,
    PARTITION,
    STEP_SCHEMA,
    TRAINING_SCHEMA,
)

SCHEMAS = {**OF_GENERATION, "training": TRAINING_SCHEMA, "curve": CURVE_SCHEMA}
REQUIRED = ("steps", "knowledge")
ASKED = 1000
"""Up to so many files of a dataset are all asked for their schema; it takes 0.3 ms a file."""


class Unfinished(LineageError):
    """A run of which no generation is finished yet."""


Files = dict[str, list[Path]]
"""By dataset, in the order of their names."""


@dataclass(frozen=True)
class Skipped:
    """Something that is left out of a log: a whole folder (no `file`), or one file of it."""

    folder: str
    file: str
    reason: str


def check_path(folder: str) -> None:
    """Raise LineageError where a part of the path would be read as a column."""
    for part in Path(folder).parts:
        # DuckDB takes `key=value` anywhere in a path for a partition, before the file's column.
        if part.partition("=")[0] in (*PARTITION, *STEP_SCHEMA.names) and "=" in part:
            raise LineageError(f"{folder}: a folder named {part} hides a column: rename it")


def files_of(folder: str) -> Files:
    """Return the files of each dataset of a local folder; none are known behind a URL."""
    if is_url(folder):
        return {}
    return {name: sorted(Path(folder).glob(_below(name))) for name in SCHEMAS}


def whole_files(
    folder: str, files: Files, skip: bool, skipped: list[Skipped], each: bool = True
) -> Files:
    """Return those of `files` that can be read; what `skip` leaves out goes into `skipped`.

    Of very many, only the first and the last of a dataset are looked at, unless `each` is.
    Raises LineageError where one cannot be read and `skip` is not set, or nothing is finished.
    """
    if not files:
        return files
    kept: Files = {}
    for name, those in files.items():
        kept[name] = []
        for number, file in enumerate(those):
            try:
                # Of very many files the first and the last say which schema they are of: it
                # changes only where a newer lineage went on with a run.
                inner = len(those) > ASKED and 0 < number < len(those) - 1
                if not inner:
                    check_file(file, KEYS[name])
                elif each:
                    check_end(file)
                kept[name].append(file)
            except LineageError as error:
                if not skip:
                    raise
                skipped.append(Skipped(folder, str(file), str(error)))
    _require(folder, [name for name, those in kept.items() if those])
    return kept


def _require(folder: str, found: Collection[str]) -> None:
    """Raise LineageError where a dataset that every run has is not among those `found`."""
    for name in REQUIRED:
        if name not in found:
            if (Path(folder) / COMPACTING).exists():
                raise LineageError(
                    f"{folder} is being compacted, or that was cut off: lineage compact {folder}"
                )
            raise Unfinished(f"{folder} has no finished generation yet (nothing in {name})")


def datasets_behind(log: duckdb.DuckDBPyConnection, folder: str) -> Collection[str]:
    """Return which datasets the run at a URL has, as `log` reads it.

    Raises LineageError where nothing is finished there, or it cannot be read.
    """
    any_there = "SELECT count(*) > 0 FROM glob(?)"
    try:
        found = [
            name
            for name in SCHEMAS
            if log.execute(any_there, [f"{folder}/{_below(name)}"]).fetchall() == [(True,)]
        ]
    except duckdb.Error as error:
        raise LineageError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from error
    _require(folder, found)
    return found


def dataset_sql(
    name: str,
    files: dict[str, Files],
    behind: dict[str, Collection[str]],
    partial: Collection[str] = (),
) -> str:
    """Return SQL for dataset `name` over the `files` by folder; of a URL, what is `behind` it.

    Of a folder that is `partial`, something is left out.
    """
    places: list[str] = []
    for place, found in files.items():
        those = found.get(name, [])
        if name in behind.get(place, ()):
            places.append(f"{place}/{_below(name)}")
        elif those:
            # A glob finds what is finished later too, unless something is left out.
            everything = f"{glob.escape(place)}/{_below(name)}"
            places += list(map(str, those)) if place in partial else [everything]
    if not places:
        return nothing(name)
    hive = name in OF_GENERATION
    options = ["filename = true", f"hive_partitioning = {str(hive).lower()}"]
    if hive:
        options.append("hive_types = {'arm': VARCHAR, 'generation': BIGINT}")
    if len(files) == 1:
        folder = quoted(next(iter(files)))
    else:
        below = "[^/]+/[^/]+/[^/]+" if hive else "[^/]+"
        folder = f"regexp_extract(filename, '^(.*)/{name}/{below}$', 1)"
    # Other views are planned for these types, before there is a file.
    typed = (f'"{field.name}"::{_sql(field.type)} AS "{field.name}"' for field in SCHEMAS[name])
    columns = [*(PARTITION if hive else ()), *typed]
    return (
        f"SELECT {folder} AS folder, {', '.join(columns)} "
        f"FROM read_parquet([{', '.join(map(quoted, places))}], {', '.join(options)})"
    )


def nothing(name: str) -> str:
    columns = [f'NULL::{_sql(field.type)} AS "{field.name}"' for field in SCHEMAS[name]]
    if name in OF_GENERATION:
        columns = ["NULL::VARCHAR AS arm", "NULL::BIGINT AS generation", *columns]
    return f"SELECT NULL::VARCHAR AS folder, {', '.join(columns)} WHERE false"


def _below(name: str) -> str:
    # A run that trains has whole folders of trainings in training/ as well.
    return f"{name}/**/*.parquet" if name in OF_GENERATION else f"{name}/step=*.parquet"


def _sql(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_sql(kind.value_type)}[]"
    names = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE", "bool": "BOOLEAN"}
    return names[str(kind)]


def quoted(value: str) -> str:
    """Return `value` as a string of SQL."""
    return "'" + value.replace("'", "''") + "'"
