"""Conventions that are told by the names of their files. Most are one table here."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lineage.markdown.bullets import INDEX_TITLES
from lineage.markdown.conventions.front import head_of
from lineage.markdown.conventions.interface import Form, Home, Kind, Layout, Texts
from lineage.markdown.conventions.loaded import Loaded
from lineage.markdown.conventions.whole import Chapters, Whole

MARKDOWN = re.compile(r"(?i).*\.md")
RULES = Loaded(INDEX_TITLES | {"agents.md", "gemini.md", "gemini added memories"})
DESCRIBED = Whole(("name", "title"), after="description")
SKILL = replace(DESCRIBED, new=(("name", "{title}"), ("description", "{title}")))


@dataclass(frozen=True)
class Named:
    """A convention of which each kind of file has a name.

    `reads` are the patterns of paths with the form of such files, the first that fits counts, in
    the order in which an agent sees them; other Markdown is `rest`. `signs` are patterns that tell
    the convention, with how much each does. `memory` and `doc` are where new entries go, `{slug}`
    being the doc's; without `doc`, beside the memories.
    """

    name: str
    title: str
    reads: Mapping[str, Form]
    signs: Mapping[str, float]
    memory: str
    doc: str
    index: str = ""
    rest: Form | None = field(default_factory=Whole)

    def recognise(self, texts: Texts) -> float | None:
        """Return the sum of the signs that are among `texts`."""
        seen = [
            sure for sign, sure in self.signs.items() if any(re.fullmatch(sign, p) for p in texts)
        ]
        return min(sum(seen), 1.0) if seen else None

    def form_of(self, path: str, text: str) -> Form | None:
        """Return the form of the file at `path`; None: it is no entry."""
        for pattern, form in self.reads.items():
            if re.fullmatch(pattern, path):
                return form
        return self.rest if MARKDOWN.fullmatch(path) else None

    def layout(self, texts: Texts) -> Layout:
        """Return what each file is, those of the first pattern first."""

        def rank(path: str) -> tuple[int, str]:
            fits = (n for n, pattern in enumerate(self.reads) if re.fullmatch(pattern, path))
            return next(fits, len(self.reads)), path

        found = {path: self.form_of(path, texts[path]) for path in sorted(texts, key=rank)}
        return Layout({path: form for path, form in found.items() if form is not None})

    def home(self, kind: Kind, slug: str, texts: Texts) -> Home:
        """Return the place of the table, or of files that are there already.

        A memory goes to the first file that holds any where the usual one is not there; a doc
        stands beside its index.
        """
        if kind == "memory":
            there = [p for p, form in self.layout(texts).forms.items() if not form.whole]
            path = self.memory if self.memory in texts or not there else there[0]
            return Home(path, self.form_of(path, texts.get(path, "")) or Loaded())
        index = next((p for p in sorted(texts) if self.index and p.endswith(self.index)), "")
        if not index and all(form.whole for form in self.layout(texts).forms.values()):
            index = self.index
        path = posixpath.join(posixpath.dirname(index), self.doc.format(slug=slug))
        return Home(path, self.form_of(path, "") or Whole(), index)


@dataclass(frozen=True)
class Cursor(Named):
    """Cursor: `.mdc` rules, of which those that `alwaysApply` are in every prompt.

    https://docs.cursor.com/context/rules
    """

    def form_of(self, path: str, text: str) -> Form | None:
        """Return what the rule's front matter says."""
        if not path.endswith(".mdc"):
            return super().form_of(path, text)
        if head_of(text).fields.get("alwaysApply", "").casefold() == "true":
            return Loaded(front=False)
        return Whole(("description",), lenient=True, keeps=True, new=_RULE)


_RULE = (("description", "{title}"), ("globs", ""), ("alwaysApply", "false"))

CURSOR = Cursor(
    "cursor",
    "Cursor rules",
    {r"\.cursorrules": RULES, r"(.*/)?[^/]+\.mdc": Whole()},
    {r"(.*/)?[^/]+\.mdc": 0.9, r"\.cursorrules": 0.6},
    memory=".cursorrules",
    doc=".cursor/rules/{slug}.mdc",
)
AGENTS = Named(
    "agents",
    "AGENTS.md",
    {r"AGENTS(\.override)?\.md": RULES},
    {r"AGENTS\.md": 0.5, r".*/AGENTS\.md": 0.3},
    memory="AGENTS.md",
    doc="docs/{slug}.md",
)
GEMINI = Named(
    "gemini",
    "Gemini memory",
    {r"(\.gemini/)?GEMINI\.md": replace(RULES, section="Gemini Added Memories")},
    {r"(.*/)?GEMINI\.md": 0.6},
    memory="GEMINI.md",
    doc="docs/{slug}.md",
)
CLINE = Named(
    "cline",
    "Cline memory bank",
    {
        r"\.clinerules(/.*\.md)?": RULES,
        r"(.*/)?projectbrief\.md": RULES,
        r"(.*/)?productContext\.md": RULES,
        r"(.*/)?systemPatterns\.md": RULES,
        r"(.*/)?techContext\.md": RULES,
        r"(.*/)?activeContext\.md": RULES,
        r"(.*/)?progress\.md": RULES,
        r"memory-bank/.*\.md": RULES,
    },
    {
        r"memory-bank/.*\.md": 0.9,
        r"(.*/)?projectbrief\.md": 0.5,
        r"(.*/)?activeContext\.md": 0.4,
        r"\.clinerules(/.*\.md)?": 0.6,
    },
    memory="memory-bank/activeContext.md",
    doc="docs/{slug}.md",
)
SERENA = Named(
    "serena",
    "Serena memories",
    {r"(\.serena/)?memories/.*\.md": Whole(), r"AGENTS\.md": RULES},
    {r"\.serena/memories/.*\.md": 0.95, r"memories/.*\.md": 0.3},
    memory="AGENTS.md",
    doc=".serena/memories/{slug}.md",
)
SKILLS = Named(
    "skills",
    "skills",
    {r"AGENTS\.md": RULES, r"(.*/)?SKILL\.md": SKILL},
    {r"(.*/)?SKILL\.md": 0.55},
    memory="AGENTS.md",
    doc="{slug}/SKILL.md",
)
OPENCLAW = Named(
    "openclaw",
    "OpenClaw workspace",
    {r"(SOUL|IDENTITY|USER|AGENTS|TOOLS|HEARTBEAT|BOOTSTRAP|MEMORY)\.md": RULES},
    {
        r"SOUL\.md": 0.5,
        r"IDENTITY\.md": 0.3,
        r"TOOLS\.md": 0.25,
        r"HEARTBEAT\.md": 0.3,
        r"BOOTSTRAP\.md": 0.3,
        r"memory/\d{4}-\d\d-\d\d[^/]*\.md": 0.4,
    },
    memory="MEMORY.md",
    doc="memory/{slug}.md",
)
CODEX = Named(
    "codex",
    "Codex memories",
    {
        r"memory_summary\.md": RULES,
        r"AGENTS\.md": RULES,
        r"MEMORY\.md": Chapters(),
        r"rollout_summaries/.*\.md": Whole(),
        r"skills/.*SKILL\.md": SKILL,
    },
    {r"memory_summary\.md": 0.8, r"rollout_summaries/.*\.md": 0.5},
    memory="memory_summary.md",
    doc="MEMORY.md",
)
MEMFS = Named(
    "memfs",
    "Letta MemFS",
    {r"system/.*\.md": Loaded(front=False), r"skills/.*SKILL\.md": SKILL},
    {r"system/(persona|human)\.md": 0.8, r"system/.*\.md": 0.35},
    memory="system/memory.md",
    doc="reference/{slug}.md",
    rest=replace(DESCRIBED, new=(("description", "{title}"),)),
)
PLAIN = Named(
    "plain",
    "Markdown",
    {r"MEMORY\.md": Loaded()},
    {r"(?i).*\.md": 0.01},
    memory="MEMORY.md",
    doc="docs/{slug}.md",
)
