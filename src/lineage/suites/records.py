"""Records of a file, one after another, each with the line it stands on: nothing is read whole.

JSON Lines (`.jsonl`), a JSON array of objects (`.json`), and Parquet (`.parquet`), where the number
of the row stands for the line. A record that cannot be read is a `Problem`; the next one follows.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineage.errors import LineageError

CHUNK = 1 << 16
"""Bytes that are read at once from a JSON array; the chunk grows with the object in it."""


@dataclass(frozen=True)
class Record:
    """One object of a file; `start` and `length` are its bytes in a JSON Lines file, else 0.

    `place` counts the elements of a JSON array from 1; 0: each record has a line of its own.
    """

    line: int
    value: dict[str, Any]
    start: int = 0
    length: int = 0
    place: int = 0

    @property
    def number(self) -> int:
        """What tells the record from the others of its file."""
        return self.place or self.line


@dataclass(frozen=True)
class Problem:
    """What is wrong with the record on `line`, and what to change."""

    line: int
    text: str


def records(path: Path) -> Iterator[Record | Problem]:
    """Yield the records of `path`, by its suffix. Raises LineageError where it cannot be read."""
    readers = {".jsonl": _lines, ".json": _array, ".parquet": _parquet}
    if path.suffix not in readers:
        known = ", ".join(readers)
        raise LineageError(f"{path} has suffix {path.suffix!r}: it must be one of {known}")
    if not path.is_file():
        raise LineageError(f"{path} is no file: set suite.path to the file of tasks")
    try:
        yield from readers[path.suffix](path)
    except OSError as error:
        raise LineageError(f"{path} cannot be read: {error.strerror or error}") from error


def parse(line: int, data: bytes, start: int = 0) -> Record | Problem:
    """Return the record of one line of JSON."""
    try:
        value = json.loads(data.decode())
    except UnicodeDecodeError:
        return Problem(line, "not UTF-8: save the file as UTF-8")
    except (json.JSONDecodeError, RecursionError) as error:
        return Problem(line, f"not JSON: {error}")
    if not isinstance(value, dict):
        return Problem(line, f"not a JSON object but {_kind(value)}")
    return Record(line, value, start, len(data))


def _lines(path: Path) -> Iterator[Record | Problem]:
    start = 0
    with path.open("rb") as file:
        for line, data in enumerate(file, start=1):
            if data.strip():
                yield parse(line, data, start)
            start += len(data)


def _array(path: Path) -> Iterator[Record | Problem]:
    decoder, place = json.JSONDecoder(), 0
    with path.open("rb") as file:
        text = _Text(file)
        if text.skip(" \t\r\n\ufeff") != "[":
            yield Problem(text.line, "a JSON array of objects is expected")
            return
        text.take(1)
        while (mark := text.skip(" \t\r\n,")) != "]":
            line, place = text.line, place + 1
            if not mark:
                yield Problem(line, "the JSON array does not end: the file is cut off")
                return
            try:
                value = text.decode(decoder)
            except (json.JSONDecodeError, RecursionError) as error:
                yield Problem(line, f"not JSON: {error}")
                return  # where the next element begins cannot be told
            if isinstance(value, dict):
                yield Record(line, value, place=place)
            else:
                yield Problem(line, f"not a JSON object but {_kind(value)}")


class _Text:
    """The text of a file, as far as it has been read and not yet taken."""

    def __init__(self, file: Any) -> None:
        self._file, self._held, self.line = file, "", 1
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def _more(self, size: int) -> bool:
        data = self._file.read(size)
        self._held += self._decode(data, final=not data)
        return bool(data)

    def take(self, count: int) -> None:
        self.line += self._held.count("\n", 0, count)
        self._held = self._held[count:]

    def skip(self, signs: str) -> str:
        """Take all `signs` that come next, and return the sign after them, "" at the end."""
        while True:
            rest = self._held.lstrip(signs)
            self.take(len(self._held) - len(rest))
            if rest or not self._more(CHUNK):
                return rest[:1]

    def decode(self, decoder: json.JSONDecoder) -> Any:
        """Take one whole JSON value, reading on until it is whole."""
        size = CHUNK
        while True:
            try:
                value, end = decoder.raw_decode(self._held)
            except json.JSONDecodeError:
                if not self._more(size):
                    raise
                size *= 2
                continue
            # A number at the end of what was read may go on; objects and texts are closed.
            self.take(end)
            return value


def _parquet(path: Path) -> Iterator[Record | Problem]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    line = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=64):
            for value in batch.to_pylist():
                line += 1
                yield Record(line, value)
    except pa.ArrowInvalid as error:
        raise LineageError(f"{path} is no whole Parquet file: {error}") from error


def _kind(value: object) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
