"""Records of a file, one after another, each with the place where it stands.

JSON Lines, a JSON array of objects (as it is, or as the only key of one object), and Parquet, where
the number of the row stands for the line. Nothing is read whole, but one record. A record that
cannot be read is a `Problem`; the next one follows. What is yielded holds no lone surrogate, no key
twice in one object, and no whole number of more digits than Python converts.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineage.core.errors import LineageError, first_line
from lineage.core.fields import dotted

CHUNK = 1 << 16
"""Bytes that are read at once from a JSON array; the chunk grows with the object in it."""
DIGITS = 4300
"""Most digits of a whole number: Python's own limit."""
SPACE = " \t\r\n"
BOM = codecs.BOM_UTF8
ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a character beyond 16 bits, as JSON may write it."""
DEEP = "lists and objects are nested too deeply"
NO_MORE = "(where the next row begins cannot be told: none after it is read)"


@dataclass(frozen=True)
class Record:
    """One object of a file; `place` counts the elements of a JSON array from 1, else it is 0."""

    line: int
    value: dict[str, Any]
    place: int = 0

    @property
    def number(self) -> int:
        """What tells the record from the others of its file."""
        return self.place or self.line

    @property
    def at(self) -> str:
        """Where it stands, for an error: the line, and in an array the number of the row."""
        return _at(self.line, self.place)


@dataclass(frozen=True)
class Problem:
    """What is wrong with the record that stands `at` some line, and what to change."""

    at: str
    text: str


def records(path: Path) -> Iterator[Record | Problem]:
    """Yield the records of `path`. Raises LineageError where it cannot be read as a whole."""
    readers = {".jsonl": _lines, ".json": _json, ".parquet": _parquet}
    if path.suffix not in readers:
        known = ", ".join(readers)
        raise LineageError(f"{path} has suffix {path.suffix!r}: it must be one of {known}")
    if not path.is_file():
        raise LineageError(f"{path} is no file: set suite.path to the file of tasks")
    try:
        yield from readers[path.suffix](path)
    except OSError as error:
        raise LineageError(f"{path} cannot be read: {error.strerror or error}") from error


class _Refused(ValueError):
    """JSON that Python reads, and that would lose something or fail later."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Refused(f"the key {twice!r} stands twice in one object")
    return value


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS:
        raise _Refused(f"a whole number has more than {DIGITS} digits: write it as a text")
    return int(digits)


STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole)
LENIENT = json.JSONDecoder(parse_int=str)
"""Tells where a value ends that the strict one refuses."""


def _at(line: int, place: int = 0) -> str:
    return f"{line}: row {place}" if place else f"{line}"


def _record(line: int, place: int, value: Any, written: bool) -> Record | Problem:
    """Return the record of a value; `written`: it may hold half a character."""
    if not isinstance(value, dict):
        return Problem(_at(line, place), f"not a JSON object but {_kind(value)}")
    if written and (lone := _lone(value)):
        return Problem(
            _at(line, place),
            f"{lone} holds half of a character (a lone surrogate): write it whole, or leave it out",
        )
    return Record(line, value, place)


def _lone(value: Any) -> str:
    """Return the path of the first text with a lone surrogate, "" where none has."""
    left: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while left:
        path, one = left.pop()
        if isinstance(one, str):
            if not _encodes(one):
                return dotted(path)
        elif isinstance(one, dict):
            if wrong := next((key for key in one if not _encodes(key)), None):
                return f"the key {dotted((*path, ascii(wrong)))}"
            left += reversed([((*path, key), held) for key, held in one.items()])
        elif isinstance(one, list):
            left += reversed([((*path, n), held) for n, held in enumerate(one)])
    return ""


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_encodings(path: Path, head: bytes) -> None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head:
        raise LineageError(f"{path} is UTF-16 or UTF-32, not UTF-8: save it as UTF-8")


def _lines(path: Path) -> Iterator[Record | Problem]:
    with path.open("rb") as file:
        for line, data in enumerate(file, start=1):
            if line == 1:
                _refuse_encodings(path, data[:4])
                data = data.removeprefix(BOM)
            if data.strip():
                yield _line(line, data)


def _line(line: int, data: bytes) -> Record | Problem:
    if line == 1 and data.lstrip().startswith(b"["):
        what = "not a JSON object but a list: if the file is a JSON array, name it .json"
        return Problem(_at(line), what)
    try:
        text = data.decode()
        value = STRICT.decode(text)
    except UnicodeDecodeError:
        return Problem(_at(line), "not UTF-8: save the file as UTF-8")
    except json.JSONDecodeError as error:
        return Problem(_at(line), f"not JSON: {error.msg} (column {error.colno})")
    except RecursionError:
        return Problem(_at(line), DEEP)
    except _Refused as error:
        return Problem(_at(line), str(error))
    return _record(line, 0, value, bool(ESCAPED.search(text)))


def _json(path: Path) -> Iterator[Record | Problem]:
    """Yield the records of a JSON array, or of what else is named so."""
    with path.open("rb") as file:
        _refuse_encodings(path, file.read(4))
        file.seek(0)
        text = _Text(file)
        try:
            sign = text.skip(SPACE)
            if sign == "[":
                yield from _array(text)
            elif sign == "{":
                yield from _objects(path, text)
            else:
                yield Problem(_at(text.line), "a JSON array of objects is expected")
        except UnicodeDecodeError:
            yield Problem(_at(text.line), f"not UTF-8: save the file as UTF-8 {NO_MORE}")


def _array(text: _Text, end: str = "") -> Iterator[Record | Problem]:
    """Yield the elements of the array that comes next; after it is nothing but `end`."""
    place = 0
    text.take(1)
    while (sign := text.skip(f"{SPACE},")) != "]":
        line, place = text.line, place + 1
        if not sign:
            yield Problem(_at(line), "the JSON array does not end: the file is cut off")
            return
        try:
            found = _element(text, line, place)
        except json.JSONDecodeError as error:
            at = _at(line + error.lineno - 1, place)
            yield Problem(at, f"not JSON: {error.msg} {NO_MORE}")
            return
        except RecursionError:
            yield Problem(_at(line, place), f"{DEEP} {NO_MORE}")
            return
        yield found
    text.take(1)
    if text.skip(SPACE + end):
        yield Problem(_at(text.line), "more follows the end of the JSON array: keep one array")


def _element(text: _Text, line: int, place: int) -> Record | Problem:
    try:
        return _record(line, place, *text.decode(STRICT))
    except _Refused as error:
        text.decode(LENIENT)
        return Problem(_at(line, place), str(error))


def _objects(path: Path, text: _Text) -> Iterator[Record | Problem]:
    """Yield the records of a file that starts with an object: a line each, or all in one list."""
    first = text.line
    try:
        value, _ = text.decode(LENIENT)
    except (json.JSONDecodeError, RecursionError):
        value = None
    last = text.line
    if value is None or (text.skip(SPACE) == "{" and first == last):
        yield from _lines(path)
        return
    lists = [key for key, held in value.items() if isinstance(held, list)]
    if text.skip(SPACE) or len(value) != 1 or not lists:
        held = f", or save what stands under {lists[0]!r} as the file" if len(lists) == 1 else ""
        yield Problem(
            _at(first),
            f"not a JSON array of objects: put [ ] around rows, and commas between{held}",
        )
        return
    with path.open("rb") as file:
        inside = _Text(file)
        inside.skip(SPACE)
        inside.take(1)
        inside.skip(SPACE)
        inside.decode(LENIENT)
        inside.skip(f"{SPACE}:")
        yield from _array(inside, "}")


class _Text:
    """The text of a file, as far as it has been read and not yet taken."""

    def __init__(self, file: Any) -> None:
        self._file, self._held, self.line = file, "", 1
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode

    def _more(self, size: int) -> bool:
        data = self._file.read(size)
        try:
            self._held += self._decode(data, final=not data)
        except UnicodeDecodeError as error:
            self.line += self._held.count("\n") + error.object.count(b"\n", 0, error.start)
            raise
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

    def decode(self, decoder: json.JSONDecoder) -> tuple[Any, bool]:
        """Take one whole JSON value, reading on until it is whole.

        Return it, and whether it may hold half a character.
        """
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
            written = bool(ESCAPED.search(self._held, 0, end))
            self.take(end)
            return value, written


def _parquet(path: Path) -> Iterator[Record | Problem]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    line = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=64):
            for value in batch.to_pylist():
                line += 1
                yield Record(line, value)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise LineageError(f"{path} is no whole Parquet file: {first_line(error)}") from error


def _kind(value: object) -> str:
    kinds = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
