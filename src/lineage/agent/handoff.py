"""The handoff: instances read what they did and propose edits of Knowledge for the successor.

All write at the same time, from the Knowledge that the generation began with; their edits are
applied in the order of the episodes, memories first, then docs. What the budget does not hold is
first compressed by the model, then dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from lineage.agent import prompt as prompts
from lineage.agent import schemas
from lineage.agent.budget import fit
from lineage.agent.context import Context
from lineage.agent.history import Experience
from lineage.agent.policies import POLICIES
from lineage.agent.proposal import Proposal, after, enact, propose
from lineage.agent.related import related
from lineage.core.knowledge import Knowledge


async def hand_over(
    context: Context,
    knowledge: Knowledge,
    experiences: Sequence[Experience],
    used: frozenset[str] = frozenset(),
    memories: bool = True,
    phase: str = "handoff",
    prefix: str = "",
) -> Knowledge:
    """Return the Knowledge that the successor inherits.

    `used` are memories that this generation answered from; docs are written where
    `agent.docs`, memories where `memories`. `prefix` keeps the names of episodes apart.
    """
    writing = []
    if memories and experiences:
        writing.append(POLICIES[context.config.policy](context, prefix, knowledge, experiences))
    if context.config.docs and experiences:
        writing.append(_documents(context, prefix, knowledge, experiences))
    inherited, touched = knowledge, set(used)
    for proposals in await asyncio.gather(*writing):
        for proposal in proposals:
            changes = enact(context, phase, inherited, proposal)
            touched |= {change.outcome.entry for change in changes}
            inherited = after(inherited, changes)
    written = frozenset(touched)
    return await fit(context, phase, inherited, written, prefix=prefix, since=knowledge)


async def _documents(
    context: Context, prefix: str, knowledge: Knowledge, experiences: Sequence[Experience]
) -> Sequence[Proposal]:
    config, size = context.config, context.config.episodes_per_doc

    async def ask(number: int, group: Sequence[Experience]) -> Proposal:
        # An append-only lineage never changes a doc either.
        may_revise = config.policy != "append"
        shown = related(context, knowledge, group) if may_revise else []
        lines = len(group) + max((len(doc.body.splitlines()) for doc in shown), default=0)
        schema = schemas.doc_edits(shown, lines, config)
        wrong, purpose = config.wrong_answers, config.tells_purpose
        turns = prompts.document_turns(context.texts, shown, group, wrong, purpose)
        return await propose(
            context, f"{prefix}d{number:03d}", turns, config.document_tokens, schema
        )

    groups = [experiences[i : i + size] for i in range(0, len(experiences), size)]
    return await asyncio.gather(*(ask(i, group) for i, group in enumerate(groups)))
