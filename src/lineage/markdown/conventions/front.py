"""Front matter as others write it: what can be read is, all of it is kept. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lineage.markdown.blocks import lines_of
from lineage.markdown.frontmatter import FENCE, Flaw, Node, parse

_TOML = "+++"
MARKS = (FENCE, _TOML)
"""What begins front matter."""
_FIELD = re.compile(r"([A-Za-z][\w.-]*)[ \t]*:(?:[ \t]+(.*))?")


@dataclass(frozen=True)
class Head:
    """The front matter of a file. `end` is where its body begins, `text` what is between the marks.

    `fields` are its values that are texts; of what is no YAML, the lines `key: value`, with the
    flaw.
    """

    text: str = ""
    end: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    flaw: Flaw | None = None


def head_of(text: str) -> Head:
    """Return the front matter of `text`. One without an end is none, and a flaw."""
    lines = lines_of(text)
    mark = lines[0].rstrip() if lines else ""
    if mark not in MARKS:
        return Head()
    number = next((n for n, line in enumerate(lines[1:], start=1) if line.rstrip() == mark), 0)
    if not number:
        what = "the front matter that begins here has no end: close it with a line ---"
        return Head(flaw=Flaw(what, 1) if mark == FENCE else None)
    front = "".join(lines[1:number])
    end = sum(map(len, lines[: number + 1]))
    plain_lines = front.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    if mark == _TOML:
        return Head(front, end)
    try:
        nodes = parse(plain_lines)
    except Flaw as flaw:
        fields = loose(plain_lines)
        return Head(front, end, fields, frozenset(fields), flaw)
    texts = {key: node.value for key, node in nodes.items() if isinstance(node.value, str)}
    return Head(front, end, texts, frozenset(nodes), _titled(nodes))


def loose(front: str) -> dict[str, str]:
    """Return the lines `key: value` of front matter that is no YAML; of two the first counts."""
    fields: dict[str, str] = {}
    for line in front.split("\n"):
        match = _FIELD.fullmatch(line)
        if match:
            fields.setdefault(match[1], (match[2] or "").strip().strip("\"'"))
    return fields


def _titled(nodes: dict[str, Node]) -> Flaw | None:
    """Return what is wrong with a title: that it is no text."""
    for key in ("title", "name"):
        if key in nodes and not isinstance(nodes[key].value, str):
            kind = type(nodes[key].value).__name__
            return Flaw(f"{key} must be text, not a {kind}", nodes[key].line)
    return None
