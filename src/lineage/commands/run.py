"""`lineage run`: an experiment, or a sweep of them, as an application of Hydra."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lineage import compose
from lineage.commands import Commands, add_command
from lineage.commands.application import run_once, started
from lineage.commands.flags import add_flags
from lineage.commands.foretold import announce
from lineage.core.config import Config
from lineage.log.record import RECORD

if TYPE_CHECKING:
    from lineage.commands.sweeping import Kind
    from lineage.runs.plan import Job

EXAMPLES = """\
examples:
  lineage run                                  the default run: a real model in real vLLM
  lineage run engine=surrogate                 the same experiment in seconds, no model
  lineage run experiment=drift engine=surrogate suite.drift=0.2
  lineage run run.name=first 'schedule.versions=[smollm2-135m@r0,smollm2-135m@r1]'
  lineage run -m suite.drift=0,0.1,0.2         a sweep: one run a value
  lineage run --config-dir mine suite=mine     with a conf folder of your own
  lineage run --cfg job suite=warehouse        what would be run, key by key
"""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    run = add_command(commands, "run", "run an experiment", EXAMPLES, add_help=False)
    add_flags(run)
    run.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> None:
    asked = started(options)
    if asked is None:
        return
    if asked.multirun:
        from lineage.commands.sweeping import run_sweep

        run_sweep(asked, kind(), console, partial(setattr, options, "folder"))
        return
    config = compose.load(asked.overrides, name=asked.name)
    job = check(config, console)
    announce(job, console)
    run_once(asked, config, lambda folder: execute(options, config, folder, console, job))


def kind() -> Kind:
    """Return what a sweep of runs is: all points at once, on engines that they share."""
    from lineage.commands.sweeping import Kind

    return Kind("run", one_point, together=True, release=release)


def one_point(config: Config, folder: Path, console: Console) -> float | None:
    """Run a point of a sweep on its own; return the figure that `log.objective` names."""
    from lineage.report.objective import objective
    from lineage.runs.run import execute as execute_run

    job = check(config, console)
    if not (folder / RECORD).exists():
        announce(job, console)
    summary = execute_run(config, folder, console, release, latest=False, job=job)
    return objective(config.log.objective, summary)


def check(config: Config, console: Console) -> Job:
    """Return the run of `config`; raises LineageError where it could not work."""
    from lineage.runs.run import checked

    if config.schedule.trained:
        from lineage.training.run import check_learning

        check_learning(config)
    return checked(config, console)


def execute(
    options: argparse.Namespace,
    config: Config,
    folder: Path,
    console: Console,
    job: Job | None = None,
) -> None:
    """Run `config` in `folder`, or finish what is there, and show what came of it.

    `job` is what it was checked to be, where it was.
    """
    from lineage.report.run_text import show_summary
    from lineage.runs.run import execute as execute_run
    from lineage.runs.stored import stored

    options.folder = folder
    job = job or check(config, console)
    with stored(config.run, folder, console) as mirror:
        summary = execute_run(config, folder, console, release, job=job, mirror=mirror)
    show_summary(summary, console)
    console.print(f"{folder / 'report.html'}", highlight=False, markup=False)


async def release(*arguments: Any) -> None:
    """Train a version while a run goes on: see `lineage.training.run.release`."""
    # It brings a good deal with it that other runs have no use for.
    from lineage.training.run import release as release_version

    await release_version(*arguments)
