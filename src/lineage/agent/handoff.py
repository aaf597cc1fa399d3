"""The handoff: instances read what they did and propose edits of Knowledge for the successor.

Each instance hands over after its own episodes, all from the Knowledge that the generation began
with, so that they can write at the same time; their edits are applied in the order of the
episodes. What the budget does not hold is first compressed by the model, then dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent.desk import Desk
from lineage.agent.prompt import Experience
from lineage.edits import Change, Edit, apply, overflow, parse_edits
from lineage.knowledge import Knowledge
from lineage.models.protocol import Completion

Written = tuple[str, Completion, dict[str, Any]]
"""The episode that wrote, what it wrote, and the step's columns."""


async def hand_over(
    desk: Desk, knowledge: Knowledge, experiences: Sequence[Experience]
) -> Knowledge:
    """Return the Knowledge that the successor inherits."""
    size = desk.config.episodes_per_handoff
    groups = [experiences[i : i + size] for i in range(0, len(experiences), size)]
    writing = [_memories(desk, f"h{i:03d}", knowledge, group) for i, group in enumerate(groups)]
    if desk.config.docs and experiences:
        writing.append(_document(desk, "hdoc", experiences))
    inherited = knowledge
    used: set[str] = set()
    for written in await asyncio.gather(*writing):
        changes = _apply(desk, "handoff", inherited, written)
        used |= {change.outcome.entry for change in changes}
        inherited = changes[-1].after if changes else inherited
    return await fit(desk, "handoff", inherited, frozenset(used))


async def fit(desk: Desk, phase: str, knowledge: Knowledge, used: frozenset[str]) -> Knowledge:
    """Bring the memories within the budget: the model compresses, then the oldest unused go.

    `used` are the ids of memories that this generation wrote or changed.
    """
    desk.log.snapshot(knowledge)
    if desk.fits(knowledge):
        return knowledge
    config, episode = desk.config, f"{phase}-fit"
    schema = prompts.memory_schema(
        knowledge, config.compress_edits, config.memory_chars, may_add=False
    )
    turns = prompts.compress_turns(knowledge)
    most = config.edit_tokens * config.compress_edits
    answer = await desk.ask(episode, 0, turns, most, schema=schema)
    changes = _apply(desk, phase, knowledge, (episode, *answer))
    kept = changes[-1].after if changes else knowledge
    dropped = overflow(kept, desk.fits, used)
    _log_edits(desk, phase, f"{phase}-overflow", dropped)
    return dropped[-1].after if dropped else kept


async def _memories(
    desk: Desk, episode: str, knowledge: Knowledge, group: Sequence[Experience]
) -> Written:
    config = desk.config
    most = config.edits_per_episode * len(group)
    schema = prompts.memory_schema(knowledge, most, config.memory_chars)
    turns = prompts.handoff_turns(knowledge, group, config.wrong_answers)
    return episode, *await desk.ask(episode, 0, turns, config.edit_tokens * most, schema=schema)


async def _document(desk: Desk, episode: str, experiences: Sequence[Experience]) -> Written:
    config = desk.config
    schema = prompts.document_schema(config.doc_title_chars, config.doc_body_chars)
    turns = prompts.document_turns(experiences, config.wrong_answers)
    return episode, *await desk.ask(episode, 0, turns, config.document_tokens, schema=schema)


def _apply(desk: Desk, phase: str, knowledge: Knowledge, written: Written) -> tuple[Change, ...]:
    """Apply what one completion proposes; log the handoff, then each edit with its outcome."""
    episode, completion, columns = written
    edits: tuple[Edit, ...] = ()
    if not completion.error:
        try:
            edits = parse_edits(completion.text)
        except ValueError as error:
            columns = columns | {"error": str(error)}
    changes = apply(knowledge, edits, desk.origin(episode), desk.limits)
    after = changes[-1].after if changes else knowledge
    about = {"knowledge_before": knowledge.id, "knowledge_after": after.id}
    desk.write(phase, episode, 0, "handoff", **about, **columns)
    _log_edits(desk, phase, episode, changes)
    return changes


def _log_edits(desk: Desk, phase: str, episode: str, changes: Sequence[Change]) -> None:
    for number, change in enumerate(changes, start=1):
        desk.log.snapshot(change.after)
        edit = change.outcome.edit
        desk.write(
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
