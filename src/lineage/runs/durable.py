"""What of the shards of a run outlives them, as its driver sees it: in its folder or at its URL."""

from __future__ import annotations

from pathlib import Path

from lineage.log.place import Place, done_file
from lineage.log.publish import Mirror
from lineage.runs.lineage import place_of
from lineage.runs.parts import LIFE, Spot, name_of_life
from lineage.runs.plan import Job
from lineage.runs.shard import begun, hold, place_file


class Durable:
    """What the shards of `job` left in its `folder`, or at the URL of a `mirror`: they are apart.

    Raises OSError, or StorageError where they are.
    """

    def __init__(self, job: Job, folder: Path, mirror: Mirror | None) -> None:
        self.job, self.folder, self.mirror = job, folder, mirror

    def begun(self, number: int) -> tuple[int, str]:
        """Return the latest life of a shard that began to work, and on which node: -1 for none."""
        if self.mirror is not None:
            store, name = self.mirror.store, name_of_life(number)
            return begun(store.read(name) if store.has(name) else b"")
        file = place_file(self.folder, number)
        return begun(file.read_bytes() if file.exists() else b"")

    def forget(self, shards: int) -> None:
        """Remove what `shards` that were apart noted when they began."""
        for number in range(shards if self.mirror is not None else 0):
            assert self.mirror is not None
            self.mirror.store.remove(name_of_life(number))

    def spots(self, pairs: tuple[int, ...], span: range) -> dict[str, Spot]:
        """Return how far the lineages of `pairs` are that have not finished `span`.

        Of a shard that was apart the journals are not seen: they count 0 bytes.
        """
        stored = None if self.mirror is None else self.mirror.store.sizes()

        def is_done(place: Place) -> bool:
            if stored is not None:
                return done_file(Path(), place).as_posix() in stored
            return done_file(self.folder, place).exists()

        found = {}
        for pair in pairs:
            for arm in self.job.arms:
                places = [place_of(arm.name, pair, generation) for generation in span]
                done = sum(map(is_done, places))
                if done < len(places):
                    journal = self.folder / "journal" / f"{places[done].name}.jsonl"
                    size = journal.stat().st_size if journal.exists() else 0
                    found[places[0].lineage] = span.start + done, size
        return found


async def vacated(folder: Path) -> None:
    """Wait until the shards of an earlier driver have ended: they may outlive it by seconds.

    Raises LineageError where one does not end.
    """
    for file in sorted(folder.glob(f"{LIFE}*")):
        with await hold(file) as held:
            held.truncate(0)
