"""`append`: only ever add. Old notes go by overflow alone.

The reflection buffers of Reflexion (Shinn et al. 2023) and the experience lists of many agents
grow so.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.agent.context import Context
from lineage.agent.history import Experience
from lineage.agent.policies.by_group import by_group
from lineage.agent.proposal import Proposal
from lineage.core.knowledge import Knowledge


async def append(
    context: Context, prefix: str, knowledge: Knowledge, experiences: Sequence[Experience]
) -> Sequence[Proposal]:
    """Return proposals to add notes."""
    return await by_group(context, prefix, knowledge, experiences, "append", ("add",))
