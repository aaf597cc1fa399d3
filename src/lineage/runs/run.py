"""A whole run: the folder, the fleet, all lineages in flight, and the report at the end."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from rich.console import Console

from lineage import compose
from lineage.core.config import Config
from lineage.core.console import busy
from lineage.core.curriculum import Plan, plans
from lineage.core.errors import LineageError
from lineage.core.files import atomic_write, mark, marked, odd_files
from lineage.core.names import LATEST, check_name
from lineage.core.signals import Stoppable
from lineage.core.tasks import FAMILIES
from lineage.log.compaction import settle
from lineage.log.reader import check_finished, read_records
from lineage.log.record import read_record
from lineage.log.sittings import Timer
from lineage.models.factory import make_engine
from lineage.models.meter import Meter
from lineage.models.protocol import Engine
from lineage.models.shelf import VERSION_FILE, folder_of
from lineage.runs.arms import Arm, donor_of
from lineage.runs.code import check_code, code
from lineage.runs.lineage import Setting, run_lineage
from lineage.runs.origin import Load, libraries, origin
from lineage.runs.plan import Job, prepare
from lineage.runs.progress import Display

Release = Callable[[Config, str, str, Path, Engine, Display], Awaitable[None]]
"""Trains a version from its parent while a run goes on, in a folder of its own, and serves it."""
LOST = ("commit", "dirty", "machine", "command", "code")
"""What only the record of a run knows of those who made it."""


def new_folder(config: Config) -> Path:
    """Return the folder of a new run: its name, or time and experiment."""
    return named_folder(config, config.experiment.name)


def named_folder(config: Config, what: str) -> Path:
    """Return the folder that is named by `run.name`, or by time and `what`.

    Raises LineageError where that would be no name of one folder.
    """
    root = Path(config.run.root)
    if config.run.name:
        return root / config.run.name
    check_name("experiment.name", what)
    return root / f"{time.strftime('%Y%m%d-%H%M%S')}-{what}"


def at_home(config: Config, folder: Path) -> Config:
    """Return the saved `config` of the run in `folder`, to be gone on with where it lies.

    It may be somebody else's: where it says that runs, cache and shelf are is taken for that only
    where lineage has put the link to the latest run, or its mark. Else there is no link to move,
    and cache and shelf are those of `conf/`.
    """
    roots = (root for root in folder.absolute().parents[:2] if (root / LATEST).is_symlink())
    cache, shelf = config.run.cache, config.model.shelf
    place = folder_of(config.model)
    known = marked(Path(cache)), marked(place) or any(place.glob(f"*/{VERSION_FILE}"))
    if not all(known):
        ours = compose.load([])
        cache = cache if known[0] else ours.run.cache
        shelf = shelf if known[1] else ours.model.shelf
    return replace(
        config,
        model=replace(config.model, shelf=shelf),
        run=replace(config.run, root=str(next(roots, folder)), cache=cache),
    )


def execute(
    config: Config,
    folder: Path,
    console: Console,
    release: Release | None = None,
    report: bool = True,
) -> dict[str, Any]:
    """Run `config` in `folder` (or finish what is there) and return the summary of its metrics.

    `release` makes the versions that the schedule says are trained while it runs. Without a
    `report` the run ends with its log, and the summary is empty.

    Raises LineageError for what the user can mend, OSError where the disk refuses, and
    KeyboardInterrupt; whatever was finished stays readable and can be resumed.
    """
    # A large file of tasks takes a while to check.
    with busy(console, "checking the configuration and the tasks"):
        job = prepare(config)
    mark(Path(config.run.cache))
    with Stoppable() as stoppable, locked(folder):
        describe(job, folder)
        check_finished(folder)
        point_latest(Path(config.run.root), folder)
        with Display(console, job.places) as display:
            display.note(
                f"{config.experiment.name}: {len(job.start.pairs)} lineages x "
                f"{len(job.arms)} arms x {job.generations} generations in {folder}"
            )
            if job.suite.notice:
                display.note(f"suite {job.suite.name}: {job.suite.notice}")
            stoppable.run(_run(job, folder, display, release))
            if not report:
                return {}
            display.note("writing the report")
            from lineage.report.write import write_report

            return write_report(folder, Path(config.run.cache))


async def _run(job: Job, folder: Path, display: Display, release: Release | None) -> None:
    timer = Timer(folder)

    def tell(tokens: int) -> None:
        display.completed(tokens)
        timer.worked()

    made = make_engine(job.config, adaptable=bool(job.config.schedule.trained))
    engine = Meter(made, tell, job.config.engine.max_failures)
    unfinished = len(list((folder / "done").glob("*.json"))) < job.places
    before, since = Load.now(), time.monotonic()
    try:
        if unfinished:
            display.note("starting the engine")
            began = time.monotonic()
            await engine.start(job.versions)
            display.note(f"engine ready after {time.monotonic() - began:.0f} s")
        display.work_begins()
        with timer if unfinished else nullcontext():
            for span, due in job.stages:
                await run_lineages(job, folder, engine, display.generation_done, span)
                # What is trained serves a later generation: where all are done, so is this.
                for name, parent in due if unfinished else ():
                    assert release is not None, "whoever runs a schedule that trains can train"
                    place = folder / "training" / name
                    await release(job.config, name, parent, place, engine, display)
        if unfinished:
            load = Load.now().others_since(before, time.monotonic() - since)
            _note_served(folder, engine, load)
    finally:
        await asyncio.shield(engine.close())


async def run_lineages(
    job: Job, folder: Path, engine: Engine, tick: Callable[[], None], span: range
) -> None:
    """Run the generations `span` of all lineages; those before must be finished.

    `tick` is told of each one that is done.
    """

    # Arms of a pair run at about the same time and share its plans.
    @lru_cache(maxsize=job.config.run.lineages_in_flight)
    def planned(pair: int) -> tuple[Plan, ...]:
        return plans(job.suite, job.config.experiment, len(job.config.schedule.versions), pair)

    setting = Setting(
        run=job.id,
        folder=folder,
        config=job.config,
        config_hash=job.hash,
        suite=job.suite,
        engine=engine,
        start=job.start,
        plans=planned,
        tick=lambda place: tick(),
    )
    room = asyncio.Semaphore(job.config.run.lineages_in_flight)
    places = [(arm, pair) for pair in job.start.pairs for arm in job.arms]
    done = {(arm.name, pair): asyncio.Event() for arm, pair in places}

    async def one(arm: Arm, pair: int) -> None:
        donor = donor_of(job.config, arm, pair, lambda other: planned(other)[0].world.id)
        if donor is not None:
            # Not while holding room: borrowers would keep their own donors out.
            await done[donor[0].name, donor[1]].wait()
        async with room:
            await run_lineage(setting, arm, pair, span, donor)
        done[arm.name, pair].set()

    tasks = [asyncio.create_task(one(arm, pair)) for arm, pair in places]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder: two processes never write one run."""
    file = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A pipe is not waited for, nor a link followed.
        how = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
        lock = os.fdopen(os.open(file, how, 0o666), "r+b", 0)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        above = (one for one in (folder, *folder.parents) if one.exists() and not one.is_dir())
        raise LineageError(f"{next(above, file)} is in the way of {file}: move it away") from error
    # The file stays: one that was removed could be locked by two, each with its own.
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LineageError(f"{folder} is being written by another process") from error
        links, torn = odd_files(folder)
        if links:
            raise LineageError(
                f"{links[0]} is a link out of the run's folder, in which all is written: put there "
                "what it leads to"
            )
        settle(folder)
        for file in torn:
            file.unlink(missing_ok=True)
        yield


def describe(job: Job, folder: Path) -> None:
    """Write `run.json` and then `config.yaml`; refuse a folder that holds another run.

    A record that was lost is written again, without what only it knew.
    """
    file, config, source = folder / "run.json", job.config, job.suite.fingerprint
    if file.exists():
        record = read_record(folder)
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
    }
    if known := {one.config_hash for one in read_records(folder)} - {""}:
        if known != {job.hash}:
            raise LineageError(
                f"{folder} holds generations of another configuration ({', '.join(sorted(known))}, "
                f"not {job.hash}): choose another run.name"
            )
        record |= lost(folder, record)
    write_described(folder, record, config)


def write_described(folder: Path, record: Mapping[str, Any], config: Config) -> None:
    """Write the `record` and the configuration of a run or a training that begins."""
    # In this order: where there is a config.yaml, it can be resumed.
    atomic_write(folder / "run.json", json.dumps(record, indent=1).encode())
    atomic_write(folder / "config.yaml", compose.to_yaml(config).encode())


def lost(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the `record` of a run that was begun before cannot be told: it is null.

    It began when its settings were written.
    """
    gone: dict[str, Any] = dict.fromkeys(name for name in LOST if name in record)
    settings = folder / "config.yaml"
    return gone | ({"began": settings.stat().st_mtime} if settings.exists() else {})


def _note_served(folder: Path, engine: Engine, others: float) -> None:
    """Add to the run's record what served it (device, adapters and their checksums).

    And `others`: the share of this machine that other work took meanwhile.
    """
    file = folder / "run.json"
    record = read_record(folder)
    served = (record.get("engine") or {}) | engine.describe()
    record |= {"engine": served, "others": round(others, 4)}
    atomic_write(file, json.dumps(record, indent=1).encode())


def point_latest(root: Path, folder: Path) -> None:
    """Let `latest` in `root` point at the run's folder, where that is below `root`.

    It is not where a run is finished from elsewhere than it was begun, or was moved.
    """
    link = root / LATEST
    if link.exists() and not link.is_symlink():
        return
    inside, home = folder.resolve(), root.resolve()
    if inside == home or not inside.is_relative_to(home):
        return
    temporary = root / f".latest-{folder.name}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(folder, root))
    temporary.replace(link)
