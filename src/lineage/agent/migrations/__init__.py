"""Migrations: what happens to Knowledge when the next version takes over.

A migration is one file here, one line below and one file in `conf/migration/`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lineage.agent.context import Context
from lineage.agent.migrations.distil import distil
from lineage.agent.migrations.legacy import Legacy
from lineage.agent.migrations.none import none
from lineage.agent.migrations.rebuild import rebuild
from lineage.agent.migrations.rewrite import rewrite
from lineage.agent.migrations.verbatim import verbatim
from lineage.agent.migrations.verify import verify
from lineage.core.errors import LineageError
from lineage.core.knowledge import Knowledge

Migration = Callable[[Context, Legacy], Awaitable[Knowledge]]

MIGRATIONS: dict[str, Migration] = {
    "verbatim": verbatim,
    "rewrite": rewrite,
    "distil": distil,
    "verify": verify,
    "rebuild": rebuild,
    "none": none,
}


def check_migration(kind: str) -> None:
    """Raise LineageError where there is no migration `kind`."""
    if kind not in MIGRATIONS:
        raise LineageError(f"migration {kind!r} is unknown: choose from {', '.join(MIGRATIONS)}")


async def migrate(context: Context, kind: str, legacy: Legacy) -> Knowledge:
    """Bring what a predecessor left to this generation's version; its last step says which way.

    Whatever the migration does, the result is within the budget of this version's tokenizer.
    Raises LineageError for an unknown kind.
    """
    check_migration(kind)
    migrated = await MIGRATIONS[kind](context, legacy)
    context.write(
        "migrate",
        "migrate",
        0,
        "migrate",
        detail=kind,
        knowledge_before=legacy.knowledge.id,
        knowledge_after=migrated.id,
        memory_tokens=context.memory_tokens(migrated),
    )
    return migrated
