"""Carrying Knowledge to a version outside of any experiment: a real agent's memory, migrated.

It is one generation without tasks, logged like any other, so that what became of each entry can
be read afterwards.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from lineage import compose
from lineage.agent.context import Context, Ids
from lineage.agent.migrations import check_migration, migrate
from lineage.agent.migrations.legacy import Legacy
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.core.knowledge import Knowledge
from lineage.core.signals import Stoppable
from lineage.core.tasks import World
from lineage.log.place import Place
from lineage.log.writer import GenerationLog
from lineage.models import shelf
from lineage.models.factory import make_engine
from lineage.models.replay import Replay
from lineage.models.versions import lookup, registry, window_of
from lineage.search import Library, make_ranker
from lineage.suites import make_suite

NO_WORLD = World("", 0, (), ())
PLACE = Place("inherit", 0, "000-inherit", 0)
WITHOUT_HISTORY = ("verbatim", "rewrite", "distil")
"""Migrations that need nothing but the Knowledge itself."""


def carry(config: Config, knowledge: Knowledge, version: str, folder: Path) -> Knowledge:
    """Return `knowledge` as `migration.kind` brings it to `version`; the log goes to `folder`.

    Raises LineageError for a migration that needs the raw episodes of a run.
    """
    kind = config.migration.kind
    check_migration(kind)
    lookup(registry(config.model), version, shelf.names(shelf.folder_of(config.model)))
    if kind not in WITHOUT_HISTORY:
        raise LineageError(
            f"migration {kind!r} needs the raw episodes of a run: "
            f"choose from {', '.join(WITHOUT_HISTORY)}"
        )
    with Stoppable() as stoppable:
        return stoppable.run(_carry(config, knowledge, version, folder))


async def _carry(config: Config, knowledge: Knowledge, version: str, folder: Path) -> Knowledge:
    engine = make_engine(config)
    log = GenerationLog(folder, PLACE, config.log.journal_steps, compose.config_hash(config))
    try:
        await engine.start([version])
        context = Context(
            ids=Ids(folder.name, "carry", PLACE.arm, 0, PLACE.lineage, 0, version),
            engine=Replay(engine, log.answered),
            suite=make_suite(config.suite),
            config=config.agent,
            count=await engine.counter(version),
            log=log,
            docs=Library(make_ranker("bm25")),
            past=Library(make_ranker("bm25")),
            window=window_of(config, version),
        )
        came = knowledge.rooted()
        log.snapshot(came)
        legacy = Legacy(came, (), NO_WORLD, config.migration)
        migrated = await migrate(context, config.migration.kind, legacy)
        log.finish(migrated, NO_WORLD)
        return migrated
    finally:
        log.flush()
        await asyncio.shield(engine.close())
