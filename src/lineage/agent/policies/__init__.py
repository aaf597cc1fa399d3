"""Handoff policies: how an instance turns what it did into edits of the memories.

A policy is a function in a file here and one line below. It returns its proposals; all of them are
made from the Knowledge that the generation began with, so that they can be asked for at the same
time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from lineage.agent.context import Context
from lineage.agent.history import Experience
from lineage.agent.policies.by_group import append, edit
from lineage.agent.policies.rewrite_all import rewrite_all
from lineage.agent.proposal import Proposal
from lineage.core.knowledge import Knowledge

Policy = Callable[[Context, str, Knowledge, Sequence[Experience]], Awaitable[Sequence[Proposal]]]
"""From a context, a prefix for episode names, Knowledge and experiences to proposals."""

POLICIES: dict[str, Policy] = {"append": append, "edit": edit, "rewrite-all": rewrite_all}
