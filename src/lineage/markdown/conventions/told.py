"""Conventions told by what the texts say as well: Claude Code, Goose, Hermes, Letta, OKF."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from lineage.markdown.bullets import INDEX_TITLES
from lineage.markdown.conventions.front import head_of
from lineage.markdown.conventions.interface import Finding, Form, Layout, Texts
from lineage.markdown.conventions.letta import AgentFile
from lineage.markdown.conventions.loaded import Loaded
from lineage.markdown.conventions.named import DESCRIBED, MARKDOWN, SKILL, Named
from lineage.markdown.conventions.parted import Parted
from lineage.markdown.conventions.whole import Whole
from lineage.markdown.links import leaves, resolved, targets

IMPORTS = 5
"""How far Claude Code follows an import in what was imported."""
_IMPORT = re.compile(r"(?:^|(?<=\s))@[~\w./-]*[./][~\w./-]*[\w-]")
_CLAUDE = Loaded(INDEX_TITLES | {"claude.md", "claude.local.md"}, loads=_IMPORT)
_TOPIC = replace(
    DESCRIBED, new=(("name", "{title}"), ("description", "{title}"), ("type", "project"))
)
_RULE = re.compile(r"\.claude/rules/.*\.md")
_SECTION = "§"


@dataclass(frozen=True)
class Claude(Named):
    """Claude Code: `CLAUDE.md` with imports, and an index `MEMORY.md` of topic files.

    https://docs.claude.com/en/docs/claude-code/memory
    """

    def recognise(self, texts: Texts) -> float | None:
        """Return its signs, and whether an index names files or topics have its front matter."""
        sure = super().recognise(texts) or 0.0
        for path, text in texts.items():
            if PurePosixPath(path).name == "MEMORY.md" and any(
                resolved(path, target, texts.keys()) for target in targets(text)
            ):
                sure = max(sure, 0.6)
            names = head_of(text).names
            is_topic = {"name", "description"} <= names and names & {"type", "metadata"}
            if is_topic and not path.endswith("SKILL.md"):
                index = str(PurePosixPath(path).with_name("MEMORY.md"))
                sure = max(sure, 0.7 if index in texts else 0.35)
        return sure or None

    def form_of(self, path: str, text: str) -> Form | None:
        """Return as others do; a rule that is only for some `paths` is not in every prompt."""
        if _RULE.fullmatch(path) and "paths" in head_of(text).names:
            return DESCRIBED
        return super().form_of(path, text)

    def layout(self, texts: Texts) -> Layout:
        """Return what each file is; what `CLAUDE.md` imports is in the prompt as well."""
        found = super().layout(texts)
        loaded = [path for path, form in found.forms.items() if isinstance(form, Loaded)]
        findings: list[Finding] = []
        for _ in range(IMPORTS):
            imported = [
                target
                for path in loaded
                for target in self._imports(path, texts, findings)
                if target not in loaded
            ]
            if not imported:
                break
            loaded += dict.fromkeys(imported)
        forms: dict[str, Form] = dict.fromkeys(loaded, _CLAUDE)
        return Layout(forms | {p: f for p, f in found.forms.items() if p not in forms}, findings)

    @staticmethod
    def _imports(path: str, texts: Texts, findings: list[Finding]) -> Iterator[str]:
        if PurePosixPath(path).name == "MEMORY.md":
            return
        for target in (one[1:] for one in _CLAUDE.loaded(texts[path])):
            if name := resolved(path, target, texts.keys()):
                yield name
            elif leaves(path, target):
                finding = Finding(path, f"the import @{target} leaves the folder and is not read")
                if finding not in findings:
                    findings.append(finding)


@dataclass(frozen=True)
class Goose(Named):
    """Goose: texts of memories, each under a line of tags.

    https://block.github.io/goose/docs/mcp/memory-mcp
    """

    def recognise(self, texts: Texts) -> float | None:
        """Return how sure it is: a folder of such texts alone has the name of its own."""
        alone = texts and all(re.fullmatch(r"[^/]+\.txt", path) for path in texts)
        tagged = any(re.match(r"# \S", text) for text in texts.values())
        return super().recognise(texts) or (0.5 if alone and tagged else None)


@dataclass(frozen=True)
class Hermes(Named):
    """Hermes: entries that a line `§` parts, in `MEMORY.md` and `USER.md`.

    https://hermes-agent.nousresearch.com/docs/user-guide/features/memory
    """

    def recognise(self, texts: Texts) -> float | None:
        """Return whether there is such a line, or both files and no other convention's."""
        own = [text for path, text in texts.items() if self.form_of(path, "") == self.form]
        parted = any(line.strip() == _SECTION for text in own for line in text.split("\n"))
        return 0.95 if parted else None

    @property
    def form(self) -> Form:
        """The form of its files."""
        return next(iter(self.reads.values()))


@dataclass(frozen=True)
class Okf(Named):
    """Open Knowledge Format: Markdown with a `type` each, but for `index.md` and `log.md`.

    https://github.com/GoogleCloudPlatform/knowledge-catalog/blob/main/okf/SPEC.md
    """

    def recognise(self, texts: Texts) -> float | None:
        """Return how many of the files have a type, where there is an index or a log."""
        names = {PurePosixPath(path).name for path in texts}
        concepts = [
            bool(head_of(text).fields.get("type"))
            for path, text in texts.items()
            if MARKDOWN.fullmatch(path) and PurePosixPath(path).name not in ("index.md", "log.md")
        ]
        if not names & {"index.md", "log.md"} or not concepts:
            return None
        share = sum(concepts) / len(concepts)
        return 0.75 * share if share >= 0.5 else None


CLAUDE = Claude(
    "claude",
    "Claude Code memory",
    {
        r"(\.claude/)?CLAUDE(\.local)?\.md": _CLAUDE,
        r"\.claude/rules/.*\.md": _CLAUDE,
        r"MEMORY\.md": _CLAUDE,
        r"(.*/)?memory/MEMORY\.md": _CLAUDE,
        r"(.*/)?agent-memory(-local)?/[^/]+/MEMORY\.md": _CLAUDE,
        r"(.*/)?SKILL\.md": SKILL,
    },
    {
        r"(\.claude/)?CLAUDE(\.local)?\.md": 0.6,
        r"\.claude/rules/.*\.md": 0.4,
        r"(.*/)?agent-memory(-local)?/[^/]+/MEMORY\.md": 0.8,
    },
    memory="MEMORY.md",
    doc="{slug}.md",
    index="MEMORY.md",
    rest=_TOPIC,
)
GOOSE = Goose(
    "goose",
    "Goose memory",
    {r"(\.goose/memory/)?[^/]+\.txt": Parted("", tagged=True)},
    {r"\.goose/memory/[^/]+\.txt": 0.95},
    memory=".goose/memory/general.txt",
    doc="docs/{slug}.md",
)
HERMES = Hermes(
    "hermes",
    "Hermes memory",
    {r"(memories/)?(MEMORY|USER)\.md": Parted(_SECTION), r"SOUL\.md": Loaded()},
    {},
    memory="MEMORY.md",
    doc="docs/{slug}.md",
)
LETTA = Named(
    "letta",
    "Letta agent file",
    {r"(.*/)?[^/]+\.af": AgentFile()},
    {r"(.*/)?[^/]+\.af": 0.9},
    memory="agent.af",
    doc="docs/{slug}.md",
)
OKF = Okf(
    "okf",
    "Open Knowledge Format",
    {r"(.*/)?index\.md": Loaded()},
    {},
    memory="index.md",
    doc="{slug}.md",
    index="index.md",
    rest=Whole(
        after="description",
        new=(("type", "Note"), ("title", "{title}")),
    ),
)
