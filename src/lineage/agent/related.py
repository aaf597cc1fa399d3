"""Which docs those who hand over may change: what they read, and what was about their task."""

from __future__ import annotations

from collections.abc import Sequence

from lineage.agent.context import Context
from lineage.agent.echo import share
from lineage.agent.history import Experience
from lineage.core.knowledge import Doc, Knowledge

RELATED = 1
"""Docs that a request shows in full: of those that its instances opened, it may revise so many."""
ABOUT = 0.8
"""Share of a task's words that a doc about it holds."""


def related(context: Context, knowledge: Knowledge, group: Sequence[Experience]) -> list[Doc]:
    """Return the docs that an instance of `group` opened and that were about its task.

    One that was opened in vain would only mislead: a small model revises whatever it is shown. Of
    one that is too long to be shown whole a revision would lose the rest.
    """
    found = [
        doc
        for doc in knowledge.docs
        if any(
            doc.id in experience.opened
            and share(experience.prompt, f"{doc.title} {doc.body}") >= ABOUT
            for experience in group
        )
        and context.whole(doc)
    ]
    return found[:RELATED]
