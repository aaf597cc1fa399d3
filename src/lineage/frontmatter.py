"""Front matter: the YAML between two `---` lines at the head of a Markdown file, as plain text.

Pure. Every scalar is read as the text that stands there (`2024-01-01`, `true` and `3` are text),
with its line number. Anchors, aliases, duplicate keys and deep nesting are refused, tags are
ignored: nothing is ever built but texts, lists and mappings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

FENCE = "---"
DEPTH = 16
"""Front matter that nests deeper is refused."""
ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
"""What not every editor and tool leaves as it is: control characters but tab and line feed, other
line breaks, byte order marks, non-characters and lone surrogates."""
_NUMBER = re.compile(r"-?[0-9]{1,1000}")


class Flaw(Exception):
    """What is wrong with one file, and in which line (1 is the first; 0: the whole file)."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


@dataclass(frozen=True)
class Node:
    """A value of front matter and the line of the file in which it begins."""

    value: str | list[Node] | dict[str, Node]
    line: int


def plain(text: str) -> str:
    """Return `text` with each character of `ODD` as a space."""
    return ODD.sub(" ", text)


def split(text: str) -> tuple[str | None, str]:
    """Return the front matter of a file (None: it has none) and what stands below it.

    Raises Flaw where the front matter has no end.
    """
    first, *rest = text.split("\n")
    if first.rstrip() != FENCE:
        return None, text
    for number, line in enumerate(rest):
        if line.rstrip() == FENCE:
            return "\n".join(rest[:number]), "\n".join(rest[number + 1 :])
    raise Flaw("the front matter that begins here has no end: close it with a line ---", 1)


def parse(front: str) -> dict[str, Node]:
    """Return the mapping that `front` (the text between the two `---` lines) holds.

    Raises Flaw where it is no YAML, no mapping, or more than plain texts, lists and mappings.
    """
    try:
        root = _Loader(plain(front)).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "it cannot be read"
        raise Flaw(f"broken YAML front matter: {problem}", mark.line + 2 if mark else 1) from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise Flaw(f"broken YAML front matter: {reason}", 1) from error
    if root is None:
        return {}
    node = _built(root)
    if not isinstance(node.value, dict):
        raise Flaw("the front matter is no mapping: write lines of the form key: value", node.line)
    return node.value


def dump(values: Mapping[str, Any]) -> str:
    """Return `values` as YAML that `parse` reads back without loss, whatever their texts hold."""
    text: str = yaml.dump(
        dict(values),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=float("inf"),
    )
    return text


def text_of(node: Node, name: str) -> str:
    """Return the text that `node` holds. Raises Flaw where it is a list or a mapping."""
    if not isinstance(node.value, str):
        raise Flaw(f"{name} must be text, not a {type(node.value).__name__}", node.line)
    return node.value


def number_of(node: Node, name: str) -> int:
    """Return the whole number that `node` holds. Raises Flaw where it is none."""
    if not isinstance(node.value, str) or not _NUMBER.fullmatch(node.value):
        raise Flaw(f"{name} must be a whole number", node.line)
    return int(node.value)


def list_of(node: Node, name: str) -> list[Node]:
    """Return the items of `node`. Raises Flaw where it is no list."""
    if not isinstance(node.value, list):
        raise Flaw(f"{name} must be a list", node.line)
    return node.value


def mapping_of(node: Node, name: str) -> dict[str, Node]:
    """Return the entries of `node`. Raises Flaw where it is no mapping."""
    if not isinstance(node.value, dict):
        raise Flaw(f"{name} must be a mapping of lines key: value", node.line)
    return node.value


def _built(node: yaml.Node) -> Node:
    line = node.start_mark.line + 2  # counted from 0, below the first ---
    if isinstance(node, yaml.SequenceNode):
        return Node([_built(item) for item in node.value], line)
    if not isinstance(node, yaml.MappingNode):
        return Node(str(node.value), line)
    entries: dict[str, Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise Flaw("a key of the front matter must be text", key.start_mark.line + 2)
        if key.value in entries:
            raise Flaw(f"{key.value!r} stands twice: keep one", key.start_mark.line + 2)
        entries[key.value] = _built(value)
    return Node(entries, line)


class _Loader(yaml.SafeLoader):
    """Composes nodes; an alias could make a small file huge, so anchors are refused as well."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 2
        if getattr(event, "anchor", None) is not None:
            raise Flaw("anchors and aliases (& and *) are refused: write the value out", line)
        if self.depth >= DEPTH:
            raise Flaw(f"the front matter nests more than {DEPTH} deep: make it flatter", line)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Writes texts with anything but plain characters in double quotes, where all is escaped."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = '"' if ODD.search(text) or "\n" in text or "\t" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent)
