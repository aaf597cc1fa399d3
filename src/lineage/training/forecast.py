"""What trainings will take, before they start: counted, else told by an earlier one.

Pure: earlier trainings are read by `lineage.training.earlier`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lineage.core.config import Config
from lineage.runs.forecast import Spent, scaled, together
from lineage.training.syllabus import allotted
from lineage.training.values import method_at

UNITS = HISTORY, ROLLOUT, HELD_OUT = ("history", "rollout", "held-out")
"""What costs are told by, in each curriculum: an episode that the parent works before, a rollout
with its probes, a held-out world."""
WORDS = {
    HISTORY: "episodes of the parent",
    ROLLOUT: "rollouts",
    HELD_OUT: "held-out worlds",
}


@dataclass(frozen=True)
class Earlier:
    """A finished training that tells what another one takes.

    `spent` goes by curriculum and unit. Of all `steps` together, `sampling` are the seconds of the
    rollouts and their probes, `learning` those of the rest. `differs` are the settings that are not
    those of the training to come, but how much is trained. `here`: whether it was on a machine of
    this kind.
    """

    folder: str
    steps: int
    spent: Mapping[tuple[str, str], Spent]
    sampling: float = 0.0
    learning: float = 0.0
    differs: tuple[str, ...] = ()
    here: bool = False
    device: str = ""
    dtype: str = ""


@dataclass(frozen=True)
class Forecast:
    """What one training will take.

    `groups` and `rollouts` are of all steps, `episodes` those that the parent works before, for
    their histories, `held_out` the worlds of all curricula. What follows is told by the training
    `source` with its `n` steps, and None where there is none; `seconds` by `timed`, which was on a
    machine of this kind. `guessed` are the curricula that `source` has not: they are taken for its
    mean. `lacking` says in words what it did nothing of, which is not among the figures.
    """

    overrides: tuple[str, ...]
    name: str
    parent: str
    method: str
    curricula: tuple[str, ...]
    steps: int
    groups: int
    rollouts: int
    episodes: int
    held_out: int
    completions: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    source: str = ""
    n: int = 0
    differs: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    seconds: float | None = None
    timed: str = ""


def forecast(
    config: Config, overrides: Sequence[str], earlier: Earlier | None, timed: Earlier | None
) -> Forecast:
    """Return what the training of `config` takes, by `earlier`, and by `timed` how long."""
    train, method = config.train, config.method
    units = units_of(config)
    counted = Forecast(
        overrides=tuple(overrides),
        name=train.name,
        parent=train.parent,
        method=method.kind,
        curricula=tuple(train.curricula),
        steps=method.steps,
        groups=sum(method_at(method, step).groups for step in range(method.steps)),
        rollouts=_sum(units, ROLLOUT),
        episodes=_sum(units, HISTORY),
        held_out=_sum(units, HELD_OUT),
    )
    if earlier is None:
        return counted
    known = {course for course, unit in earlier.spent if unit == ROLLOUT}
    completions, prompt, completion = _scaled(units, earlier)
    return replace(
        counted,
        completions=round(completions),
        prompt_tokens=round(prompt),
        completion_tokens=round(completion),
        source=earlier.folder,
        n=earlier.steps,
        differs=earlier.differs,
        guessed=tuple(course for course in train.curricula if course not in known),
        lacking=tuple(WORDS[one] for one in UNITS if _sum(units, one) and not _mean(earlier, one)),
        seconds=None if timed is None else _seconds(units, timed),
        timed=timed.folder if timed is not None else "",
    )


def units_of(config: Config) -> dict[tuple[str, str], int]:
    """Return how many of each unit a training has, by curriculum and unit."""
    train, method = config.train, config.method
    shares = {name: config.curricula[name].share for name in train.curricula}
    found = {(name, unit): 0 for name in train.curricula for unit in UNITS}
    for step in range(method.steps):
        for name, groups in allotted(method_at(method, step).groups, shares).items():
            found[name, ROLLOUT] += groups * method.group
    for name in train.curricula:
        course = config.curricula[name]
        found[name, HELD_OUT] = train.held_out
        # An ideal library is made of the world's facts, and a log's histories are there.
        if train.log is None and not (course.trains == "episode" and course.library == "ideal"):
            generations = course.generations + train.horizon - 1
            found[name, HISTORY] = train.worlds * generations * train.episodes
    return found


def _sum(units: Mapping[tuple[str, str], int], unit: str) -> int:
    return sum(count for (_, name), count in units.items() if name == unit)


def _scaled(units: Mapping[tuple[str, str], int], earlier: Earlier) -> tuple[float, float, float]:
    """Return completions, prompt and completion tokens of `units`, as `earlier` took them."""
    return scaled(
        (count, earlier.spent.get((course, unit)) or _mean(earlier, unit))
        for (course, unit), count in units.items()
    )


def _mean(earlier: Earlier, unit: str) -> Spent | None:
    """Return what all curricula of `earlier` took for a unit; None where they had none."""
    among = [one for (_, name), one in earlier.spent.items() if name == unit and one.units]
    return together(among) if among else None


def _seconds(units: Mapping[tuple[str, str], int], timed: Earlier) -> float:
    """Return how long it takes: all that is written at the pace of the rollouts, and the learning,
    which goes by their number.
    """
    rollouts = _mean(timed, ROLLOUT)
    if rollouts is None:
        return 0.0
    pace = timed.sampling / max(rollouts.completion_tokens, 1)
    return pace * _scaled(units, timed)[2] + timed.learning / rollouts.units * _sum(units, ROLLOUT)
