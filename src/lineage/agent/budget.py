"""The memory budget, enforced when memories are written and when they are handed on."""

from __future__ import annotations

from collections.abc import Set

from lineage.agent import prompt as prompts
from lineage.agent import schemas
from lineage.agent.context import Context
from lineage.agent.proposal import after, enact, log_edits, propose
from lineage.core.edits import OVERFLOW, TOGETHER, Change, overflow
from lineage.core.knowledge import EMPTY, IMPORT, Knowledge

INDEX = "index"
"""What stands for an operation where a doc has no line in the index."""


async def fit(
    context: Context,
    phase: str,
    knowledge: Knowledge,
    used: frozenset[str] = frozenset(),
    budget: int | None = None,
    prefix: str = "",
    since: Knowledge = EMPTY,
) -> Knowledge:
    """Bring the memories within `budget` (tokens; None: the version's own).

    Over it the model is asked to compress, where that may help; then some go, logged as overflow:
    `lineage.core.edits.going` says which. `used` are the ids of memories that this generation
    wrote, changed or answered from; `prefix` keeps the names of episodes apart where a phase does
    this more than once. The index of the docs has its share before them; what it leaves out is
    overflow too, and is logged but for what it left out `since` that Knowledge.
    """
    most = context.memory_budget if budget is None else budget

    def over(knowledge: Knowledge) -> tuple[Change, ...]:
        index = context.index(knowledge).block

        def fits(some: Knowledge) -> bool:
            return context.count(prompts.memory_block(some, index=index)) <= most

        return overflow(knowledge, fits, used)

    context.log.snapshot(knowledge)
    dropped = over(knowledge)
    gone = {change.outcome.entry for change in dropped}
    if (
        dropped
        and (budget is not None or may_help(knowledge, gone))
        and _has_room(context, knowledge)
    ):
        knowledge = await _compressed(context, phase, knowledge, prefix)
        dropped = over(knowledge)
    log_edits(context, phase, f"{prefix}{phase}-overflow", dropped)
    left = after(knowledge, dropped)
    _log_left_out(context, phase, f"{prefix}{phase}-{INDEX}", left, since)
    return left


def _log_left_out(
    context: Context, phase: str, episode: str, knowledge: Knowledge, since: Knowledge
) -> None:
    known = {doc.id for doc in context.index(since).left_out}
    gone = [doc for doc in context.index(knowledge).left_out if doc.id not in known]
    for number, doc in enumerate(gone, start=1):
        context.write(
            phase,
            episode,
            number,
            "edit",
            entry=doc.id,
            detail=f"{INDEX}: {OVERFLOW}",
            completion=doc.title,
            knowledge_before=knowledge.id,
            knowledge_after=knowledge.id,
        )


def may_help(knowledge: Knowledge, gone: Set[str]) -> bool:
    """Whether the model is asked to make room for what would be `gone` (ids of memories).

    Not where a few edits cannot, nor where all of it came from a folder: what becomes of that is
    said before anything is asked, and a model would change it.
    """
    written = any(m.created.version != IMPORT for m in knowledge.memories if m.id in gone)
    return written and len(gone) <= TOGETHER


def _has_room(context: Context, knowledge: Knowledge) -> bool:
    """Whether the request to compress `knowledge` fits the version's window, where that is known.

    Asked all the same, some engines would fail it and the stand-in would not.
    """
    config = context.config
    needed = context.memory_tokens(knowledge) + config.edit_tokens * config.compress_edits
    return not context.window or needed <= context.window


async def _compressed(context: Context, phase: str, knowledge: Knowledge, prefix: str) -> Knowledge:
    """Return what the model, asked once, makes of memories that are over budget."""
    config = context.config
    schema = schemas.memory_edits(
        knowledge, config.compress_edits, config, ("revise", "merge", "drop")
    )
    tokens = config.edit_tokens * config.compress_edits
    turns = prompts.compress_turns(context.texts, knowledge)
    proposal = await propose(context, f"{prefix}{phase}-fit", turns, tokens, schema)
    return after(knowledge, enact(context, phase, knowledge, proposal))
