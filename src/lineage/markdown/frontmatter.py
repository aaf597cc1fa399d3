"""Front matter: the YAML between two `---` lines at the head of a Markdown file, as plain text.

Pure. Every scalar is read as the text that stands there (`2024-01-01`, `true` and `3` are text),
with its line number. Anchors, aliases, duplicate keys and deep nesting are refused, tags are
ignored: nothing is ever built but texts, lists and mappings.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

FENCE = "---"
DEPTH = 16
"""Front matter that nests deeper is refused."""
ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
"""What not every editor and tool leaves as it is: control characters but tab and line feed, other
line breaks, byte order marks, non-characters and lone surrogates."""
_BROKEN = "broken YAML front matter"
_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""An index that we wrote may have a million lines, which take this an eighth of the time."""
_NUMBER = re.compile(r"-?[0-9]{1,1000}")


class Flaw(Exception):
    """What is wrong with one file, and in which line (1 is the first; 0: the whole file)."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


@dataclass(frozen=True, slots=True)
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
    text = plain(front)
    try:
        try:
            node = _document(text, _FAST)
        except yaml.YAMLError:
            node = _document(text, yaml.SafeLoader)  # it tells better where and what
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "it cannot be read"
        raise Flaw(f"{_BROKEN}: {problem}", mark.line + 2 if mark else 1) from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise Flaw(f"{_BROKEN}: {reason}", 1) from error
    if node is None:
        return {}
    if not isinstance(node.value, dict):
        raise Flaw("the front matter is no mapping: write lines of the form key: value", node.line)
    return node.value


def dump(values: Mapping[str, Any], block: bool = False) -> str:
    """Return `values` as YAML that `parse` reads back without loss, whatever their texts hold.

    With `block`, each stands in a line of its own, also where all are texts.
    """
    text: str = yaml.dump(
        dict(values),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False if block else None,
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


def _document(text: str, loader: Any) -> Node | None:
    """Return the one document in `text`, None where there is none."""
    events = yaml.parse(text, Loader=loader)
    next(events)  # the stream begins
    if isinstance(next(events), yaml.StreamEndEvent):
        return None
    flaws: list[Flaw] = []
    root = _node(next(events), events, 0, flaws)
    next(events)  # the document ends
    after = next(events)
    if not isinstance(after, yaml.StreamEndEvent):
        raise Flaw(f"{_BROKEN}: but found another document", _line(after))
    if flaws:
        raise flaws[0]
    return root


def _node(event: Any, events: Iterator[Any], depth: int, flaws: list[Flaw]) -> Node:
    """Return what begins with `event`; what is wrong in YAML that can be read goes into `flaws`.

    An alias could make a small file huge, so anchors are refused as well.
    """
    line = _line(event)
    if event.anchor is not None:
        raise Flaw("anchors and aliases (& and *) are refused: write the value out", line)
    if depth >= DEPTH:
        raise Flaw(f"the front matter nests more than {DEPTH} deep: make it flatter", line)
    if isinstance(event, yaml.ScalarEvent):
        return Node(event.value, line)
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_node(event, events, depth + 1, flaws))
        return Node(items, line)
    entries: dict[str, Node] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        key = ""
        if not isinstance(event, yaml.ScalarEvent):
            flaws.append(Flaw("a key of the front matter must be text", _line(event)))
        elif event.value in entries:
            flaws.append(Flaw(f"{event.value!r} stands twice: keep one", _line(event)))
        else:
            key = sys.intern(event.value)  # of a million mappings, most have the same
        _node(event, events, depth + 1, flaws)
        entries[key] = _node(next(events), events, depth + 1, flaws)
    return Node(entries, line)


def _line(event: Any) -> int:
    number: int = event.start_mark.line
    return number + 2  # counted from 0, below the first ---


class _Dumper(yaml.SafeDumper):
    """Writes texts with anything but plain characters in double quotes, where all is escaped."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = '"' if ODD.search(text) or "\n" in text or "\t" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent)
