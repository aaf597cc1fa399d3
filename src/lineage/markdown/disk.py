"""The files of a folder on disk: which may be memory, and their texts. No link is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lineage.core.errors import LineageError
from lineage.markdown.adopted import SIDECAR
from lineage.markdown.conventions.interface import Finding
from lineage.markdown.frontmatter import FENCE
from lineage.markdown.parsing import MARK

SIZE_LIMIT = 1 << 20
"""Bytes of a file that somebody else wrote; what we exported has no limit."""
SPECIAL = frozenset({".mdc", ".txt", ".af"})
"""Ends of names of files that are memory to some agents only."""
SUFFIXES = SPECIAL | {".md"}
"""Ends of names of files that some agent may keep memory in."""
NAMES = frozenset({".cursorrules", ".clinerules"})
"""Names of such files without an end."""
SKIPPED = frozenset({".git", Path(SIDECAR).parts[0]})
"""Folders that are not read."""
TOO_LONG = f"is over {SIZE_LIMIT:,} bytes: split it"
BOM = b"\xef\xbb\xbf"
_HEADS = tuple(f"{FENCE}{end}{MARK}:".encode() for end in ("\n", "\r\n"))
_OTHERS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


class Unread(ValueError):
    """Why a file is not read."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.line = reason, line


@dataclass(frozen=True)
class Held:
    """The texts of a folder by relative path, without byte order marks; `names` are all files."""

    texts: dict[str, str]
    names: frozenset[str]
    findings: tuple[Finding, ...]


def gather(folder: Path) -> Held:
    """Return what `folder` holds; a file that cannot be read is a finding.

    Raises LineageError where it is no folder.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise LineageError(f"{shown(folder)} {what}: name a folder of Markdown files")
    texts: dict[str, str] = {}
    names: set[str] = set()
    findings: list[Finding] = []
    inside = os.path.realpath(folder)
    for path in _walk(folder, findings):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            if may_be_memory(name) or path.is_dir():
                findings.append(Finding(name, _why_not_followed(path, inside)))
            continue
        names.add(name)
        if not may_be_memory(name):
            continue
        if not stat.S_ISREG(path.lstat().st_mode):
            findings.append(Finding(name, "is no regular file and not read"))
            continue
        try:
            texts[name] = read_text(path)
        except Unread as error:
            findings.append(Finding(name, error.reason, error.line))
    sidecar = folder / SIDECAR
    if not sidecar.is_symlink() and sidecar.is_file():
        try:
            texts[SIDECAR] = read_text(sidecar, limit=False)
        except Unread as error:
            findings.append(Finding(SIDECAR, error.reason, error.line))
    return Held(texts, frozenset(names), tuple(findings))


def read_text(path: Path, limit: bool = True) -> str:
    """Return the text of `path` without a byte order mark. Raises Unread where it is none."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
            if len(data) > SIZE_LIMIT and not (limit and _too_long(data)):
                data += file.read()
    except OSError as error:
        raise Unread(f"cannot be read: {error.strerror}") from error
    return text_of(data, limit)


def text_of(data: bytes, limit: bool = True) -> str:
    """Return the text of a file that holds `data`. Raises Unread as `read_text` does."""
    if limit and _too_long(data):
        raise Unread(TOO_LONG)
    for mark, name in _OTHERS.items():
        if data.startswith(mark):
            raise Unread(f"is {name}: save it as UTF-8")
    try:
        return data.removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unread("not UTF-8: save it as UTF-8", line) from error


def may_be_memory(name: str) -> bool:
    """Whether a file of that `name`, or path, is one that some agent may keep memory in."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES or path.name in NAMES


def is_export(path: Path) -> bool:
    """Whether `path` is a regular file that begins as each file that we write does."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            head = file.read(len(BOM) + max(map(len, _HEADS)))
    except OSError:
        return False
    return head.removeprefix(BOM).startswith(_HEADS)


def shown(path: Path | str) -> str:
    """Return `path` for a message: on one line, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in str(path))


def _walk(folder: Path, findings: list[Finding]) -> Iterator[Path]:
    """Yield all files below `folder`, and links, in order of their paths."""

    def unreadable(error: OSError) -> None:
        name = Path(error.filename).relative_to(folder).as_posix()
        findings.append(Finding(name, f"cannot be read: {error.strerror}"))

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(set(folders) - SKIPPED)
        for name in folders:
            if Path(parent, name).is_symlink():
                yield Path(parent, name)
        for name in sorted(names):
            yield Path(parent, name)


def _too_long(data: bytes) -> bool:
    return len(data) > SIZE_LIMIT and not data.removeprefix(BOM).startswith(_HEADS)


def _why_not_followed(path: Path, inside: str) -> str:
    if os.path.commonpath((inside, os.path.realpath(path))) != inside:
        return "is a link that leaves the folder and is not read: replace it by a copy"
    return "is a link and not read: what it links to is, if Markdown"
