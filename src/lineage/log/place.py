"""Where a generation's rows are in a run folder: in files of its own, or compacted with others.

A generation is written to files of its own, one a dataset. `compaction` puts the files of finished
generations of one arm and number together; rows are then told apart by their lineage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

COMPACTED = "compacted.parquet"
"""The file of the generations that are compacted, beside those that are not."""


@dataclass(frozen=True)
class Place:
    """Where a generation stands in a run."""

    arm: str
    pair: int
    lineage: str
    generation: int

    @property
    def name(self) -> str:
        """The name of the generation's own files."""
        return f"{self.lineage}-g{self.generation:02d}"

    @property
    def at(self) -> str:
        """The name that stands for what it left."""
        return f"{self.lineage}@{self.generation}"

    def file(self, dataset: Path) -> Path:
        """Return the generation's own file in a hive-partitioned dataset."""
        folder = dataset / f"arm={self.arm}" / f"generation={self.generation}"
        return folder / f"{self.lineage}.parquet"

    def compacted(self, dataset: Path) -> Path:
        """Return the file that holds the generation once it is compacted."""
        return self.file(dataset).with_name(COMPACTED)


def done_file(run: Path, place: Place) -> Path:
    """Return where the record of a finished generation is."""
    return run / "done" / f"{place.name}.json"
