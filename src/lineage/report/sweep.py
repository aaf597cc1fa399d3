"""What a sweep found, as values: each point with its measures, and how far points are apart.

Read from the metrics of the points; those of a point that has none are computed. A point that has
not finished has no figures here: they would be of fewer generations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from lineage.core.errors import LineageError
from lineage.core.jsonfile import ODD, what
from lineage.log.held_out import read_gains
from lineage.log.progress import progress
from lineage.log.sweep import Point, SweepRecord, best_first, by_objective, read_sweep
from lineage.log.views.connect import connect, read_record
from lineage.log.views.settings import read_settings
from lineage.log.views.swept import plain, swept
from lineage.metrics.current import current_summary
from lineage.metrics.points import Asked, Below, below, by_pair
from lineage.report.lookup import cells, headline_arm, rows_of
from lineage.report.sheet import Cell

FINISHED, UNFINISHED, FAILED = "finished", "not finished", "failed"
NOT_BEGUN, BROKEN = "not begun", "broken"
READ = ("scores", "gain_by_inheritance", "memory_size", "costs")
"""The metrics of a run that its measures are from."""
HELD_OUT = "reward"
"""The measure of held-out worlds that is the headline of a training."""


@dataclass(frozen=True)
class Result:
    """A point: the `values` of the swept keys, its state, `why` it failed or is not finished.

    `measures` are its figures by name, of `of` (an arm or a curriculum) `over` another.
    """

    point: Point
    values: Mapping[str, Any]
    state: str
    why: str = ""
    measures: Mapping[str, Cell] = field(default_factory=dict)
    of: str = ""
    over: str = ""
    engine: str = ""
    versions: tuple[str, ...] = ()
    confidence: float | None = None

    def mean(self, measure: str) -> float | None:
        """Return a figure of the point, None where there is none."""
        cell = self.measures.get(measure)
        return None if cell is None or cell["mean"] is None else float(cell["mean"])

    @property
    def named(self) -> str:
        """Its number and its values."""
        values = ", ".join(f"{key}={value}" for key, value in self.values.items())
        return f"point {self.point.number} ({values})" if values else f"point {self.point.number}"


@dataclass(frozen=True)
class Sweep:
    """A sweep, read. `headline` is the measure by which points are better, "" where none has any.

    `below` says by the number of a point how much less it has of it than the best; of none where
    the best is that by the objective.
    """

    name: str
    record: SweepRecord
    keys: tuple[str, ...]
    results: tuple[Result, ...]
    headline: str
    below: Mapping[int, Below]

    @property
    def finished(self) -> list[Result]:
        """The points that have finished, in their order."""
        return [one for one in self.results if one.state == FINISHED]

    @property
    def by_objective(self) -> bool:
        """Whether its points are better by the objective, and not by the headline."""
        return by_objective(self.record, (one.point.objective for one in self.finished))

    @property
    def ranked(self) -> list[Result]:
        """The finished points that have the figure by which they are better, the best first."""
        return best_first(
            self.record,
            self.finished,
            lambda one: one.point.objective,
            lambda one: one.mean(self.headline),
        )

    @property
    def engine(self) -> str | None:
        """What served all its points; None where they differ, or none has begun."""
        kinds = {one.engine for one in self.results if one.engine}
        return kinds.pop() if len(kinds) == 1 else None

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that served its points, each once."""
        return tuple(dict.fromkeys(version for one in self.results for version in one.versions))


def sweep_results(folder: Path) -> Sweep:
    """Read the sweep in `folder`. Raises LineageError where its record is none or is damaged."""
    record = read_sweep(folder)
    results = [_result(folder, record, point) for point in record.points]
    names = list(dict.fromkeys(name for one in results for name in one.measures))
    gains = [name for name in names if name.startswith("gain")]
    headline = next(iter([*gains, *names]), "")
    keys = tuple(plain(key) for key in record.keys)
    found = Sweep(folder.resolve().name, record, keys, tuple(results), headline, {})
    if found.by_objective:
        return found
    return replace(found, below=_below(folder, found.ranked, headline))


def _result(folder: Path, record: SweepRecord, point: Point) -> Result:
    run = folder / point.folder
    settings: dict[str, Any] = {}
    values = swept(record.keys, point.overrides, settings)
    if not (run / "run.json").exists():
        return Result(point, values, FAILED if point.failed else NOT_BEGUN, point.failed)
    try:
        about, settings = read_record(run), read_settings(run)
        values = swept(record.keys, point.overrides, settings)
        served = about.get("schedule") or (about.get("parent"), about.get("training"))
        kind = str(settings.get("engine.kind", ""))
        known: dict[str, Any] = {"engine": kind, "versions": tuple(map(str, served))}
        came = progress(run, about, settings)
        if not came.whole:
            why = point.failed or f"{came.finished} of {came.planned} done"
            return Result(point, values, FAILED if point.failed else UNFINISHED, why, **known)
        measures, of, over, level = _training(run, about) if "training" in about else _run(run)
        known["confidence"] = level
        return Result(point, values, FINISHED, point.failed, measures, of, over, **known)
    except (LineageError, OSError, duckdb.Error) as error:
        return Result(point, values, BROKEN, " ".join(str(error).split()))
    except ODD as error:
        why = f"{run}: its record or its metrics lack or garble {what(error)}"
        return Result(point, values, BROKEN, why)


Figures = tuple[dict[str, Cell], str, str, float | None]


def _run(run: Path) -> Figures:
    """Return the measures of a run: gains, scores, memory, cost; of the arm that stands for it."""
    summary = current_summary(run, READ)
    gains = cells(summary, "gain_by_inheritance", "arm", "family", inherited=True)
    arm = headline_arm(summary)
    scores = cells(summary, "scores", "arm", "family")
    found: dict[str, Cell | None] = {}
    for name, table in (("gain", gains), ("score", scores)):
        for family in summary["families"]:
            found[f"{name} on {family}"] = table.get((arm, family))
    left = rows_of(summary, "memory_size", arm=arm, measure="tokens")
    found["memory tokens"] = left[-1] if left else None
    found["tokens read"] = cells(summary, "costs", "cost", arm=arm).get("prompt_tokens")
    kept = {name: cell for name, cell in found.items() if cell is not None}
    return kept, arm, str(summary["baseline"]), float(summary["confidence"])


def _training(run: Path, record: Mapping[str, Any]) -> Figures:
    """Return what a training gained in held-out worlds, of its first curriculum."""
    gains = read_gains(run)
    course = gains[0]["curriculum"] if gains else ""
    mine = sorted(
        (one for one in gains if one["curriculum"] == course),
        key=lambda one: one["measure"] != HELD_OUT,
    )
    found = {f"gain in {one['measure']}": one["gain"] for one in mine}
    return found, course, str(record.get("parent")), None


def _below(folder: Path, ranked: Sequence[Result], headline: str) -> dict[int, Below]:
    """Return by how much each run is below the first of them; none where pairs are not known."""
    kind, _, family = headline.partition(" on ")
    runs = [one for one in ranked if one.confidence is not None and family]
    if len(runs) < 2:
        return {}
    pairs = {
        one.point.number: _asked(folder / one.point.folder, one.of, family, kind == "gain")
        for one in runs
    }
    best = pairs.pop(runs[0].point.number)
    return below(best, pairs, runs[0].confidence or 0.0, kind == "gain")


def _asked(run: Path, arm: str, family: str, gain: bool) -> dict[int, Asked]:
    with closing(connect(run)) as log:
        return by_pair(log, arm, family, gain)
