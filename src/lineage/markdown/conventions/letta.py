"""Letta: an agent file (`.af`, JSON with memory blocks) and MemFS (Markdown under `system/`).

https://docs.letta.com/guides/agents/agent-file and https://docs.letta.com/letta-code/memfs
"""

from __future__ import annotations

import json
from dataclasses import dataclass

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
            spans = _spans(text)
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

    def removed(self, text: str, part: Part) -> tuple[Span, str]:
        """Return its value, which is empty then: the block is the agent's."""
        return part.span, '""'

    def added(self, text: str, title: str, words: str) -> str:
        """Return `text` with one more block."""
        if not text.strip():
            text = '{"agents": [], "blocks": []}\n'
        start, end = _spans(text)[("blocks",)]
        number = len(json.loads(text[start:end])) + 1
        block = {"label": f"memory_{number}", "value": words}
        inside = text[start : end - 1].rstrip()
        comma = ", " if inside != "[" else ""
        return inside.join((text[:start], comma)) + json.dumps(block) + text[start + len(inside) :]


def _spans(text: str) -> dict[tuple[str | int, ...], Span]:
    """Return where each value of the JSON `text` stands, by its path. ValueError: it is none."""
    found: dict[tuple[str | int, ...], Span] = {}
    decoder = json.JSONDecoder()

    def walk(start: int, path: tuple[str | int, ...]) -> int:
        start = at = _skip(text, start)
        is_object, number = text[at : at + 1] == "{", 0
        if is_object or text[at : at + 1] == "[":
            at = _skip(text, at + 1)
            while text[at] not in "}]":
                key: str | int = number
                if is_object:
                    key, at = decoder.raw_decode(text, at)
                    at = _skip(text, at) + 1
                at = _skip(text, walk(at, (*path, key)))
                number += 1
                if text[at] == ",":
                    at = _skip(text, at + 1)
            at += 1
        else:
            at = decoder.raw_decode(text, at)[1]
        found[path] = (start, at)
        return at

    walk(0, ())
    return found


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _SPACE:
        at += 1
    return at
