"""A document within a number of tokens, cut where a section ends. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

NAMED = 3
"""Sections that are left out and named; the others are counted."""
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(\S.*?)(?:[ \t]+#+)?[ \t]*")
_CODE = re.compile(r" {0,3}(`{3,}|~{3,})")


def within(body: str, most: int, count: Callable[[str], int]) -> str:
    """Return `body`, or as many of its first sections as take at most `most` tokens by `count`.

    A section is what stands under one Markdown heading. A last line says what was left out. Where
    not even the first section has room, it is cut where a line ends, and not within code where
    something stands before that.
    """
    if count(body) <= most:
        return body
    units = sections(body)
    kept = _most(lambda n: _joined("".join(units[:n]), units[n:]), len(units) - 1, most, count)
    if kept:
        return _joined("".join(units[:kept]), units[kept:])
    lines, rest = units[0].splitlines(keepends=True), units[1:]

    def cut(kept: int) -> str:
        if kept == len(lines):
            return _joined("".join(lines), rest)
        left_out = ["".join(lines[kept:]), *rest] if kept else units
        return _joined("".join(lines[:kept]), left_out, begun=kept > 0)

    return cut(_before_code(lines, _most(cut, len(lines) - (not rest), most, count)))


def sections(body: str) -> list[str]:
    """Return the sections of a Markdown `body`, which they make up together: each with its heading.

    What stands before the first heading is a section; a heading in fenced code is none.
    """
    found, code = [""], ""
    for line in body.splitlines(keepends=True):
        fence = _CODE.match(line)
        if fence and (not code or fence[1].startswith(code)):
            code = "" if code else fence[1]
        elif not code and _HEADING.fullmatch(line.rstrip("\r\n")) and found[-1]:
            found.append("")
        found[-1] += line
    return found


def heading(section: str) -> str:
    """Return the heading that a section begins with, "" where it has none."""
    found = _HEADING.fullmatch(section.split("\n", 1)[0].rstrip("\r"))
    return found[1] if found else ""


def _most(text: Callable[[int], str], high: int, most: int, count: Callable[[str], int]) -> int:
    """Return the most units, of `high`, the `text` of which has room; 0 where none has."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        if count(text(middle)) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def _before_code(lines: Sequence[str], kept: int) -> int:
    """Return `kept`, or fewer lines where it would end in fenced code that something precedes."""
    opened, code = 0, ""
    for number, line in enumerate(lines[:kept]):
        fence = _CODE.match(line)
        if fence and (not code or fence[1].startswith(code)):
            opened, code = number, "" if code else fence[1]
    return opened if code and "".join(lines[:opened]).strip() else kept


def _joined(kept: str, left_out: Sequence[str], begun: bool = False) -> str:
    names = [f'"{name}"' for name in map(heading, left_out) if name][:NAMED]
    more = len(left_out) - len(names)
    if begun:
        names, more = ["the rest of this section", *names], more - 1
    if more:
        names.append(f"{more} {'more ' if names else ''}{'section' if more == 1 else 'sections'}")
    told = f"[left out: {', '.join(names)}]"
    return f"{kept.rstrip()}\n{told}" if kept.strip() else told
