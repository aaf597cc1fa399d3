"""`lineage train`: make a new model version of an old one by learning to write memories."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lineage import compose
from lineage.commands import Commands, add_command
from lineage.commands.application import run_once, started
from lineage.commands.flags import add_flags
from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.core.files import behind
from lineage.core.urls import is_url
from lineage.log.held_out import read_gains
from lineage.log.record import read_record
from lineage.report.sheet import STARRED_FROM, Sheet, bounds, gained
from lineage.report.terminal import show_banner, show_sheet

if TYPE_CHECKING:
    from lineage.commands.sweeping import Kind

EXAMPLES = """\
examples:
  lineage train                                from the plain model, by GRPO after a warm start
  lineage train method=rft                     by rejection sampling and fine-tuning alone
  lineage train train.parent=smollm2-135m@r1 train.name=smollm2-135m@w2
  lineage train train.log=runs/latest          on the histories of a run that is there
  lineage train reward.memory=0                without a price on memory
  lineage train engine=surrogate               the toy policy: half a minute, no model
  lineage resume runs/latest                   go on with one that was stopped
"""


OBJECTIVE = "reward"
"""The measure of held-out worlds that a sweeper is told."""
OF_TRAINING = ("school", "curve", "adapters")
"""What only a training has."""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "train a version to write memories, and register what comes of it"
    train = add_command(commands, "train", what, EXAMPLES, add_help=False)
    add_flags(train)
    train.set_defaults(command=_train)


def _train(options: argparse.Namespace, console: Console) -> None:
    asked = started(options)
    if asked is None:
        return
    if asked.multirun:
        from lineage.commands.sweeping import run_sweep

        run_sweep(asked, kind(), console, partial(setattr, options, "folder"))
        return
    config = with_log(compose.load(asked.overrides, name=asked.name))

    def work(folder: Path) -> None:
        options.folder = folder
        run_training(config, folder, console)

    from lineage.training.run import check

    check(config)
    run_once(asked, config, work, "train")


def kind() -> Kind:
    """Return what a sweep of trainings is: in turn, since each needs its engine for itself."""
    from lineage.commands.sweeping import Kind

    return Kind("training", one_point, folder="train", objective=f"gain in {OBJECTIVE}")


def one_point(config: Config, folder: Path, console: Console) -> float | None:
    """Run a point of a sweep of trainings; return its gain in reward in held-out worlds."""
    console.print(f"[{folder.name}]", highlight=False, markup=False)
    run_training(with_log(config), folder, console, latest=False)
    gain = next((one for one in read_gains(folder) if one["measure"] == OBJECTIVE), None)
    return None if gain is None else gain["gain"]["mean"]


def with_log(config: Config) -> Config:
    """Return `config` with the folder itself as `train.log`: this training becomes the latest."""
    if config.train.log is None:
        return config
    return replace(config, train=replace(config.train, log=str(behind(Path(config.train.log)))))


def is_training(folder: Path) -> bool:
    """Whether `folder` is a training's, finished or not; where its record is lost, what it holds
    tells.

    Raises LineageError where that is nothing.
    """
    if (folder / "run.json").exists():
        return "training" in read_record(folder)
    if any((folder / name).exists() for name in OF_TRAINING):
        return True
    if any(folder.glob("done/*.json")):
        return False
    raise LineageError(
        f"{folder} has no run.json, and nothing in it is finished: begin again, with lineage run "
        "or lineage train"
    )


def report_training(config: Config, folder: Path, console: Console, where: str = "") -> None:
    """Write the report of a training again and show its tables; it is known as `where`."""
    from lineage.report.training_page import write_training

    summary = write_training(folder, Path(config.run.cache_folder), config.log)
    _show_report(config, folder, console, summary, where)


def _show_report(
    config: Config, folder: Path, console: Console, summary: dict[str, Any], where: str = ""
) -> None:
    from lineage.report.training_tables import show_training

    show_banner(config.engine.kind, [config.train.parent], console)
    show_training(summary, console)
    if gains := read_gains(folder):
        show_gains(gains, console)
    console.print(f"{where or folder}/training.html", highlight=False, markup=False)


def run_training(config: Config, folder: Path, console: Console, latest: bool = True) -> None:
    """Train, show what came of it and where it is; without `latest` the link of that name stays."""
    from lineage.runs.stored import stored
    from lineage.training.run import execute

    # What is swept is published with its sweep.
    with stored(config.run, folder, console) if latest else nullcontext():
        summary, shelf = execute(config, folder, console, latest)
        _show_report(config, folder, console, summary)
    if shelf is not None:
        place = config.model.shelf
        where = f"{place}/{config.train.name}" if is_url(place) else shelf
        text = f"{config.train.name} is on the shelf, {where}: name it in any schedule"
        console.print(text, highlight=False, markup=False)


def show_gains(gains: list[dict[str, Any]], console: Console) -> None:
    """Print a table a curriculum of what `held-out.json` holds."""
    for course, among in groupby(gains, key=lambda one: str(one["curriculum"])):
        found = list(among)
        rows = tuple(
            (
                one["measure"],
                bounds(one["before"]),
                bounds(one["after"]),
                gained(one["gain"]),
            )
            for one in found
        )
        worlds = max(one["gain"]["n"] for one in found)
        note = (
            f"mean over {worlds} worlds never trained on [interval]; each version reads what it "
            f"wrote; * the interval excludes 0, {STARRED_FROM} worlds or more"
        )
        title = f"what the training was worth: {course}"
        show_sheet(Sheet(title, ("measure", "before", "after", "gain"), rows, note), console)
