"""What plans of runs and of trainings have in common: their points, engines, and words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from lineage import compose
from lineage.commands.flags import Asked
from lineage.core.config import Config, RunConfig
from lineage.core.config_engine import OPENAI, CheckpointConfig
from lineage.core.errors import LineageError
from lineage.report.headline import engine_words
from lineage.report.sheet import NOT_COMPUTED, Sheet

if TYPE_CHECKING:
    from lineage.commands.sweeping import Kind
    from lineage.runs.forecast import EnginePlan

FLEET = "fleet"
"""The launcher whose points share engines."""
GIB = 2**30
TIMES = (("hours", 3600.0, 2.0), ("minutes", 60.0, 2.0), ("seconds", 1.0, 0.0))
"""Units of time, each with its seconds and with how many of it there are at least."""
MANY = 10
"""So many hours are said without a decimal."""
FEW = 3
"""So many settings that differ are named."""


class Told(Protocol):
    """What is asked of an earlier run or training here."""

    @property
    def here(self) -> bool: ...
    @property
    def device(self) -> str: ...
    @property
    def dtype(self) -> str: ...


class Forecast(Protocol):
    """What is asked of the forecast of a run or a training here."""

    @property
    def source(self) -> str: ...
    @property
    def timed(self) -> str: ...


F = TypeVar("F", bound=Forecast)
K = TypeVar("K")


@dataclass(frozen=True)
class Points:
    """What is planned: the overrides of each point, and its configuration.

    `apart`: each starts engines of its own.
    """

    overrides: tuple[tuple[str, ...], ...]
    configs: tuple[Config, ...]
    apart: bool = False


def points_of(asked: Asked, kind: Kind) -> Points:
    """Return the points that are `asked` for; raises LineageError where one could not be composed,
    or where nobody knows them beforehand.
    """
    from lineage.commands.sweeping import wanted

    if not asked.multirun:
        if asked.of_hydra:
            # Only Hydra knows what of its own node is wrong.
            compose.composed_by_hydra(asked.overrides, asked.name, hydra=True)
        return Points((asked.of_task,), (compose.load(asked.overrides, name=asked.name),))
    found = wanted(asked, kind)
    if not found.points:
        raise LineageError(
            f"hydra/sweeper={found.chosen('hydra/sweeper')} chooses its points as it goes on: plan "
            "one of them, without -m and with one value a key"
        )
    apart = not kind.together or found.chosen("hydra/launcher") != FLEET
    return Points(tuple(one.overrides for one in found.points), found.configs, apart)


def engine_plan(
    one: EnginePlan, cache: Path, device: str, dtype: str, apart: bool
) -> dict[str, Any]:
    """Return what is known of an engine before it starts; `device` and `dtype` are those of an
    earlier run on such a machine. `apart`: each point starts it anew.
    """
    from lineage.models.profile import memory
    from lineage.models.together import BYTES

    vllm = one.settings["vllm"] if one.kind == "vllm" else None
    wanted = str(vllm["dtype"]) if vllm else ""
    precision = wanted if wanted in BYTES else dtype
    return {
        "kind": one.kind,
        "checkpoint": one.checkpoint.path or one.checkpoint.kind,
        "versions": list(one.versions),
        "points": list(one.points),
        "replicas": one.replicas,
        "least": one.least,
        "started": one.replicas * (len(one.points) if apart else 1),
        **weights_of(one.checkpoint if vllm else None, cache, precision),
        "cpu_kv_cache_bytes": vllm["cpu_kv_cache_gib"] * GIB if vllm and device != "gpu" else None,
        "gpu_share": memory(vllm["gpu_memory_utilization"], vllm["gpus"])
        if vllm and device != "cpu"
        else None,
        "tensor_parallel": vllm["tensor_parallel"] if vllm else None,
        "pipeline_parallel": vllm["pipeline_parallel"] if vllm else None,
    }


def weights_of(checkpoint: CheckpointConfig | None, cache: Path, precision: str) -> dict[str, Any]:
    """Return how many weights a checkpoint has, and their bytes so; null is what is not known."""
    from lineage.models.checkpoint import weights_in
    from lineage.models.together import BYTES

    weights = weights_in(checkpoint, cache) if checkpoint is not None else None
    known = weights is not None and precision in BYTES
    return {
        "weights": weights,
        "precision": precision or None,
        "weight_bytes": weights * BYTES[precision] if weights is not None and known else None,
    }


def engine_sheet(document: Mapping[str, Any], title: str) -> Sheet:
    """Return the table of the engines of a plan: a row each, with its memory."""
    head = ("engine", "versions", "points", "started", "weights", "KV cache", "requests")
    rows = [_engine_row(one, len(document["points"])) for one in document["engines"]]
    note = "memory of each that is started; GPU: the share that it takes, weights and cache; "
    note += "requests: at least, one an episode and probe"
    return Sheet(title, head, tuple(rows), note, left=3)


def _engine_row(one: Mapping[str, Any], points: int) -> tuple[str, ...]:
    size = NOT_COMPUTED
    if one["weight_bytes"] is not None:
        size = f"{one['weight_bytes'] / GIB:.2f} GiB ({one['precision']})"
    elif one["weights"] is not None:
        size = f"{one['weights']:,} weights"
    kinds = []
    if one["cpu_kv_cache_bytes"] is not None:
        kinds.append(f"{one['cpu_kv_cache_bytes'] / GIB:.0f} GiB on a CPU")
    if one["gpu_share"] is not None:
        gpus = many(one["tensor_parallel"] * one["pipeline_parallel"], "GPU")
        kinds.append(f"{one['gpu_share']:.0%} of {gpus}")
    whole = len(one["points"]) == points
    among = "all" if whole else ", ".join(map(str, one["points"]))
    cache = " or ".join(kinds) or NOT_COMPUTED
    name = f"{one['kind']} {one['checkpoint']}"
    names = ", ".join(one["versions"])
    return (name, names, among, number(one["started"]), size, cache, number(one["least"]))


def orders(
    engines: Sequence[EnginePlan], cache: Path, device: str, dtype: str, apart: bool
) -> list[dict[str, Any]]:
    """Return how engines serve that are needed at one time, where there are several.

    `device`, `dtype` and `apart` as for `engine_plan`. Raises LineageError where they cannot.
    """
    from lineage.models.together import on_cpu

    sets: dict[str, dict[CheckpointConfig, Sequence[str]]] = {}
    configs = {}
    for one in engines if device != "gpu" else ():
        if one.kind == OPENAI:
            continue
        for point in one.points if apart else one.points[:1]:
            name = f"{point if apart else ''} {one.settings}"
            sets.setdefault(name, {})[one.checkpoint] = one.versions
            configs[name] = one.config
    found = (on_cpu(configs[name], served, cache, dtype) for name, served in sets.items())
    return [{**asdict(one), "said": str(one)} for one in dict.fromkeys(found) if one is not None]


def first_cells(points: Sequence[Mapping[str, Any]], plain: str) -> list[str]:
    """Return what each point is called in a table: of a sweep by what its points do not share."""
    shared = set.intersection(*(set(one["overrides"]) for one in points)) if points[1:] else set()
    found = []
    for place, one in enumerate(points):
        own = " ".join(text for text in one["overrides"] if text not in shared)
        found.append(f"{place}  {own}" if points[1:] else own or plain)
    return found


def machine_of(known: Iterable[Iterable[Told | None]]) -> tuple[str, str]:
    """Return device and precision of the first of the earlier runs `known` that was on a machine of
    this kind; "" where none was.
    """
    here = next((one for kin in known for one in kin if one is not None and one.here), None)
    return (here.device, here.dtype) if here else ("", "")


def costs(found: Sequence[Forecast], run: RunConfig) -> dict[str, Any]:
    """Return what `found` cost by the prices of `run`, and whether it has any."""
    from lineage.runs.forecast import price

    hour, tokens = run.price_hour, run.price_million_tokens
    listed = any(getattr(one, "priced", False) for one in found)
    priced = hour is not None or tokens is not None or listed
    listed_alone = listed and hour is None and tokens is None
    return {
        "cost": price(found, hour, tokens),
        "priced": priced,
        "currency": "USD" if listed_alone else None,
    }


def kind_of(configs: Sequence[Config]) -> str | None:
    """Return the kind of engine of all `configs`; None where they have several."""
    kinds = {one.engine.kind for one in configs}
    return next(iter(kinds)) if len(kinds) == 1 else None


def served_by(document: Mapping[str, Any]) -> str:
    """Return in words what serves all points of a plan."""
    return engine_words(document["engine"]) if document["engine"] else "several engines"


def engine_starts(whole: Mapping[str, Any]) -> str:
    """Return in words how many engines are started."""
    starts = whole["engine_starts"]
    return many(starts, "engine start") if starts else "no engine to start"


def answered(size: str, whole: Mapping[str, Any], found: Sequence[Forecast]) -> str:
    """Return `size` with what told it, how long that takes by what, its cost, and its engines."""
    sources = list(dict.fromkeys(one.source for one in found))
    timers = list(dict.fromkeys(one.timed for one in found))
    if whole["seconds"] is None:
        said = f"{size} (from {named(sources)}); how long is n/a"
    else:
        first = size if timers == sources else f"{size} (from {named(sources)})"
        here = f"{duration(whole['seconds'])} on this kind of machine (from {named(timers)})"
        said = f"{first} and {here}"
    if whole["cost"] is not None:
        currency = f" {whole['currency']}" if whole["currency"] else ""
        said += f", for about {whole['cost']:,.2f}{currency}"
    return f"{said}; {engine_starts(whole)}"


def told_alike(found: Sequence[F], key: Callable[[F], K]) -> Iterator[tuple[F, str]]:
    """Yield of those of `found` that an earlier run tells one of each `key`, beside the words that
    say for which points it stands, "" for all.
    """
    points = defaultdict[K, list[int]](list)
    for place, one in enumerate(found):
        if one.source:
            points[key(one)].append(place)
    for among in points.values():
        places = f"{'point' if len(among) == 1 else 'points'} {', '.join(map(str, among))}"
        yield found[among[0]], "" if len(among) == len(found) else f" ({places})"


def cost_notes(whole: Mapping[str, Any]) -> list[str]:
    """Return why a cost is not known, where it is not."""
    if not whole["priced"]:
        return ["cost n/a: set run.price_hour or run.price_million_tokens"]
    if whole["cost"] is None:
        free = "; a run of it with engine=surrogate, which is free, would tell"
        return [f"cost n/a: what it is a price of is not known{free if whole['currency'] else ''}"]
    if whole["currency"]:
        return ["cost: by the price list in conf/model/; a provider's cache makes it less"]
    return []


def differing(keys: Sequence[str]) -> str:
    """Return in words which settings of an earlier run are others."""
    if not keys:
        return "its settings are the same"
    few = ", ".join(keys[:FEW]) + (" and others" if len(keys) > FEW else "")
    are = "one of its settings is" if len(keys) == 1 else f"{len(keys)} of its settings are"
    return f"{are} other: {few}"


def rough(value: float) -> int:
    """Return `value` to two digits, as it is known no better."""
    whole = round(value)
    return round(whole, 2 - len(str(abs(whole)))) if abs(whole) >= 100 else whole


def duration(seconds: float) -> str:
    """Return "41 minutes", in the largest unit of which there are some."""
    name, size, _ = next(one for one in TIMES if seconds >= one[1] * one[2])
    count = seconds / size
    if count < MANY and name == "hours":
        return f"{count:.1f} {name}"
    return f"{round(count):,} {name}" if round(count) > 1 else "a second"


def number(value: int | None) -> str:
    """Return a count, or that it is not known."""
    return NOT_COMPUTED if value is None else f"{value:,}"


def many(count: int, what: str) -> str:
    """Return "one engine", "3 engines"."""
    words = {1: "one"}.get(count, f"{count:,}")
    return f"{words} {what}{'' if count == 1 else 's'}"


def named(folders: Sequence[str]) -> str:
    """Return the folders, or the first of them with how many more."""
    first, *more = folders
    return f"{first} and {many(len(more), 'other')}" if more else first
