"""JSON files of a run folder, read as what they must be: a damaged one is named, in one line."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lineage.core.errors import LineageError, first_line

RESTORE = "restore it"
"""What to do with a damaged file that nothing makes again."""
ODD = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)
"""What is raised where a value is not of the kind that whoever wrote it gave it."""

INSTANCE = re.compile(r" or an instance of \w+")
"""What pydantic says of our own types, which are nobody's business."""


def what(error: Exception) -> str:
    """Return what was wrong in a line."""
    return f"{type(error).__name__} {' '.join(str(error).split())}".strip()


def read_file(file: Path) -> bytes:
    """Return what `file` holds.

    Raises LineageError where that is a folder, or a pipe that would be waited for, and OSError.
    """
    if file.exists() and not file.is_file():
        raise LineageError(f"{file} is no file: move it away")
    return file.read_bytes()


def read_json(file: Path, kind: Any, remedy: str = RESTORE) -> Any:
    """Return what `file` holds as plain values, which must be as the type `kind` says.

    `kind` is a type that pydantic checks. Raises LineageError, which ends with `remedy`, where it
    is torn, nests too deep or holds something else; and OSError.
    """
    return parse_json(read_file(file), str(file), kind, remedy)


def parse_json(data: bytes, file: str, kind: Any, remedy: str = RESTORE) -> Any:
    """Return what `data` holds, as `read_json` does of the `file` that it is named by."""
    try:
        found = json.loads(data)
        _adapter(kind).validate_python(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        told = INSTANCE.sub("", first["msg"].replace("Input", place or "it", 1))
        raise LineageError(f"{file} is damaged ({told}): {remedy}") from error
    except (ValueError, RecursionError) as error:
        reason = f"no whole JSON file ({first_line(error)})"
        raise LineageError(f"{file} is {reason}: {remedy}") from error
    return found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Return what checks values of `kind`: to make it takes longer than to use it, and a run has a
    file of one kind for each generation of each lineage.
    """
    return TypeAdapter(kind)
