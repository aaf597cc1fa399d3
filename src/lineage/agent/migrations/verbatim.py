"""`verbatim`: hand Knowledge on as it is, cut to the successor's budget by its own tokenizer."""

from __future__ import annotations

from lineage.agent.budget import fit
from lineage.agent.desk import Desk
from lineage.agent.migrations.legacy import Legacy
from lineage.core.knowledge import Knowledge


async def verbatim(desk: Desk, legacy: Legacy) -> Knowledge:
    """Return the Knowledge as it is, within the budget."""
    return await fit(desk, "migrate", legacy.knowledge)
