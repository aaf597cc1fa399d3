"""Knowledge: everything that one generation hands to the next, as frozen, content-addressed values.

Pure: no Ray, no I/O, no clock. Equal content has equal id; nothing is changed in place.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

IMPORT = "import"
"""The version in the origin of what was read from a folder; its episode is the file there."""


@dataclass(frozen=True)
class Origin:
    """Where an entry comes from: who wrote it, when, and in which episode."""

    generation: int
    version: str
    episode: str


@dataclass(frozen=True)
class Memory:
    """One short note, always in the prompt. `edited` is the origin of its latest edit."""

    id: str
    text: str
    created: Origin
    edited: Origin


@dataclass(frozen=True)
class Doc:
    """One long-form document, outside the prompt until it is opened."""

    id: str
    title: str
    body: str
    created: Origin
    edited: Origin

    @property
    def text(self) -> str:
        """All that it says: its title, then its body."""
        return doc_text(self.title, self.body)


@dataclass(frozen=True)
class Knowledge:
    """The memories and docs of one moment.

    `next_id` numbers entries for life: an id that was dropped is never given again. `parent` is
    the id of the snapshot that this one was made from ("" for the empty one); it is history,
    not content, and so no part of the id.
    """

    memories: tuple[Memory, ...] = ()
    docs: tuple[Doc, ...] = ()
    next_id: int = 1
    parent: str = field(default="", compare=False)

    @property
    def entries(self) -> tuple[Memory | Doc, ...]:
        """All of it, memories first."""
        return (*self.memories, *self.docs)

    def canonical(self) -> str:
        """Return the canonical form that the id is the hash of: sorted-key JSON without spaces."""
        content = {
            "memories": [_fields(memory) for memory in self.memories],
            "docs": [_fields(doc) for doc in self.docs],
            "next_id": self.next_id,
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @cached_property
    def id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the canonical form."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:16]

    def rooted(self) -> Knowledge:
        """Return the same content as if it came out of the empty one: its history is elsewhere."""
        return EMPTY.evolve(memories=self.memories, docs=self.docs, next_id=self.next_id)

    def evolve(self, **changes: Any) -> Knowledge:
        """Return a successor with `changes`; itself where nothing changes (no self-parent)."""
        successor = replace(self, **changes, parent=self.id)
        return self if successor == self else successor


EMPTY = Knowledge()


def doc_text(title: str, body: str) -> str:
    """Return what a doc says as one text."""
    return f"{title}\n{body}"


def _fields(entry: Memory | Doc) -> dict[str, Any]:
    # As asdict, which copies every value and so took a tenth of a surrogate training.
    return vars(entry) | {"created": vars(entry.created), "edited": vars(entry.edited)}


def knowledge_from_json(text: str, parent: str = "") -> Knowledge:
    """Return the Knowledge whose canonical form is `text`.

    Raises ValueError when `text` is not such a form.
    """
    try:
        raw = json.loads(text)
        return Knowledge(
            memories=tuple(
                Memory(m["id"], m["text"], Origin(**m["created"]), Origin(**m["edited"]))
                for m in raw["memories"]
            ),
            docs=tuple(
                Doc(d["id"], d["title"], d["body"], Origin(**d["created"]), Origin(**d["edited"]))
                for d in raw["docs"]
            ),
            next_id=raw["next_id"],
            parent=parent,
        )
    except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as error:
        raise ValueError(f"not a Knowledge snapshot: {error!r}") from error
