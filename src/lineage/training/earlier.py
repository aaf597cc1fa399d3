"""The finished trainings of a folder that tell what one to come will take.

Only trainings by the same method from the same parent, with the same suite and kind of engine, tell
anything: see `lineage.training.forecast`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from lineage import compose
from lineage.core.config import Config
from lineage.core.errors import OVERLONG, LineageError
from lineage.log.record import RECORD, read_record
from lineage.log.views.connect import connect
from lineage.log.views.settings import leaves
from lineage.runs.earlier import Found, differing, on_such_a_machine, two_that_tell
from lineage.runs.forecast import Spent, together
from lineage.training.forecast import HELD_OUT, HISTORY, ROLLOUT, Earlier
from lineage.training.values import GREEDY

DECIDING = ("suite", "agent", "reward", "method", "train", "curricula")
"""The nodes that decide how much a rollout, or what is done beside it, takes."""
SIZES = (
    *("train.name", "train.worlds", "train.held_out", "train.log", "train.workers", "train.gpus"),
    *("method.steps", "method.warm_steps", "method.groups", "method.warm_groups", "method.group"),
)
"""The keys of these that say how much of it there is, or where it is done."""
TAKEN = f"""\
SELECT count(*) FILTER (prompt_tokens > 0 AND finish_reason <> '{OVERLONG}'),
    coalesce(sum(prompt_tokens), 0)::BIGINT, coalesce(sum(completion_tokens), 0)::BIGINT
FROM """
ASKED = f"""\
(FROM steps QUALIFY NOT {GREEDY}
    OR row_number() OVER (PARTITION BY arm, generation, prompt ORDER BY step_id) = 1)"""
"""The steps of a training but for greedy ones of a step that were alike, and so asked once."""
WORKED = "SELECT count(DISTINCT (lineage, generation, episode)) FROM steps WHERE phase = 'work'"
CLOCK = "SELECT sum(seconds_generate + seconds_probe), sum(seconds), count(*) FROM curve"


def telling(config: Config, runs: Iterable[Found]) -> tuple[Earlier | None, Earlier | None]:
    """Return of the trainings `runs` the one that tells most of `config`, and one that tells its
    time.

    The first lacks the fewest of its curricula, and of these has the fewest other settings, and is
    the newest. The second is the first of them that was on a machine of this kind.
    """
    mine = _deciding(leaves(compose.plain(config)))
    kin = [(one, differing(mine, _deciding(one.settings))) for one in runs if _akin(config, one)]
    courses = {*config.train.curricula}
    # Sorting keeps the order among equals: the newest is first.
    kin.sort(key=lambda one: (len(courses - {*one[0].record["curricula"]}), len(one[1])))
    return two_that_tell(kin, _read, lambda one: _here(one.folder))


def _akin(config: Config, one: Found) -> bool:
    mine = (config.suite.get("name"), config.engine.kind, config.train.parent, config.method.kind)
    names = ("suite.name", "engine.kind", "train.parent", "method.kind")
    return mine == tuple(one.settings.get(name) for name in names)


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: one
        for key, one in settings.items()
        if key.partition(".")[0] in DECIDING and key not in SIZES
    }


def _read(one: Found, differs: tuple[str, ...]) -> Earlier | None:
    """Return what the training took, None where its log cannot be read."""
    try:
        spent, sampling, learning, steps = _spent(one.folder, int(one.settings["train.held_out"]))
    except (LineageError, OSError, duckdb.Error):
        return None
    engines = (found["engine"] for found in _records(one.folder) if found.get("engine"))
    served: dict[str, Any] = next(engines, {})
    return Earlier(
        folder=str(one.folder),
        steps=steps,
        spent=spent,
        sampling=sampling,
        learning=learning,
        differs=differs,
        here=_here(one.folder),
        device=str(served.get("device") or ""),
        dtype=str(served.get("dtype") or ""),
    )


def _here(folder: Path) -> bool:
    return any(on_such_a_machine(one) for one in _records(folder))


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of the training and of the runs that it holds: these name the machine."""
    for file in (folder / RECORD, *sorted(folder.glob(f"*/*/{RECORD}"))):
        try:
            yield read_record(file.parent)
        except (LineageError, OSError):
            continue


# What is finished stays as it is, and the points of a sweep ask for the same.
@lru_cache
def _spent(folder: Path, held_out: int) -> tuple[dict[tuple[str, str], Spent], float, float, int]:
    """Return what each curriculum took, the seconds of sampling and of the rest, and the steps."""
    found: dict[tuple[str, str], Spent] = {}
    with closing(connect(folder)) as log:
        by_course = "SELECT curriculum, count(*) FROM training GROUP BY ALL ORDER BY ALL"
        rollouts = log.execute(by_course).fetchall()
        sampling, whole, steps = log.execute(CLOCK).fetchone() or (None, None, 0)
        for course, count in rollouts:
            found[course, ROLLOUT] = _taken(count, log, course)
    for course, _ in rollouts:
        school = folder / "school" / course
        if _logged(school):
            with closing(connect(school)) as log:
                (worked,) = log.execute(WORKED).fetchone() or (0,)
                if worked:
                    found[course, HISTORY] = _taken(worked, log)
        place = folder / "held-out" / course
        sides = [one for one in (place, *sorted(place.glob("*"))) if _logged(one)]
        if sides and held_out:
            parts = []
            for one in sides:
                with closing(connect(one)) as log:
                    parts.append(_taken(held_out, log))
            # Each world is met by parent and child.
            found[course, HELD_OUT] = replace(together(parts), units=held_out)
    seconds = float(sampling or 0.0)
    return found, seconds, max(0.0, float(whole or 0.0) - seconds), int(steps)


def _logged(run: Path) -> bool:
    return next((run / "steps").glob("**/*.parquet"), None) is not None


def _taken(units: int, log: duckdb.DuckDBPyConnection, course: str | None = None) -> Spent:
    """Return what the steps of `log` took, those of a curriculum alone where one is named."""
    of, only = ("steps", []) if course is None else (f"{ASKED} WHERE arm = ?", [course])
    counts = log.execute(TAKEN + of, only).fetchone() or (0, 0, 0)
    return Spent(units, *map(int, counts))
