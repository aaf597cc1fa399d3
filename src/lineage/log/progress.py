"""How far a run or a training has come, by its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Progress:
    """`finished` of `planned`: generations of all lineages, or steps of a training."""

    finished: int
    planned: int

    @property
    def whole(self) -> bool:
        """Whether nothing is left to do."""
        return self.finished >= self.planned


def progress(folder: Path, record: Mapping[str, Any], settings: Mapping[str, Any]) -> Progress:
    """Return how far `folder` has come, which has this `run.json` and these `settings`.

    Raises one of `jsonfile.ODD` where these lack or garble what says how much is planned.
    """
    if "training" in record:
        finished = len(list(folder.glob("curve/*.parquet")))
        return Progress(finished, int(settings["method.steps"]))
    before = int(settings["start.generation"]) + 1 if forked(settings) else 0
    places = (len(record["schedule"]) - before) * pairs(settings) * len(record["arms"])
    return Progress(len(list(folder.glob("done/*.json"))), places)


def pairs(settings: Mapping[str, Any]) -> int:
    """Return how many pairs of lineages a run has: a fork has one."""
    return 1 if forked(settings) else int(settings["experiment.lineages"])


def forked(settings: Mapping[str, Any]) -> bool:
    """Whether a run was forked from another one."""
    return settings.get("start.run") is not None
