"""The command line. What runs an experiment is here, the rest in `lineage.commands`."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lineage import conf
from lineage.analysis.visible import one_line
from lineage.commands import (
    compact,
    compare,
    ls,
    migrate,
    provenance,
    show,
    suites,
    train,
    transfer,
)
from lineage.config import Config
from lineage.errors import LineageError
from lineage.files import behind
from lineage.signals import INTERRUPTED, Stoppable

EXAMPLES = """\
examples:
  lineage run                                  the default run: a real model in real vLLM
  lineage run engine=surrogate                 the same experiment in seconds, no model
  lineage run suite=warehouse                  on other work: see lineage suites
  lineage run experiment=tiny suite.drift=0.1  any key of conf/ can be overridden
  lineage run -m suite.drift=0,0.1,0.2 engine=surrogate
  lineage resume runs/latest                   finish a run that was stopped
  lineage resume runs/latest --changed         the same, with prompts that were edited since
  lineage ls                                   runs and trainings, newest first
  lineage show runs/latest 2 w003              an episode of generation 2, step by step
  lineage report runs/latest                   its table, metrics, figure and report again
"""
UNWRITABLE = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the file system is read-only: choose another run.root and run.cache",
    errno.EACCES: "no permission: choose another run.root and run.cache",
    errno.EPERM: "no permission: choose another run.root and run.cache",
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 an error for the user, 2 usage, 130 stopped."""
    sys.exit(_guarded(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lineage",
        description="A laboratory for model-generation succession: what should happen to a "
        "model's memory when the model is upgraded, and what is it worth?",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run an experiment")
    run.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides of conf/")
    run.add_argument("-m", "--multirun", action="store_true", help="sweep values given as a,b,c")
    run.set_defaults(command=_run)
    resume = commands.add_parser("resume", help="finish a run or a training that was stopped")
    resume.add_argument("run", type=Path, metavar="RUN", help="its folder")
    resume.add_argument(
        "--changed",
        action="store_true",
        help="go on though the prompts or the version of lineage have changed since",
    )
    resume.set_defaults(command=_resume)
    report = commands.add_parser("report", help="write a run's report again and show its table")
    report.add_argument("run", type=Path, metavar="RUN", help="its folder")
    report.set_defaults(command=_report)
    ls.register(commands)
    show.register(commands)
    compare.register(commands)
    compact.register(commands)
    provenance.register(commands, _execute)
    transfer.register(commands)
    migrate.register(commands)
    suites.register(commands)
    train.register(commands)
    versions = commands.add_parser("versions", help="list the model versions of the registry")
    versions.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    versions.set_defaults(command=_versions)
    return parser


def _guarded(options: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace, Console], None] = options.command
    console = Console()
    try:
        with Stoppable():
            command(options, console)
    except LineageError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("stopped" + _then(options), INTERRUPTED)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        where = f" ({error.filename})" if error.filename else ""
        return _fail(UNWRITABLE[error.errno] + where + _then(options))
    return 0


def _then(options: argparse.Namespace) -> str:
    """Return how to go on with the run that was stopped, where one was begun."""
    folder: Path | None = getattr(options, "folder", None)
    if folder is None or not (folder / "config.yaml").exists():
        return ""
    return f"; what was finished is kept, go on with: lineage resume {folder}"


def _fail(text: str, code: int = 1) -> int:
    print(f"lineage: {one_line(text)}", file=sys.stderr)
    return code


def _run(options: argparse.Namespace, console: Console) -> None:
    from lineage.succession.run import new_folder

    if not options.multirun:
        config = conf.load(options.overrides)
        _execute(options, config, new_folder(config), console)
        return
    points = [(point, conf.load(point)) for point in conf.sweep(options.overrides)]
    parent = new_folder(points[0][1])
    for number, (point, config) in enumerate(points):
        console.print(f"[{number + 1}/{len(points)}] {' '.join(point)}", markup=False)
        _execute(options, config, parent / f"{number:03d}", console)


def _execute(options: argparse.Namespace, config: Config, folder: Path, console: Console) -> None:
    from lineage.analysis.terminal import show_summary
    from lineage.succession.run import execute

    options.folder = folder
    if config.schedule.trained:
        from lineage.training.run import check_learning

        check_learning(config)
    summary = execute(config, folder, console, _release)
    show_summary(summary, console)
    console.print(f"{folder / 'report.html'}", highlight=False, markup=False)


async def _release(*arguments: Any) -> None:
    # It brings a good deal with it that other runs have no use for.
    from lineage.training.run import release

    await release(*arguments)


def _resume(options: argparse.Namespace, console: Console) -> None:
    folder = behind(options.run)
    config = conf.load_file(folder / "config.yaml")
    if options.changed:
        from lineage.succession.code import accept_changes
        from lineage.succession.run import locked

        with locked(folder):
            accept_changes(folder)
    if train.is_training(folder):
        options.folder = folder
        train.run_training(config, folder, console)
    else:
        _execute(options, config, folder, console)


def _report(options: argparse.Namespace, console: Console) -> None:
    from lineage.analysis.terminal import show_summary
    from lineage.analysis.write import write_report

    config = conf.load_file(options.run / "config.yaml")
    if train.is_training(options.run):
        train.report_training(config, options.run, console)
        return
    show_summary(write_report(options.run, Path(config.run.cache)), console)
    console.print(f"{options.run / 'report.html'}", highlight=False, markup=False)


def _versions(options: argparse.Namespace, console: Console) -> None:
    from lineage.models import shelf
    from lineage.models.versions import registry, version

    config = conf.load(options.overrides).model
    place = shelf.folder_of(config)
    on_shelf = shelf.chosen(config, shelf.names(place))
    listed = [*registry(config).values(), *(version(name, v) for name, v in on_shelf.items())]
    table = Table(box=None)
    table.add_column("version", no_wrap=True)
    table.add_column("from", no_wrap=True)
    for head in ("checkpoint", "adapter", "window", "parent", "released"):
        table.add_column(head, overflow="fold")
    for one in listed:
        c = one.checkpoint
        source = f"{c.package}/{c.path}" if c.package else c.path
        adapter = str(place / one.name) if one.digest else one.adapter
        origin = "shelf" if one.digest else "conf"
        row = (one.name, origin, source, adapter, str(one.context_window), one.parent, one.released)
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


if __name__ == "__main__":
    main()
