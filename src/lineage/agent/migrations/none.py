"""`none`: hand nothing on."""

from __future__ import annotations

from lineage.agent.desk import Desk
from lineage.agent.migrations.legacy import Legacy
from lineage.core.knowledge import Knowledge


async def none(desk: Desk, legacy: Legacy) -> Knowledge:
    """Return Knowledge without entries; their ids are not given again."""
    emptied = legacy.knowledge.evolve(memories=(), docs=())
    desk.log.snapshot(emptied)
    return emptied
