"""The working time of a run: one sitting a process that worked on it, in `sittings.json`.

    [{"began": <seconds since the epoch>, "seconds": <worked so far, by a clock that never jumps>,
      "faults": {<what failed and was mended>: <how often>}, "ended": <false: it was killed>}]

What a killed process did counts: its sitting is written again and again as the work goes on. A run
whose record of sittings was lost has a first one without `seconds`: its steps must tell.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, field, replace
from enum import StrEnum
from pathlib import Path

from pydantic.dataclasses import dataclass

from lineage.core.fields import Number, Whole
from lineage.core.files import atomic_write
from lineage.core.jsonfile import parse_json, read_file
from lineage.log.record import OPEN

SITTINGS = "sittings.json"
REMEDY = "remove it, then the steps tell the time"
"""What to do with a damaged one."""
EVERY = 2.0
"""Seconds of work after which they are written: a kill costs no more than these."""


class Fault(StrEnum):
    """What may fail while a run goes on, and is mended without a step lost, done twice or changed.

    The value is its name in the log.
    """

    ENGINE_DIED = "engine_died"
    ENGINE_HUNG = "engine_hung"
    SHARD_DIED = "shard_died"
    SITTING_KILLED = "sitting_killed"
    ATTEMPT_FAILED = "attempt_failed"


@dataclass(frozen=True, config=OPEN)
class Sitting:
    """When a process began to work on the run, and how long it did; None: nobody timed that.

    `faults` are what failed meanwhile, by their names in `Fault`. It has `ended` unless it was
    killed, or is going on; None: nobody noted that, nor any fault.
    """

    began: Number
    seconds: Number | None
    faults: dict[str, Whole] = field(default_factory=dict)
    ended: bool | None = None


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


def met(sittings: Sequence[Sitting]) -> dict[str, int] | None:
    """Return the faults of all sittings together; None where there is one that noted none."""
    if not sittings or any(one.ended is None for one in sittings):
        return None
    found = Counter[str]()
    for one in sittings:
        found.update(one.faults)
    # The last one may be going on.
    if killed := sum(not one.ended for one in sittings[:-1]):
        found[Fault.SITTING_KILLED.value] += killed
    return dict(found)


class Timer:
    """Times the sitting of this process on `run`: the time within the context, in which `worked`
    is called after each request.

    `faults` tells how often what failed since whoever it asks was started; what had before is not
    of this sitting. Raises LineageError where the run's earlier sittings cannot be read, and
    OSError.
    """

    def __init__(self, run: Path, faults: Callable[[], Mapping[str, int]] = dict) -> None:
        self.file, self.earlier = run / SITTINGS, read_sittings(run)
        self.faults, self.before = faults, Counter(faults())
        if not self.file.exists() and (any(run.glob("done/*")) or any(run.glob("journal/*"))):
            self.earlier = (Sitting(0.0, None),)
        self.mine: Sitting | None = None
        self.since = self.written = 0.0

    def __enter__(self) -> Timer:
        self.mine = Sitting(time.time(), 0.0, ended=False)
        self.since = time.monotonic()
        self._write(self.mine)
        return self

    def __exit__(self, *raised: object) -> None:
        if self.mine is not None:
            self._write(replace(self.mine, ended=True))

    def worked(self) -> None:
        """Note the time up to now, where the last note is `EVERY` seconds old."""
        if self.mine is not None and time.monotonic() - self.written >= EVERY:
            self._write(self.mine)

    def _write(self, mine: Sitting) -> None:
        self.written = time.monotonic()
        seconds = round(self.written - self.since, 3)
        mine = replace(mine, seconds=seconds, faults=dict(Counter(self.faults()) - self.before))
        sittings = [asdict(one) for one in (*self.earlier, mine)]
        atomic_write(self.file, json.dumps(sittings, indent=1).encode())
