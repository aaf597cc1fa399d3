"""What `lineage plan --train` says of trainings: how much, how long, on which engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lineage.commands.plan_parts import (
    Points,
    answered,
    cost_notes,
    costs,
    differing,
    duration,
    engine_plan,
    engine_sheet,
    engine_starts,
    first_cells,
    kind_of,
    machine_of,
    many,
    number,
    rough,
    served_by,
    told_alike,
    weights_of,
)
from lineage.commands.train import with_log
from lineage.core.config import Config
from lineage.models import shelves
from lineage.models.versions import lookup, registry
from lineage.report.headline import STAND_IN
from lineage.report.sheet import NOT_COMPUTED, Sheet
from lineage.runs.earlier import finished
from lineage.runs.folder import root_of
from lineage.runs.forecast import engines, total
from lineage.training.earlier import telling
from lineage.training.forecast import Forecast, forecast
from lineage.training.run import check

COUNTS = ("steps", "groups", "rollouts", "episodes", "held_out")
TAKEN = ("completions", "prompt_tokens", "completion_tokens", "seconds")
TRAINER = "trainer"
"""What learns, beside the engines: it holds the base weights a second time."""


def reckoned(points: Points) -> dict[str, Any]:
    """Return what trainings will take, as `--json` prints it.

    `answer`, a dict a point, `engines` and trainers, `total`, `notes`. Null is what is not known.
    Raises LineageError where one of them could not work.
    """
    configs = [with_log(config) for config in points.configs]
    needed = [check(config) for config in configs]
    run = configs[0].run
    earlier = finished(root_of(run), trainings=True)
    known = [telling(config, earlier) for config in configs]
    found = [
        forecast(config, point, *kin)
        for config, point, kin in zip(configs, points.overrides, known, strict=True)
    ]
    device, dtype = machine_of(known)
    # Trainings go on in turn: each needs its engine for itself.
    started = engines(list(zip(configs, needed, strict=True)))
    learning = [one for one in started if one.kind != STAND_IN][:1]
    cache = Path(run.cache_folder)
    serving = [engine_plan(one, cache, device, dtype, apart=True) for one in started]
    whole = {name: total(found, name) for name in (*COUNTS, *TAKEN)}
    whole |= {"points": len(found), **costs(found, run)}
    whole["engine_starts"] = sum(one["started"] for one in serving)
    return {
        "answer": _answer(whole, found),
        "engine": kind_of(configs),
        "points": [asdict(one) for one in found],
        "engines": [*serving, *(_trainer(configs, cache) for _ in learning)],
        "total": whole,
        "notes": _notes(whole, found, configs),
    }


def _trainer(configs: Sequence[Config], cache: Path) -> dict[str, Any]:
    """Return what is known of what learns, of which each training starts its own."""
    from lineage.models.together import BYTES

    first = configs[0]
    parent = lookup(registry(first.model), first.train.parent)
    dtype = str(first.method.dtype)
    workers = [config.train.workers for config in configs]
    return {
        "kind": TRAINER,
        "checkpoint": parent.checkpoint.path or parent.checkpoint.kind,
        "versions": list(dict.fromkeys(config.train.name for config in configs)),
        "points": list(range(len(configs))),
        "replicas": first.train.workers,
        "started": None if None in workers else sum(one or 0 for one in workers),
        **weights_of(parent.checkpoint, cache, dtype if dtype in BYTES else ""),
        "least": None,
        "cpu_kv_cache_bytes": None,
        "gpu_share": None,
        "tensor_parallel": None,
        "pipeline_parallel": None,
    }


def _answer(whole: dict[str, Any], found: Sequence[Forecast]) -> str:
    """Return in a sentence how much, how long, on which engines, and at what cost."""
    counts = (many(whole[name], name[:-1]) for name in ("steps", "groups", "rollouts"))
    size = ", ".join((many(whole["points"], "training"), *counts))
    if whole["completions"] is None:
        lacking = "how many tokens and how long is n/a without an earlier training"
        return f"{size}; {lacking}; {engine_starts(whole)}"
    tokens = rough(whole["prompt_tokens"] + whole["completion_tokens"])
    size = f"{size}, about {rough(whole['completions']):,} completions, {tokens:,} tokens"
    return answered(size, whole, found)


def _notes(
    whole: dict[str, Any], found: Sequence[Forecast], configs: Sequence[Config]
) -> list[str]:
    """Return where the figures come from, and what is not among them."""
    notes, root = [], configs[0].run.root
    for config in configs:
        name = config.train.name
        if config.engine.kind != STAND_IN and name in shelves.of(config).names():
            notes.append(f"{name} is on the shelf already: choose another train.name")
    if any(one.completions is None for one in found):
        notes.append(
            f"n/a: {root} has no finished training of the same parent, method, suite and kind of "
            "engine"
        )
    alike = told_alike(
        found, lambda one: (one.source, one.n, one.differs, one.guessed, one.lacking)
    )
    for one, which in alike:
        text = f"from {one.source}{which}: n = {many(one.n, 'step')}, by curriculum, scaled by "
        text += f"episodes, rollouts and held-out worlds; {differing(one.differs)}"
        if one.guessed:
            text += f"; it has no {', '.join(one.guessed)}: the mean of its curricula stands for "
            text += "that"
        if one.lacking:
            text += f"; it had no {', '.join(one.lacking)}: those are not among the figures"
        notes.append(text)
    for folder in dict.fromkeys(one.timed for one in found if one.timed):
        notes.append(
            f"time: all is written as fast as the rollouts of {folder}, and learnt in their "
            "number; an engine's start and the report come on top"
        )
    if whole["completions"] is not None and whole["seconds"] is None:
        notes.append(f"time n/a: no such training in {root} was on this kind of machine")
    return list(dict.fromkeys(notes)) + cost_notes(whole)


def sheets(document: dict[str, Any]) -> list[Sheet]:
    """Return the tables of what `reckoned` returns: a row a training, then engines and trainers."""
    head = (
        *("training", "steps", "groups", "rollouts", "episodes", "held-out worlds"),
        *("completions", "prompt tokens", "written tokens", "time"),
    )
    points = document["points"]
    names = first_cells(points, "the default training")
    rows = [(name, *_cells(one)) for name, one in zip(names, points, strict=True)]
    if len(rows) > 1:
        rows.append(("all", *_cells(document["total"])))
    note = "groups, rollouts: of all steps; episodes: that the parent works before, for histories"
    found = [Sheet(f"what will be trained, on {served_by(document)}", head, tuple(rows), note)]
    if document["engines"]:
        found.append(engine_sheet(document, "engines and trainers that are started"))
    return found


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    tokens = (number(one[name]) for name in TAKEN[:3])
    time = NOT_COMPUTED if one["seconds"] is None else duration(one["seconds"])
    return (*(f"{one[name]:,}" for name in COUNTS), *tokens, time)
