"""`lineage migrate`: put a folder of Markdown memory through a migration, and get it back."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console

from lineage import compose
from lineage.commands import Commands, add_command
from lineage.commands.foretold import add_flags, document, show_foresight, start_told
from lineage.core.console import busy
from lineage.core.errors import LineageError
from lineage.core.files import atomic_write
from lineage.core.text import say, say_json

EXAMPLE = """\
example:
  lineage migrate notes/ notes-r1/ --dry-run --to smollm2-135m@r1    what would become of it
  lineage migrate notes/ notes-r1/ --to smollm2-135m@r1 migration=rewrite
  lineage migrate notes/ notes-r1/ --to smollm2-135m@r1 agent.memory_budget=auto
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
    add_flags(parser)
    parser.set_defaults(command=_migrate)


def _migrate(options: argparse.Namespace, console: Console) -> None:
    from lineage.log.views.connect import connect
    from lineage.markdown.folder import export_knowledge
    from lineage.metrics import summarise_all
    from lineage.runs.folder import new_folder
    from lineage.runs.foresee import check_kept
    from lineage.runs.migrate import NAME, carry, migration

    target: Path = options.target
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise LineageError(f"{target} is there and no empty folder: name a new one")
    version, *overrides = options.to
    config = compose.load([*overrides, f"experiment.name={NAME}"], version)
    job = migration(config, options.source, version, options.allow_drop)
    found, warnings = start_told(job)
    if options.json and options.dry_run:
        say_json(console, document(found[0], warnings))
    elif not options.json:
        show_foresight(console, found, warnings)
    if options.dry_run:
        return
    folder = new_folder(config)
    if not job.config.start.allow_drop:
        check_kept(found, "say --allow-drop", unsure=False)
    with busy(console, f"{config.migration.kind} to {version}"):
        carried = carry(job, found[0], folder)
        (summary,) = summarise_all(connect(folder)).values()
        atomic_write(folder / "metrics.json", json.dumps(summary, indent=1).encode())
    export_knowledge(carried.knowledge, target)
    left, came = carried.knowledge, job.start.knowledge
    said = document(carried.became, warnings) | {"run": str(folder), "out": str(target)}
    if options.json:
        say_json(console, said)
    else:
        if carried.became.fates != found[0].fates:
            show_foresight(console, (carried.became,), ())
        say(
            console,
            f"{len(came.memories)} memories and {len(came.docs)} docs came, {len(left.memories)} "
            f"and {len(left.docs)} are in {target}; what was asked and answered: lineage show "
            f"{folder}",
        )
