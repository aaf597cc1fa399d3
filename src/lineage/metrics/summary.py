"""All metrics of a run as plain values: what `metrics.json` holds, made of the measures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lineage.log.views.connect import read_record, rows
from lineage.log.views.gathering import gathered
from lineage.metrics.cells import INTERVAL, TEST, by_chance
from lineage.metrics.contrasts import contrasts, staleness_contrasts
from lineage.metrics.counts import edits, errors, opens, totals, unscored
from lineage.metrics.docsearch import doc_search
from lineage.metrics.facts import (
    duplication,
    facts_held,
    fidelity,
    kept_tokens,
    migration_fidelity,
    signal_density,
    staleness,
)
from lineage.metrics.gains import (
    forward_transfer,
    gain_by_inheritance,
    gain_by_version,
    harm,
    inheritance_gain,
)
from lineage.metrics.keeping import compression, kept
from lineage.metrics.poison import poison_cost, poison_life, poison_repeated, poison_survival
from lineage.metrics.records import Record, records
from lineage.metrics.scoring import scores, scores_by_category, scores_by_generation, work_scores
from lineage.metrics.spending import BETWEEN, PROBES, costs, memory_size, reward
from lineage.metrics.summaries import summary_distortion, summary_fidelity
from lineage.metrics.transfer import backward_transfer, forgetting, retention
from lineage.metrics.upgrade import MEASURES as CROSSED
from lineage.metrics.upgrade import upgrade_matrix

Row = dict[str, Any]
Measure = Callable[[duckdb.DuckDBPyConnection], pa.Table]

METRICS_VERSION = 4
KEPT = ("run", "experiment", "config_hash", "schedule", "confidence", "engine")
NOTHING = {"mean": None, "low": None, "high": None, "n": 0}
MEASURES: dict[str, Measure] = {
    "scores": scores,
    "gain": inheritance_gain,
    "forward_transfer": forward_transfer,
    "categories": scores_by_category,
    "by_generation": scores_by_generation,
    "gain_by_version": gain_by_version,
    "gain_by_inheritance": gain_by_inheritance,
    "contrasts": contrasts,
    "retention": retention,
    "forgetting": forgetting,
    "backward_transfer": backward_transfer,
    "harm": harm,
    "memory": memory_size,
    "compression": compression,
    "costs": costs,
    "kept": kept,
    "matrix": upgrade_matrix,
    "poison_cost": poison_cost,
    "episodes": work_scores,
    "edits": edits,
    "opens": opens,
    "reward": reward,
    "errors": errors,
    "unscored": unscored,
    "totals": totals,
}
"""Every measure of the log alone, by its name in `metrics.json`."""
TESTED = (
    *("gain", "gain_by_inheritance", "gain_by_version", "contrasts", "forward_transfer"),
    *("matrix", "poison_cost"),
)
"""Those whose cells can be starred; of the matrix, its gains."""
GROUND: dict[str, Measure] = {
    measure.__name__: measure
    for measure in (
        *(signal_density, facts_held, staleness, duplication, fidelity, migration_fidelity),
        *(staleness_contrasts, kept_tokens, doc_search, summary_fidelity, summary_distortion),
        *(poison_survival, poison_life, poison_repeated),
    )
}
"""Those with ground truth from the worlds, by their name below `ground` in `metrics.json`."""


def summarise(run: Path) -> Row:
    """Return every metric of `run` as plain values; the layout is that of `metrics.json`.

    Raises LineageError where the run cannot be read.
    """
    read_record(run)
    with gathered(run) as log:
        (found,) = summarise_all(log).values()
    return found


def summarise_all(log: duckdb.DuckDBPyConnection) -> dict[str, Row]:
    """Return what `summarise` does of each run of `log`, by folder."""
    measured = {name: _by_folder(measure(log)) for name, measure in MEASURES.items()}
    ground = {name: _by_folder(measure(log)) for name, measure in GROUND.items()}
    about = rows(log, f"SELECT folder, {', '.join(KEPT)}, origin FROM runs")
    known = {
        row["folder"]: {name: row[name] for name in KEPT} | {"origin": json.loads(row["origin"])}
        for row in about
    }
    return {
        folder: {
            "schema": METRICS_VERSION,
            **known[folder],
            **_summary(run, {name: found.get(folder, []) for name, found in measured.items()}),
            "ground": {name: found.get(folder, []) for name, found in ground.items()},
        }
        for folder, run in records(log).items()
    }


def _by_folder(table: pa.Table) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in table.to_pylist():
        found.setdefault(row.pop("folder"), []).append(row)
    return found


def _summary(run: Record, of: Mapping[str, list[Row]]) -> Row:
    """Return the measures `of` a run as `metrics.json` lays them out."""
    scored = {row["arm"] for row in of["scores"]}
    arms = [arm for arm in run.arms if arm in scored]
    return {
        "arms": arms,
        "defined": run.defined,
        "families": list(run.families),
        "baseline": run.baseline,
        "ceiling": run.ceiling,
        "scores": _nested(of["scores"], arms, "family", run.families),
        "gain": _nested(
            of["gain"], [arm for arm in arms if arm != run.baseline], "family", run.families
        ),
        "forward_transfer": {row.pop("arm"): row for row in _of_arms(of["forward_transfer"], arms)},
        "categories": _of_arms(of["categories"], arms),
        "by_generation": [
            row | {"version": run.schedule[row["generation"]]}
            for row in _of_arms(of["by_generation"], arms)
        ],
        "gain_by_version": _ordered(
            of["gain_by_version"],
            version=tuple(dict.fromkeys(run.schedule)),
            arm=arms,
            family=run.families,
        ),
        "gain_by_inheritance": _ordered(
            of["gain_by_inheritance"], inherited=(False, True), arm=arms, family=run.families
        ),
        "contrasts": _ordered(of["contrasts"], arm=arms, over=arms, family=run.families),
        "retention": [_renamed(row, mean="score") for row in of["retention"]],
        "forgetting": of["forgetting"],
        "backward_transfer": of["backward_transfer"],
        "harm": [_renamed(row, mean="harm") for row in of["harm"]],
        "memory": _wide(of["memory"], "measure", ("arm", "generation", "version")),
        "compression": of["compression"],
        "costs": _nested(of["costs"], arms, "cost", (*PROBES, *BETWEEN)),
        "kept": sorted(
            _of_arms(of["kept"], arms),
            key=lambda row: (arms.index(row["arm"]), row["k"], row["measure"]),
        ),
        "matrix": _matrix(of["matrix"], run.families),
        "poison_cost": {row.pop("arm"): row for row in of["poison_cost"]},
        "episodes": _of_arms(of["episodes"], arms),
        "edits": of["edits"],
        "opens": of["opens"],
        "reward": _wide(of["reward"], "part", ("arm", "generation")),
        "errors": of["errors"],
        "unscored": of["unscored"],
        "totals": of["totals"][0],
        "stars": _stars(run, of),
    }


def _stars(run: Record, of: Mapping[str, list[Row]]) -> Row:
    """Return by measure how many of its cells could be starred, and how many chance would star."""
    cells = {
        name: [row for row in of[name] if row.get("measure", "gain") == "gain"] for name in TESTED
    }
    return {
        name: by_chance(found, run.confidence, run.correction)
        for name, found in cells.items()
        if found
    }


def _of_arms(found: Sequence[Row], arms: Sequence[str]) -> list[Row]:
    return [row for row in found if row["arm"] in arms]


def _nested(
    found: Sequence[Row], arms: Sequence[str], by: str, order: Sequence[str]
) -> dict[str, dict[str, Row]]:
    """Return rows by arm, then by the column `by`, in this order."""
    cells = {(row["arm"], row[by]): row for row in found}
    return {
        arm: {
            name: {key: value for key, value in cells[arm, name].items() if key not in ("arm", by)}
            for name in order
            if (arm, name) in cells
        }
        for arm in arms
    }


def _ordered(found: Sequence[Row], **order: Sequence[Any]) -> list[Row]:
    """Return the rows whose columns have these values, in the order of the values."""
    kept = [row for row in found if all(row[name] in values for name, values in order.items())]
    return sorted(kept, key=lambda row: [values.index(row[name]) for name, values in order.items()])


def _renamed(row: Row, **names: str) -> Row:
    return {names.get(key, key): value for key, value in row.items()}


def _wide(found: Sequence[Row], measure: str, by: Sequence[str]) -> list[Row]:
    """Return a row for each of `by`, with the mean of each measure, and `intervals` by measure."""
    wide: dict[tuple[Any, ...], Row] = {}
    for row in found:
        keys = {name: row[name] for name in by}
        one = wide.setdefault(tuple(keys.values()), keys | {"intervals": {}})
        one[row[measure]] = row["mean"]
        one["intervals"][row[measure]] = {name: row[name] for name in INTERVAL}
    return list(wide.values())


def _shown(measure: str) -> tuple[str, ...]:
    return (*INTERVAL, *TEST) if measure == "gain" else INTERVAL


def _matrix(found: Sequence[Row], families: Sequence[str]) -> list[Row]:
    """Return a row an arm and family of the matrix, with each of its measures as an interval."""
    cells = {(row["place"], row["family"], row["measure"]): row for row in found}
    rows = []
    for place in dict.fromkeys(sorted(place for place, _, _ in cells)):
        for family in families:
            score = cells.get((place, family, "score"))
            if score is not None:
                about = {key: score[key] for key in ("arm", "writer", "reader", "family")}
                several = {measure: cells.get((place, family, measure)) for measure in CROSSED}
                rows.append(
                    about
                    | {
                        measure: {name: row[name] for name in _shown(measure)} if row else NOTHING
                        for measure, row in several.items()
                    }
                )
    return rows
