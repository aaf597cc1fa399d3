"""The record of a run or a training, `run.json`: what it was and what made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lineage.core.errors import LineageError
from lineage.core.fields import Number, Whole
from lineage.core.jsonfile import parse_json, read_file

RECORD = "run.json"
LATEST_CLOCK = 253_402_300_799
"""The last second of the year 9999, after which Python knows no date."""
OPEN = ConfigDict(extra="ignore", defer_build=True)
"""Other versions of lineage note more, or less."""


@dataclass(frozen=True, config=OPEN)
class _Arm:
    receives: str
    policy: str
    migration: str
    versions: list[str]


@dataclass(frozen=True, config=OPEN)
class _Suite:
    name: str
    fingerprint: str = ""


@dataclass(frozen=True, config=OPEN)
class _Machine:
    processor: Any
    cores: Any
    memory_gib: Any


@dataclass(frozen=True, config=OPEN)
class _Record:
    """What the keys must be, where they are there."""

    run: str | None = None
    config_hash: str | None = None
    experiment: str | None = None
    suite: _Suite | None = None
    arms: list[str] | None = None
    baseline: str | None = None
    ceiling: str | None = None
    defined: dict[str, _Arm] | None = None
    families: list[str] | None = None
    schedule: list[str] | None = None
    confidence: Annotated[Number, Field(gt=0, lt=1)] | None = None
    correction: str | None = None
    began: Annotated[Number, Field(ge=0, le=LATEST_CLOCK)] | None = None
    commit: str | None = None
    machine: _Machine | None = None
    command: str | None = None
    engine: dict[str, Any] | None = None
    others: Number | None = None
    given_up: list[str] | None = None
    memory_budget: Whole | Literal["auto"] | None = None
    code: dict[str, str | None] | None = None
    changes: list[dict[str, Any]] | None = None
    migration: str | None = None
    training: str | None = None
    training_hash: str | None = None
    parent: str | None = None
    method: str | None = None
    curricula: list[str] | None = None


def read_record(run: Path) -> dict[str, Any]:
    """Return `run.json`. Raises LineageError where there is none, or where it is damaged."""
    file = run / RECORD
    if not file.exists():
        raise LineageError(f"{run} is no run folder: it has no {RECORD}")
    return parse_record(read_file(file), str(file))


def parse_record(data: bytes, file: str) -> dict[str, Any]:
    """Return what `data` holds, as `read_record` does of the `file` that it is named by."""
    found: dict[str, Any] = parse_json(data, file, _Record)
    return found


def require(record: Mapping[str, Any], run: Path, *keys: str) -> None:
    """Raise LineageError where the `record` of `run` lacks one of `keys`."""
    for key in keys:
        if record.get(key) is None:
            raise LineageError(f"{run / RECORD} is damaged (it has no {key}): restore it")
