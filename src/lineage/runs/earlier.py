"""The finished runs of a folder that tell what one to come will take: see `lineage.runs.forecast`.

Only runs of the same suite and kind of engine that were served by all its versions tell anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from lineage import compose
from lineage.core.errors import OVERLONG, LineageError
from lineage.core.jsonfile import ODD
from lineage.log.progress import progress
from lineage.log.record import read_record
from lineage.log.sittings import read_sittings, worked_seconds
from lineage.log.views.connect import connect
from lineage.log.views.settings import leaves, read_settings
from lineage.runs.forecast import EPISODE, GENERATION, PROBE, UNITS, Earlier, Spent, remote_of
from lineage.runs.origin import machine
from lineage.runs.plan import Job

E = TypeVar("E")

DECIDING = ("suite", "arms", "migration", "poison", "finetune", "start", "schedule", "agent")
"""The nodes that decide how much an episode, a probe or a handoff takes."""
KIND = "engine.kind"
ALIKE = ("processor", "cores")
"""Of a machine, what makes it of the same kind."""
SPENT = f"""\
SELECT arm, CASE WHEN phase = 'probe' THEN '{PROBE}'
    WHEN phase IN ('work', 'handoff') THEN '{EPISODE}' ELSE '{GENERATION}' END AS unit,
    count(*) FILTER (prompt_tokens > 0 AND finish_reason <> '{OVERLONG}'),
    sum(prompt_tokens)::BIGINT, sum(completion_tokens)::BIGINT
FROM steps GROUP BY ALL
"""
COUNTED = """\
SELECT arm, count(DISTINCT (lineage, generation)),
    count(DISTINCT (lineage, generation, episode)) FILTER (phase = 'work'),
    count(DISTINCT (lineage, generation, episode)) FILTER (phase = 'probe')
FROM steps GROUP BY ALL
"""


@dataclass(frozen=True)
class Found:
    """A finished run: its folder, its record and its settings by dotted key."""

    folder: Path
    record: Mapping[str, Any]
    settings: Mapping[str, Any]


def finished(root: Path, trainings: bool = False) -> list[Found]:
    """Return the finished runs, or `trainings`, in `root` and in the sweeps there, newest first.

    What cannot be read tells nothing, and is left out.
    """
    found = []
    for file in (*root.glob("*/run.json"), *root.glob("*/*/run.json")):
        folder = file.parent
        if folder.is_symlink() or folder.parent.is_symlink():
            continue
        try:
            record, settings = read_record(folder), read_settings(folder)
            if trainings is not ("training" in record):
                continue
            came = progress(folder, record, settings)
            if came.planned and (came.done if trainings else came.whole):
                found.append(Found(folder, record, settings))
        except (LineageError, OSError, *ODD):
            continue
    return sorted(found, key=lambda one: float(one.record.get("began") or 0), reverse=True)


def telling(job: Job, runs: Iterable[Found]) -> tuple[Earlier | None, Earlier | None]:
    """Return of `runs` the one that tells most of `job`, and the one that tells its time.

    The first lacks the fewest of its arms, and of these has the fewest other settings, and is the
    newest. The second is the first, or the next of them, that was timed on a machine of this kind.
    """
    mine = _deciding(leaves(compose.plain(job.config)))
    kin = [
        (one, (*(() if _alike(job, one) else (KIND,)), *differing(mine, _deciding(one.settings))))
        for one in runs
        if _akin(job, one)
    ]
    # Sorting keeps the order among equals: the newest is first.
    arms = {arm.name for arm in job.arms}
    kin.sort(
        key=lambda one: (KIND in one[1], len(arms - {*one[0].record["arms"]}), len(one[1]))
    )
    return two_that_tell(
        kin,
        _read,
        lambda one: (
            _alike(job, one)
            and on_such_a_machine(one.record)
            and _seconds(one.folder) is not None
        ),
    )


def two_that_tell(
    kin: Sequence[tuple[Found, tuple[str, ...]]],
    read: Callable[[Found, tuple[str, ...]], E | None],
    timed: Callable[[Found], bool],
) -> tuple[E | None, E | None]:
    """Return the first of `kin` that can be `read`, and the first of them that was `timed` too.

    `kin` are the nearest first, each with the settings in which it differs.
    """
    closest = None
    for one, keys in kin:
        tells_time = timed(one)
        if closest is not None and not tells_time:
            continue
        found = read(one, keys)
        closest = closest or found
        if found is not None and tells_time:
            return closest, found
    return closest, None


def _akin(job: Job, one: Found) -> bool:
    suite, defined = one.record.get("suite") or {}, one.record.get("defined") or {}
    served = {*one.record.get("schedule", ())}
    served |= {name for arm in defined.values() for name in arm["versions"]}
    same = suite.get("name") == job.suite.name
    # What is paid for may be told by the stand-in, which costs nothing.
    kind = _alike(job, one) or (one.settings.get(KIND) == "surrogate" and remote_of(job))
    return same and bool(kind) and set(job.versions) <= served | set(job.suite.judges)


def _alike(job: Job, one: Found) -> bool:
    """Whether a run was on the same kind of engine: else it tells no time, and other tokens."""
    return bool(one.settings.get(KIND) == job.config.engine.kind)


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: one for key, one in settings.items() if key.partition(".")[0] in DECIDING}


def differing(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys whose values are not the same in both."""
    keys = dict.fromkeys((*mine, *theirs))
    return tuple(key for key in keys if mine.get(key) != theirs.get(key))


def on_such_a_machine(record: Mapping[str, Any]) -> bool:
    """Whether the run of `record` was on a machine of the kind that this process is on."""
    known = record.get("machine") or {}
    return {name: known.get(name) for name in ALIKE} == _this()


@cache
def _this() -> dict[str, Any]:
    found = machine()
    return {name: found[name] for name in ALIKE}


def _seconds(folder: Path) -> float | None:
    """Return the worked seconds of a run, None where a sitting was not timed."""
    try:
        return worked_seconds(read_sittings(folder))
    except LineageError:
        return None


def _read(one: Found, differs: tuple[str, ...]) -> Earlier | None:
    """Return what the run took, None where its log cannot be read."""
    try:
        spent = _spent(one.folder)
    except (LineageError, OSError, duckdb.Error):
        return None
    served = one.record.get("engine") or {}
    return Earlier(
        folder=str(one.folder),
        generations=sum(count.units for (_, unit), count in spent.items() if unit == GENERATION),
        spent=spent,
        seconds=_seconds(one.folder),
        differs=differs,
        here=on_such_a_machine(one.record),
        others=one.record.get("others"),
        device=str(served.get("device") or ""),
        dtype=str(served.get("dtype") or ""),
    )


# What is finished stays as it is, and the points of a sweep ask for the same.
@lru_cache
def _spent(folder: Path) -> dict[tuple[str, str], Spent]:
    with closing(connect(folder)) as log:
        units = {
            (arm, unit): count
            for arm, *counts in log.execute(COUNTED).fetchall()
            for unit, count in zip(UNITS, counts, strict=True)
        }
        taken = {(arm, unit): rest for arm, unit, *rest in log.execute(SPENT).fetchall()}
    return {key: Spent(count, *taken.get(key, (0, 0, 0))) for key, count in units.items()}
