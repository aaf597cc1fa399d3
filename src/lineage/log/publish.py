"""A run folder and the place that it is published to: what is put there in which order, and back.

What vouches for other files is put after them: `done/NAME.json` once the Parquet files of its
generation are there, `curve/step=N.parquet` once its training's are. So whoever reads the place
meets whole generations, whenever the writer was killed. The journal, the lock and what is half
written stay in the folder: they are lost with the machine, and what was finished is not.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from lineage.core.errors import LineageError
from lineage.core.files import TEMPORARY, atomic_write
from lineage.log.record import RECORD
from lineage.log.schema import OF_GENERATION
from lineage.log.store import StorageError, Store
from lineage.log.sweep import SWEEP

FIRST = (SWEEP, RECORD, "config.yaml")
"""What says what a folder is, in the order in which it is written."""
LOCAL = "journal"
"""The folder of what is not finished."""
Stamp = tuple[int, int]
"""Bytes and time of the last change, in ns."""


def is_published(name: str) -> bool:
    """Whether the file `name` of a run folder is published; one of elsewhere may have odd names."""
    *folders, last = name.split("/")
    return (
        LOCAL not in folders
        and not any(part in ("", ".", "..") or "\\" in part for part in (*folders, last))
        and not any(part.startswith(".") for part in (*folders, last))
        and not any(part.endswith(".tmp") for part in folders)
        and not TEMPORARY.fullmatch(last)
    )


def vouches(name: str) -> bool:
    """Whether the file `name` says that others are whole."""
    return name.split("/")[-2:-1] in (["done"], ["curve"])


def in_order(names: Iterable[str]) -> list[list[str]]:
    """Return `names` in groups: each may be put at once, when all of those before it are there."""
    groups: list[list[str]] = [[] for _ in (*FIRST, "data", "vouching")]
    for name in sorted(names):
        last = name.rpartition("/")[2]
        at = -1 if vouches(name) else FIRST.index(last) if last in FIRST else -2
        groups[at].append(name)
    return [group for group in groups if group]


def data_of(done: str, content: bytes) -> list[str]:
    """Return the names of the files that the record `done` vouches for, by its `content`."""
    try:
        found = json.loads(content)
        leaf = f"arm={found['arm']}/generation={found['generation']}/{found['lineage']}.parquet"
    except (ValueError, KeyError, TypeError):
        return []
    above = done.rpartition("done/")[0]
    return [f"{above}{dataset}/{leaf}" for dataset in OF_GENERATION]


class Mirror:
    """A context in which `folder` is published to `store`, by a thread, every so often and at last.

    On entering, what is there already is fetched, of it what is `wanted` by its name. A store that
    errs for a while keeps nobody from working: `tell` is told, and the next round has it all.
    Nothing is published once `check` raises LineageError, as where the lease is lost.
    Raises StorageError on entering where nothing can be read there, and on leaving where the last
    round failed.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        tell: Callable[[str], None],
        wanted: Callable[[str], bool] = lambda name: True,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder, self.store, self.tell, self.wanted = folder, store, tell, wanted
        self.check = check
        self.known: dict[str, Stamp] = {}
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._work, name="publish", daemon=True)
        self.failed = 0

    def __enter__(self) -> Mirror:
        self.store.check()
        self.fetch()
        self.thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.stop.set()
        self.thread.join()
        try:
            self.publish()
        except (LineageError, OSError) as reason:
            if error is not None:
                self.tell(f"not all is published: {reason}")
                return
            if not isinstance(reason, (StorageError, OSError)):
                raise
            raise StorageError(
                f"{reason}; all is kept in {self.folder}, publish it by lineage resume "
                f"{self.store.url}"
            ) from reason

    def fetch(self) -> None:
        """Bring what others have put there, and need not be put again. Raises as `fetch`."""
        with self.lock:
            self.known |= fetch(self.folder, self.store, wanted=self.wanted)

    def bring(self, names: Sequence[str]) -> None:
        """Bring these objects, in this order, where they are not here. Raises StorageError."""
        with self.lock:
            for name in names:
                file = self.folder / name
                if not file.exists():
                    atomic_write(file, self.store.read(name))
                    state = file.stat()
                    self.known[name] = (state.st_size, state.st_mtime_ns)

    def publish(self) -> None:
        """Put what is new or changed, and remove what is gone.

        Raises StorageError, and LineageError as `check`.
        """
        self.check()
        with self.lock:
            self._publish()

    def _publish(self) -> None:
        # First: what they vouch for is there already, and is listed next.
        vouching = {name: stamp for name, stamp in stamps(self.folder).items() if vouches(name)}
        data = {n: stamp for n, stamp in stamps(self.folder).items() if not vouches(n)}
        found = data | vouching
        gone = [name for name in self.known.keys() - found.keys() if not self._is_here(name)]
        self._remove(filter(vouches, gone))
        due = (name for name, stamp in found.items() if self.known.get(name) != stamp)
        for group in in_order(due):
            self.store.each(group, lambda name: self._put(name, found[name]))
        self._remove(name for name in gone if not vouches(name))

    def _is_here(self, name: str) -> bool:
        return (self.folder / name).exists()

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            self.store.remove(name)
            del self.known[name]

    def _put(self, name: str, stamp: Stamp) -> None:
        try:
            data = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return  # replaced or removed meanwhile: the next round sees to it
        self.store.write(name, data)
        self.known[name] = stamp

    def _work(self) -> None:
        while not self.stop.wait(self.store.config.every_s):
            try:
                self.publish()
            except (StorageError, OSError) as error:
                self.failed += 1
                if self.failed == 1:
                    self.tell(f"{error}; the run goes on, and all is tried again")
                continue
            except LineageError as error:
                self.tell(str(error))
                return
            if self.failed:
                self.tell(f"{self.store.url} is written again, after {self.failed} failed rounds")
                self.failed = 0


def stamps(folder: Path) -> dict[str, Stamp]:
    """Return by name the files of `folder` that are to be published."""
    return dict(_stamped(folder, ""))


def _stamped(place: Path | str, above: str) -> Iterator[tuple[str, Stamp]]:
    try:
        with os.scandir(place) as entries:
            found = list(entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in found:
        name = f"{above}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            # What no file of it could be called is not looked through.
            if is_published(f"{name}/a"):
                yield from _stamped(entry.path, f"{name}/")
        elif is_published(name) and entry.is_file(follow_symlinks=False):
            try:
                state = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield name, (state.st_size, state.st_mtime_ns)


def fetch(
    folder: Path,
    store: Store,
    whole: bool = False,
    wanted: Callable[[str], bool] = lambda name: True,
) -> dict[str, Stamp]:
    """Bring what `store` has and `folder` has not; return the stamps of what both have now.

    Of it what is `wanted`, by its name. Where both have finished one generation, and not the same,
    that of the store counts: others may have read it. `whole`: `folder` is but a copy, in
    which nothing is kept that the store has not, or has otherwise. Raises StorageError, or
    LineageError where what is there has odd names.
    """
    sizes = {name: size for name, size in store.sizes().items() if not name.endswith("/")}
    if odd := next((name for name in sizes if ".." in name.split("/")), None):
        raise LineageError(f"{store.url} has an object named {odd!r}: it is not lineage's")
    theirs = {name for name in sizes if is_published(name) and wanted(name)}
    mine = stamps(folder)
    records = sorted(name for name in theirs if vouches(name))
    held = dict(zip(records, store.each(records, store.read), strict=True))
    other = [
        name for name in records if name in mine and (folder / name).read_bytes() != held[name]
    ]
    again = {data for name in other for data in data_of(name, held[name])}
    for name in other:
        (folder / name).unlink()
    missing = [
        name
        for name in sorted(theirs.difference(records))
        if name not in mine
        or name in again
        or (_of_log(name) and mine[name][0] != sizes[name])
        or (whole and not _of_log(name))
    ]

    def bring(name: str) -> None:
        atomic_write(folder / name, store.read(name))

    store.each(missing, bring)
    for name in records:
        if name not in mine or name in other:
            atomic_write(folder / name, held[name])
    if whole:
        for name in mine.keys() - theirs:
            (folder / name).unlink(missing_ok=True)
    # What is no file of the log and was here already may be newer here: it is put again.
    same = {*missing, *records, *(name for name in theirs if _of_log(name))}
    return {name: stamp for name, stamp in stamps(folder).items() if name in same}


def _of_log(name: str) -> bool:
    """Whether the file `name` is one of a dataset, which never changes once it is vouched for."""
    return name.endswith(".parquet")
