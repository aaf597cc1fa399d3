"""Letta: an agent file (`.af`, JSON with memory blocks) and MemFS (Markdown under `system/`).

https://docs.letta.com/guides/agents/agent-file and https://docs.letta.com/letta-code/memfs
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from json.decoder import JSONDecoder, scanstring
from typing import Any

from lineage.markdown.conventions.interface import Finding, Found, Part, Source, Span
from lineage.markdown.frontmatter import plain

_SPACE = " \t\n\r"


@dataclass(frozen=True)
class AgentFile:
    """JSON of which each block's value is a memory, under its label."""

    whole: bool = False

    def read(self, path: str, text: str, files: frozenset[str]) -> Found:
        """Return the blocks of `text`."""
        try:
            agent = json.loads(text)
            spans = dict(_spans(text))
        except (ValueError, RecursionError) as error:
            return Found((), (Finding(path, f"is no JSON and not read: {error}"),))
        parts, findings = [], []
        for number, block in enumerate(agent.get("blocks", ()) if isinstance(agent, dict) else ()):
            span = spans.get(("blocks", number, "value"))
            if span is None or text[span[0]] != '"':
                findings.append(Finding(path, f"block {number + 1} has no text and is not read"))
                continue
            label, value = str(block.get("label", "")), plain(str(block["value"])).strip("\n")
            if value.strip():
                lead = f"{plain(label)}: " if label else ""
                lines = (text.count("\n", 0, span[0]) + 1, text.count("\n", 0, span[1]) + 1)
                source = Source(path, *lines, (label,) if label else ())
                parts.append(Part("memory", lead + value, source, span, lead=lead))
        return Found(parts, findings)

    def rewritten(self, text: str, part: Part, title: str, words: str) -> str:
        """Return the block's value as JSON has it, in ASCII where the file is."""
        return json.dumps(words.removeprefix(part.lead), ensure_ascii=text.isascii())

    def added(self, text: str, title: str, words: str) -> str:
        """Return `text` with one more block."""
        if not text.strip():
            text = '{"agents": [], "blocks": []}\n'
        start, end = dict(_spans(text))[("blocks",)]
        number = len(json.loads(text[start:end])) + 1
        block = {"label": f"memory_{number}", "value": words}
        inside = text[start : end - 1].rstrip()
        comma = ", " if inside != "[" else ""
        return inside.join((text[:start], comma)) + json.dumps(block) + text[start + len(inside) :]


def _spans(text: str) -> Iterator[tuple[tuple[str | int, ...], Span]]:
    """Yield where each text, list and object of the JSON `text` stands, by its path.

    Raises ValueError where it is no JSON.
    """

    def value(at: int, path: tuple[str | int, ...]) -> Iterator[Any]:
        start = at = _skip(text, at)
        if text[at : at + 1] == '"':
            end = scanstring(text, at + 1, True)[1]
            yield path, (at, end)
            return end
        if text[at : at + 1] not in ("{", "["):
            return JSONDecoder().raw_decode(text, at)[1]
        is_object, number = text[at] == "{", 0
        at = _skip(text, at + 1)
        while text[at] not in "}]":
            key: str | int = number
            if is_object:
                key, at = scanstring(text, at + 1, True)
                at = _skip(text, at) + 1
            at = _skip(text, (yield from value(at, (*path, key))))
            number += 1
            if text[at] == ",":
                at = _skip(text, at + 1)
        yield path, (start, at + 1)
        return at + 1

    yield from value(0, ())


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _SPACE:
        at += 1
    return at
