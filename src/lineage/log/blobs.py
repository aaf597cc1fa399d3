"""Folders at a URL, content-addressed: each file is an object named by its SHA-256, and a manifest,
which is put last, says which files a folder has.

A folder is there whole or not at all, and files that several have are there once. Two that put one
folder at once do no harm: what has one name has one content. What has been put never changes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass

from lineage.core.errors import LineageError
from lineage.core.files import once, sha256
from lineage.core.jsonfile import parse_json
from lineage.core.names import SAFE
from lineage.log.record import OPEN
from lineage.log.store import StorageError, Store

BLOBS = "blobs"
"""Below which files are, by their SHA-256."""
MANIFEST = ".json"
"""How the name of a manifest ends."""


@checked_dataclass(frozen=True, config=OPEN)
class _Manifest:
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]


def put(store: Store, manifest: str, folder: Path) -> None:
    """Put `folder` under the name of its `manifest`; what is there already is not put again.

    Raises StorageError, and LineageError where a file has a name that is not safe.
    """
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    names = [one.relative_to(folder).as_posix() for one in files]
    _check_names(names, str(folder))
    found = dict(zip(names, map(sha256, files), strict=True))

    def send(name: str) -> None:
        blob, file = f"{BLOBS}/{found[name]}", folder / name
        if store.size(blob) != file.stat().st_size:
            store.upload(blob, file)

    store.each(names, send)
    store.write(manifest, json.dumps({"files": found}, indent=1).encode())


def bring(store: Store, manifest: str, folder: Path) -> bool:
    """Make `folder`, which appears whole, of what was put as `manifest`; False where none was.

    Raises StorageError, also where a file is not the one that was put.
    """
    if not store.has(manifest):
        return False
    where = f"{store.url}/{manifest}"
    found: dict[str, str] = parse_json(store.read(manifest), where, _Manifest, "remove it")["files"]
    _check_names(found, where)
    with once(folder) as making:
        making.mkdir()
        for name in found:
            (making / name).parent.mkdir(parents=True, exist_ok=True)

        def receive(name: str) -> None:
            blob, file = f"{BLOBS}/{found[name]}", making / name
            store.download(blob, file)
            if sha256(file) != found[name]:
                raise StorageError(f"{store.url}/{blob} is damaged: remove it, and {where}")

        store.each([*found], receive)
    return True


def _check_names(names: list[str] | dict[str, str], where: str) -> None:
    for name in names:
        if not all(SAFE.fullmatch(part) for part in name.split("/")):
            raise LineageError(f"{where} has a file of the name {name!r}, which is not safe")
