"""`none`: hand nothing on."""

from __future__ import annotations

from lineage.agent.context import Context
from lineage.agent.migrations.legacy import Legacy
from lineage.core.knowledge import Knowledge


async def none(context: Context, legacy: Legacy) -> Knowledge:
    """Return Knowledge without entries; their ids are not given again."""
    emptied = legacy.knowledge.evolve(memories=(), docs=())
    context.log.snapshot(emptied)
    return emptied
