"""`append` and `edit`: a request for each few episodes, all at the same time.

`append` only ever adds, and old notes go by overflow alone: the reflection buffers of Reflexion
(Shinn et al. 2023) and the experience lists of many agents grow so. `edit` changes single entries,
after ACE's delta updates (Zhang et al. 2025).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from lineage.agent import prompt as prompts
from lineage.agent import schemas
from lineage.agent.context import Context
from lineage.agent.history import Experience
from lineage.agent.proposal import Proposal, propose
from lineage.agent.related import related
from lineage.core.knowledge import Knowledge


async def by_group(
    context: Context,
    prefix: str,
    knowledge: Knowledge,
    experiences: Sequence[Experience],
    *,
    rules: str,
    operations: Sequence[str],
) -> Sequence[Proposal]:
    """Ask for edits by `operations` under the prompt `rules`, a few episodes a request."""
    config, size = context.config, context.config.episodes_per_handoff

    async def ask(number: int, group: Sequence[Experience]) -> Proposal:
        most = config.edits_per_episode * len(group)
        # An append-only lineage moves nothing either.
        moves = config.docs and config.moves and "drop" in operations
        shown = related(context, knowledge, group) if moves else []
        schema = schemas.memory_edits(knowledge, most, config, operations, shown)
        turns = prompts.handoff_turns(
            context.texts,
            rules,
            knowledge,
            group,
            config.wrong_answers,
            shown,
            config.tells_purpose,
        )
        name = f"{prefix}h{number:03d}"
        return await propose(context, name, turns, config.edit_tokens * most, schema)

    groups = [experiences[i : i + size] for i in range(0, len(experiences), size)]
    return await asyncio.gather(*(ask(i, group) for i, group in enumerate(groups)))


append = partial(by_group, rules="append", operations=("add",))
edit = partial(by_group, rules="edit", operations=schemas.ALL)
