"""What runs will take, before they start: counted where it can be, else told by an earlier run.

Pure: earlier runs are read by `lineage.runs.earlier`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lineage.core.config import Config
from lineage.core.config_engine import OPENAI, CheckpointConfig, EngineConfig
from lineage.core.curriculum import Plan, plans
from lineage.models.factory import behind_api
from lineage.models.purse import MILLION, usd
from lineage.models.versions import lookup, registry
from lineage.runs.plan import Job

UNITS = GENERATION, EPISODE, PROBE = ("generation", "episode", "probe")
"""What costs are told by: a migration, an episode with its share of the handoff, a probe."""
HOUR = 3600


@dataclass(frozen=True)
class Spent:
    """What so many `units` of one kind took together in one arm."""

    units: int
    completions: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Earlier:
    """A finished run that tells what another one takes.

    `spent` goes by arm and unit. `seconds` are worked ones, None where nobody timed them all.
    `differs` are the settings that are not those of the run to come, but how much is run. `here`:
    whether it was on a machine of this kind. `others` is the share of that which other work took.
    """

    folder: str
    generations: int
    spent: Mapping[tuple[str, str], Spent]
    seconds: float | None = None
    differs: tuple[str, ...] = ()
    here: bool = False
    others: float | None = None
    device: str = ""
    dtype: str = ""


@dataclass(frozen=True)
class Forecast:
    """What one point will take.

    `episodes`, `probes` and `generations` are of all lineages. `least` is the number of completions
    that there are at any rate, one an episode and probe. What follows is told by the run `source`
    with its `n` generations, and None where there is none; `seconds` by `timed`, which was on a
    machine of this kind. `guessed` are the arms that `source` has not: they are taken for its mean.
    `priced`: versions behind an API have a price, all of them; `usd` is what they cost by that.
    """

    overrides: tuple[str, ...]
    lineages: int
    arms: tuple[str, ...]
    generations: int
    episodes: int
    probes: int
    least: int
    completions: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    source: str = ""
    n: int = 0
    differs: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    seconds: float | None = None
    timed: str = ""
    others: float | None = None
    priced: bool = False
    usd: float | None = None


@dataclass(frozen=True)
class EnginePlan:
    """One checkpoint with the versions that it serves, for the points of these numbers.

    `least` is the number of completions that these ask it for at any rate.
    """

    kind: str
    checkpoint: CheckpointConfig
    versions: tuple[str, ...]
    points: tuple[int, ...]
    replicas: int
    config: EngineConfig
    least: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the engine as plain values."""
        return asdict(self.config)


def forecast(
    job: Job, overrides: Sequence[str], earlier: Earlier | None, timed: Earlier | None
) -> Forecast:
    """Return what `job` will take, by what `earlier` took, and `timed` on such a machine."""
    arms = tuple(arm.name for arm in job.arms)
    units, lessons = _units(job)
    whole = {name: count * len(arms) for name, count in units.items()}
    counted = Forecast(
        overrides=tuple(overrides),
        lineages=len(job.start.pairs) * len(arms),
        arms=arms,
        generations=job.places,
        episodes=whole[EPISODE],
        probes=whole[PROBE],
        least=whole[EPISODE] + whole[PROBE] - lessons * len(arms),
        priced=any(job.config.model.versions[name].price for name in remote_of(job)),
    )
    if earlier is None:
        return counted
    completions, prompt, completion = _scaled(units, arms, earlier)
    seconds = None
    if timed is not None and timed.seconds is not None:
        # By what was written: reading is cheap beside it, and mostly cached.
        wrote = sum(one.completion_tokens for one in timed.spent.values())
        seconds = timed.seconds * _scaled(units, arms, timed)[2] / max(wrote, 1)
    known = {arm for arm, _ in earlier.spent}
    return replace(
        counted,
        completions=round(completions),
        prompt_tokens=round(prompt),
        completion_tokens=round(completion),
        source=earlier.folder,
        n=earlier.generations,
        differs=earlier.differs,
        guessed=tuple(arm for arm in arms if arm not in known),
        usd=spending(job, earlier) if counted.priced else None,
        seconds=seconds,
        timed=timed.folder if timed is not None and seconds is not None else "",
        others=timed.others if timed is not None and seconds is not None else None,
    )


def least_of(job: Job) -> dict[str, int]:
    """Return by version how many episodes and probes it answers: each is a completion or more."""
    made, times = _planned(job)
    found = dict.fromkeys(job.versions, 0)
    for generation, plan in made:
        asked = sum(not one.task.lesson for one in plan.work) + len(plan.probes)
        for arm in job.arms:
            version = arm.versions[generation]
            found[version] = found.get(version, 0) + asked * times
    return found


def remote_of(job: Job) -> frozenset[str]:
    """Return the versions of `job` that are behind an API."""
    return behind_api(job.config) & {*job.versions}


def spending(job: Job, earlier: Earlier) -> float | None:
    """Return what the versions of `job` behind an API cost in USD, by their prices.

    As much as `earlier` took, arm by arm; None where one of them has no price. Judges are left out.
    """
    whole, remote = 0.0, remote_of(job)
    made, times = _planned(job)
    counts: Counter[tuple[str, str, str]] = Counter()
    for arm in job.arms:
        for generation, plan in made:
            key = arm.name, arm.versions[generation]
            units = {GENERATION: 1, EPISODE: len(plan.work), PROBE: len(plan.probes)}
            counts.update({(*key, unit): count * times for unit, count in units.items()})
    for (name, version, unit), count in counts.items():
        if version not in remote:
            continue
        price = job.config.model.versions[version].price
        if price is None:
            return None
        spent = earlier.spent.get((name, unit)) or _mean(earlier, name, unit)
        _, prompt, completion = scaled([(count, spent)])
        whole += usd(price, prompt, completion)
    return whole


def _units(job: Job) -> tuple[dict[str, int], int]:
    """Return how many of each unit one arm has, and how many of its episodes are only read."""
    made, times = _planned(job)
    lessons = sum(one.task.lesson for _, plan in made for one in plan.work)
    units = {
        GENERATION: len(made) * times,
        EPISODE: sum(len(plan.work) for _, plan in made) * times,
        PROBE: sum(len(plan.probes) for _, plan in made) * times,
    }
    return units, lessons * times


def _planned(job: Job) -> tuple[list[tuple[int, Plan]], int]:
    """Return what each generation of the pairs that tell all others will do, with its number, and
    for how many pairs each of these stands.
    """
    length = len(job.config.schedule.versions)
    made = (plans(job.suite, job.config.experiment, length, pair) for pair in job.telling)
    first = job.start.generation
    found = [one for of_pair in made for one in enumerate(of_pair[first:], first)]
    return found, len(job.start.pairs) // len(job.telling)


def _scaled(
    units: Mapping[str, int], arms: Sequence[str], earlier: Earlier
) -> tuple[float, float, float]:
    """Return completions, prompt and completion tokens of `units` in each of `arms`."""
    return scaled(
        (count, earlier.spent.get((arm, unit)) or _mean(earlier, arm, unit))
        for arm in arms
        for unit, count in units.items()
    )


def _mean(earlier: Earlier, arm: str, unit: str) -> Spent | None:
    """Return what all arms together took, for one that `earlier` has not."""
    if any(known == arm for known, _ in earlier.spent):
        return None
    return together([one for (_, name), one in earlier.spent.items() if name == unit])


def scaled(counts: Iterable[tuple[int, Spent | None]]) -> tuple[float, float, float]:
    """Return completions, prompt and completion tokens of so many units of each kind, as what is
    beside the count took them; a kind of which nothing is known adds none.
    """
    whole = [0.0, 0.0, 0.0]
    for count, found in counts:
        if found is None or not found.units:
            continue
        taken = (found.completions, found.prompt_tokens, found.completion_tokens)
        whole = [sofar + count * one / found.units for sofar, one in zip(whole, taken, strict=True)]
    return whole[0], whole[1], whole[2]


def together(among: Sequence[Spent]) -> Spent:
    """Return what `among` took together."""
    return Spent(
        sum(one.units for one in among),
        sum(one.completions for one in among),
        sum(one.prompt_tokens for one in among),
        sum(one.completion_tokens for one in among),
    )


def engines(
    served: Sequence[tuple[Config, Sequence[str]]], least: Sequence[Mapping[str, int]] = ()
) -> tuple[EnginePlan, ...]:
    """Return the engines that serve all points: one a checkpoint and set of engine settings.

    Each point is its configuration with the versions that it needs; `least` has for each of them
    what `least_of` returns, where that is known. A stand-in that is not hosted is no engine to
    start.
    """
    found: dict[tuple[str, CheckpointConfig], tuple[Config, dict[str, None], list[int]]] = {}
    for number, (config, needed) in enumerate(served):
        engine = config.engine
        if engine.kind == "surrogate" and not engine.hosted:
            continue
        settings = json.dumps([asdict(engine), config.run.ray_address], sort_keys=True)
        known = registry(config.model)
        for name in needed:
            key = settings, lookup(known, name).checkpoint
            _, versions, points = found.setdefault(key, (config, {}, []))
            versions[name] = None
            if number not in points:
                points.append(number)
    return tuple(
        EnginePlan(
            kind=OPENAI if {*versions} <= behind_api(config) else config.engine.kind,
            checkpoint=checkpoint,
            versions=tuple(versions),
            points=tuple(points),
            # What is behind an API is there already.
            replicas=0 if {*versions} <= behind_api(config) else config.engine.bounds.max,
            config=config.engine,
            least=sum(least[point].get(name, 0) for point in points for name in versions)
            if least
            else None,
        )
        for (_, checkpoint), (config, versions, points) in found.items()
    )


def price(
    forecasts: Sequence[object], an_hour: float | None, a_million_tokens: float | None
) -> float | None:
    """Return what it costs by the price of an hour and of a million tokens, read or written.

    And what versions behind an API cost by their own, in USD, beside any of the others.

    None where there is no price, or where what it is a price of is not known.
    """
    whole, tokens = total(forecasts, "seconds"), _tokens(forecasts)
    parts = []
    if an_hour is not None:
        parts.append(None if whole is None else whole / HOUR * an_hour)
    if a_million_tokens is not None:
        parts.append(None if tokens is None else tokens / MILLION * a_million_tokens)
    if any(getattr(one, "priced", False) for one in forecasts):
        parts.append(total(forecasts, "usd"))
    known = [one for one in parts if one is not None]
    return sum(known) if parts and len(known) == len(parts) else None


def total(forecasts: Sequence[object], name: str) -> Any:
    """Return the sum of `name` over `forecasts`; None where one does not know it."""
    values = [getattr(one, name) for one in forecasts]
    return None if None in values else sum(values)


def _tokens(forecasts: Sequence[object]) -> int | None:
    prompt, completion = (total(forecasts, f"{name}_tokens") for name in ("prompt", "completion"))
    return None if prompt is None or completion is None else int(prompt + completion)
