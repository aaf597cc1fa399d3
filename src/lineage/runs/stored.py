"""Runs whose `run.root` is a URL: their way to the URL and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from lineage.core.config import Config, RunConfig
from lineage.core.errors import LineageError
from lineage.core.urls import READ, check_url, is_url, parts_of
from lineage.log.publish import Mirror, fetch, stamps
from lineage.log.store import Store
from lineage.runs.folder import published_to, worked_on

REPORT = ("metrics.json", "scores.png", "scores.svg", "report.html")
"""What a report is made of, beside the log."""


@contextmanager
def stored(config: Config, folder: Path, console: Console) -> Iterator[Mirror | None]:
    """Publish what is done meanwhile in `folder`, where it has a URL; what is there is fetched.

    Yield who does that, for what others put there meanwhile; None where there is no URL.
    Raises StorageError as `Mirror`, and LineageError where `run.root` is a URL and `folder` is none
    that stands for one.
    """
    url = published_to(folder)
    if url is None:
        if is_url(config.run.root):
            raise LineageError(
                f"run.root is a URL, and {folder} would not be published to it: leave "
                "hydra.run.dir out, and name the run by run.name"
            )
        yield None
        return

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    with Mirror(folder, Store(url, config.run.storage), tell) as mirror:
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


def put_report(run: RunConfig, folder: Path, url: str) -> None:
    """Put at `url` what was reported anew in `folder`, the copy of it. Raises StorageError."""
    store = Store(url, run.storage)
    for name in REPORT:
        if (folder / name).exists():
            store.write(name, (folder / name).read_bytes())


def _fetched(folder: Path, run: RunConfig, url: str, whole: bool) -> Path:
    store = Store(url, run.storage)
    store.check()
    fetch(folder, store, whole)
    if not stamps(folder):
        raise LineageError(f"there is no run {url}: nothing is stored there")
    return folder
