"""Knowledge to and from a folder of Markdown on disk; see `format` for what the files hold.

Export writes nothing before all is checked, and nothing outside the folder; each file appears
whole or not at all. Import reads every `.md` file below the folder and follows no links.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lineage.core.errors import LineageError
from lineage.core.files import atomic_write
from lineage.core.knowledge import Knowledge
from lineage.markdown.format import render
from lineage.markdown.frontmatter import FENCE
from lineage.markdown.parsing import DOCS, INDEX, MARK, Reading, interpret, listed_docs

SIZE_LIMIT = 1 << 20
"""Bytes of a Markdown file that somebody else wrote; what we exported has no limit."""
SUFFIX = ".md"
SKIPPED = frozenset({".git"})
"""Folders that are not read."""
_HEADS = tuple(f"{FENCE}{end}{MARK}:".encode() for end in ("\n", "\r\n"))
_BOM = b"\xef\xbb\xbf"


def export_knowledge(knowledge: Knowledge, folder: Path, replace: bool = False) -> list[Path]:
    """Write `knowledge` to `folder`, which is made where it is not there; return the files.

    An earlier export that nobody changed is brought up to date: docs that are gone are removed.
    With `replace` so is any other folder; of its files, only those of the same name and the docs
    of an earlier export go. Raises LineageError before anything is written.
    """
    files = render(knowledge)
    _check_target(folder, files)
    if not replace:
        _check_ours(folder)
    stale = [path for path in _docs_of_export(folder) if path not in files]
    for path, text in files.items():
        atomic_write(folder / path, text.encode())
    for path in stale:
        (folder / path).unlink(missing_ok=True)
    if stale:
        with suppress(OSError):  # other files are in it
            (folder / DOCS).rmdir()
    return [folder / path for path in files]


def import_knowledge(folder: Path) -> Knowledge:
    """Return the Knowledge that `folder` holds; an export gives what was exported.

    Entries that others wrote get ids in the order of their paths, and an origin of version
    `import` that names their file. Raises LineageError naming the file, and the line if any.
    """
    return read_folder(folder).knowledge


def read_folder(folder: Path) -> Reading:
    """Return what `folder` holds, with a warning for each thing that is not as it may seem."""
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise LineageError(f"{_shown(folder)} {what}: name a folder of Markdown files")
    files: dict[str, str] = {}
    warnings = []
    for path in _markdown_files(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            warnings.append(f"{name} is a link and not read: what it links to is, if Markdown")
        elif not stat.S_ISREG(path.lstat().st_mode):
            warnings.append(f"{name} is no regular file and not read")
        else:
            files[name] = _read(path)
    if not files:
        raise LineageError(f"{_shown(folder)} holds no Markdown: put {INDEX} or *.md files in it")
    found = interpret(files, f"{_shown(folder)}/")
    return replace(found, warnings=(*warnings, *found.warnings))


def _markdown_files(folder: Path) -> Iterator[Path]:
    """Yield all that is named like Markdown, and links to folders. Links are not followed."""

    def unreadable(error: OSError) -> None:
        raise LineageError(f"{_shown(error.filename)} cannot be read: {error.strerror}")

    inside = os.path.realpath(folder)
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(set(folders) - SKIPPED)
        for name in (*folders, *sorted(names)):
            path = Path(parent, name)
            is_folder = name in folders
            if not (path.is_symlink() if is_folder else name.lower().endswith(SUFFIX)):
                continue
            if path.is_symlink():
                target = os.path.realpath(path)
                if os.path.commonpath((inside, target)) != inside:
                    raise LineageError(
                        f"{_shown(path)} is a link that leaves the folder: replace it by a copy"
                    )
            yield path


def _read(path: Path) -> str:
    """Return the text of `path` with line feeds as line ends, without a byte order mark."""
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
            if len(data) > SIZE_LIMIT and data.removeprefix(_BOM).startswith(_HEADS):
                data += file.read()
    except OSError as error:
        raise LineageError(f"{_shown(path)} cannot be read: {error.strerror}") from error
    if len(data) > SIZE_LIMIT and not data.removeprefix(_BOM).startswith(_HEADS):
        raise LineageError(f"{_shown(path)} is over {SIZE_LIMIT:,} bytes: split it")
    try:
        text = data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LineageError(f"{_shown(path)}, line {line}: not UTF-8: save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_target(folder: Path, files: dict[str, str]) -> None:
    """Raise LineageError where a file could not be written, or not into `folder` itself."""
    for path in (folder, folder / DOCS):
        if os.path.lexists(path) and not path.is_dir():
            raise LineageError(f"{_shown(path)} is no folder: choose another or move it away")
    if (folder / DOCS).is_symlink():
        raise LineageError(f"{_shown(folder / DOCS)} is a link: replace it by a folder")
    for name in files:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            raise LineageError(f"{_shown(path)} is a folder: move it away")


def _check_ours(folder: Path) -> None:
    """Raise LineageError unless `folder` is empty, missing, or an export as we left it."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    advice = "choose another folder, or replace it with --replace"
    if not _is_ours(folder / INDEX):
        raise LineageError(f"{_shown(folder)} is not empty and no earlier export: {advice}")
    try:
        found = read_folder(folder)
        as_left = found.knowledge.id == found.exported
    except LineageError:
        as_left = False
    if not as_left:
        raise LineageError(f"{_shown(folder)} was changed since it was exported: {advice}")


def _docs_of_export(folder: Path) -> list[str]:
    """Return the docs, by relative path, that an earlier export wrote to `folder`."""
    if not _is_ours(folder / INDEX):
        return []
    try:
        listed = listed_docs(_read(folder / INDEX))
    except LineageError:
        return []
    return [path for path in listed if _is_ours(folder / path)]


def _is_ours(path: Path) -> bool:
    """Whether `path` is a regular file that begins as each file that we write does."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            head = file.read(len(_BOM) + max(map(len, _HEADS)))
    except OSError:
        return False
    return head.removeprefix(_BOM).startswith(_HEADS)


def _shown(path: Path | str) -> str:
    """Return `path` for a message: on one line, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in str(path))
