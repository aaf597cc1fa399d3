"""`held-out.json` of a training, read back: what it gained in worlds never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from lineage.core.fields import Number, Whole
from lineage.core.jsonfile import read_json
from lineage.log.record import OPEN

HELD_OUT = "held-out.json"


@dataclass(frozen=True, config=OPEN)
class _Interval:
    mean: Number | None
    low: Number | None
    high: Number | None
    n: Whole
    excludes_zero: bool | None = None
    starred: bool | None = None


@dataclass(frozen=True, config=OPEN)
class _Gain:
    curriculum: str
    measure: str
    before: _Interval
    after: _Interval
    gain: _Interval


def read_gains(folder: Path) -> list[dict[str, Any]]:
    """Return a row a curriculum and measure; none where the training has not come so far.

    Raises LineageError where the file is damaged.
    """
    file = folder / HELD_OUT
    if not file.exists():
        return []
    remedy = f"remove it, and lineage resume {folder} makes it again"
    found: list[dict[str, Any]] = read_json(file, list[_Gain], remedy)
    return found
