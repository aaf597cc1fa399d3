"""What the measures know of the runs of a log: the view `runs`, a value a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import duckdb

from lineage.log.views.connect import rows


@dataclass(frozen=True)
class Record:
    """What the intervals and comparisons of a run rest on.

    `defined` holds by arm what it receives, its versions by generation, policy and migration; it is
    empty where the run's record has none.
    """

    folder: str
    arms: tuple[str, ...]
    families: tuple[str, ...]
    baseline: str
    ceiling: str
    schedule: tuple[str, ...]
    confidence: float
    correction: str
    defined: dict[str, dict[str, Any]]

    def comparable(self, arm: str, over: str | None = None) -> bool:
        """Whether `arm` is served by the versions of `over` (default: the baseline).

        Else a difference between them would be the versions' too.
        """
        other = self.baseline if over is None else over
        if arm not in self.defined or other not in self.defined:
            return True
        return bool(self.defined[arm]["versions"] == self.defined[other]["versions"])


_held: WeakKeyDictionary[duckdb.DuckDBPyConnection, dict[str, Record]] = WeakKeyDictionary()


@contextmanager
def held(log: duckdb.DuckDBPyConnection) -> Iterator[dict[str, Record]]:
    """Yield the `records` of `log`, which are read once while this lasts: nearly all tables ask."""
    _held[log] = records(log)
    try:
        yield _held[log]
    finally:
        del _held[log]


def records(log: duckdb.DuckDBPyConnection) -> dict[str, Record]:
    """Return the record of each run by its folder, in the order of the folders."""
    if log in _held:
        return _held[log]
    found = rows(
        log,
        "SELECT folder, arms, families, baseline, ceiling, schedule, confidence, "
        "correction, defined FROM runs ORDER BY folder",
    )
    return {
        row["folder"]: Record(
            folder=row["folder"],
            arms=tuple(row["arms"] or ()),
            families=tuple(row["families"] or ()),
            baseline=row["baseline"] or "",
            ceiling=row["ceiling"] or "",
            schedule=tuple(row["schedule"] or ()),
            confidence=row["confidence"],
            correction=row["correction"],
            defined=json.loads(row["defined"] or "{}"),
        )
        for row in found
    }
