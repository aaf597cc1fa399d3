"""What a run is made with: its record names the prompts and the version of lineage.

They are no part of a configuration's hash, so a run that is resumed is compared with its record.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from lineage.core.errors import LineageError
from lineage.core.files import atomic_write
from lineage.core.installed import installed
from lineage.log.record import RECORD, read_record

DIGITS = 12
"""Hexadecimal digits of the hash of the prompts."""


def code() -> dict[str, str | None]:
    """Return `lineage`, its version (None where it is not installed), and `prompts`, their hash."""
    return {"lineage": installed("lineage").get("lineage"), "prompts": _prompts()}


def check_code(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise LineageError where what the `record` of `folder` was made with has changed since.

    A record of a version that did not note it yet is taken as it is.
    """
    now = code()
    then = record.get("code") or now
    other = (name for name in now if _other(then, now, name))
    changed = [f"{name} {then[name]}, now {now[name]}" for name in other]
    if changed:
        raise LineageError(
            f"{folder} was made with other code ({'; '.join(changed)}): restore it, or go on, and "
            f"ask again what is asked otherwise now, with: lineage resume {folder} --changed"
        )


def accept_changes(folder: Path) -> None:
    """Let the record of `folder`, and of what it holds, name the code of now.

    What it named before is kept there as `changes`, with the time until which it was so.
    """
    now = code()
    for file in sorted(folder.rglob(RECORD)):
        record = read_record(file.parent)
        then = record.get("code") or now
        if any(_other(then, now, name) for name in now):
            changes = [*(record.get("changes") or ()), {**then, "until": time.time()}]
            record |= {"code": now, "changes": changes}
            atomic_write(file, json.dumps(record, indent=1).encode())


def _other(then: Mapping[str, Any], now: Mapping[str, Any], name: str) -> bool:
    """Whether `name` is known of both and differs."""
    return None not in (then.get(name), now[name]) and then[name] != now[name]


def _prompts() -> str:
    """Return a hash of all prompts: their names and texts."""
    prompts = files("lineage.prompts").iterdir()
    texts = {one.name: one.read_text() for one in prompts if one.name.endswith(".md")}
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:DIGITS]
