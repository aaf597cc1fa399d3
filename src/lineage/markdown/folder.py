"""Knowledge to and from a folder of Markdown on disk; see `format` for what the files hold.

Export writes nothing before all is checked, and nothing outside the folder; each file appears
whole or not at all. Import reads every `.md` file below the folder and follows no links.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lineage.core.errors import LineageError
from lineage.core.files import atomic_write
from lineage.core.knowledge import Knowledge
from lineage.core.plaintext import spaced
from lineage.markdown.adopted import Reading
from lineage.markdown.conventions import convention
from lineage.markdown.conventions.interface import Convention
from lineage.markdown.conventions.named import PLAIN
from lineage.markdown.disk import BOM, SPECIAL, Held, gather, is_export, read_text, shown
from lineage.markdown.format import render
from lineage.markdown.parsing import DOCS, INDEX, OURS, interpret, listed_docs
from lineage.markdown.patch import Change
from lineage.markdown.writing import Written, converted, written


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


def import_knowledge(folder: Path, strict: bool = False) -> Knowledge:
    """Return the Knowledge that `folder` holds; an export gives what was exported.

    Entries that others wrote get ids in the order of their paths, and an origin of version
    `import` that names their file. Raises LineageError naming the file, and the line if any; with
    `strict` also for what else `read_folder` would only find.
    """
    return read_folder(folder, strict=strict).knowledge


def read_folder(folder: Path, format: str = "", strict: bool = False) -> Reading:
    """Return what `folder` holds, with a finding for each thing that is not as it may seem.

    `format` is the name of the convention by which it is to be read; "" is the likeliest. With
    `strict` any finding is a LineageError, which names them all.
    """
    return as_read(gather(folder), shown(folder), format, strict)


def as_read(held: Held, where: str, format: str = "", strict: bool = False) -> Reading:
    """Return what the files `held` say, as `read_folder` does; errors name `where` they are."""
    if format not in ("", OURS):
        convention(format)
    place = f"{where}/"
    found = interpret(held.texts, place, held.names, format)
    reads = found.folder.convention if found.folder else PLAIN
    bad = [
        one
        for one in held.findings
        if Path(one.path).suffix.lower() not in SPECIAL or one.path in _read_by(reads, one.path)
    ]
    if not found.knowledge.entries and not bad and not _any_read(found, held):
        raise LineageError(f"{where} holds no Markdown: put {INDEX} or *.md files in it")
    found = replace(found, findings=(*bad, *found.findings))
    if strict and found.findings:
        raise LineageError("; ".join(spaced(f"{place}{finding}") for finding in found.findings))
    return found


def put_back(
    left: Knowledge, came: Reading, source: Path, target: Path, shown: Knowledge | None = None
) -> Written:
    """Write `left` to `target`: the files of `source`, which `came` was read from, changed by it.

    `shown` is what a version was shown of what came (see `written`).

    They may be one folder; else `target` is a new one, and gets all files of `source`. Raises
    LineageError before anything is written where a file would be elsewhere.
    """
    what = written(came, left, shown)
    changes = changes_of(source, what)
    check_inside(source, changes)
    if target.resolve() != source.resolve():
        copy_folder(source, target)
    write_changes(target, changes)
    return what


def put_as(left: Knowledge, format: str, target: Path, came: Reading | None = None) -> Written:
    """Write `left` to `target`, a new folder, as the convention `format` has it.

    Of `came` it is told where the entries stood, so that links lead where they did.
    """
    what = converted(left, format, came)
    write_changes(target, changes_of(target, what))
    return what


def changes_of(folder: Path, what: Written) -> dict[str, Change]:
    """Return what each file of `folder` that changes holds and is to hold, by its path."""
    changes = {}
    for name, text in what.texts.items():
        path = folder / name
        old = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        mark = BOM if old is not None and old.startswith(BOM) else b""
        new = None if text is None else mark + text.encode("utf-8", "surrogatepass")
        if new != old:
            changes[name] = (old, new)
    return changes


def write_changes(folder: Path, changes: Mapping[str, Change]) -> None:
    """Bring the files of `folder` to what `changes` says, each whole or not at all."""
    check_inside(folder, changes)
    for name, (_, new) in changes.items():
        if new is None:
            (folder / name).unlink(missing_ok=True)
        else:
            atomic_write(folder / name, new)


def check_inside(folder: Path, names: Collection[str]) -> None:
    """Raise LineageError where one of the files `names` would not be in `folder` itself."""
    for name in names:
        for path in ((folder / name), *(folder / name).parents):
            if path == folder:
                break
            if path.is_symlink():
                raise LineageError(f"{shown(path)} is a link: replace it by a copy")


def copy_folder(source: Path, target: Path) -> None:
    """Copy the files of `source`, which may be no memory at all, to `target`; links are not."""

    def left_out(parent: str, names: list[str]) -> set[str]:
        return {n for n in names if n == ".git" or not _is_copied(Path(parent, n))}

    shutil.copytree(source, target, ignore=left_out, dirs_exist_ok=True)


def _is_copied(path: Path) -> bool:
    return not path.is_symlink() and (path.is_dir() or path.is_file())


def summary(found: Reading) -> str:
    """Return in one line what a folder is."""
    if found.folder is None:
        return f"{OURS}'s own folder: Knowledge {found.exported or found.knowledge.id}"
    folder = found.folder
    others = f"; it may be {' or '.join(folder.others)}, too (--format)" if folder.others else ""
    held = [f"{len(folder.forms):,} file{'' if len(folder.forms) == 1 else 's'}"]
    for entries, name in (
        (found.knowledge.memories, "always loaded"),
        (found.knowledge.docs, "on demand"),
    ):
        held.append(f"{len(entries):,} {name}")
    return f"{folder.convention.title}: {', '.join(held)}{others}"


def _read_by(reads: Convention, path: str) -> Collection[str]:
    return reads.layout({path: ""}).forms


def _any_read(found: Reading, held: Held) -> bool:
    return found.folder is None or bool(found.folder.forms)


def _check_target(folder: Path, files: dict[str, str]) -> None:
    """Raise LineageError where a file could not be written, or not into `folder` itself."""
    for path in (folder, folder / DOCS):
        if os.path.lexists(path) and not path.is_dir():
            raise LineageError(f"{shown(path)} is no folder: choose another or move it away")
    if (folder / DOCS).is_symlink():
        raise LineageError(f"{shown(folder / DOCS)} is a link: replace it by a folder")
    for name in files:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            raise LineageError(f"{shown(path)} is a folder: move it away")


def _check_ours(folder: Path) -> None:
    """Raise LineageError unless `folder` is empty, missing, or an export as we left it."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    advice = "choose another folder, or replace it with --replace"
    if not is_export(folder / INDEX):
        raise LineageError(f"{shown(folder)} is not empty and no earlier export: {advice}")
    try:
        found = read_folder(folder)
        as_left = found.knowledge.id == found.exported
    except LineageError:
        as_left = False
    if not as_left:
        raise LineageError(f"{shown(folder)} was changed since it was exported: {advice}")


def _docs_of_export(folder: Path) -> list[str]:
    """Return the docs, by relative path, that an earlier export wrote to `folder`."""
    if not is_export(folder / INDEX):
        return []
    try:
        listed = listed_docs(read_text(folder / INDEX))
    except ValueError:
        return []
    return [path for path in listed if is_export(folder / path)]
