"""`lineage train`: make a new model version of an old one by learning to write memories."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.console import Console

from lineage import conf
from lineage.analysis.sheet import Sheet, bounds
from lineage.analysis.terminal import drawn
from lineage.analysis.training_tables import show_training
from lineage.analysis.views import read_record
from lineage.commands import Commands, add_command
from lineage.config import Config

EXAMPLES = """\
examples:
  lineage train                                from the plain model, by GRPO after a warm start
  lineage train method=rft                     by rejection sampling and fine-tuning alone
  lineage train train.parent=smollm2-135m@r1 train.name=smollm2-135m@w2
  lineage train train.log=runs/latest          on the histories of a run that is there
  lineage train reward.memory=0                without a price on memory
  lineage train engine=surrogate               the toy policy: seconds, no model
  lineage resume runs/latest                   go on with one that was stopped
"""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "train a version to write memories, and register what comes of it"
    train = add_command(commands, "train", what, EXAMPLES)
    train.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides of conf/")
    train.set_defaults(command=_train)


def _train(options: argparse.Namespace, console: Console) -> None:
    config = conf.load(options.overrides)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = Path(config.run.root) / (config.run.name or f"{stamp}-train")
    options.folder = folder
    run_training(config, folder, console)


def is_training(folder: Path) -> bool:
    """Whether `folder` is a training's, finished or not."""
    return "training" in read_record(folder)


def run_training(config: Config, folder: Path, console: Console) -> None:
    """Train, show what came of it and where it is."""
    from lineage.training.run import execute

    made = execute(config, folder, console)
    show_training(made.figures, console)
    if made.gains:
        rows = tuple(
            (
                one.curriculum,
                one.measure,
                bounds(one.before),
                bounds(one.after),
                bounds(one.gain, signed=True),
                str(one.gain["n"]),
            )
            for one in made.gains
        )
        head = ("curriculum", "measure", "before", "after", "gain", "worlds")
        note = "mean [interval over worlds], never trained on; each version reads what it wrote"
        console.print(drawn(Sheet("What the training was worth", head, rows, note=note, left=2)))
    console.print(f"{folder / 'training.html'}", highlight=False, markup=False)
    if made.shelf is not None:
        text = f"{config.train.name} is on the shelf, {made.shelf}: name it in any schedule"
        console.print(text, highlight=False, markup=False)
