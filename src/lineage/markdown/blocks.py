"""The blocks of a Markdown text by its lines, as CommonMark has them, and its comments. Pure.

Only where blocks begin and end is taken from the parser; what they say is cut from the text, so
that nothing is lost that a parser knows otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

ENDS = re.compile(r"\r\n?|\n")
"""Line ends, as the parser sees them."""
_CODE_OR_COMMENT = re.compile(
    r"(?P<code>^[ \t]*(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t]*(?P=fence)[^\n]*$|\Z)"
    r"|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<comment>[ \t]*<!--.*?-->)",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """Lines of a text, counted from 0; `end` is the one after the last that is not blank.

    `kind` is heading, item (of a list without numbers), list (with numbers), code, rule, html or
    text. Of an item, `inner` is the line at which something else than its own words begins.
    """

    kind: str
    first: int
    end: int
    level: int = 0
    title: str = ""
    inner: int = 0
    group: int = 0
    """Items of one list have one number."""


_KINDS = {
    "ordered_list_open": "list",
    "fence": "code",
    "code_block": "code",
    "hr": "rule",
    "html_block": "html",
}


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table").disable("inline")


def lines_of(text: str) -> list[str]:
    """Return the lines of `text`, each with its end. Joined they are `text`."""
    found, start = [], 0
    for end in ENDS.finditer(text):
        found.append(text[start : end.end()])
        start = end.end()
    return [*found, text[start:]] if start < len(text) else found


def blocks(lines: Sequence[str]) -> list[Block]:
    """Return the blocks of a text in order; every line that is not blank is in one."""
    text = "".join(ENDS.sub("\n", line) for line in lines)
    found: list[Block] = []
    seen = 0
    for block in (*_parsed(_parser().parse(text)), Block("text", len(lines), len(lines))):
        first, end = _trimmed(lines, seen, block.first)  # such as the target of a link
        if first < end:
            found.append(Block("text", first, end))
        first, end = _trimmed(lines, block.first, min(block.end, len(lines)))
        if first < end:
            found.append(replace(block, first=first, end=end))
        seen = max(seen, block.end)
    return found


def without_comments(text: str) -> tuple[str, list[str]]:
    """Return `text` without its HTML comments, and these. What is code is not looked at."""
    comments: list[str] = []

    def kept(match: re.Match[str]) -> str:
        if match["comment"] is None:
            return match[0]
        comments.append(match["comment"].strip())
        return ""

    return _CODE_OR_COMMENT.sub(kept, text), comments


def without_code(text: str) -> str:
    """Return `text` without what is code or a comment."""
    return _CODE_OR_COMMENT.sub(" ", text)


def _parsed(tokens: Sequence[Token]) -> Iterator[Block]:
    group = 0
    for at, token in enumerate(tokens):
        if token.map is None or token.nesting < 0:
            continue
        first, end = token.map
        if token.level == 1 and token.type == "list_item_open" and not token.info:
            yield Block("item", first, end, inner=_inner(tokens[at + 1 :], first, end), group=group)
        elif token.level == 0 and token.type == "bullet_list_open":
            group = at + 1
        elif token.level == 0 and token.type == "heading_open":
            yield Block("heading", first, end, int(token.tag[1]), tokens[at + 1].content)
        elif token.level == 0:
            yield Block(_KINDS.get(token.type, "text"), first, end)


def _inner(after: Sequence[Token], first: int, end: int) -> int:
    """Return where a list item's own first paragraph ends; `after` are the tokens behind it."""
    if after and after[0].type == "paragraph_open" and after[0].map and after[0].map[0] == first:
        return after[0].map[1]
    return first + 1 if end > first else end


def _trimmed(lines: Sequence[str], first: int, end: int) -> tuple[int, int]:
    """Return the span of lines without the blank ones at its ends."""
    while first < end and not lines[first].strip():
        first += 1
    while end > first and not lines[end - 1].strip():
        end -= 1
    return first, end
