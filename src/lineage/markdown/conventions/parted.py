"""Files of entries that are parted by a mark or a blank line, all of them in every prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lineage.markdown.blocks import ENDS, lines_of
from lineage.markdown.conventions.interface import Found, Part, Source, Span
from lineage.markdown.frontmatter import plain


@dataclass(frozen=True)
class Parted:
    """A text of memories between lines that are `mark` ("": blank ones).

    Where they are `tagged`, a first line `# tag tag` of an entry says what it is about.
    """

    mark: str
    tagged: bool = False
    whole: bool = False

    def read(self, path: str, text: str, files: frozenset[str]) -> Found:
        """Return the memories of `text`."""
        parts, start, first, at = [], 0, 0, 0
        block: list[str] = []
        for number, line in enumerate([*lines_of(text), None]):
            if line is not None and line.strip() != self.mark:
                block.append(line)
                at += len(line)
                continue
            if part := self._part(path, block, (start, at), first):
                parts.append(part)
            at += len(line or "")
            start, first, block = at, number + 1, []
        return Found(parts)

    def _part(self, path: str, lines: list[str], span: tuple[int, int], first: int) -> Part | None:
        tags = ""
        if self.tagged and lines and lines[0].startswith("#"):
            tags = plain(lines[0].lstrip("#")).strip()
            span = (span[0] + len(lines[0]), span[1])
            lines, first = lines[1:], first + 1
        said = plain(ENDS.sub("\n", "".join(lines))).strip("\n").rstrip()
        if not said.strip():
            return None
        lead = f"{tags}: " if tags else ""
        source = Source(path, first + 1, first + len(lines), (tags,) if tags else ())
        return Part("memory", lead + said, source, span, lead=lead)

    def rewritten(self, text: str, part: Part, title: str, words: str) -> str:
        """Return the entry's lines with other words."""
        old, end = text[slice(*part.span)], "\r\n" if "\r\n" in text else "\n"
        words = words.removeprefix(part.lead).strip("\n")
        if not self.mark:
            words = re.sub(r"\n\s*\n", "\n", words)
        return ENDS.sub(end, words) + old[len(old.rstrip("\r\n")) :]

    def removed(self, text: str, part: Part) -> tuple[Span, str]:
        """Return its lines with its tags, and the mark behind or before them."""
        lines, at, before = lines_of(text), 0, 0
        start, end = part.span
        for line in lines:
            is_mark = line.strip() == self.mark
            if at + len(line) <= start and is_mark:
                before = at
            if at >= end and is_mark:
                end = at + len(line)
                break
            if at + len(line) == start and not is_mark:
                start = at  # its tags
            at += len(line)
        else:
            start = before
        return (start, end), ""

    def added(self, text: str, title: str, words: str) -> str:
        """Return `text` with one more entry."""
        end = "\r\n" if "\r\n" in text else "\n"
        if not self.mark:
            words = re.sub(r"\n\s*\n", "\n", words)
        between = f"{self.mark}{end}"
        if text.strip():
            text += "" if text.endswith(("\n", "\r")) else end
            text += "" if text.endswith(end + between) else between
        return text + ENDS.sub(end, words.strip("\n")) + end
