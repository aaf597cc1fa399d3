"""`edit`: small changes of single entries, after ACE's delta updates (Zhang et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence

from lineage.agent.context import Context
from lineage.agent.history import Experience
from lineage.agent.policies.by_group import by_group
from lineage.agent.proposal import Proposal
from lineage.agent.schemas import ALL
from lineage.core.knowledge import Knowledge


async def edit(
    context: Context, prefix: str, knowledge: Knowledge, experiences: Sequence[Experience]
) -> Sequence[Proposal]:
    """Return proposals to add, revise, merge and drop single notes."""
    return await by_group(context, prefix, knowledge, experiences, "edit", ALL)
