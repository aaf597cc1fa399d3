"""Many runs at once, such as the points of a sweep: on engines that they share, each in its folder.

Runs whose engines have other settings form groups, one after another. A run that fails ends no
other; a signal ends all.
"""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from lineage.core.config_engine import VersionConfig
from lineage.core.errors import LineageError
from lineage.core.files import mark
from lineage.core.signals import Stoppable
from lineage.core.text import one_line
from lineage.models.pool import ALONE, Pool, engine_key, grow
from lineage.report.answer import answer
from lineage.report.headline import banner
from lineage.runs.folder import check_vacant, locked
from lineage.runs.loop import all_of
from lineage.runs.plan import Job
from lineage.runs.progress import Display
from lineage.runs.run import Release, begin, missing, work


@dataclass(frozen=True)
class Ready:
    """A run that can begin: `label` names it among the others, `told` says what is its own."""

    label: str
    told: str
    folder: Path
    job: Job


@dataclass(frozen=True)
class Outcome:
    """What came of a run: the summary of its metrics, or in `failed` why there is none."""

    summary: dict[str, Any] = field(default_factory=dict)
    failed: str = ""


Ended = Callable[[Ready, Outcome], None]
"""Is told of each run that has ended."""


class Together:
    """A context in which runs share engines, also those of several calls; closed on leaving it.

    Both signals stop all runs: it is left by KeyboardInterrupt then (see `Stoppable`).
    """

    def __init__(self, console: Console, release: Release | None, report: bool = True) -> None:
        self.console, self.release, self.report = console, release, report
        self.stoppable, self.runner, self.pool = Stoppable(), asyncio.Runner(), Pool()
        self.said = set[str]()
        # Reports in turn, beside the loop: it must not keep the engines waiting.
        self.reporter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="report")

    def __enter__(self) -> Together:
        self.stoppable.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.reporter.shutdown(wait=True, cancel_futures=True)
            self.runner.run(self.pool.close())
            self.runner.close()
        finally:
            self.stoppable.__exit__(kind, error, trace)

    def run(self, points: Sequence[Ready], ended: Ended) -> None:
        """Run what is missing of `points`, `run.points_in_flight` of the first at a time.

        Raises KeyboardInterrupt; whatever was finished stays readable and can be resumed.
        """
        if not points:
            return
        groups = list(grouped(points))
        with Display(self.console, sum(one.job.places for one in points)) as display:
            for line in dict.fromkeys(_known(points)):
                if line not in self.said:
                    display.note(line)
                    self.said.add(line)
            if len(groups) > 1:
                sizes = ", ".join(str(len(group)) for group in groups)
                display.note(
                    f"{len(groups)} groups of points ({sizes}), one after another: their engines "
                    "have other settings"
                )
            self.stoppable.run(self._all(groups, display, ended), self.runner)

    async def _all(self, groups: Sequence[Sequence[Ready]], display: Display, ended: Ended) -> None:
        for group in groups:
            room = asyncio.Semaphore(group[0].job.config.run.points_in_flight)
            failed = await self._start(group, display)
            if failed:
                for one in group:
                    ended(one, Outcome(failed=failed))
                continue
            display.work_begins()
            await all_of(self._one(one, display, room, ended) for one in group)

    async def _start(self, group: Sequence[Ready], display: Display) -> str:
        """Have the engine of `group`; return why that cannot be, "" where it can."""
        todo = [one for one in group if missing(one.job, one.folder)]
        if not todo or engine_key(todo[0].job.config) == ALONE:
            return ""
        versions = [name for one in todo for name in one.job.versions]
        display.note(f"starting the engine of {len(todo)} points, if it does not run yet")
        began = time.monotonic()
        try:
            started = await self.pool.prepare([one.job.config for one in todo], versions)
        except LineageError as error:
            return str(error)
        if started:
            display.note(f"engine ready after {time.monotonic() - began:.0f} s")
        return ""

    async def _one(
        self, point: Ready, display: Display, room: asyncio.Semaphore, ended: Ended
    ) -> None:
        async with room:
            part = display.part(f"[{point.label}]")
            try:
                outcome = Outcome(await self._run(point, part))
                told = answer(outcome.summary) if outcome.summary else "done"
            # Whatever it is, it is this run's: the others go on.
            except Exception as error:
                if not isinstance(error, (LineageError, OSError)):
                    traceback.print_exception(error, file=sys.stderr)
                outcome = Outcome(failed=one_line(str(error) or type(error).__name__))
                told = f"failed: {outcome.failed}"
            part.note(f"{point.told}: {told}" if point.told else told)
            ended(point, outcome)

    async def _run(self, point: Ready, display: Display) -> dict[str, Any]:
        job, folder = point.job, point.folder
        mark(Path(job.config.run.cache_folder))
        check_vacant(folder)
        with locked(folder):
            begin(job, folder)
            engine = self.pool.engine(job.config, job.versions, point.label)
            if missing(job, folder):
                await engine.start(job.versions)
            await work(job, folder, engine, display, self.release)
            if not self.report:
                return {}
            from lineage.report.write import write_report

            make = partial(write_report, folder, Path(job.config.run.cache_folder))
            return await asyncio.get_running_loop().run_in_executor(self.reporter, make)


def _known(points: Sequence[Ready]) -> Iterator[str]:
    """Yield what a reader must know first of the figures, and of the suites."""
    for point in points:
        job = point.job
        if warning := banner(job.config.engine.kind, job.versions):
            yield warning
        if job.suite.notice:
            yield f"suite {job.suite.name}: {job.suite.notice}"


def grouped(points: Sequence[Ready]) -> Iterator[list[Ready]]:
    """Yield `points` in groups that one engine serves, in the order of their first ones."""
    groups: list[tuple[str, dict[str, VersionConfig], list[Ready]]] = []
    for point in points:
        key = engine_key(point.job.config)
        for known, versions, group in groups:
            if known == key and (key == ALONE or grow(versions, point.job.config)):
                group.append(point)
                break
        else:
            groups.append((key, dict(point.job.config.model.versions), [point]))
    for _, _, group in groups:
        yield group
