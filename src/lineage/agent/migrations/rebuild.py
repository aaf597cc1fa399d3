"""`rebuild`: the successor throws the Knowledge away and writes its own from the raw episodes."""

from __future__ import annotations

from itertools import groupby

from lineage.agent.context import Context
from lineage.agent.handoff import hand_over
from lineage.agent.migrations.legacy import Legacy
from lineage.agent.migrations.none import none
from lineage.core.knowledge import Knowledge


async def rebuild(context: Context, legacy: Legacy) -> Knowledge:
    """Return new Knowledge, made by handing over after each past generation's episodes again."""
    knowledge = await none(context, legacy)
    for generation, past in groupby(legacy.past, key=lambda p: p.generation):
        knowledge = await hand_over(
            context,
            knowledge,
            [p.experience for p in past],
            memories=legacy.memories,
            phase="migrate",
            prefix=f"rebuild{generation:02d}-",
        )
    return knowledge
