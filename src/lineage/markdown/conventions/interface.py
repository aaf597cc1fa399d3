"""What a convention is: how one kind of agent keeps its memory in files. Pure: paths are names.

A `Convention` knows itself by the names and texts of a folder's files, and gives each file that it
knows a `Form`. A form finds the `Part`s of a text that are entries, each with the characters that
say it, and can put other words in their place: so whatever no entry has changed stays as it was,
byte for byte. What the agent has in every prompt is a memory, what it opens on demand a doc.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["memory", "doc"]
Texts = Mapping[str, str]
"""The texts of a folder by relative path, with the line ends that the files have."""
Span = tuple[int, int]
"""Characters of a text: the first, and the one after the last."""


@dataclass(frozen=True)
class Source:
    """Where an entry stands: its file, its first and last line, and the headings above it."""

    path: str
    first: int = 0
    last: int = 0
    headings: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = f":{self.first}" if self.first else ""
        lines += f"-{self.last}" if self.last > self.first else ""
        return self.path + lines + (f" under {' > '.join(self.headings)}" if self.headings else "")


@dataclass(frozen=True)
class Finding:
    """Something of a file that is not as it may seem; `line` is 0 where it is the whole file."""

    path: str
    what: str
    line: int = 0

    def __str__(self) -> str:
        if self.line:
            return f"{self.path}, line {self.line}: {self.what}"
        is_verb = self.what.startswith(("is ", "cannot "))
        return f"{self.path}{' ' if is_verb else ': '}{self.what}"


@dataclass(frozen=True)
class Line:
    """A line of an index that stands for a file: `- [label](path): hook`."""

    path: str  # of the index
    span: Span
    label: str


@dataclass(frozen=True)
class Part:
    """An entry as a file has it. `span` of its text says it; `lead` is how its text begins with
    what stands above it: headings, and the line that introduces its list."""

    kind: Kind
    text: str
    source: Source
    span: Span
    title: str = ""
    lead: str = ""
    listed: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Found:
    """What is found in one text."""

    parts: Sequence[Part] = ()
    findings: Sequence[Finding] = ()
    lines: Mapping[str, Sequence[Line]] = field(default_factory=dict)
    """Lines of an index by the path of the file that they stand for."""


class Form(Protocol):
    """How one file is read and written."""

    @property
    def whole(self) -> bool:
        """Whether the file is one entry, which goes and comes with it."""

    def read(self, path: str, text: str, files: frozenset[str]) -> Found:
        """Return the entries of `text`, the file at `path` in a folder that has `files`."""

    def rewritten(self, text: str, part: Part, title: str, words: str) -> str:
        """Return what is to stand in `part.span` of `text` so that it says `words`."""

    def removed(self, text: str, part: Part) -> tuple[Span, str]:
        """Return which characters of `text` go with `part`, and what stands there then."""

    def added(self, text: str, title: str, words: str) -> str:
        """Return `text` ("": a new file) with one more entry."""


@dataclass(frozen=True)
class Layout:
    """How each file of a folder is read, in order; what is in no form is no entry."""

    forms: Mapping[str, Form]
    findings: Sequence[Finding] = ()


@dataclass(frozen=True)
class Home:
    """Where a new entry goes: a file, its form, and the index that is to name it ("": none)."""

    path: str
    form: Form
    index: str = ""


class Convention(Protocol):
    """How one kind of agent keeps its memory."""

    @property
    def name(self) -> str:
        """As `--format` has it."""

    @property
    def title(self) -> str:
        """As people call it."""

    def recognise(self, texts: Texts) -> float | None:
        """Return how sure it is that `texts` are of its kind, from 0 to 1; None: they are not."""

    def layout(self, texts: Texts) -> Layout:
        """Return how each of `texts` is read."""

    def home(self, kind: Kind, slug: str, texts: Texts) -> Home:
        """Return where a new entry goes, a doc by its `slug`: a name in ASCII letters."""
