"""The memory budget, enforced when memories are written and when they are handed on."""

from __future__ import annotations

from lineage.agent import prompt as prompts
from lineage.agent import schemas
from lineage.agent.context import Context
from lineage.agent.proposal import after, enact, log_edits, propose
from lineage.core.edits import overflow
from lineage.core.knowledge import Knowledge


async def fit(
    context: Context,
    phase: str,
    knowledge: Knowledge,
    used: frozenset[str] = frozenset(),
    budget: int | None = None,
    prefix: str = "",
) -> Knowledge:
    """Bring the memories within `budget` (tokens; None: the version's own).

    Over it the model is asked to compress; then the oldest unused go, logged as overflow. `used`
    are the ids of memories that this generation wrote, changed or answered from; `prefix` keeps
    the names of episodes apart where a phase does this more than once.
    """
    budget = context.config.memory_budget if budget is None else budget
    context.log.snapshot(knowledge)
    if context.memory_tokens(knowledge) <= budget:
        return knowledge
    config, episode = context.config, f"{prefix}{phase}-fit"
    shrink = ("revise", "merge", "drop")
    schema = schemas.memory_edits(knowledge, config.compress_edits, config, shrink)
    most = config.edit_tokens * config.compress_edits
    proposal = await propose(context, episode, prompts.compress_turns(knowledge), most, schema)
    kept = after(knowledge, enact(context, phase, knowledge, proposal))
    dropped = overflow(kept, lambda k: context.memory_tokens(k) <= budget, used)
    log_edits(context, phase, f"{prefix}{phase}-overflow", dropped)
    return after(kept, dropped)
