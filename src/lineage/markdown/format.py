"""Knowledge as the texts of a folder of Markdown files, and back. Pure: paths are names here.

`MEMORY.md` holds a bullet a memory, `docs/<slug>.md` one doc; provenance stands in their front
matter, so that `interpret(render(k))` is `k`. Text that an editor might change unseen (`ODD`, or
white space at the ends of a memory) stands escaped in the front matter, too.

People may edit what we wrote: the comment at a bullet's end names its memory, so that bullets can
be changed, moved, deleted and added. In files that others wrote, each bullet of `MEMORY.md` is a
memory and every other file a doc; control characters become spaces, all else is kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from lineage.core.errors import LineageError
from lineage.core.knowledge import Doc, Knowledge, Memory
from lineage.markdown.frontmatter import FENCE, ODD, dump
from lineage.markdown.parsing import DOCS, FORMAT, INDEX, MARK, handle_of, interpret

SLUG_CHARS = 40
"""Characters of a title in a file's name, for human eyes."""


def render(knowledge: Knowledge) -> dict[str, str]:
    """Return the files of `knowledge` by relative path: the docs in order, then the index.

    Raises LineageError where it is no Knowledge that could be read back: two entries of one id,
    or a value that is of another type than its field.
    """
    try:
        names = [doc_path(doc) for doc in knowledge.docs]
        files = {name: _doc_text(doc) for name, doc in zip(names, knowledge.docs)}
        files[INDEX] = _index_text(knowledge, names)
        lossless = interpret(files).knowledge.canonical() == knowledge.canonical()
    except (LineageError, TypeError, AttributeError) as error:
        raise LineageError(f"this Knowledge cannot be written as Markdown: {error}") from error
    if not lossless:
        raise LineageError(
            "this Knowledge cannot be written as Markdown: an entry has no id, shares one, or has "
            "a value of a wrong type"
        )
    return files


def doc_path(doc: Doc) -> str:
    """Return where `doc` is written: by its id; nothing of its title but ASCII words."""
    return f"{DOCS}/{'-'.join(filter(None, (handle_of(doc.id), slug_of(doc.title))))}.md"


def slug_of(title: str) -> str:
    """Return the first ASCII words of `title`, for a file's name."""
    ascii_only = unicodedata.normalize("NFKD", title[:400]).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]+", "-", ascii_only.lower())[:SLUG_CHARS].strip("-")


def _provenance(entry: Memory | Doc) -> dict[str, Any]:
    return {"created": asdict(entry.created), "edited": asdict(entry.edited)}


def _file(front: Mapping[str, Any], body: str) -> str:
    return f"{FENCE}\n{dump(front)}{FENCE}\n{body}\n"


def _doc_text(doc: Doc) -> str:
    front = {MARK: FORMAT, "id": doc.id, "title": doc.title, **_provenance(doc)}
    if ODD.search(doc.body):
        return _file(front | {"body": doc.body}, "")
    return _file(front, doc.body)


def _index_text(knowledge: Knowledge, names: list[str]) -> str:
    entries: dict[str, Any] = {}
    lines = []
    for memory in knowledge.memories:
        handle, text = handle_of(memory.id), memory.text
        entries[handle] = entry = _provenance(memory)
        if handle != memory.id:
            entry["id"] = memory.id
        if not text or text != text.strip() or "\n" in text or "\t" in text or ODD.search(text):
            entry["text"], text = text, ""
        lines.append(" ".join(filter(None, ("-", text, f"<!--{handle}-->"))))
    front = {
        MARK: FORMAT,
        "knowledge": knowledge.id,
        "next-id": knowledge.next_id,
        "memories": entries,
        "docs": [PurePosixPath(name).name for name in names],
    }
    return _file(front, "\n".join(("", *lines)))
