"""`rewrite-all`: the whole list of notes anew, as Dynamic Cheatsheet does (Suzgun et al. 2025).

ACE (Zhang et al. 2025) found that such a list can collapse; that is why it is here.
"""

from __future__ import annotations

from collections.abc import Sequence

from lineage.agent import prompt as prompts
from lineage.agent import schemas
from lineage.agent.context import Context
from lineage.agent.history import Experience
from lineage.agent.proposal import Proposal, propose
from lineage.core.edits import Edit, json_object
from lineage.core.knowledge import Knowledge


async def rewrite_all(
    context: Context, prefix: str, knowledge: Knowledge, experiences: Sequence[Experience]
) -> Sequence[Proposal]:
    """Return one proposal: drop each note that the new list lacks, add each that is new."""
    config = context.config
    turns = prompts.handoff_turns(
        context.texts,
        "rewrite-all",
        knowledge,
        experiences,
        config.wrong_answers,
        purpose=config.tells_purpose,
    )
    proposal = await propose(
        context,
        f"{prefix}hall",
        turns,
        config.rewrite_tokens,
        schemas.all_notes(config),
        lambda text: edits_of(knowledge, text),
    )
    return [proposal]


def edits_of(knowledge: Knowledge, text: str) -> tuple[Edit, ...]:
    """Return the edits that turn the memories into the list in `text` (`{"notes": [...]}`).

    Raises ValueError where it is not of that form.
    """
    notes = json_object(text, "notes").get("notes")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ValueError("malformed notes: no list of texts")
    wanted = [" ".join(note.split()) for note in notes]
    held = {memory.text for memory in knowledge.memories}
    drops = [Edit("drop", id=m.id) for m in knowledge.memories if m.text not in set(wanted)]
    adds = [Edit("add", text=note) for note in dict.fromkeys(wanted) if note not in held]
    return (*drops, *adds)
