"""What is read out of Markdown that anyone may have written: bullets and titles. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lineage.markdown.frontmatter import plain

BULLET = re.compile(r"[ \t]*[-*+](?:[ \t]+(.*))?")
RULE = re.compile(r"[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*")
FENCE = re.compile(r"[ \t]*(?:(`{3,})[^`]*|(~{3,}).*)")
INDEX_TITLES = frozenset({"memory", "memories", "memory index", "memory.md"})
"""Headings that say of an index file only that it is one."""


@dataclass(frozen=True)
class Bullet:
    """One bullet, nested ones apart: the texts of its lines, and the number of its first line."""

    lines: tuple[str, ...]
    number: int


def bullets(text: str, first: int = 1) -> tuple[list[Bullet], bool]:
    """Return the bullets of `text` in order, and whether there is anything else in it.

    `first` is the number of its first line. Rules, blank lines, empty bullets and a heading of
    `INDEX_TITLES` are nothing; what stands in a code block is no bullet.
    """
    found: list[list[str]] = []
    numbers: list[int] = []
    within, blank, more = False, False, False
    for number, (line, coded) in enumerate(_lines(text), start=first):
        title = _heading(line)
        bullet = BULLET.fullmatch(line)
        if coded:
            within, more = False, True
        elif not line.strip():
            blank = True
            continue
        elif RULE.fullmatch(line):
            within = False
        elif bullet:
            found.append([bullet[1] or ""])
            numbers.append(number)
            within = True
        elif within and title is None and (not blank or line[0] in " \t"):
            found[-1].append(line.strip())
        else:
            within = False
            more |= title is None or title.casefold() not in INDEX_TITLES
        blank = False
    return [Bullet(tuple(lines), n) for lines, n in zip(found, numbers)], more


def first_heading(text: str) -> str:
    """Return the text of the first `# heading` outside of code blocks; "" where there is none."""
    for line, coded in _lines(text):
        if not coded and line.lstrip().startswith(("# ", "#\t")) and (title := _heading(line)):
            return title
    return ""


def _heading(line: str) -> str | None:
    """Return the text of a heading of any level; None where `line` is none."""
    stripped = line.strip(" \t")
    text = stripped.lstrip("#")
    if not 1 <= len(stripped) - len(text) <= 6 or text[:1] not in ("", " ", "\t"):
        return None
    if line.startswith(("    ", "\t")):  # a block of code
        return None
    inner = text.rstrip("#")
    return plain(inner if inner[-1:] in ("", " ", "\t") else text).strip()


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Yield each line of `text` and whether it belongs to a fenced code block."""
    fence = ""
    for line in text.split("\n"):
        mark = FENCE.fullmatch(line)
        yield line, bool(fence or mark)
        if not fence:
            fence = (mark[1] or mark[2]) if mark else ""
        elif line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
