"""How far a run or a training has come, by its folder alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineage.core.errors import LineageError
from lineage.core.jsonfile import ODD
from lineage.log.held_out import HELD_OUT
from lineage.log.record import read_record
from lineage.log.views.settings import read_settings


@dataclass(frozen=True)
class Progress:
    """`finished` of `planned`: generations of all lineages, or steps of a training.

    `told`: its figures are there, which are `metrics.json`; of a training `training.json`, and its
    gain in held-out worlds where that is asked for.
    """

    finished: int
    planned: int
    told: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing is left to do."""
        return self.finished >= self.planned

    @property
    def done(self) -> bool:
        """Whether there is nothing to go on with."""
        return self.whole and self.told


def progress(folder: Path, record: Mapping[str, Any], settings: Mapping[str, Any]) -> Progress:
    """Return how far `folder` has come, which has this `run.json` and these `settings`.

    Raises one of `jsonfile.ODD` where these lack or garble what says how much is planned.
    """
    if "training" in record:
        finished = len(list(folder.glob("curve/*.parquet")))
        told = (folder / "training.json").exists()
        if settings.get("train.held_out"):
            told = told and (folder / HELD_OUT).exists()
        return Progress(finished, int(settings["method.steps"]), told)
    before = int(settings["start.generation"]) + 1 if forked(settings) else 0
    places = (len(record["schedule"]) - before) * pairs(settings) * len(record["arms"])
    told = (folder / "metrics.json").exists()
    return Progress(len(list(folder.glob("done/*.json"))), places, told)


def is_done(folder: Path) -> bool:
    """Whether the run or training in `folder` has nothing to be gone on with.

    It has where it cannot be read: whoever goes on with it is told what is wrong.
    """
    try:
        return progress(folder, read_record(folder), read_settings(folder)).done
    except (LineageError, OSError, *ODD):
        return False


def pairs(settings: Mapping[str, Any]) -> int:
    """Return how many pairs of lineages a run has: a fork has one."""
    return 1 if forked(settings) else int(settings["experiment.lineages"])


def forked(settings: Mapping[str, Any]) -> bool:
    """Whether a run was forked from another one."""
    return settings.get("start.run") is not None
