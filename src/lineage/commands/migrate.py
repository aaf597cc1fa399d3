"""`lineage migrate`: put a folder of Markdown memory through a migration, and get it back."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from lineage import compose
from lineage.commands import Commands, add_command
from lineage.core.console import busy
from lineage.core.errors import LineageError
from lineage.core.text import say

EXAMPLE = """\
example:
  lineage migrate notes/ notes-r1/ --to smollm2-135m@r1 migration=rewrite
"""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "bring a folder of Markdown memory to another model version"
    parser = add_command(commands, "migrate", what, EXAMPLE)
    parser.add_argument("source", type=Path, metavar="FOLDER", help="the memory; see lineage check")
    parser.add_argument("target", type=Path, metavar="OUT", help="a new folder for what comes back")
    # One option, because argparse takes no positional arguments after it that may be none.
    parser.add_argument(
        "--to",
        required=True,
        nargs="+",
        metavar=("VERSION", "KEY=VALUE"),
        help="the version (see lineage versions), then overrides of conf/",
    )
    parser.set_defaults(command=_migrate)


def _migrate(options: argparse.Namespace, console: Console) -> None:
    from lineage.markdown.folder import export_knowledge, import_knowledge
    from lineage.runs.folder import locked, new_folder
    from lineage.runs.migrate import carry

    target: Path = options.target
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise LineageError(f"{target} is there and no empty folder: name a new one")
    version, *overrides = options.to
    config = compose.load([*overrides, "experiment.name=migrate"], version)
    came = import_knowledge(options.source)
    folder = new_folder(config)
    if folder.exists():
        # Its answers would be replayed, to whatever was asked there.
        raise LineageError(f"{folder} is there already: choose another run.name")
    with locked(folder), busy(console, f"{config.migration.kind} to {version}"):
        left = carry(config, came, version, folder)
    export_knowledge(left, target)
    say(
        console,
        f"{len(came.memories)} memories and {len(came.docs)} docs came, {len(left.memories)} and "
        f"{len(left.docs)} are in {target}; what was asked and answered is in {folder}",
    )
