"""`distil`: the successor compresses the memories to a share of the budget."""

from __future__ import annotations

from lineage.agent.budget import fit
from lineage.agent.desk import Desk
from lineage.agent.migrations.legacy import Legacy
from lineage.core.knowledge import Knowledge


async def distil(desk: Desk, legacy: Legacy) -> Knowledge:
    """Return the Knowledge with its memories within `migration.distil_share` of the budget."""
    budget = int(desk.config.memory_budget * legacy.config.distil_share)
    return await fit(desk, "migrate", legacy.knowledge, budget=budget)
