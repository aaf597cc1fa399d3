"""Text that is always in an agent's prompt: each bullet, paragraph and block of it is a memory.

A memory's text begins with what it stands under, the headings and the line that introduces its
list, and a bullet keeps the bullets below it: apart from "Never do these:", "force-push to main"
says the opposite. A line of an index that stands for a file of the folder is no memory; it gives
that file's doc its title. Comments are for people, and stay in the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, takewhile
from textwrap import dedent

from lineage.markdown.blocks import ENDS, Block, blocks, lines_of, without_code, without_comments
from lineage.markdown.bullets import INDEX_TITLES
from lineage.markdown.conventions.front import MARKS, head_of
from lineage.markdown.conventions.interface import Finding, Found, Line, Part, Source, Span
from lineage.markdown.frontmatter import plain
from lineage.markdown.links import resolved

_MARKER = re.compile(r"([ \t]*[-*+](?:[ \t]{1,4}|(?=\r|\n|\Z)))(.*)", re.DOTALL)
_LINE = re.compile(
    r"(?:\[(?P<label>[^\]]+)\]\((?P<path>[^)\s]+)(?:\s[^)]*)?\)|\[\[(?P<wiki>[^\]|]+)(?:\|[^\]]*)?\]\])"
    r"(?P<hook>.*)",
    re.DOTALL,
)
_HOOK = re.compile(r"[\s:\-–—]*")
_BOLD = re.compile(r"(\*\*|__)(?P<words>(?:(?!\1).)+)\1[:.]?", re.DOTALL)
_ABOVE = " > "
_NO_ENTRY = ("heading", "rule", "html", "item")


@dataclass(frozen=True)
class Loaded:
    """A Markdown file that is in every prompt. `titles` are first headings that say nothing.

    `lists` are whether a bullet that links to a file stands for that file; `front` is whether its
    front matter is in the prompt, too.
    """

    titles: frozenset[str] = INDEX_TITLES
    lists: bool = True
    front: bool = True
    loads: re.Pattern[str] | None = None
    """What loads another file: it stays where the words around it go, and alone it says nothing."""
    section: str = ""
    """The heading under which new memories go, at the end."""
    whole: bool = False

    def read(self, path: str, text: str, files: frozenset[str]) -> Found:
        """Return the memories of `text`, and the lines of it that stand for files."""
        return _Reading(self, path, text, files).found()

    def rewritten(self, text: str, part: Part, title: str, words: str) -> str:
        """Return the lines of the memory as they were written, with other words."""
        old = text[slice(*part.span)]
        end = "\r\n" if "\r\n" in text else "\n"
        words = words.removeprefix(part.lead).strip("\n")
        if text.startswith(MARKS) and part.span[1] <= head_of(text).end:
            return ENDS.sub(end, words) + end
        marker = _MARKER.match(old)
        is_item = marker is not None and _is_item(old)
        found = blocks(lines_of(words))
        if not is_item and (len(found) != 1 or found[0].kind in _NO_ENTRY or _open(words)):
            # In a bullet whatever it says ends where the bullet does.
            marker, is_item = _MARKER.match("- "), True
        _, comments = without_comments(old)
        kept = [comment for comment in comments if "\n" not in comment and "\r" not in comment]
        kept += [one for one in self.loaded(old) if one not in self.loaded(words)]
        first, *rest = words.split("\n") if words else [""]
        if rest and _is_code(words):
            rest += kept
        else:
            first = " ".join(filter(None, (first, *kept)))
        if is_item and marker:
            gap = " " * len(marker[1].expandtabs(4))
            rest = [f"{gap}{line}" if line.strip() else "" for line in rest]
            first = (marker[1] if marker[1][-1:] in (" ", "\t") else f"{marker[1]} ") + first
        last = end if old.endswith(("\n", "\r")) else ""
        return end.join((first, *rest)) + last

    def removed(self, text: str, part: Part) -> tuple[Span, str]:
        """Return its own characters; a blank line stays where others would become one."""
        loaded = self.loaded(text[slice(*part.span)])
        if loaded:
            return part.span, self.rewritten(text, replace(part, lead=""), "", "")
        start, end = part.span
        before = text[text.rfind("\n", 0, max(start - 1, 0)) + 1 : start]
        after = text[end : text.find("\n", end) + 1 or None]
        between = [line for line in (before, after) if line.strip()]
        if len(between) < 2 or all(_MARKER.match(line) for line in between):
            return part.span, ""
        return part.span, "\r\n" if "\r\n" in text else "\n"

    def loaded(self, text: str) -> list[str]:
        """Return what in `text` loads other files."""
        return self.loads.findall(without_code(text)) if self.loads else []

    def added(self, text: str, title: str, words: str) -> str:
        """Return `text` with one more bullet, below its last line or that of its section."""
        end = "\r\n" if "\r\n" in text else "\n"
        lines = lines_of(text)
        if lines and not lines[-1].endswith(("\n", "\r")):
            lines[-1] += end
        found, at, new = blocks(lines), len(lines), ""
        if self.section:
            found, new = self._of_section(found)
            at = found[-1].end if found and not new else at
        first, *rest = words.split("\n") if words else [""]
        new = new and f"{end if lines else ''}## {new}{end}{end}"
        if not new and found and found[-1].kind != "item":
            new = end
        new += end.join((f"- {first}", *(f"  {line}".rstrip() for line in rest))) + end
        return "".join((*lines[:at], new, *lines[at:]))

    def _of_section(self, found: list[Block]) -> tuple[list[Block], str]:
        """Return the blocks up to the end of the section; of none, all and the section's name."""
        heads = [n for n, block in enumerate(found) if block.kind == "heading"]
        own = [n for n in heads if found[n].title.strip() == self.section]
        if not own:
            return found, self.section
        level = found[own[-1]].level
        after = (n for n in heads if n > own[-1] and found[n].level <= level)
        return found[: next(after, len(found))], ""


def listing(text: str, label: str, path: str) -> str:
    """Return `text`, an index, with a line more that stands for the file at `path`."""
    return Loaded().added(text, "", f"[{label}]({path})")


def _is_code(text: str) -> bool:
    return any(block.kind == "code" for block in blocks(lines_of(text)))


def _open(text: str) -> bool:
    """Whether what `text` says would go on in the lines below it, as code without an end does."""
    below = "\n\nbelow\n"
    return blocks(lines_of(text + below))[-1].first != len(lines_of(text)) + 1


def _is_item(text: str) -> bool:
    found = blocks(lines_of(text))
    return bool(found) and found[0].kind == "item"


@dataclass(frozen=True)
class _Heading:
    level: int
    title: str
    span: tuple[int, int]
    spoken: int
    """What had said something before it."""


@dataclass
class _Reading:
    form: Loaded
    path: str
    text: str
    files: frozenset[str]
    parts: list[Part] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    listed: dict[str, list[Line]] = field(default_factory=dict)
    headings: list[_Heading] = field(default_factory=list)
    spoken: int = 0
    """How many blocks have said something."""

    def found(self) -> Found:
        head = head_of(self.text)
        self.lines = lines_of(self.text)
        self.starts = [0, *accumulate(len(line) for line in self.lines)]
        above = len(lines_of(self.text[: head.end]))
        if head.text.strip() and self.form.front:
            self._add(plain(head.text.strip("\r\n")), (1, above - 1), "", "\n")
        body = self.lines[above:]
        found = blocks(body)
        introduced, lead = 0, ""
        for at, block in enumerate(found):
            after = found[at + 1] if at + 1 < len(found) else None
            span = (block.first + above, block.end + above)
            said = self._said(span)
            if block.kind == "heading":
                self._enter(block, span)
            elif (
                block.kind == "text"
                and after
                and self._introduces(said, after)
                and self._speaks(found[at + 1 :], above)
            ):
                lead, introduced = _introduction(said), at + 1
                continue
            elif block.kind == "item":
                self._item(block, above, lead if self._in_list(found, at, introduced) else "")
            elif block.kind != "rule" and said.strip():
                self.spoken += 1
                gap = "\n" if "\n" in said.strip() else " "
                if self._is_said(said):
                    self._add(said, span, lead if introduced == at and lead else "", gap)
        self._leave(0)
        return Found(self.parts, self.findings, self.listed)

    def _said(self, span: tuple[int, int]) -> str:
        raw = plain(without_comments(self._raw(span).replace("\r\n", "\n").replace("\r", "\n"))[0])
        return raw.strip("\n").rstrip()

    def _is_said(self, said: str) -> bool:
        loaded = self.form.loaded(said)
        return any(word not in loaded for word in said.split()) if loaded else bool(said.strip())

    def _raw(self, span: tuple[int, int]) -> str:
        return "".join(self.lines[slice(*span)])

    def _enter(self, block: Block, span: tuple[int, int]) -> None:
        self._leave(block.level)
        title = plain(without_comments(block.title)[0]).strip()
        if title and title.casefold() not in self.form.titles:
            self.headings.append(_Heading(block.level, title, span, self.spoken))

    def _leave(self, level: int) -> None:
        """Leave the headings of `level` and below; where nothing stood under one, it is said."""
        while self.headings and self.headings[-1].level >= level:
            left = self.headings.pop()
            if left.spoken == self.spoken:
                self.spoken += 1
                self._add(left.title, left.span, "", " ")

    @staticmethod
    def _introduces(said: str, after: Block) -> bool:
        """Whether a paragraph only says what the list or the code right below it is."""
        words = said.strip()
        if after.kind not in ("item", "list", "code") or not words:
            return False
        return words.rstrip("*_ ").endswith(":") or _BOLD.fullmatch(words) is not None

    def _speaks(self, found: Sequence[Block], above: int) -> bool:
        """Whether anything is said in what begins with the first block: a list, or code."""
        group = takewhile(lambda one: one.group == found[0].group, found)
        return any(
            one.kind != "item"
            or _MARKER.sub(r"\2", self._said((one.first + above, one.end + above)), count=1).strip()
            for one in group
        )

    @staticmethod
    def _in_list(found: Sequence[Block], at: int, introduced: int) -> bool:
        """Whether the item `at` is of the list that the block before `introduced` introduces."""
        return 0 < introduced <= at and found[introduced].group == found[at].group

    def _item(self, block: Block, above: int, lead: str) -> None:
        span, inner = (block.first + above, block.end + above), block.inner + above
        marker = _MARKER.match(self._raw(span))
        if marker is None:
            return
        width = len(marker[1].expandtabs(4))
        own = [_MARKER.sub(r"\2", self.lines[span[0]], count=1), *self.lines[span[0] + 1 : inner]]
        rest = [_dedented(line, width) for line in self.lines[inner : span[1]]]
        first = " ".join(filter(None, (line.strip() for line in own)))
        below = dedent("\n".join(line.rstrip("\r\n") for line in rest))
        text = f"{first}\n{below}" if rest else first
        said, _ = without_comments(text)
        first, *more = plain(said).strip().split("\n")
        said = "\n".join((first.replace("\t", " "), *(line.rstrip() for line in more))).strip()
        self.spoken += bool(said)
        line = None if more or not self.form.lists else _LINE.fullmatch(said)
        target = line and resolved(self.path, line["path"] or line["wiki"], self.files)
        if line and target and target != self.path:
            hook = _HOOK.sub("", line["hook"], count=1).strip()
            label = ": ".join(filter(None, (line["label"] or line["wiki"], hook)))
            listed = self.listed.setdefault(target, [])
            # The first is the title of the file; what another says beside it would be lost.
            if not listed or not hook or label in (one.label for one in listed):
                listed.append(Line(self.path, self._chars(span), label))
                return
        if self._is_said(said):
            self._add(said, span, lead, " ")

    def _add(self, said: str, span: tuple[int, int], lead: str, gap: str) -> None:
        headings = tuple(one.title for one in self.headings)
        above = (*(title.rstrip(": ") for title in headings), lead)
        context = _ABOVE.join(filter(None, above))
        lead = f"{context}:{gap}" if context else ""
        source = Source(self.path, span[0] + 1, span[1], headings)
        self.parts.append(Part("memory", lead + said, source, self._chars(span), lead=lead))

    def _chars(self, span: tuple[int, int]) -> tuple[int, int]:
        return self.starts[span[0]], self.starts[span[1]]


def _introduction(said: str) -> str:
    bold = _BOLD.fullmatch(said.strip())
    return (bold["words"] if bold else said.strip()).rstrip(": ")


def _dedented(line: str, width: int) -> str:
    """Return `line` without the first `width` columns of its indentation."""
    at = column = 0
    while at < len(line) and column < width and line[at] in " \t":
        column += 4 - column % 4 if line[at] == "\t" else 1
        at += 1
    return line[at:]
