"""`verbatim`: hand Knowledge on as it is, cut to the successor's budget by its own tokenizer."""

from __future__ import annotations

from lineage.agent.budget import fit
from lineage.agent.context import Context
from lineage.agent.migrations.legacy import Legacy
from lineage.core.knowledge import Knowledge


async def verbatim(context: Context, legacy: Legacy) -> Knowledge:
    """Return the Knowledge as it is, within the budget."""
    return await fit(context, "migrate", legacy.knowledge, since=legacy.since)
