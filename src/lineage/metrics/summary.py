"""All metrics of a run as plain values: what `metrics.json` holds, a table a metric."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lineage.log.views.connect import read_record, rows
from lineage.log.views.gathering import gathered
from lineage.metrics.cells import by_chance
from lineage.metrics.records import Record, held
from lineage.metrics.registry import INTERVAL, METRICS

Row = dict[str, Any]

METRICS_VERSION = 5
KEPT = ("run", "experiment", "config_hash", "schedule", "confidence", "engine")


def summarise(run: Path, names: Collection[str] = METRICS) -> Row:
    """Return the metrics of `run`, every one or those of `names`, as plain values; the layout is
    that of `metrics.json`.

    Raises LineageError where the run cannot be read.
    """
    read_record(run)
    with gathered(run) as log:
        (found,) = summarise_all(log, names).values()
    return found


def summarise_all(
    log: duckdb.DuckDBPyConnection, names: Collection[str] = METRICS
) -> dict[str, Row]:
    """Return what `summarise` does of each run of `log`, by folder; only the metrics of `names`.

    `metrics` has by name of each metric its rows, as its function returns them but for the folder.
    `arms` are those with scores; `stars` say by metric how many of its cells could be starred, and
    how many chance would star.
    """
    with held(log) as runs:
        found = {name: _by_folder(METRICS[name].measure(log)) for name in names}
    about = rows(log, f"SELECT folder, {', '.join(KEPT)}, origin FROM runs")
    known = {
        row["folder"]: {name: row[name] for name in KEPT} | {"origin": json.loads(row["origin"])}
        for row in about
    }
    return {
        folder: {
            "schema": METRICS_VERSION,
            **known[folder],
            **_summary(run, {name: its.get(folder, []) for name, its in found.items()}),
        }
        for folder, run in runs.items()
    }


def _by_folder(table: pa.Table) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in table.to_pylist():
        found.setdefault(row.pop("folder"), []).append(row)
    return found


def _summary(run: Record, metrics: Mapping[str, list[Row]]) -> Row:
    scored = {row["arm"] for row in metrics["scores"]}
    return {
        "arms": [arm for arm in run.arms if arm in scored],
        "defined": run.defined,
        "families": list(run.families),
        "baseline": run.baseline,
        "ceiling": run.ceiling,
        "stars": {
            name: by_chance(cells, run.confidence, run.correction)
            for name, cells in metrics.items()
            if cells and "p" in cells[0]
        },
        "metrics": {name: _in_order(run, cells) for name, cells in metrics.items()},
    }


def _in_order(run: Record, cells: list[Row]) -> list[Row]:
    """Return rows by what they are of: arms, families and versions in the order of the run."""
    order: dict[str, Sequence[Any]] = {
        **dict.fromkeys(("arm", "over"), run.arms),
        "family": run.families,
        **dict.fromkeys(("version", "writer", "reader"), run.schedule),
    }

    def place(row: Row) -> list[tuple[int, Any]]:
        by = takewhile(lambda name: name not in INTERVAL, row)
        return [_place(row[name], order.get(name, ())) for name in by]

    return sorted(cells, key=place)


def _place(value: Any, order: Sequence[Any]) -> tuple[int, Any]:
    """Return what sorts a value: its place in `order`, what has none after that, null last."""
    if value in order:
        return 0, order.index(value)
    return (2, 0) if value is None else (1, value)
