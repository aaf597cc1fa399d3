"""A proposal: the edits that one completion asks for, and how they are applied and logged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lineage.agent.context import Context
from lineage.agent.schemas import Schema
from lineage.core.edits import Change, Edit, apply, parse_edits
from lineage.core.knowledge import Knowledge
from lineage.models.protocol import Turn

Parser = Callable[[str], tuple[Edit, ...]]


@dataclass(frozen=True)
class Proposal:
    """What `episode` proposed. `columns` are those of its step; a malformed one has an error."""

    episode: str
    edits: tuple[Edit, ...]
    columns: dict[str, Any]


async def propose(
    context: Context,
    episode: str,
    turns: tuple[Turn, ...],
    most_tokens: int,
    schema: Schema,
    parse: Parser = parse_edits,
) -> Proposal:
    """Ask for edits; what cannot be parsed is an error on the step and proposes nothing."""
    completion, columns = await context.ask(episode, 0, turns, most_tokens, schema=schema)
    context.hold(episode, 0, columns)
    edits: tuple[Edit, ...] = ()
    if not completion.error:
        try:
            edits = parse(completion.text)
        except ValueError as error:
            columns = columns | {"error": str(error)}
    return Proposal(episode, edits, columns)


def enact(
    context: Context, phase: str, knowledge: Knowledge, proposal: Proposal, kind: str = "handoff"
) -> tuple[Change, ...]:
    """Apply a proposal; log its step as `kind`, then each edit with its outcome."""
    changes = apply(knowledge, proposal.edits, context.origin(proposal.episode), context.limits)
    about = {"knowledge_before": knowledge.id, "knowledge_after": after(knowledge, changes).id}
    context.write(phase, proposal.episode, 0, kind, **about, **proposal.columns)
    log_edits(context, phase, proposal.episode, changes)
    return changes


def after(knowledge: Knowledge, changes: Sequence[Change]) -> Knowledge:
    """Return what `changes` of `knowledge` end in."""
    return changes[-1].after if changes else knowledge


def log_edits(context: Context, phase: str, episode: str, changes: Sequence[Change]) -> None:
    """Log each change as an `edit` step, and keep its snapshot."""
    for number, change in enumerate(changes, start=1):
        context.log.snapshot(change.after)
        edit = change.outcome.edit
        context.write(
            phase,
            episode,
            number,
            "edit",
            entry=change.outcome.entry,
            detail=change.outcome.detail,
            completion=edit.text or edit.title,
            knowledge_before=change.before.id,
            knowledge_after=change.after.id,
        )
