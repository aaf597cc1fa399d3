"""`lineage plan`: what a run, a training or a sweep will take, before anything starts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from lineage.commands import Commands, add_command, run, train
from lineage.commands.flags import Asked, add_flags, planned, show_help
from lineage.commands.foretold import start_told
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
    orders,
    points_of,
    rough,
    served_by,
    told_alike,
)
from lineage.core.console import busy
from lineage.core.text import one_line, say, say_json, unfolded
from lineage.report.sheet import NOT_COMPUTED, Sheet
from lineage.report.terminal import show_sheet

if TYPE_CHECKING:
    from lineage.runs.forecast import Forecast
    from lineage.runs.plan import Job

EXAMPLES = """\
examples:
  lineage plan                                  the default run: how much, how long, what engine
  lineage plan -m suite.drift=0,0.1,0.2         a sweep, point by point
  lineage plan run.price_hour=2.5               with what it costs on a machine of that price
  lineage plan --config-dir mine suite=mine     with a conf folder of your own
  lineage plan --train method=rft               of lineage train: steps, groups, rollouts
  lineage plan -m suite.drift=0,0.1 --json | jq .total.seconds
"""
BUSY = 0.1
"""Share of the machine that other work took, from which on it is said."""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "say what a run, a training or a sweep will take, before anything starts"
    plan = add_command(commands, "plan", what, EXAMPLES, add_help=False)
    plan.add_argument("--train", action="store_true", help="what lineage train would take")
    plan.add_argument("--json", action="store_true", help="one JSON document")
    add_flags(plan, shows=False)
    plan.set_defaults(command=_plan)


def _plan(options: argparse.Namespace, console: Console) -> None:
    if options.help:
        show_help(options)
        return
    asked = planned(options, "lineage train" if options.train else "lineage run")
    with busy(console, "checking the configurations and reading earlier runs"):
        document, sheets = _of_trainings(asked) if options.train else _of_runs(asked)
    if options.json:
        say_json(console, document)
        return
    say(console, Text(one_line(document["answer"]), "bold"))
    unfolded(console)
    for sheet in sheets:
        show_sheet(sheet, console)
    console.print()
    for note in document["notes"]:
        say(console, Text(one_line(note), "dim"))


def _of_runs(asked: Asked) -> tuple[dict[str, Any], list[Sheet]]:
    document = reckoned(points_of(asked, run.kind()))
    return document, _sheets(document)


def _of_trainings(asked: Asked) -> tuple[dict[str, Any], list[Sheet]]:
    from lineage.commands.plan_training import reckoned, sheets

    document = reckoned(points_of(asked, train.kind()))
    return document, sheets(document)


def reckoned(points: Points) -> dict[str, Any]:
    """Return what runs will take, as `--json` prints it.

    `answer`, a dict a point, `engines`, `total`, `notes`. Null is what is not known. Raises
    LineageError where one of them could not work.
    """
    from lineage.runs.earlier import finished, telling
    from lineage.runs.folder import root_of
    from lineage.runs.forecast import engines, forecast, least_of
    from lineage.runs.plan import prepare

    jobs = []
    for config in points.configs:
        if config.schedule.trained:
            from lineage.training.run import check_learning

            check_learning(config)
        jobs.append(prepare(config))
    config = points.configs[0]
    earlier = finished(root_of(config.run))
    known = [telling(job, earlier) for job in jobs]
    found = [
        forecast(job, point, *kin)
        for job, point, kin in zip(jobs, points.overrides, known, strict=True)
    ]
    device, dtype = machine_of(known)
    needed = [(job.config, job.versions) for job in jobs]
    cache = Path(config.run.cache_folder)
    started = engines(needed, [least_of(job) for job in jobs])
    serving = [engine_plan(one, cache, device, dtype, points.apart) for one in started]
    order = orders(started, cache, device, dtype, points.apart)
    whole = _total(found) | costs(found, config.run)
    whole["engine_starts"] = sum(one["started"] for one in serving)
    return {
        "answer": _answer(whole, found),
        "engine": kind_of(points.configs),
        "points": [asdict(one) for one in found],
        "engines": serving,
        "order": order,
        "total": whole,
        "notes": [
            *(one["said"] for one in order),
            *_notes(whole, found, config.run.root),
            *_starts(jobs),
        ],
    }


def _starts(jobs: Sequence[Job]) -> list[str]:
    """Return what becomes of the folders that runs begin with, each said once."""
    told = [start_told(job) for job in jobs]
    said = (line for found, warnings in told for line in (*(f.sentence for f in found), *warnings))
    return list(dict.fromkeys(said))


def _total(found: Sequence[Forecast]) -> dict[str, Any]:
    from lineage.runs.forecast import total

    names = (
        *("lineages", "generations", "episodes", "probes", "least"),
        *("completions", "prompt_tokens", "completion_tokens", "seconds"),
    )
    return {"points": len(found), **{name: total(found, name) for name in names}}


def _answer(whole: dict[str, Any], found: Sequence[Forecast]) -> str:
    """Return in a sentence how much, how long, on which engines, and at what cost."""
    runs = "one run" if whole["points"] == 1 else many(whole["points"], "point")
    size = f"{runs}, {many(whole['lineages'], 'lineage')}"
    if whole["completions"] is None:
        most = f"{size}, at least {whole['least']:,} completions"
        lacking = "how many more and how long is n/a without an earlier run"
        return f"{most}; {lacking}; {engine_starts(whole)}"
    return answered(f"{size}, about {rough(whole['completions']):,} completions", whole, found)


def _notes(whole: dict[str, Any], found: Sequence[Forecast], root: str) -> list[str]:
    """Return where the figures come from, and what is not among them."""
    notes = []
    if any(one.completions is None for one in found):
        notes.append(
            f"n/a: {root} has no finished run of the same suite and kind of engine with all these "
            "versions; a completion is one answer of the model, at least one an episode and probe"
        )
    alike = told_alike(found, lambda one: (one.source, one.n, one.differs, one.guessed))
    for one, which in alike:
        text = f"from {one.source}{which}: n = {many(one.n, 'generation')}, by arm, scaled by "
        text += f"episodes, probes and generations; {differing(one.differs)}"
        if one.guessed:
            text += f"; it has no {', '.join(one.guessed)}: the mean of its arms stands for that"
        notes.append(text)
    timed = {one.timed: one.others for one in found if one.timed}
    for folder, others in timed.items():
        text = f"time: as fast as {folder} wrote; an engine's start, a training and the report come"
        loaded = others is not None and others >= BUSY
        notes.append(f"{text} on top" + (f"; other work took {others:.0%} then" if loaded else ""))
    if whole["completions"] is not None and whole["seconds"] is None:
        notes.append(f"time n/a: no such run in {root} was on this kind of machine and timed")
    return notes + cost_notes(whole)


def _sheets(document: dict[str, Any]) -> list[Sheet]:
    head = (
        *("point", "lineages", "arms", "generations", "episodes", "probes"),
        *("completions", "prompt tokens", "written tokens", "time"),
    )
    points = document["points"]
    names = first_cells(points, "the default run")
    rows = [
        (name, *_cells(one, str(len(one["arms"])))) for name, one in zip(names, points, strict=True)
    ]
    if len(rows) > 1:
        rows.append(("all", *_cells(document["total"], "")))
    title = f"what will be run, on {served_by(document)}"
    sheets = [Sheet(title, head, tuple(rows), "generations, episodes, probes: of all lineages")]
    if document["engines"]:
        sheets.append(engine_sheet(document, "engines that are started"))
    return sheets


def _cells(one: dict[str, Any], arms: str) -> tuple[str, ...]:
    known = one["completions"]
    completions = f"{one['least']:,} or more" if known is None else f"{known:,}"
    counts = (f"{one[name]:,}" for name in ("generations", "episodes", "probes"))
    tokens = (number(one[name]) for name in ("prompt_tokens", "completion_tokens"))
    time = NOT_COMPUTED if one["seconds"] is None else duration(one["seconds"])
    return (f"{one['lineages']:,}", arms, *counts, completions, *tokens, time)
