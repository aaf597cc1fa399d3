"""`lineage plan`: what a run or a sweep will take, before anything starts."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from lineage import compose
from lineage.commands import Commands, add_command
from lineage.commands.overrides import add_overrides, sweep
from lineage.core.console import busy
from lineage.core.text import one_line, say, say_json, unfolded
from lineage.report.headline import engine_words
from lineage.report.sheet import NOT_COMPUTED, Sheet
from lineage.report.terminal import show_sheet

if TYPE_CHECKING:
    from lineage.runs.forecast import EnginePlan, Forecast

EXAMPLES = """\
examples:
  lineage plan                                  the default run: how much, how long, what engine
  lineage plan -m suite.drift=0,0.1,0.2         a sweep, point by point
  lineage plan run.price_hour=2.5               with what it costs on a machine of that price
  lineage plan -m suite.drift=0,0.1 --json | jq .total.seconds
"""
GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 2}
"""Of a weight, by precision."""
TIMES = (("hours", 3600.0, 2.0), ("minutes", 60.0, 2.0), ("seconds", 1.0, 0.0))
"""Units of time, each with its seconds and with how many of it there are at least."""
MANY = 10
"""So many hours are said without a decimal."""
BUSY = 0.1
"""Share of the machine that other work took, from which on it is said."""
FEW = 3
"""So many settings that differ are named."""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "say what a run or a sweep will take, before anything starts"
    plan = add_command(commands, "plan", what, EXAMPLES)
    add_overrides(plan)
    plan.add_argument("-m", "--multirun", action="store_true", help="sweep values given as a,b,c")
    plan.add_argument("--json", action="store_true", help="one JSON document")
    plan.set_defaults(command=_plan)


def _plan(options: argparse.Namespace, console: Console) -> None:
    points = sweep(options.overrides) if options.multirun else [list(options.overrides)]
    with busy(console, "checking the configurations and reading earlier runs"):
        document = reckoned(points)
    if options.json:
        say_json(console, document)
        return
    say(console, Text(one_line(document["answer"]), "bold"))
    unfolded(console)
    for sheet in _sheets(document):
        show_sheet(sheet, console)
    console.print()
    for note in document["notes"]:
        say(console, Text(one_line(note), "dim"))


def reckoned(points: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return what the runs of these override lists will take, as `--json` prints it.

    `answer`, a dict a point, `engines`, `total`, `notes`. Null is what is not known. Raises
    LineageError where one of them could not work.
    """
    from lineage.models.factory import check_kind
    from lineage.runs.earlier import finished, telling
    from lineage.runs.forecast import engines, forecast, price
    from lineage.runs.plan import prepare

    jobs = []
    for point in points:
        config = compose.load(point)
        check_kind(config)
        jobs.append(prepare(config))
    run = jobs[0].config.run
    earlier = finished(Path(run.root))
    known = [telling(job, earlier) for job in jobs]
    found = [
        forecast(job, point, *kin) for job, point, kin in zip(jobs, points, known, strict=True)
    ]
    here = [one for kin in known for one in kin if one is not None and one.here]
    served = (
        {"device": "", "dtype": ""}
        if not here
        else {"device": here[0].device, "dtype": here[0].dtype}
    )
    serving = [_engine(one, Path(run.cache), **served) for one in engines(jobs)]
    cost = price(found, run.price_hour, run.price_million_tokens)
    priced = run.price_hour is not None or run.price_million_tokens is not None
    whole = {**_total(found), "cost": cost, "priced": priced}
    whole["engine_starts"] = sum(one["replicas"] for one in serving)
    kind = jobs[0].config.engine.kind
    return {
        "answer": _answer(whole, found),
        "engine": kind if len({job.config.engine.kind for job in jobs}) == 1 else None,
        "points": [asdict(one) for one in found],
        "engines": serving,
        "total": whole,
        "notes": _notes(whole, found, run.root),
    }


def _total(found: Sequence[Forecast]) -> dict[str, Any]:
    from lineage.runs.forecast import total

    names = (
        *("lineages", "generations", "episodes", "probes", "least"),
        *("completions", "prompt_tokens", "completion_tokens", "seconds"),
    )
    return {"points": len(found), **{name: total(found, name) for name in names}}


def _engine(one: EnginePlan, cache: Path, device: str, dtype: str) -> dict[str, Any]:
    """Return what is known of an engine before it starts; `device` and `dtype` are those of an
    earlier run on such a machine.
    """
    from lineage.models.checkpoint import weights_in
    from lineage.models.profile import memory

    vllm = one.settings["vllm"] if one.kind == "vllm" else None
    weights = weights_in(one.checkpoint, cache) if vllm else None
    wanted = str(vllm["dtype"]) if vllm else ""
    precision = wanted if wanted in BYTES else dtype
    size = None if weights is None or precision not in BYTES else weights * BYTES[precision]
    return {
        "kind": one.kind,
        "checkpoint": one.checkpoint.path or one.checkpoint.kind,
        "versions": list(one.versions),
        "points": list(one.points),
        "replicas": one.replicas,
        "weights": weights,
        "precision": precision or None,
        "weight_bytes": size,
        "cpu_kv_cache_bytes": vllm["cpu_kv_cache_gib"] * GIB if vllm and device != "gpu" else None,
        "gpu_share": memory(vllm["gpu_memory_utilization"], vllm["gpus"])
        if vllm and device != "cpu"
        else None,
        "tensor_parallel": vllm["tensor_parallel"] if vllm else None,
        "pipeline_parallel": vllm["pipeline_parallel"] if vllm else None,
    }


def _answer(whole: dict[str, Any], found: Sequence[Forecast]) -> str:
    """Return in a sentence how much, how long, on which engines, and at what cost."""
    starts = whole["engine_starts"]
    served = _many(starts, "engine start") if starts else "no engine to start"
    runs = "one run" if whole["points"] == 1 else _many(whole["points"], "point")
    size = f"{runs}, {_many(whole['lineages'], 'lineage')}"
    if whole["completions"] is None:
        most = f"{size}, at least {whole['least']:,} completions"
        return f"{most}; how many more and how long is n/a without an earlier run; {served}"
    said = f"{size}, about {rough(whole['completions']):,} completions"
    sources = list(dict.fromkeys(one.source for one in found))
    timers = list(dict.fromkeys(one.timed for one in found))
    if whole["seconds"] is None:
        said += f" (from {_named(sources)}); how long is n/a"
    elif timers == sources:
        said += (
            f" and {duration(whole['seconds'])} on this kind of machine (from {_named(sources)})"
        )
    else:
        said += f" (from {_named(sources)}) and {duration(whole['seconds'])} on this kind of "
        said += f"machine (from {_named(timers)})"
    if whole["cost"] is not None:
        said += f", for about {whole['cost']:,.2f}"
    return f"{said}; {served}"


def _notes(whole: dict[str, Any], found: Sequence[Forecast], root: str) -> list[str]:
    """Return where the figures come from, and what is not among them."""
    notes = []
    if any(one.completions is None for one in found):
        notes.append(
            f"n/a: {root} has no finished run of the same suite and kind of engine with all these "
            "versions; a completion is one answer of the model, at least one an episode and probe"
        )
    points = defaultdict(list)
    for number, one in enumerate(found):
        if one.source:
            points[one.source, one.n, one.differs, one.guessed].append(number)
    for (source, n, differs, guessed), among in points.items():
        named = f"{'point' if len(among) == 1 else 'points'} {', '.join(map(str, among))}"
        which = "" if len(among) == len(found) else f" ({named})"
        text = f"from {source}{which}: n = {_many(n, 'generation')}, by arm, scaled by episodes, "
        text += f"probes and generations; {_differing(differs)}"
        if guessed:
            text += f"; it has no {', '.join(guessed)}: the mean of its arms stands for that"
        notes.append(text)
    timed = {one.timed: one.others for one in found if one.timed}
    for folder, others in timed.items():
        text = f"time: as fast as {folder} wrote; an engine's start, a training and the report come"
        loaded = others is not None and others >= BUSY
        notes.append(f"{text} on top" + (f"; other work took {others:.0%} then" if loaded else ""))
    if whole["completions"] is not None and whole["seconds"] is None:
        notes.append(f"time n/a: no such run in {root} was on this kind of machine and timed")
    if not whole["priced"]:
        notes.append("cost n/a: set run.price_hour or run.price_million_tokens")
    elif whole["cost"] is None:
        notes.append("cost n/a: what it is a price of is not known")
    return notes


def _differing(keys: Sequence[str]) -> str:
    if not keys:
        return "its settings are the same"
    few = ", ".join(keys[:FEW]) + (" and others" if len(keys) > FEW else "")
    are = "one of its settings is" if len(keys) == 1 else f"{len(keys)} of its settings are"
    return f"{are} other: {few}"


def _sheets(document: dict[str, Any]) -> list[Sheet]:
    head = (
        *("point", "lineages", "arms", "generations", "episodes", "probes"),
        *("completions", "prompt tokens", "written tokens", "time"),
    )
    points = document["points"]
    # Of a sweep only what its points do not share.
    shared = set.intersection(*(set(one["overrides"]) for one in points)) if points[1:] else set()
    rows = []
    for number, one in enumerate(points):
        own = " ".join(text for text in one["overrides"] if text not in shared)
        name = f"{number}  {own}" if points[1:] else own or "the default run"
        rows.append((name, *_cells(one, str(len(one["arms"])))))
    if len(rows) > 1:
        rows.append(("all", *_cells(document["total"], "")))
    served = engine_words(document["engine"]) if document["engine"] else "several engines"
    title = f"what will be run, on {served}"
    sheets = [Sheet(title, head, tuple(rows), "generations, episodes, probes: of all lineages")]
    if document["engines"]:
        of_engine = ("engine", "versions", "points", "started", "weights", "KV cache")
        of = len(document["points"])
        rows = [_engine_row(one, of) for one in document["engines"]]
        note = "memory of each that is started; GPU: the share that it takes, weights and cache"
        sheets.append(Sheet("engines that are started", of_engine, tuple(rows), note, left=3))
    return sheets


def _cells(one: dict[str, Any], arms: str) -> tuple[str, ...]:
    known = one["completions"]
    completions = f"{one['least']:,} or more" if known is None else f"{known:,}"
    counts = (f"{one[name]:,}" for name in ("generations", "episodes", "probes"))
    tokens = (_number(one[name]) for name in ("prompt_tokens", "completion_tokens"))
    time = NOT_COMPUTED if one["seconds"] is None else duration(one["seconds"])
    return (f"{one['lineages']:,}", arms, *counts, completions, *tokens, time)


def _engine_row(one: dict[str, Any], points: int) -> tuple[str, ...]:
    size = NOT_COMPUTED
    if one["weight_bytes"] is not None:
        size = f"{one['weight_bytes'] / GIB:.2f} GiB ({one['precision']})"
    elif one["weights"] is not None:
        size = f"{one['weights']:,} weights"
    kinds = []
    if one["cpu_kv_cache_bytes"] is not None:
        kinds.append(f"{one['cpu_kv_cache_bytes'] / GIB:.0f} GiB on a CPU")
    if one["gpu_share"] is not None:
        gpus = _many(one["tensor_parallel"] * one["pipeline_parallel"], "GPU")
        kinds.append(f"{one['gpu_share']:.0%} of {gpus}")
    whole = len(one["points"]) == points
    among = "all" if whole else ", ".join(map(str, one["points"]))
    cache = " or ".join(kinds) or NOT_COMPUTED
    name = f"{one['kind']} {one['checkpoint']}"
    return (name, ", ".join(one["versions"]), among, str(one["replicas"]), size, cache)


def rough(number: float) -> int:
    """Return `number` to two digits, as it is known no better."""
    whole = round(number)
    return round(whole, 2 - len(str(abs(whole)))) if abs(whole) >= 100 else whole


def duration(seconds: float) -> str:
    """Return "41 minutes", in the largest unit of which there are some."""
    name, size, _ = next(one for one in TIMES if seconds >= one[1] * one[2])
    count = seconds / size
    if count < MANY and name == "hours":
        return f"{count:.1f} {name}"
    return f"{round(count):,} {name}" if round(count) > 1 else "a second"


def _number(value: int | None) -> str:
    return NOT_COMPUTED if value is None else f"{value:,}"


def _many(count: int, what: str) -> str:
    words = {1: "one"}.get(count, f"{count:,}")
    return f"{words} {what}{'' if count == 1 else 's'}"


def _named(folders: Sequence[str]) -> str:
    """Return the folders, or the first of them with how many more."""
    first, *more = folders
    return f"{first} and {_many(len(more), 'other')}" if more else first
