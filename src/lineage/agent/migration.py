"""Migrations: what happens to Knowledge when the next version takes over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lineage.agent.desk import Desk
from lineage.agent.handoff import fit
from lineage.errors import LineageError
from lineage.knowledge import EMPTY, Knowledge

Migration = Callable[[Desk, Knowledge], Awaitable[Knowledge]]


async def verbatim(desk: Desk, knowledge: Knowledge) -> Knowledge:
    """Hand Knowledge on as it is, cut to the successor's budget by the successor's tokenizer."""
    return await fit(desk, "migrate", knowledge, frozenset())


async def none(desk: Desk, knowledge: Knowledge) -> Knowledge:
    """Hand nothing on."""
    desk.log.snapshot(EMPTY)
    return EMPTY


MIGRATIONS: dict[str, Migration] = {"verbatim": verbatim, "none": none}


async def migrate(desk: Desk, kind: str, knowledge: Knowledge, previous: str) -> Knowledge:
    """Bring `knowledge` to this generation's version and log it as the generation's first step.

    It is migrated by `kind` where another version than `previous` takes over; between
    generations of one version it is handed on as it is. Raises LineageError for an unknown kind.
    """
    if kind not in MIGRATIONS:
        raise LineageError(f"migration {kind!r} is unknown: choose from {', '.join(MIGRATIONS)}")
    kind = kind if previous != desk.post.version else "verbatim"
    migrated = await MIGRATIONS[kind](desk, knowledge)
    desk.write(
        "migrate",
        "migrate",
        0,
        "migrate",
        detail=kind,
        knowledge_before=knowledge.id,
        knowledge_after=migrated.id,
        memory_tokens=desk.memory_tokens(migrated),
    )
    return migrated
