"""A lineage's own world as it is in one generation, and what texts say about it."""

from __future__ import annotations

from collections.abc import Iterable

from lineage.core.facts import Said, Truth
from lineage.core.knowledge import Doc, Memory
from lineage.core.tasks import Fact


class Home:
    """The facts of a world, which read each text once."""

    def __init__(self, world: str, facts: Iterable[Fact]) -> None:
        self.world = world
        self._truth = Truth(facts)
        self._said: dict[str, Said] = {}

    def said(self, entry: Memory | Doc) -> Said:
        """Return what `entry` says."""
        return self.read(
            entry.text if isinstance(entry, Memory) else doc_text(entry.title, entry.body)
        )

    def read(self, text: str) -> Said:
        """Return what `text` says; equal texts are read once."""
        if text not in self._said:
            self._said[text] = self._truth.read(text)
        return self._said[text]


def doc_text(title: str, body: str) -> str:
    """Return what a doc says as one text."""
    return f"{title}\n{body}"
