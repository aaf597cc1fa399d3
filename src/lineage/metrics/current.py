"""The metrics of a run as they are now: those that are written, or anew where a log is newer."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from lineage.core.errors import LineageError
from lineage.core.jsonfile import read_json
from lineage.metrics.registry import METRICS
from lineage.metrics.summary import METRICS_VERSION, summarise


def current_summary(run: Path, names: Collection[str] = METRICS) -> dict[str, Any]:
    """Return the metrics of `run`: those of `metrics.json` where no generation is newer.

    Where one is, `names` are those that are computed. Raises LineageError where the run cannot
    be read.
    """
    file, done = run / "metrics.json", list(run.glob("done/*.json"))
    newest = max((one.stat().st_mtime_ns for one in done), default=0)
    if file.exists() and file.stat().st_mtime_ns >= newest:
        try:
            summary: dict[str, Any] = read_json(file, dict[str, Any])
        except LineageError:
            return summarise(run, names)
        if summary.get("schema") == METRICS_VERSION:
            return summary
    return summarise(run, names)
