"""`lineage show`: a run, one generation of it, one episode step by step; a sweep."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from rich.console import Console

from lineage.commands import Commands, add_command
from lineage.commands.runs import add_run, find_point, find_run
from lineage.commands.train import show_gains
from lineage.core.errors import LineageError
from lineage.core.jsonfile import ODD, what
from lineage.core.text import say_json, unfolded
from lineage.log.held_out import read_gains
from lineage.log.record import require
from lineage.log.sweep import is_sweep

EXAMPLES = """\
examples:
  lineage show runs/latest                  scores, and every lineage by generation
  lineage show runs/latest 2                generation 2: what it inherited, wrote and scored
  lineage show runs/latest 2 w003           an episode of it: prompts, completions, docs
  lineage show runs/latest 2 p000 --arm cold --pair 1 --full
  lineage show runs/latest 4                where that is a training: the alternatives of step 4
  lineage show runs/sweep                   what was swept, its points, what failed
"""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "show a run, one generation of it, or one episode step by step; or a sweep"
    show = add_command(commands, "show", what, EXAMPLES)
    add_run(show)
    show.add_argument(
        "generation", type=int, nargs="?", metavar="GENERATION", help="of a training: the step"
    )
    show.add_argument(
        "episode", nargs="?", metavar="EPISODE", help="w003, p000, h001; a part that is its alone"
    )
    show.add_argument("--arm", metavar="NAME", help="default: inherit, or else the first")
    show.add_argument("--pair", type=int, metavar="N", help="default: the first")
    show.add_argument("--full", action="store_true", help="fold nothing, leave out nothing")
    show.add_argument("--json", action="store_true", help="one JSON document, always in full")
    show.set_defaults(command=_show)


def _show(options: argparse.Namespace, console: Console) -> None:
    # DuckDB and Arrow take a moment to load, which `lineage --help` need not wait for.
    from lineage.inspect.browsing import open_record

    options.run = find_run(options.run)
    if is_sweep(options.run):
        _show_sweep(options, console)
        return
    record, training = open_record(options.run), "training"
    if options.episode is not None:
        _show_episode(options, console)
    elif training in record and options.generation is None:
        _show_training(options, record, console)
    elif training in record:
        _show_step(options, record, console)
    elif options.generation is None:
        _show_run(options, console)
    else:
        _show_generation(options, record, console)


def _show_sweep(options: argparse.Namespace, console: Console) -> None:
    from lineage.inspect.folders import list_sweep
    from lineage.inspect.sweep_text import show_sweep
    from lineage.log.sweep import read_sweep

    run = options.run
    if options.generation is not None or options.arm is not None or options.pair is not None:
        given = "" if options.generation is None else str(options.generation)
        point = find_point(run, given) if given else run / "000"
        raise LineageError(f"{run} is a sweep, whose points are runs: lineage show {point}")
    record = read_sweep(run)
    sweep, *found = list_sweep(run, run.resolve().name)
    points = [one for one in found if one.number is not None and one.folder.count("/") == 1]
    if options.json:
        rows = [asdict(one) for one in points]
        say_json(console, {"sweep": str(run), "record": asdict(record), "points": rows})
        return
    show_sweep(unfolded(console), run, record, sweep, points)


def _show_run(options: argparse.Namespace, console: Console) -> None:
    from lineage.inspect import browsing
    from lineage.inspect.show_text import show_run
    from lineage.log.views.connect import connect

    summary, connection = browsing.current_summary(options.run), connect(options.run)
    of = browsing.matching(browsing.lineages(connection), options.arm, options.pair)
    found = browsing.generations(connection, of)
    if not options.json:
        try:
            show_run(unfolded(console), summary, found, options.full)
        except ODD as error:
            file = options.run / "metrics.json"
            if not file.exists():
                raise
            remedy = f"lineage report {options.run} makes it again"
            raise LineageError(f"{file} is damaged ({what(error)}): {remedy}") from error
        return
    listed = [
        {**asdict(one), "generations": [row for row in found if row["lineage"] == one.name]}
        for one in of
    ]
    say_json(console, {"run": str(options.run), "metrics": summary, "lineages": listed})


def _show_generation(options: argparse.Namespace, record: dict[str, Any], console: Console) -> None:
    from lineage.inspect import browsing
    from lineage.inspect.show_text import show_generation
    from lineage.log.views.connect import connect

    connection, number = connect(options.run), options.generation
    of = browsing.matching(browsing.lineages(connection), options.arm, options.pair)
    browsing.check_generation(connection, of, number)
    found = browsing.generations(connection, of, number)
    # A lineage of a run that goes on may not have come so far.
    there = {row["lineage"]: row for row in found}
    first = next(one for one in of if one.name in there)
    shown = {
        **asdict(first),
        **browsing.knowledge(connection, there[first.name]["knowledge"]),
        "edits": browsing.edits(connection, first, number),
        "episodes": browsing.episodes(connection, first, number),
    }
    if options.json:
        document = {"run": str(options.run), "generation": number}
        say_json(console, {**document, "lineages": found, "shown": shown})
    else:
        require(record, options.run, "schedule", "families")
        _warn(options, record["schedule"], console)
        show_generation(unfolded(console), found, shown, record["families"], options.full)


def _show_episode(options: argparse.Namespace, console: Console) -> None:
    from lineage.inspect import browsing
    from lineage.inspect.episode_text import show_episode
    from lineage.log.views.connect import connect

    connection, number = connect(options.run), options.generation
    of = browsing.matching(browsing.lineages(connection), options.arm, options.pair)
    browsing.check_generation(connection, of, number)
    lineage = next(one for one in of if browsing.has(connection, one, number))
    names = [row["episode"] for row in browsing.episodes(connection, lineage, number)]
    steps = browsing.episode_steps(
        connection, lineage, number, browsing.find_episode(names, options.episode)
    )
    if options.json:
        place = {**asdict(lineage), "generation": number, "episode": steps[0]["episode"]}
        say_json(console, {"run": str(options.run), **place, "steps": steps})
        return
    docs = browsing.knowledge(connection, steps[0]["knowledge_before"])["docs"]
    _warn(options, [steps[0]["version"]], console)
    show_episode(console, steps, {doc["id"]: doc for doc in docs}, options.full)


def _show_training(options: argparse.Namespace, record: dict[str, Any], console: Console) -> None:
    from lineage.inspect.browsing import training_summary
    from lineage.report.training_tables import show_training

    summary, gains = training_summary(options.run), read_gains(options.run)
    if options.json:
        say_json(console, {"run": str(options.run), "training": summary, "held_out": gains})
        return
    _warn(options, [str(record.get("parent"))], console)
    show_training(summary, unfolded(console))
    if gains:
        show_gains(gains, console)


def _show_step(options: argparse.Namespace, record: dict[str, Any], console: Console) -> None:
    from lineage.inspect.browsing import alternatives
    from lineage.inspect.show_text import show_alternatives
    from lineage.metrics.training import connect_training

    connection, step = connect_training(options.run), options.generation
    found = alternatives(connection, step, options.arm, options.pair)
    if options.json:
        say_json(console, {"run": str(options.run), "step": step, "alternatives": found})
    else:
        _warn(options, [str(record.get("parent"))], console)
        show_alternatives(unfolded(console), step, found, options.full)


def _warn(options: argparse.Namespace, versions: list[str], console: Console) -> None:
    """Say that the stand-in served the run, and none of `versions`, where it did."""
    from lineage.log.views.settings import read_settings
    from lineage.report.terminal import show_banner

    show_banner(read_settings(options.run).get("engine.kind"), versions, unfolded(console))
