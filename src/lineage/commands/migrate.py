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
from lineage.core.knowledge import Knowledge
from lineage.core.text import one_line, say, say_json
from lineage.markdown.adopted import Reading
from lineage.markdown.conventions import convention
from lineage.markdown.conventions.interface import Finding
from lineage.markdown.parsing import OURS

EXAMPLE = """\
examples:
  lineage migrate notes/ notes-r1/ --dry-run --to smollm2-135m@r1    what would become of it
  lineage migrate notes/ notes-r1/ --to smollm2-135m@r1 migration=rewrite
  lineage migrate notes/ notes-r1/ --to smollm2-135m@r1 agent.memory_budget=auto
  lineage migrate notes/ notes/ --to smollm2-135m@r1              in place
  lineage migrate notes/ --patch notes.patch --to smollm2-135m@r1  then: git apply notes.patch
  lineage migrate notes/ rules/ --format cursor --to smollm2-135m@r1

What comes back are the same files; of them only what a changed entry says is another. Ids and
origins of entries are in .lineage/.
"""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "bring a folder of Markdown memory to another model version"
    parser = add_command(commands, "migrate", what, EXAMPLE)
    parser.add_argument("source", type=Path, metavar="FOLDER", help="the memory; see lineage check")
    parser.add_argument(
        "target", type=Path, nargs="?", metavar="OUT", help="what comes back: new, or FOLDER itself"
    )
    parser.add_argument("--patch", type=Path, metavar="FILE", help="what changes, instead of OUT")
    parser.add_argument(
        "--format", default="", metavar="NAME", help="write OUT as another kind of agent has it"
    )
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
    from lineage.markdown.folder import read_folder
    from lineage.markdown.history import at_commit
    from lineage.metrics import summarise_all
    from lineage.runs.folder import new_folder
    from lineage.runs.foresee import check_kept
    from lineage.runs.migrate import NAME, carry, migration

    if (named := at_commit(str(options.source))) and named[0].is_dir():
        raise LineageError(
            f"{options.source} is a commit, and files that come back need a folder: check it out "
            f"first, by git -C {named[0]} worktree add"
        )
    came = read_folder(options.source)
    _check_target(options, came)
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
    target: Path = options.patch or options.target
    left, shown = carried.knowledge, job.start.knowledge
    findings = _put(options, came, left, shown)
    said = document(carried.became, warnings) | {"run": str(folder), "out": str(target)}
    if options.json:
        say_json(console, said)
    else:
        if carried.became.fates != found[0].fates:
            show_foresight(console, (carried.became,), ())
        for finding in findings:
            say(console, f"warning: {one_line(str(finding))}")
        say(
            console,
            f"{len(shown.memories)} memories and {len(shown.docs)} docs came, {len(left.memories)} "
            f"and {len(left.docs)} are in {target}; what was asked and answered: lineage show "
            f"{folder}",
        )


def _put(
    options: argparse.Namespace, came: Reading, left: Knowledge, shown: Knowledge
) -> tuple[Finding, ...]:
    """Write `left` where the options say; return what is odd about it.

    `shown` is what the version was shown of what came.
    """
    from lineage.markdown.folder import changes_of, export_knowledge, put_as, put_back
    from lineage.markdown.patch import patch
    from lineage.markdown.writing import written

    if options.patch:
        what = written(came, left, shown)
        atomic_write(options.patch, patch(changes_of(options.source, what)))
    elif options.format not in ("", OURS):
        what = put_as(left, options.format, options.target, came)
    elif came.folder is None or options.format:
        export_knowledge(left, options.target)
        return ()
    else:
        what = put_back(left, came, options.source, options.target, shown)
    return what.findings


def _check_target(options: argparse.Namespace, came: Reading) -> None:
    """Raise LineageError unless the options name one place for what comes back."""
    target: Path | None = options.target
    if (target is None) == (options.patch is None):
        raise LineageError("name either OUT or --patch FILE for what comes back")
    if options.format not in ("", OURS):
        convention(options.format)
    same = target is not None and target.resolve() == options.source.resolve()
    if (same or target is None) and (options.format or came.folder is None):
        raise LineageError("name a new folder OUT: the files that come back are others")
    if target is None or same:
        return
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise LineageError(f"{target} is there and no empty folder: name a new one")
    if target.resolve().is_relative_to(options.source.resolve()):
        raise LineageError(f"{target} is in {options.source}: name a folder outside of it")
