"""Runs whose `run.root` is a URL: their way to the URL and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from lineage.core.config import RunConfig
from lineage.core.errors import LineageError
from lineage.core.urls import READ, check_url, is_url, parts_of
from lineage.log.lease import Lease
from lineage.log.publish import Mirror, fetch, stamps
from lineage.log.store import Store
from lineage.log.sweep import SWEEP, is_sweep, parse_sweep, read_sweep, write_sweep
from lineage.runs.folder import published_to, worked_on


@contextmanager
def stored(run: RunConfig, folder: Path, console: Console) -> Iterator[Mirror | None]:
    """Publish what is done meanwhile in `folder`, where it has a URL; what is there is fetched.

    It is that of a run, a training or a sweep with all its points. Nobody else may be doing so.

    Yield who does that, for what others put there meanwhile; None where there is no URL.
    Raises StorageError as `Mirror`, and LineageError as `Lease`, and where `run.root` is a URL and
    `folder` is none that stands for one.
    """
    url = published_to(folder)
    if url is None:
        if is_url(run.root):
            raise LineageError(
                f"run.root is a URL, and {folder} would not be published to it: leave "
                "hydra.run.dir and hydra.sweep.dir out, and name the run by run.name"
            )
        yield None
        return

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    store = Store(url, run.storage)
    store.check()
    with Lease(store, tell) as lease:
        _meet(folder, store)
        with Mirror(folder, store, tell, check=lease.check) as mirror:
            yield mirror
    tell(f"published to {url}")


def read_from(run: RunConfig, url: str) -> Path:
    """Return a folder that holds what is at `url` now, to be read and not to be worked on.

    Raises StorageError, and LineageError where nothing is there.
    """
    check_url("the URL", url)
    return _fetched(Path(run.cache_folder, READ, *parts_of(url)), run, url, whole=True)


def resumed_from(run: RunConfig, url: str) -> Path:
    """Return the folder in which the run at `url` is gone on with, with what is finished of it.

    Raises as `read_from`.
    """
    return _fetched(worked_on(run, url), run, url, whole=False)


@contextmanager
def reported(run: RunConfig, folder: Path, url: str) -> Iterator[None]:
    """Put at `url` what is written meanwhile into `folder`, the copy of it. Raises StorageError."""
    before, store = stamps(folder), Store(url, run.storage)
    yield
    for name, stamp in stamps(folder).items():
        if before.get(name) != stamp:
            store.write(name, (folder / name).read_bytes())


def root_beside(run: RunConfig, url: str) -> str:
    """Return the root of a run that lies beside the one at `url`: of a point, beside its sweep."""
    above = url.rpartition("/")[0]
    return above.rpartition("/")[0] if Store(above, run.storage).has(SWEEP) else above


def _meet(folder: Path, store: Store) -> None:
    """Let the record of a sweep in `folder` know what others noted at its URL."""
    if is_sweep(folder) and store.has(SWEEP):
        mine, theirs = read_sweep(folder), parse_sweep(store.read(SWEEP), f"{store.url}/{SWEEP}")
        if (mine.kind, mine.overrides) == (theirs.kind, theirs.overrides):
            known = [*theirs.points, *mine.points]
            # What has its figure counts, then what failed: either may have been noted elsewhere.
            known.sort(key=lambda one: (one.objective is not None, bool(one.failed)))
            write_sweep(folder, theirs.with_points(known))


def _fetched(folder: Path, run: RunConfig, url: str, whole: bool) -> Path:
    store = Store(url, run.storage)
    store.check()
    fetch(folder, store, whole)
    if not stamps(folder):
        raise LineageError(f"there is no run {url}: nothing is stored there")
    return folder
