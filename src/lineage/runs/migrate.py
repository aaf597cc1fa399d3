"""Carrying Knowledge to a version outside of any experiment: a real agent's memory, migrated.

It is a run of one lineage and one generation without tasks, in a folder like any other run's, so
that what became of each entry can be read afterwards. One that is refused, or that fails, leaves
no folder behind: there is nothing in it to go on with.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lineage.agent.context import Context, Ids
from lineage.agent.migrations import migrate
from lineage.agent.migrations.legacy import Legacy
from lineage.core.config import ArmsConfig, Config, ScheduleConfig
from lineage.core.edits import APPLIED
from lineage.core.errors import LineageError
from lineage.core.knowledge import Doc, Knowledge, Memory
from lineage.core.signals import Stoppable
from lineage.core.tasks import World
from lineage.log.writer import GenerationLog
from lineage.models.factory import make_engine
from lineage.models.replay import Replay
from lineage.models.versions import window_of
from lineage.runs.folder import locked
from lineage.runs.foresee import CHANGED, CUT, KEPT, Fate, Foresight, check_kept, over_budget
from lineage.runs.lineage import place_of
from lineage.runs.plan import Job, prepare
from lineage.runs.run import describe
from lineage.search import Library, make_ranker

NAME, ARM = "migrate", "inherit"
NO_WORLD = World("", 0, (), ())
WITHOUT_HISTORY = ("verbatim", "rewrite", "distil", "none")
"""Migrations that need nothing but the Knowledge itself."""

Entry = Memory | Doc


@dataclass(frozen=True)
class Carried:
    """What came of a migration: the Knowledge that is left, and what became of what came."""

    knowledge: Knowledge
    became: Foresight


def migration(config: Config, source: Path, version: str, allow_drop: bool = False) -> Job:
    """Return the run that brings the folder `source` to `version`, by `migration.kind`.

    Raises LineageError where it could not work, or where it needs the raw episodes of a run.
    """
    made = replace(
        config,
        experiment=replace(config.experiment, name=NAME, lineages=1),
        arms=ArmsConfig(names=[ARM], baseline=ARM, ceiling=ARM),
        schedule=ScheduleConfig([version]),
        start=replace(
            config.start,
            folder=str(source),
            run=None,
            allow_drop=allow_drop or config.start.allow_drop,
        ),
    )
    job, kind = prepare(made), config.migration.kind
    if config.run.most_usd is not None:
        raise LineageError(
            "run.most_usd is of a run, which goes on later; a migration begins anew: leave it null"
        )
    if kind not in WITHOUT_HISTORY:
        raise LineageError(
            f"migration {kind!r} needs the raw episodes of a run: "
            f"choose from {', '.join(WITHOUT_HISTORY)}"
        )
    return job


def carry(job: Job, foresight: Foresight, folder: Path) -> Carried:
    """Run the migration `job`, of which `foresight` was said, in `folder`, which is new.

    Credentials that were taken out are in what is returned, where their marks are. Raises
    LineageError where entries would be lost and `start.allow_drop` is not set; then, and whenever
    it fails, `folder` goes.
    """
    # Its answers would be replayed, to whatever was asked there.
    if folder.exists():
        raise LineageError(f"{folder} is there already: choose another run.name")
    with Stoppable() as stoppable, _whole_or_gone(folder), locked(folder):
        describe(job, folder, {"migration": job.config.migration.kind})
        return stoppable.run(_carry(job, foresight, folder))


@contextmanager
def _whole_or_gone(folder: Path) -> Iterator[None]:
    """Remove `folder`, and the one above it where that was not there, if this fails."""
    rooted = folder.parent.exists()
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if not rooted:
            with suppress(OSError):  # another run may have begun there
                folder.parent.rmdir()
        raise


async def _carry(job: Job, foresight: Foresight, folder: Path) -> Carried:
    config, version = job.config, foresight.version
    place, came = place_of(ARM, 0, 0), job.start.knowledge
    engine = make_engine(config)
    log = GenerationLog(folder, place, config.log.journal_steps, job.hash)
    try:
        await engine.start([version])
        context = Context(
            ids=Ids(job.id, NAME, ARM, 0, place.lineage, 0, version),
            engine=Replay(engine, log.answered),
            suite=job.suite,
            config=config.agent,
            count=await engine.counter(version),
            log=log,
            docs=Library(make_ranker("bm25")),
            past=Library(make_ranker("bm25")),
            window=window_of(config, version),
        )
        log.snapshot(came)
        legacy = Legacy(came, (), NO_WORLD, config.migration)
        migrated = await migrate(context, config.migration.kind, legacy)
        became = replace(
            foresight,
            tokens=context.memory_tokens(migrated),
            fates=tuple(
                _became(fate, entry, migrated, log, foresight)
                for fate, entry in zip(foresight.fates, came.entries, strict=True)
            ),
            counted=True,
        )
        if not config.start.allow_drop:
            check_kept([replace(became, tokens=foresight.tokens)], "say --allow-drop")
        # What a generation left is told by its last step, whether it is rewarded or not.
        context.write(
            "reward",
            "reward",
            0,
            "handoff",
            knowledge_before=came.id,
            knowledge_after=migrated.id,
            memory_tokens=became.tokens,
        )
        log.finish(migrated, NO_WORLD)
        return Carried(job.start.redacted.restored(migrated), became)
    finally:
        log.flush()
        await asyncio.shield(engine.close())


def _became(
    foreseen: Fate, came: Entry, left: Knowledge, log: GenerationLog, of: Foresight
) -> Fate:
    """Return what became of the entry `came`, by what is `left` and by the steps of the log."""
    there = next((one for one in left.entries if one.id == came.id), None)
    if there is not None and there.text == came.text:
        why = foreseen.why if foreseen.what == KEPT else ""
        return replace(foreseen, what=CHANGED if foreseen.mark else KEPT, why=why)
    if there is not None:
        label = there.title if isinstance(there, Doc) else there.text
        return replace(foreseen, what=CHANGED, why=f"written anew by {of.version}", label=label)
    drops = [
        step.detail
        for step in log.lived.values()
        if step.kind == "edit" and step.entry == came.id and step.detail.startswith("drop: ")
    ]
    if drops:
        own = drops[-1] == f"drop: {APPLIED}"
        why = f"dropped by {of.version}, to make room" if own else over_budget(of.budget)
        return replace(foreseen, what=CUT, why=why, sure=True)
    if foreseen.what == CUT and foreseen.sure:
        return foreseen
    return replace(foreseen, what=CHANGED, why=f"merged into another by {of.version}")
