"""Files that an agent opens as they are: each is a doc, or each of its chapters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate
from pathlib import PurePosixPath

from lineage.markdown.blocks import ENDS, blocks, lines_of
from lineage.markdown.bullets import first_heading
from lineage.markdown.conventions.front import Head, head_of
from lineage.markdown.conventions.interface import Finding, Found, Part, Source, Span
from lineage.markdown.frontmatter import FENCE, dump, plain

TITLES = ("title", "name")


@dataclass(frozen=True)
class Whole:
    """A Markdown file that is one doc. Front matter that says more than its title is in its body.

    The first of `titles` that the front matter has gives the title, with `after` it, such as its
    description; or else a heading, or the file's name. `new` is the front matter of a new file.
    """

    titles: tuple[str, ...] = TITLES
    after: str = ""
    keeps: bool = False
    """Whether all front matter is in the body."""
    lenient: bool = False
    """Whether front matter need not be YAML: Cursor writes `globs: *.py`."""
    new: tuple[tuple[str, str], ...] = ()
    whole: bool = True

    def read(self, path: str, text: str, files: frozenset[str]) -> Found:
        """Return the doc that `text` is."""
        head = head_of(text)
        body = plain(_lines(text[head.end :])).strip("\n")
        title = self._title(head) or first_heading(body) or PurePosixPath(plain(path)).stem
        front = self._front(head, text)
        source = Source(path, 1, len(lines_of(text)))
        part = Part("doc", front + body, source, (0, len(text)), title, front)
        if head.flaw is None or self.lenient:
            return Found([part])
        return Found([part], [Finding(path, f"{head.flaw.reason}; kept as text", head.flaw.line)])

    def _title(self, head: Head) -> str:
        given = [_line(head.fields[key]) for key in self.titles if key in head.fields]
        described = _line(head.fields.get(self.after, ""))
        return ": ".join(filter(None, (next(filter(None, given), ""), described)))

    def _front(self, head: Head, text: str) -> str:
        """Return the front matter as the body has it, "" where the title says all of it."""
        if not head.text.strip():
            return ""
        given = {key for key in TITLES if key in head.fields}
        says_more = head.names != given or len(given) > 1 or "#" in head.text
        if not (self.keeps or self.after or says_more or head.flaw or not head.names):
            return ""
        return plain(_lines(text[: head.end])).rstrip("\n") + "\n"

    def rewritten(self, text: str, part: Part, title: str, words: str) -> str:
        """Return the file with other words below its own front matter, which stays."""
        end, head = "\r\n" if "\r\n" in text else "\n", head_of(text)
        front, body = text[: head.end], text[head.end :]
        if part.lead and words.startswith(part.lead):
            words = words[len(part.lead) :]
        elif head.end:
            words = words[head_of(words).end :]
        if title != part.title and not part.listed:
            front, words = self._retitled(front, words, part.title, title)
        core = body.strip("\r\n")
        before, after = body[: len(body) - len(body.lstrip("\r\n"))], ""
        if core:
            after = body[body.rindex(core) + len(core) :]
        return front + before + ENDS.sub(end, words.strip("\n")) + (after or end)

    def _retitled(self, front: str, words: str, old: str, new: str) -> tuple[str, str]:
        if first_heading(words) == old and old:
            return front, re.sub(
                rf"(?m)^(# +){re.escape(old)}", lambda m: m[1] + _line(new), words, count=1
            )
        key = next((key for key in TITLES if re.search(rf"(?m)^{key}:", front)), "")
        if not key or self.after or key not in self.titles:
            return front, words
        line = dump({key: _line(new)}, block=True).rstrip("\n")
        return re.sub(rf"(?m)^{key}:[^\r\n]*", lambda _: line, front, count=1), words

    def removed(self, text: str, part: Part) -> tuple[Span, str]:
        """Return its own characters."""
        return part.span, ""

    def added(self, text: str, title: str, words: str) -> str:
        """Return a new file of the doc `title`."""
        if head_of(words).end:
            return f"{words}\n"
        values = {key: value.format(title=_line(title)) for key, value in self.new}
        front = f"{FENCE}\n{dump(values, block=True)}{FENCE}\n\n" if values else ""
        named = "title" in values or first_heading(words) == title
        return front + ("" if named else f"# {_line(title)}\n\n") + f"{words}\n"


@dataclass(frozen=True)
class Chapters:
    """A Markdown file of which each part under a first heading is a doc."""

    whole: bool = False

    def read(self, path: str, text: str, files: frozenset[str]) -> Found:
        """Return the docs of `text`, in order."""
        lines = lines_of(text)
        starts = [0, *accumulate(len(line) for line in lines)]
        heads = [b.first for b in blocks(lines) if b.kind == "heading" and b.level == 1]
        parts = []
        for first, end in zip([0, *heads], [*heads, len(lines)]):
            body = plain(_lines(text[starts[first] : starts[end]])).strip("\n")
            if body.strip():
                title = first_heading(body) or PurePosixPath(plain(path)).stem
                source = Source(path, first + 1, end, (title,))
                parts.append(Part("doc", body, source, (starts[first], starts[end]), title))
        return Found(parts)

    def rewritten(self, text: str, part: Part, title: str, words: str) -> str:
        """Return the chapter with other words, as far from the next one as it was."""
        old, end = text[slice(*part.span)], "\r\n" if "\r\n" in text else "\n"
        words = _one_chapter(words.strip("\n"))
        return ENDS.sub(end, words) + (old[len(old.rstrip("\r\n")) :] or end)

    def removed(self, text: str, part: Part) -> tuple[Span, str]:
        """Return its own characters."""
        return part.span, ""

    def added(self, text: str, title: str, words: str) -> str:
        """Return `text` with one more chapter."""
        head = "" if first_heading(words) == title else f"# {_line(title)}\n\n"
        end = "\r\n" if "\r\n" in text else "\n"
        gap = "" if not text or text.endswith(end * 2) else end if text.endswith(end) else end * 2
        return text + gap + ENDS.sub(end, f"{_one_chapter(head + words)}\n")


def _one_chapter(words: str) -> str:
    """Return `words` with no first heading but the first: another would begin a chapter."""
    lines = lines_of(words)
    for block in [b for b in blocks(lines) if b.kind == "heading" and b.level == 1][1:]:
        if lines[block.first].lstrip().startswith("#"):
            lines[block.first] = lines[block.first].replace("#", "##", 1)
        else:  # it is underlined
            lines[block.end - 1] = lines[block.end - 1].replace("=", "-")
    return "".join(lines)


def _lines(text: str) -> str:
    return ENDS.sub("\n", text)


def _line(text: str) -> str:
    return " ".join(plain(text).split())
