"""Files appear whole or not at all: temporary name, fsync, rename, fsync of the folder.

And a link is followed to what it names now.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from lineage.core.errors import LineageError

T = TypeVar("T")

SYNCING = ThreadPoolExecutor(4, "files")
"""The threads that wait for the disk where several files are written at once."""
MARK = ".lineage"
"""The file by which a folder is known as one that lineage made, such as its cache."""
BLOCK = 2**20
"""Bytes of a file that are read at once."""
NONCE = 4
"""Random bytes in a temporary name."""
TEMPORARY = re.compile(rf"\..+\.[0-9a-f]{{{2 * NONCE}}}\.tmp")
"""Temporary names as `atomic_write` gives them."""
LINKS = 40
"""So many links are followed, as Linux does."""


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path`; a reader sees the old file or the new one, never a part.

    The temporary name starts with a dot and ends in `.tmp`, so that no glob over `*.parquet`
    meets it. Who may read the file is as the umask says. Raises OSError, and then leaves no
    temporary file behind.
    """
    atomic_writes({path: data})


def atomic_writes(*stages: Mapping[Path, bytes]) -> None:
    """Write the files of each of `stages` as `atomic_write` does, and wait for the disk but once
    for what may wait together: several fsyncs at once take little longer than one.

    The files of a stage appear in its order, once those of all earlier stages are durable. Raises
    OSError, and then leaves no temporary file behind; files before it may have appeared.
    """
    temporary = {path: _temporary(path) for files in stages for path in files}
    try:
        with ExitStack() as opened:
            handles = []
            for path, data in (pair for files in stages for pair in files.items()):
                path.parent.mkdir(parents=True, exist_ok=True)
                file = opened.enter_context(temporary[path].open("xb"))
                file.write(data)
                file.flush()
                handles.append(file.fileno())
            _at_once(os.fsync, handles)
        for files in stages:
            for path in files:
                temporary[path].replace(path)
            _at_once(sync_folder, list(dict.fromkeys(path.parent for path in files)))
    except BaseException:
        for path in temporary.values():
            path.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(NONCE)}.tmp")


def _at_once(sync: Callable[[T], None], what: Sequence[T]) -> None:
    """Call `sync` for each of `what` at once, and wait for all; raises what the first one did."""
    if len(what) == 1:
        # No thread: at the end of a process none can be started.
        sync(what[0])
        return
    calls = [SYNCING.submit(sync, one) for one in what]
    # Also where one fails: none may go on with a file that is closed meanwhile.
    wait(calls)
    for call in calls:
        call.result()


def sha256(*files: Path) -> str:
    """Return the SHA-256 of `files` joined, in hex digits. Raises OSError."""
    found = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(BLOCK):
                found.update(block)
    return found.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Make `folder` and all that is below it durable."""
    for path in (*folder.rglob("*"), folder):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as handle:
                os.fsync(handle.fileno())


@contextmanager
def whole(folder: Path, writes: bool = True) -> Iterator[Path]:
    """Yield where `folder` is made: it appears where nothing fails, or nothing is left.

    What stands there goes. In a process group only one process `writes`.
    """
    making = folder.with_name(f"{folder.name}.tmp")
    if not writes:
        yield making
        return
    shutil.rmtree(making, ignore_errors=True)
    try:
        yield making
        sync_tree(making)
        shutil.rmtree(folder, ignore_errors=True)
        making.replace(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(making, ignore_errors=True)


@contextmanager
def once(folder: Path) -> Iterator[Path]:
    """Yield where `folder`, which is not there, is made: it appears whole, or not at all.

    Beside the place is room for what goes with it. Several processes may make it at once: the
    folder of the first is as good.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as temporary:
        making = Path(temporary) / "folder"
        yield making
        sync_tree(making)
        with suppress(OSError):
            making.rename(folder)


def mark(folder: Path) -> None:
    """Make `folder`, and note in it that lineage keeps files of its own there.

    A folder that refuses that is left as it is: whoever writes there says so.
    """
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()


def marked(folder: Path) -> bool:
    """Whether lineage keeps files of its own in `folder`."""
    return (folder / MARK).is_file()


def odd_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return what is in `folder`, however deep, of links that lead out of it and of temporary files
    that a killed process left.
    """
    home, below = folder.resolve(), [folder]
    links, temporary = list[Path](), list[Path]()
    while below:
        with os.scandir(below.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_symlink():
                    if not Path(os.path.realpath(path)).is_relative_to(home):
                        links.append(path)
                elif entry.is_dir():
                    below.append(path)
                elif TEMPORARY.fullmatch(entry.name) and entry.is_file():
                    temporary.append(path)
    return links, temporary


def behind(folder: Path) -> Path:
    """Return the folder behind a link such as `runs/latest`, which will soon point elsewhere.

    Raises LineageError where links lead back to one of them.
    """
    found = folder
    for _ in range(LINKS):
        if not found.is_symlink():
            return found
        found = found.parent / found.readlink()
    raise LineageError(f"{folder} is a link that leads to itself: remove it")
