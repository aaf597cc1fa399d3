"""A shard on a node that does not see the run's folder: it works in one of its own, and publishes.

What of its lineages is finished is fetched from the run's URL, and so is what their donors left.
The driver has all of it from there. A journal stays on its node: it is lost with it.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from lineage.core.config import RunConfig
from lineage.core.files import mark
from lineage.core.urls import parts_of
from lineage.log.place import COMPACTED, Place, done_file
from lineage.log.publish import Mirror
from lineage.log.schema import OF_GENERATION
from lineage.log.store import Store
from lineage.runs.parts import name_of_life

APART = "shards-s3"
"""The folder of the cache in which shards work that do not see their run's."""
KNOWLEDGE = "knowledge"
"""The dataset that a borrower reads of its donor."""


def own_folder(run: RunConfig, url: str, node: str, number: int) -> Path:
    """Return the folder of the shard of a `number` on a `node`, of the run at `url`."""
    cache = Path(run.cache_folder).absolute() / APART
    mark(cache)
    return cache / node / f"{number:04d}" / Path(*parts_of(url))


def of_lineages(names: Collection[str]) -> Callable[[str], bool]:
    """Return which files of a run are of the lineages `names`."""

    def wanted(name: str) -> bool:
        top, _, rest = name.partition("/")
        last = rest.rpartition("/")[2]
        if top == "done":
            return last.rpartition("-g")[0] in names
        return top in OF_GENERATION and (last == COMPACTED or last.rpartition(".")[0] in names)

    return wanted


class Apart:
    """What a shard that has a `folder` of its own shares with the others, at the run's URL.

    All raise StorageError where that cannot be read or written.
    """

    def __init__(self, folder: Path, url: str, run: RunConfig, lineages: Collection[str]) -> None:
        self.folder, self.store = folder, Store(url, run.storage)
        self.mirror = Mirror(folder, self.store, _tell, of_lineages(lineages))

    async def begin(self, number: int, life: bytes) -> None:
        """Fetch what is finished, note that a `life` begins, and publish from now on."""
        await asyncio.to_thread(self.mirror.__enter__)
        await asyncio.to_thread(self.store.write, name_of_life(number), life)

    async def left(self, places: Sequence[Place]) -> bool:
        """Whether a donor has finished the generations at `places`; then what it left is here."""
        done = [done_file(Path(), place).as_posix() for place in places]
        if not await asyncio.to_thread(self.store.has, done[-1]):
            return False
        data = [place.file(Path(KNOWLEDGE)).as_posix() for place in places]
        # As it is published: what vouches for others comes after them.
        await asyncio.to_thread(self.mirror.bring, (*data, *done))
        return True

    async def publish(self) -> None:
        """Publish what is finished, now."""
        await asyncio.to_thread(self.mirror.publish)

    async def end(self) -> None:
        """Publish for the last time; the folder goes, unless a journal is to be gone on with."""
        await asyncio.to_thread(self.mirror.__exit__, None, None, None)
        if not any(self.folder.glob("journal/*.jsonl")):
            await asyncio.to_thread(shutil.rmtree, self.folder, True)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
