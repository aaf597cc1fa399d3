"""`distil`: the successor compresses the memories to a share of the budget."""

from __future__ import annotations

from lineage.agent.budget import fit
from lineage.agent.context import Context
from lineage.agent.migrations.legacy import Legacy
from lineage.core.knowledge import Knowledge


async def distil(context: Context, legacy: Legacy) -> Knowledge:
    """Return the Knowledge with its memories within `migration.distil_share` of the budget."""
    index = context.index(legacy.knowledge).tokens
    budget = distilled(context.memory_budget, index, legacy.config.distil_share)
    return await fit(context, "migrate", legacy.knowledge, budget=budget, since=legacy.since)


def distilled(budget: int, index: int, share: float) -> int:
    """Return the budget that is left of a memory `budget`, of which the index of the docs takes
    `index` (all in tokens): `share` is of the rest.
    """
    return index + int((budget - index) * share)
