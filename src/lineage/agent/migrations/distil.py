"""`distil`: the successor compresses the memories to a share of the budget."""

from __future__ import annotations

from lineage.agent.budget import fit
from lineage.agent.context import Context
from lineage.agent.migrations.legacy import Legacy
from lineage.core.knowledge import Knowledge


async def distil(context: Context, legacy: Legacy) -> Knowledge:
    """Return the Knowledge with its memories within `migration.distil_share` of the budget."""
    budget = int(context.memory_budget * legacy.config.distil_share)
    return await fit(context, "migrate", legacy.knowledge, budget=budget)
