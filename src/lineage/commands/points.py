"""The points of a sweep: what Hydra calls to run them, and what the record says of each.

The launcher `fleet` hands all points of a batch over at once; other launchers call for one at a
time, in processes of their own where they like. The record has each of them either way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from lineage import compose
from lineage.commands.application import Task, folder_of_job
from lineage.commands.flags import Asked
from lineage.commands.foretold import check_start
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.core.names import check_name
from lineage.core.tasks import Suite
from lineage.core.text import one_line
from lineage.log.record import RECORD
from lineage.log.sweep import Point, read_sweep, update_sweep
from lineage.report.objective import objective
from lineage.runs.plan import prepare
from lineage.runs.points import Outcome, Ready, Together
from lineage.training.run import check_learning

NUMBERED = "${lineage.point:${hydra.job.num}}"
"""hydra.sweep.subdir as conf/ has it: three digits."""
Single = Callable[[Config, Path, Console], float | None]
"""Runs one point in its folder, and returns the figure that a sweeper asks for."""
Found = float | None | Exception
"""That figure, or why there is none."""


class Sweep(Task):
    """A sweep in `folder`: what Hydra calls with each point, or with many of them.

    `asked` is what it is of, `single` runs one point on its own. Where `group` is not None, points
    that come together are run together in it; else one after another. `known` are configurations
    by the overrides of their points, where these have been composed.
    """

    def __init__(
        self,
        asked: Asked,
        folder: Path,
        single: Single,
        group: Together | None,
        known: Mapping[tuple[str, ...], Config] | None = None,
    ) -> None:
        super().__init__()
        self.asked, self.folder, self.single, self.group = asked, folder, single, group
        self.known = known or {}

    def __getstate__(self) -> dict[str, Any]:
        # In another process there is nobody to run a point together with.
        return {**self.__dict__, "group": None, "known": {}}

    def run(self, tree: DictConfig) -> float | None:
        """Run the point that another launcher calls for."""
        job = HydraConfig.get()
        number, place = int(job.job.num), folder_of_job()
        check_name("hydra.sweep.subdir", place.name)
        point = Point(number, place.name, tuple(map(str, job.overrides.task)))
        try:
            config = compose.with_shelf(compose.typed(compose.resolved(tree)))
        except LineageError as error:
            update_sweep(self.folder, failed(point, str(error)))
            raise
        outcome = self._alone(point, config)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _alone(self, point: Point, config: Config) -> Found:
        """Run `point` on its own, and note what came of it; return that, or what it raised."""
        update_sweep(self.folder, point)
        console = Console()
        try:
            found = self.single(config, self.folder / point.folder, console)
        except Exception as error:
            line = one_line(str(error) or type(error).__name__)
            update_sweep(self.folder, failed(point, line))
            console.print(f"[{point.folder}] failed: {line}", highlight=False, markup=False)
            return error
        update_sweep(self.folder, ended(point, found))
        return found

    def together(
        self,
        master: DictConfig,
        composed: Callable[[int, Sequence[str]], DictConfig],
        numbered: Sequence[tuple[int, Sequence[str]]],
    ) -> list[JobReturn]:
        """Run the points that a sweeper asks for at once, by their numbers and overrides."""
        self.as_given()
        node = OmegaConf.to_container(master.hydra.sweep, resolve=False)
        plain = isinstance(node, dict) and node["subdir"] == NUMBERED
        known = {(one.number, one.overrides): one for one in read_sweep(self.folder).points}
        points = []
        for number, overrides in numbered:
            name = f"{number:03d}"
            if not plain:
                name = str(composed(number, overrides).hydra.sweep.subdir)
                check_name("hydra.sweep.subdir", name)
            point = Point(number, name, tuple(overrides))
            points.append(known.get((number, point.overrides), point))
        # Before the first begins: what is killed then can be gone on with.
        update_sweep(self.folder, *points)
        configs = {one.number: self._config(one) for one in points}
        found = self.outcomes(points, configs)
        return [_job(one, found[one.number]) for one in points]

    def _config(self, point: Point) -> Config | Exception:
        if (known := self.known.get(point.overrides)) is not None:
            return known
        try:
            return configured(self.asked.of_hydra, point, self.asked.name)
        except LineageError as error:
            return error

    def outcomes(
        self, points: Sequence[Point], configs: dict[int, Config | Exception]
    ) -> dict[int, Found]:
        """Run `points`, whose configurations are in `configs`; return the objective of each.

        What is in its place where there is none says why. The record has it all.
        """
        found: dict[int, Found] = {}
        ready = dict[str, tuple[Point, Config]]()
        jobs = list[Ready]()
        told, suites = swept(points), dict[str, Suite]()
        for point in points:
            config = configs[point.number]
            if not isinstance(config, Exception) and self.group is None:
                found[point.number] = self._alone(point, config)
                continue
            try:
                if isinstance(config, Exception):
                    raise config
                job = prepare(config)
                if config.schedule.trained:
                    check_learning(config)
                # A file of tasks may be large: those of one are the same for all.
                alike = suites.setdefault(json.dumps(config.suite, sort_keys=True), job.suite)
                place, job = self.folder / point.folder, replace(job, suite=alike)
                if not (place / RECORD).exists():
                    check_start(job)
                jobs.append(Ready(point.folder, told[point.number], place, job))
                ready[point.folder] = point, config
            except (LineageError, OSError) as error:
                update_sweep(self.folder, failed(point, str(error)))
                found[point.number] = error

        def note(one: Ready, outcome: Outcome) -> None:
            point, config = ready[one.label]
            try:
                if outcome.failed:
                    raise LineageError(outcome.failed)
                figure = objective(config.log.objective, outcome.summary)
            except LineageError as error:
                found[point.number] = error
                update_sweep(self.folder, failed(point, str(error)))
            else:
                found[point.number] = figure
                update_sweep(self.folder, ended(point, figure))

        if self.group is not None:
            self.group.run(jobs, note)
        return found


def failed(point: Point, line: str) -> Point:
    """Return `point` as one that ended without a result."""
    return Point(point.number, point.folder, point.overrides, line)


def ended(point: Point, objective: float | None) -> Point:
    """Return `point` as one that has its result."""
    return Point(point.number, point.folder, point.overrides, "", objective)


def configured(of_hydra: Sequence[str], point: Point, name: str) -> Config:
    """Return the configuration of `point` of a sweep; raises LineageError as `compose.load`."""
    return compose.load([*of_hydra, *point.overrides], name=name)


def swept(points: Sequence[Point]) -> dict[int, str]:
    """Return by number the overrides of each of `points` that not all have."""
    shared = set.intersection(*(set(one.overrides) for one in points)) if points else set()
    return {
        one.number: " ".join(text for text in one.overrides if text not in shared) for one in points
    }


def _job(point: Point, found: Found) -> JobReturn:
    """Return what came of `point` as Hydra has it."""
    job = JobReturn(overrides=list(point.overrides), working_dir=str(Path.cwd()))
    job.return_value = found
    job.status = JobStatus.FAILED if isinstance(found, Exception) else JobStatus.COMPLETED
    return job
