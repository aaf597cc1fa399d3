"""`distil`: the successor compresses the memories to a share of the budget."""

from __future__ import annotations

from lineage.agent.budget import fit
from lineage.agent.context import Context
from lineage.agent.migrations.legacy import Legacy
from lineage.core.knowledge import Knowledge


async def distil(context: Context, legacy: Legacy) -> Knowledge:
    """Return the Knowledge with its memories within `migration.distil_share` of the budget.

    That is the budget less what the index of the docs takes.
    """
    index = context.index(legacy.knowledge).tokens
    budget = index + int((context.memory_budget - index) * legacy.config.distil_share)
    return await fit(context, "migrate", legacy.knowledge, budget=budget, since=legacy.since)
