"""An object store as DuckDB asks one, by fsspec: what is below a folder in one request."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow import fs

from lineage.core.urls import SCHEME

KINDS = {fs.FileType.File: "file", fs.FileType.Directory: "directory"}


class Objects(ArrowFSWrapper):  # type: ignore[misc]
    """A file system of Arrow. It lists a folder with all that is below it at once.

    fsspec would ask for folder after folder, and a log has one a generation and arm. What a list
    says of a file is what is known of it until the next list: DuckDB asks five times for each file
    of a query, and a query lists its files first.
    """

    def __init__(self, files: fs.FileSystem) -> None:
        super().__init__(files)
        self.listed: dict[str, dict[str, Any]] = {}

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **more: Any,
    ) -> dict[str, dict[str, Any]] | list[str]:
        """Return what is below `path`, as fsspec does; at once for a `**`, without a `maxdepth`."""
        if maxdepth is not None:
            some: dict[str, dict[str, Any]] = super().find(path, maxdepth, withdirs, True, **more)
            return some if detail else list(some)
        chosen = fs.FileSelector(_place(path), recursive=True, allow_not_found=True)
        found = {
            one.path: {
                "name": one.path, "size": one.size, "type": KINDS[one.type], "mtime": one.mtime
            }
            for one in sorted(self.fs.get_file_info(chosen), key=lambda one: one.path)
            if one.type == fs.FileType.File or withdirs
        }  # fmt: skip
        self.listed |= found
        return found if detail else list(found)

    def info(self, path: str, **more: Any) -> dict[str, Any]:
        """Return what is known of `path`. Raises FileNotFoundError where it is not there."""
        known: dict[str, Any] = self.listed.get(_place(path)) or super().info(path, **more)
        return known

    def modified(self, path: str) -> datetime:
        """Return when `path` was put, by the store's clock."""
        put: datetime = self.info(path)["mtime"]
        return put


def _place(path: str) -> str:
    return path.removeprefix(SCHEME).rstrip("/")
