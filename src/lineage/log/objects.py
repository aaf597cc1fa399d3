"""An object store as DuckDB asks one, by fsspec: what is below a folder in one request."""

from __future__ import annotations

from typing import Any

from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow import fs

from lineage.core.urls import SCHEME

KINDS = {fs.FileType.File: "file", fs.FileType.Directory: "directory"}


class Objects(ArrowFSWrapper):
    """A file system of Arrow. It lists a folder with all that is below it at once.

    fsspec would ask for folder after folder, and a log has one a generation and arm.
    """

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **more: Any,
    ) -> dict[str, dict[str, Any]] | list[str]:
        """Return what is below `path`, as fsspec says; without `maxdepth`, as of a `**`, at once."""
        if maxdepth is not None:
            return super().find(path, maxdepth, withdirs, detail, **more)  # type: ignore[no-any-return]
        place = path.removeprefix(SCHEME).rstrip("/")
        below = self.fs.get_file_info(fs.FileSelector(place, recursive=True, allow_not_found=True))
        found = {
            one.path: {"name": one.path, "size": one.size, "type": KINDS[one.type]}
            for one in sorted(below, key=lambda one: one.path)
            if one.type == fs.FileType.File or withdirs
        }
        return found if detail else list(found)
