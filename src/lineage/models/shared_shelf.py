"""The shelf of trained versions at a URL: put there once, and read through a folder of the cache.

    <url>/<name>/<digest>.json        the manifest of a version, by the digest of its adapter
    <url>/blobs/<SHA-256>             the files of all versions

Arrow writes no object on condition that there is none yet. So whoever puts a version looks
afterwards whether another one has the name, and takes its own away where that is so: of two at
once at most one stays, and nobody reads a mixture.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from lineage.core.config import RunConfig
from lineage.core.errors import LineageError
from lineage.core.files import mark
from lineage.core.urls import parts_of
from lineage.log.blobs import BLOBS, MANIFEST, bring, put
from lineage.log.store import Store
from lineage.models.shelf import Shelf, names, read_version

COPIES = "shelves-s3"
"""The folder of the cache in which the copies of shelves at URLs are."""


class SharedShelf(Shelf):
    """The shelf at `url`. All raise StorageError where that cannot be read or written."""

    def __init__(self, url: str, run: RunConfig) -> None:
        super().__init__(Path(run.cache_folder, COPIES, *parts_of(url)))
        self.store = Store(url, run.storage)

    def __str__(self) -> str:
        return self.store.url

    def names(self) -> tuple[str, ...]:
        """Return the names of its versions."""
        return tuple(name for name in self.store.below() if name != BLOBS)

    def refresh(self, name: str) -> None:
        """Have in the folder what the shelf has as `name`: that version, or nothing.

        Raises LineageError where the shelf has two of that name.
        """
        digests = self._digests(name)
        if len(digests) > 1:
            raise LineageError(
                f"{self}/{name} holds {len(digests)} versions of one name: remove all but one, "
                "each is a file there"
            )
        if digests and self._holds(name, digests[0]):
            return
        shutil.rmtree(self.folder / name, ignore_errors=True)
        for digest in digests:
            mark(self.folder)
            bring(self.store, f"{name}/{digest}{MANIFEST}", self.folder / name)

    def offer(self, name: str) -> None:
        """Put the version `name`, which the folder has, on the shelf.

        Raises LineageError where that has another one by now.
        """
        digest = read_version(self.folder, name).digest
        if digest not in self._digests(name):
            put(self.store, f"{name}/{digest}{MANIFEST}", self.folder / name)
        if self._digests(name) != [digest]:
            self.store.remove(f"{name}/{digest}{MANIFEST}")
            raise LineageError(
                f"{self} holds another version {name!r}: choose another train.name, or remove that"
            )

    def _digests(self, name: str) -> list[str]:
        found = self.store.below(name)
        return [one.removesuffix(MANIFEST) for one in found if one.endswith(MANIFEST)]

    def _holds(self, name: str, digest: str) -> bool:
        """Whether the folder has the version of this `digest`, whole."""
        if name not in names(self.folder):
            return False
        try:
            return read_version(self.folder, name).digest == digest
        except LineageError:
            return False
