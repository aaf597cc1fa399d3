"""A whole run: its record, its engine, all lineages in flight, and the report at the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lineage.core.config import Config
from lineage.core.console import busy
from lineage.core.errors import LineageError
from lineage.core.files import atomic_write, mark
from lineage.core.signals import Stoppable
from lineage.core.tasks import FAMILIES
from lineage.log.publish import Mirror
from lineage.log.reader import check_finished, read_records
from lineage.log.record import RECORD, read_record
from lineage.log.sittings import Timer
from lineage.models.factory import behind_api, make_engine
from lineage.models.meter import Meter
from lineage.models.protocol import Engine
from lineage.runs.code import check_code, code
from lineage.runs.folder import check_vacant, locked, lost, point_latest, root_of, write_described
from lineage.runs.loop import run_lineages
from lineage.runs.origin import Load, libraries, origin
from lineage.runs.parts import LIFE, in_shards
from lineage.runs.plan import Job, prepare
from lineage.runs.progress import Display

if TYPE_CHECKING:
    from lineage.runs.spread import Spread

Release = Callable[[Config, str, str, Path, Engine, Display], Awaitable[None]]
"""Trains a version from its parent while a run goes on, in a folder of its own, and serves it."""


def execute(
    config: Config,
    folder: Path,
    console: Console,
    release: Release | None = None,
    report: bool = True,
    latest: bool = True,
    job: Job | None = None,
    mirror: Mirror | None = None,
) -> dict[str, Any]:
    """Run `config` in `folder` (or finish what is there) and return the summary of its metrics.

    `release` makes the versions that the schedule says are trained while it runs. Without a
    `report` the run ends with its log, and the summary is empty. Without `latest` the link of that
    name stays where it is. `job` is what `config` has been prepared to, where it has been. `mirror`
    publishes the folder, where it has a URL.

    Raises LineageError for what the user can mend, OSError where the disk refuses, and
    KeyboardInterrupt; whatever was finished stays readable and can be resumed.
    """
    job = job or checked(config, console)
    mark(Path(config.run.cache_folder))
    check_vacant(folder)
    with Stoppable() as stoppable, locked(folder):
        begin(job, folder)
        if latest:
            point_latest(root_of(config.run), folder)
        with Display(console, job.places) as display:
            display.note(
                f"{config.experiment.name}: {len(job.start.pairs)} lineages x "
                f"{len(job.arms)} arms x {job.generations} generations in {folder}"
            )
            if job.suite.notice:
                display.note(f"suite {job.suite.name}: {job.suite.notice}")
            stoppable.run(_alone(job, folder, display, release, mirror))
            if not report:
                return {}
            display.note("writing the report")
            from lineage.report.write import write_report

            return write_report(folder, Path(config.run.cache_folder))


def checked(config: Config, console: Console) -> Job:
    """Return the run of `config`, before anything is begun. Raises LineageError as `prepare`."""
    # A large file of tasks takes a while to check.
    with busy(console, "checking the configuration and the tasks"):
        return prepare(config)


async def _alone(
    job: Job, folder: Path, display: Display, release: Release | None, mirror: Mirror | None
) -> None:
    """Run what is missing of `job` on an engine of its own, here or in shards on a cluster."""
    await _vacated(folder)
    shards = await _shards(job, folder, mirror) if missing(job, folder) else None
    if shards is not None:
        await _in_shards(job, folder, shards, display, release)
        return
    engine = make_engine(job.config, bool(job.config.schedule.trained), display.note)
    try:
        if missing(job, folder):
            if behind_api(job.config):
                from lineage.runs.spending import foretold_cost

                for line in foretold_cost(job):
                    display.note(line)
            display.note("starting the engine")
            began = time.monotonic()
            await engine.start(job.versions)
            display.note(f"engine ready after {time.monotonic() - began:.0f} s")
        display.work_begins()
        await work(job, folder, engine, display, release)
    finally:
        await asyncio.shield(engine.close())


async def _vacated(folder: Path) -> None:
    # They bring Ray with them, which takes as long to import as a small run takes.
    if any(folder.glob(f"{LIFE}*")):
        from lineage.runs.durable import vacated

        await vacated(folder)


async def _shards(job: Job, folder: Path, mirror: Mirror | None) -> Spread | None:
    if not in_shards(job.config):
        return None
    from lineage.runs.spread import spread

    return await spread(job, folder, mirror)


async def _in_shards(
    job: Job, folder: Path, shards: Spread, display: Display, release: Release | None
) -> None:
    """Run what is missing of `job` in `shards`; what they gave up is named, and in its record."""
    try:
        display.note("starting the engines")
        began = time.monotonic()
        engine = await shards.start()
        display.note(f"engines ready after {time.monotonic() - began:.0f} s")
        display.note(str(shards))
        display.work_begins()
        await work(job, folder, engine, display, release, shards)
        if shards.left_out:
            display.note(
                f"given up, because a shard died on it again and again: "
                f"{', '.join(sorted(shards.left_out))}; lineage resume tries again"
            )
    finally:
        await asyncio.shield(shards.close())


def begin(job: Job, folder: Path) -> None:
    """Describe the run in `folder`, which is held, and check what is finished of it.

    Raises LineageError where the folder holds another run, or what is finished is damaged.
    """
    describe(job, folder)
    check_finished(folder)


def missing(job: Job, folder: Path) -> bool:
    """Whether a generation of `job` is yet to be run."""
    return len(list((folder / "done").glob("*.json"))) < job.places


async def work(
    job: Job,
    folder: Path,
    served: Engine,
    display: Display,
    release: Release | None,
    shards: Spread | None = None,
) -> None:
    """Run what is missing of `job`, which was begun in `folder`.

    The engine that it is `served` by has been started; it may serve other runs too. With `shards`
    its lineages live there, and else in this process. Raises LineageError where it fails.
    """
    timer = Timer(folder, served.faults if shards is None else shards.faults)

    def tell(tokens: int, requests: int = 1) -> None:
        display.completed(tokens, requests)
        timer.worked()

    if behind_api(job.config):
        from lineage.runs.spending import purse_of

        served = purse_of(job, folder, served)
    engine = Meter(served, tell, job.config.engine.max_failures)
    unfinished = missing(job, folder)
    before, since = Load.now(), time.monotonic()
    with timer if unfinished else nullcontext():
        for span, due in job.stages:
            if shards is None:
                await run_lineages(job, folder, engine, display.generation_done, span)
            else:
                await shards.run(span, display.generation_done, tell)
            # What is trained serves a later generation: where all are done, so is this.
            for name, parent in due if unfinished else ():
                assert release is not None, "whoever runs a schedule that trains can train"
                place = folder / "training" / name
                await release(job.config, name, parent, place, engine, display)
    if unfinished:
        # On a cluster engines are no children of this process, and all they do would be others'.
        alone = job.config.run.ray_address is None
        load = Load.now().others_since(before, time.monotonic() - since) if alone else None
        if behind_api(job.config) and "usd" in (found := engine.describe()):
            display.note(f"{found['usd']:.4f} USD by the price list, from the run's beginning")
        _note_served(folder, engine, load, shards.left_out if shards is not None else ())


def describe(job: Job, folder: Path, more: Mapping[str, Any] | None = None) -> None:
    """Write `run.json`, with what `more` it holds, then `config.yaml`.

    Raises LineageError where the folder holds another run, or one that is not gone on with.

    A record that was lost is written again, without what only it knew.
    """
    file, config, source = folder / RECORD, job.config, job.suite.fingerprint
    if file.exists():
        record = read_record(folder)
        if "migration" in record:
            raise LineageError(
                f"{folder} is a migration, which is not gone on with: lineage migrate begins anew"
            )
        found = record.get("config_hash")
        if found != job.hash:
            raise LineageError(
                f"{folder} holds a run of another configuration ({found}, not {job.hash}): "
                "choose another run.name"
            )
        if (record.get("suite") or {}).get("fingerprint", source) != source:
            raise LineageError(
                f"the file of suite {job.suite.name!r} has changed since {folder} was begun: "
                "restore it, or begin another run"
            )
        check_code(folder, record)
        return
    record = {
        "run": job.id,
        "config_hash": job.hash,
        "experiment": config.experiment.name,
        "suite": {"name": job.suite.name, "fingerprint": source},
        "arms": config.arms.names,
        "baseline": config.arms.baseline,
        "ceiling": config.arms.ceiling,
        "defined": {arm.name: arm.record for arm in job.arms},
        "families": [str(family) for family in FAMILIES],
        "schedule": config.schedule.versions,
        "memory_budget": config.agent.memory_budget,
        "confidence": config.log.confidence,
        "correction": config.log.correction,
        "began": time.time(),
        **origin(),
        "engine": {"kind": config.engine.kind},
        "code": code(),
        "libraries": libraries(config.engine.kind),
        **(more or {}),
    }
    if known := {one.config_hash for one in read_records(folder)} - {""}:
        if known != {job.hash}:
            raise LineageError(
                f"{folder} holds generations of another configuration ({', '.join(sorted(known))}, "
                f"not {job.hash}): choose another run.name"
            )
        record |= lost(folder, record)
    write_described(folder, record, config)


def _note_served(
    folder: Path, engine: Engine, others: float | None, given_up: Collection[str]
) -> None:
    """Add to the run's record what served it (device, adapters and their checksums).

    And `others`: the share of this machine that other work took meanwhile, None where that cannot
    be told. And the lineages that were `given_up`, if any ever were: a run that was gone on with
    may have finished those.
    """
    file = folder / RECORD
    record = read_record(folder)
    before, now = record.get("engine") or {}, engine.describe()
    scaled = [*before.get("scaled", ()), *now.get("scaled", ())]
    served = before | now | ({"scaled": scaled} if scaled else {})
    record |= {"engine": served, "others": None if others is None else round(others, 4)}
    if given_up or "given_up" in record:
        record["given_up"] = sorted(given_up)
    atomic_write(file, json.dumps(record, indent=1).encode())
