"""Diagnostics: what a rollout is like beside its reward, which betrays a hacked one. Pure.

A writer may earn its reward by copying the history wholesale, by writing next to nothing, or by
piling up: `copied`, `memory_tokens` and `staleness` show it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lineage.core.facts import truth_of
from lineage.core.knowledge import Knowledge
from lineage.core.tasks import Task, World

RUN_OF_WORDS = 3
"""Words in a row that count as copied where the history shows them in a row too."""


@dataclass(frozen=True)
class Diagnostics:
    """Shares in 0..1, `density` in facts per 100 tokens; None where there are no memories.

    `opened` is what opening a doc was, in an episode: see `opening`.
    """

    memory_tokens: int
    copied: float | None = None
    density: float | None = None
    staleness: float | None = None
    opened: str = ""


def diagnose(knowledge: Knowledge, tokens: int, shown: str, world: World) -> Diagnostics:
    """Return the figures of memories that take `tokens` (0: they count as 1).

    They were written after reading `shown`. A suite without hidden facts has neither density nor
    staleness.
    """
    tokens = max(tokens, 1)
    texts = [memory.text for memory in knowledge.memories]
    if not texts:
        return Diagnostics(tokens)
    density = staleness = None
    if world.facts:
        truth = truth_of(world.facts)
        said = [truth.read(text) for text in texts]
        stated = frozenset[str]().union(*(one.stated for one in said))
        density = 100.0 * len(stated) / tokens
        staleness = sum(bool(one.denied) for one in said) / len(said)
    return Diagnostics(tokens, copied_share(texts, shown), density, staleness)


def copied_share(texts: Sequence[str], shown: str) -> float | None:
    """Return the share of the runs of three words of `texts` that `shown` holds; None for none."""
    source = set(_runs(shown))
    runs = [run for text in texts for run in _runs(text)]
    return sum(run in source for run in runs) / len(runs) if runs else None


def _runs(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return [tuple(words[i : i + RUN_OF_WORDS]) for i in range(len(words) - RUN_OF_WORDS + 1)]


def opening(knowledge: Knowledge, opened: Sequence[str], task: Task, world: World) -> str:
    """Return what opening the docs `opened` (ids) was: needed, vain, missed or spared.

    A doc is needed where it states what `task` asks for and no memory does. "" where the suite
    has no hidden facts or there is no doc.
    """
    wanted = frozenset(task.facts)
    if not wanted or not world.facts or not knowledge.docs:
        return ""
    truth = truth_of(world.facts)
    noted = any(wanted <= truth.stated(memory.text) for memory in knowledge.memories)
    holding = {doc.id for doc in knowledge.docs if wanted <= truth.stated(doc.text)}
    needed = not noted and task.world == world.id and bool(holding)
    if needed:
        return "needed" if holding & set(opened) else "missed"
    return "vain" if opened else "spared"
