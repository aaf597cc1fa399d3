"""The working time of a run: one sitting a process that worked on it, in `sittings.json`.

    [{"began": <seconds since the epoch>, "seconds": <worked so far, by a clock that never jumps>}]

What a killed process did counts: its sitting is written again and again as the work goes on. A run
whose record of sittings was lost has a first one without `seconds`: its steps must tell.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from pydantic.dataclasses import dataclass

from lineage.core.fields import Number
from lineage.core.files import atomic_write
from lineage.core.jsonfile import parse_json, read_file
from lineage.log.record import OPEN

SITTINGS = "sittings.json"
REMEDY = "remove it, then the steps tell the time"
"""What to do with a damaged one."""
EVERY = 2.0
"""Seconds of work after which they are written: a kill costs no more than these."""


@dataclass(frozen=True, config=OPEN)
class Sitting:
    """When a process began to work on the run, and how long it did; None: nobody timed that."""

    began: Number
    seconds: Number | None


def read_sittings(run: Path) -> tuple[Sitting, ...]:
    """Return the sittings of `run` in order; none where their record is lost.

    Raises LineageError where their file is torn.
    """
    file = run / SITTINGS
    return parse_sittings(read_file(file), str(file)) if file.exists() else ()


def parse_sittings(data: bytes, file: str) -> tuple[Sitting, ...]:
    """Return the sittings that `data` holds; raises LineageError that names `file`."""
    return tuple(Sitting(**one) for one in parse_json(data, file, list[Sitting], REMEDY))


def worked_seconds(sittings: Sequence[Sitting]) -> float | None:
    """Return the seconds of all sittings together; None where there is none, or one not timed."""
    timed = [one.seconds for one in sittings if one.seconds is not None]
    return sum(timed) if timed and len(timed) == len(sittings) else None


class Timer:
    """Times the sitting of this process on `run`: the time within the context, in which `worked`
    is called after each request.

    Raises LineageError where the run's earlier sittings cannot be read, and OSError.
    """

    def __init__(self, run: Path) -> None:
        self.file, self.earlier = run / SITTINGS, read_sittings(run)
        if not self.file.exists() and (any(run.glob("done/*")) or any(run.glob("journal/*"))):
            self.earlier = (Sitting(0.0, None),)
        self.mine: Sitting | None = None
        self.since = self.written = 0.0

    def __enter__(self) -> Timer:
        self.mine = Sitting(time.time(), 0.0)
        self.since = time.monotonic()
        self._write(self.mine)
        return self

    def __exit__(self, *raised: object) -> None:
        if self.mine is not None:
            self._write(self.mine)

    def worked(self) -> None:
        """Note the time up to now, where the last note is `EVERY` seconds old."""
        if self.mine is not None and time.monotonic() - self.written >= EVERY:
            self._write(self.mine)

    def _write(self, mine: Sitting) -> None:
        self.written = time.monotonic()
        mine = replace(mine, seconds=round(self.written - self.since, 3))
        sittings = [asdict(one) for one in (*self.earlier, mine)]
        atomic_write(self.file, json.dumps(sittings, indent=1).encode())
