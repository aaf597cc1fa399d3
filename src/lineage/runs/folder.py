"""The folder of a run or a training: its name, its lock, its record, the link to the latest."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lineage import compose
from lineage.core.config import Config, RunConfig
from lineage.core.errors import LineageError
from lineage.core.files import atomic_write, mark, marked, odd_files
from lineage.core.names import LATEST, check_name
from lineage.core.urls import WORKED, check_url, is_url, parts_of, url_of
from lineage.log.record import RECORD
from lineage.log.sweep import is_sweep
from lineage.models.shelf import VERSION_FILE
from lineage.models.shelves import of

LOST = ("commit", "dirty", "machine", "command", "code")
"""What only the record of a run knows of those who made it."""


def root_of(run: RunConfig) -> Path:
    """Return the folder in which runs are worked on: `run.root`, or one that stands for its URL."""
    return worked_on(run, run.root) if is_url(run.root) else Path(run.root)


def worked_on(run: RunConfig, url: str) -> Path:
    """Return the folder in which the run at `url` is worked on, with the mark above it."""
    check_url("the URL", url)
    mark(Path(run.cache_folder) / WORKED)
    return Path(run.cache_folder, WORKED, *parts_of(url))


def published_to(folder: Path) -> str | None:
    """Return the URL that the run in `folder` is published to; None where it is to none.

    Such a folder is known by where it lies in the cache, and by lineage's mark above it. What a
    saved configuration says is no reason to send a run anywhere: it may be somebody else's.
    """
    whole = folder.absolute()
    if not any(above.name == WORKED and marked(above) for above in whole.parents):
        return None
    return url_of(whole.parts)


def only_folders(config: Config, what: str) -> None:
    """Raise LineageError where `what`, which is not published, would have a URL as its root."""
    if is_url(config.run.root):
        raise LineageError(f"run.root is a URL, and {what} is written to a folder: name one")


def new_folder(config: Config) -> Path:
    """Return the folder of a new run: its name, or time and experiment."""
    return named_folder(config, config.experiment.name)


def named_folder(config: Config, what: str) -> Path:
    """Return the folder that is named by `run.name`, or by time and `what`.

    Raises LineageError where that would be no name of one folder.
    """
    root = root_of(config.run)
    if config.run.name:
        return root / config.run.name
    check_name("experiment.name", what)
    return root / f"{time.strftime('%Y%m%d-%H%M%S')}-{what}"


def check_vacant(folder: Path) -> None:
    """Raise LineageError where a run would be written into the folder of a sweep."""
    if is_sweep(folder):
        raise LineageError(
            f"{folder} is the folder of a sweep: choose another run.name, or go on with it by "
            f"lineage resume {folder}"
        )


def at_home(config: Config, folder: Path, url: str | None = None) -> Config:
    """Return the saved `config` of the run in `folder`, to be gone on with where it lies.

    `url` is that of the run where `folder` is but a copy of it.

    It may be somebody else's: where it says that runs, cache and shelf are is taken for that only
    where lineage has put the link to the latest run, or its mark; a URL also where it is of the
    bucket in which the run is. Else there is no link to move, and cache and shelf are those of
    `conf/`.
    """
    roots = (root for root in folder.absolute().parents[:2] if (root / LATEST).is_symlink())
    run, model = replace(config.run, root=str(next(roots, folder))), config.model
    url = url or published_to(folder)
    here = marked(Path(run.cache_folder))
    if not here or (is_url(run.cache) and not _beside(run.cache, url)):
        ours = compose.shipped_run()
        cache = run.cache if _beside(run.cache, url) else ours.cache
        copy = run.storage.copy if here else ours.cache_folder
        run = replace(run, cache=cache, storage=replace(run.storage, copy=copy))
    shelf = of(replace(config, run=run)).folder
    known = marked(shelf) or any(shelf.glob(f"*/{VERSION_FILE}")) or _beside(model.shelf, url)
    if not known:
        model = replace(model, shelf=compose.shipped_shelf())
    return replace(config, model=model, run=run)


def _beside(place: str, url: str | None) -> bool:
    """Whether `place` is a URL of the bucket of the `url` that a run has."""
    return url is not None and is_url(place) and parts_of(place)[0] == parts_of(url)[0]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder: two processes never write one run."""
    file = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A pipe is not waited for, nor a link followed.
        how = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW
        lock = os.fdopen(os.open(file, how, 0o666), "r+b", 0)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise in_the_way(folder, file) from error
    # The file stays: one that was removed could be locked by two, each with its own.
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LineageError(f"{folder} is being written by another process") from error
        links, torn = odd_files(folder)
        if links:
            raise LineageError(
                f"{links[0]} is a link out of the run's folder, in which all is written: put there "
                "what it leads to"
            )
        # Arrow takes a moment to load, which the command line need not wait for.
        from lineage.log.compaction import settle

        settle(folder)
        for file in torn:
            file.unlink(missing_ok=True)
        yield


def in_the_way(folder: Path, file: Path) -> LineageError:
    """Return the error for a `file` in `folder` that cannot be made: what stands there is none."""
    above = (one for one in (folder, *folder.parents) if one.exists() and not one.is_dir())
    return LineageError(f"{next(above, file)} is in the way of {file}: move it away")


def write_described(folder: Path, record: Mapping[str, Any], config: Config) -> None:
    """Write the `record` and the configuration of a run or a training that begins."""
    # In this order: where there is a config.yaml, it can be resumed.
    atomic_write(folder / RECORD, json.dumps(record, indent=1).encode())
    atomic_write(folder / "config.yaml", compose.to_yaml(config).encode())


def lost(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of the `record` of a run that was begun before cannot be told: it is null.

    It began when its settings were written.
    """
    gone: dict[str, Any] = dict.fromkeys(name for name in LOST if name in record)
    settings = folder / "config.yaml"
    return gone | ({"began": settings.stat().st_mtime} if settings.exists() else {})


def point_latest(root: Path, folder: Path) -> None:
    """Let `latest` in `root` point at the run's folder, where that is below `root`.

    It is not where a run is finished from elsewhere than it was begun, or was moved.
    """
    link = root / LATEST
    if link.exists() and not link.is_symlink():
        return
    inside, home = folder.resolve(), root.resolve()
    if inside == home or not inside.is_relative_to(home):
        return
    temporary = root / f".latest-{folder.name}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(folder, root))
    temporary.replace(link)
