"""`lineage advise`: what a folder of memory is worth to a new version, as a receipt."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lineage import compose
from lineage.commands import Commands, add_command
from lineage.core.config import Config
from lineage.core.console import busy
from lineage.core.errors import LineageError
from lineage.core.fields import AUTO
from lineage.core.files import atomic_write
from lineage.core.text import one_line, say, say_json, unfolded
from lineage.suites import make_suite

if TYPE_CHECKING:
    from lineage.core.knowledge import Knowledge
    from lineage.markdown.adopted import Reading
    from lineage.runs.advise import Looked
    from lineage.runs.plan import Job

EXAMPLES = """\
examples:
  lineage advise notes/                       drafts tasks from the notes, to be edited
  lineage advise notes/ --tasks notes.tasks.jsonl --from smollm2-135m@r0 --to smollm2-135m@r1
  lineage advise notes/ --tasks t.jsonl --from OLD --to NEW --apply notes.patch
  lineage advise notes/ --tasks t.jsonl --from OLD --to NEW advise.margin=0.05
  lineage advise notes/ --tasks t.jsonl --from OLD --to NEW --history sessions/*.jsonl

Both versions are asked every task without memory and with it as it is, the new one with each
migration, and then with entries left out. It leaves a run, with receipt.html and receipt.json.
A task is a line such as {"prompt": "What is the port of staging?", "answer": "8080"}.
"""
LINE = '{"prompt": "What is the port of staging?", "answer": "8080"}'
RECEIPT = "receipt"
ROOM = 1.25
"""Times its tokens that a folder's memory has as budget where none is set: a migration says things
in other words, and more of them."""
BUDGET = "agent.memory_budget"


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "say what a folder of memory is worth to a new version, and what to do with it"
    parser = add_command(commands, "advise", what, EXAMPLES)
    parser.add_argument("source", type=Path, metavar="FOLDER", help="the memory; see lineage check")
    parser.add_argument("--tasks", type=Path, metavar="FILE", help="what is asked; see docs")
    parser.add_argument("--from", dest="old", metavar="OLD", help="the version that is replaced")
    parser.add_argument("--to", dest="new", metavar="NEW", help="the version that takes over")
    parser.add_argument(
        "--history",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="session logs (JSONL), or runs: for migrations verify and rebuild",
    )
    parser.add_argument("--draft", type=Path, metavar="FILE", help="without --tasks: where to")
    parser.add_argument("--apply", type=Path, metavar="FILE", help="write the advice as a patch")
    parser.add_argument("--dry-run", action="store_true", help="say what would be asked")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    # KEY=VALUE may stand anywhere.
    parser.set_defaults(command=_advise, more=())


def _advise(options: argparse.Namespace, console: Console) -> None:
    from lineage.markdown.folder import read_folder

    # After --history an override looks like one more file.
    over = [word for word in options.history if "=" in word and not Path(word).exists()]
    options.more = [*options.more, *over]
    options.history = [Path(word) for word in options.history if word not in over]
    for word in options.more:
        if word[:1] == "-" or "=" not in word:
            raise LineageError(f"unrecognized argument {word}: overrides of conf/ are KEY=VALUE")
    came = read_folder(options.source)
    if options.tasks is None:
        _draft(options, came, console)
        return
    if not (options.old and options.new):
        line = _again(options.source, options.tasks, options.old, options.new)
        raise LineageError(f"name both versions (see lineage versions): {line}")
    _check_patch(options, came)
    job = _prepared(options)
    _tell(job, options, console)
    if options.dry_run:
        return
    found, looked, folder = _looked(job, options, console)
    if options.apply:
        _put(options, came, looked)
    if options.json:
        say_json(console, found)
        return
    _show(found, folder, console)
    if options.apply:
        say(
            console, f"the advice as a patch: git -C {options.source} apply {_from_within(options)}"
        )


def _draft(options: argparse.Namespace, came: Reading, console: Console) -> None:
    from lineage.core.credentials import redact
    from lineage.suites.drafts import draft

    file: Path = options.draft or options.source.with_name(f"{options.source.name}.tasks.jsonl")
    if file.exists():
        line = _again(options.source, file, options.old, options.new)
        raise LineageError(f"{file} is there already: use it, {line}, or name another by --draft")
    rows = draft(redact(came.knowledge).knowledge)
    if len(rows) < 2:
        raise LineageError(f"no tasks can be drafted from {options.source}: write some yourself")
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    atomic_write(file, text.encode())
    if options.json:
        say_json(console, {"drafted": len(rows), "file": str(file)})
        return
    say(
        console,
        f"{len(rows)} tasks were drafted from the {len(came.knowledge.entries)} entries, without a "
        f"model, into {file}. They take every note for true and for useful: put right what is "
        "wrong, delete what nobody asks, add what you do ask. Then:",
    )
    say(console, _again(options.source, file, options.old, options.new, options.more))


def _again(
    source: Path, tasks: Path, old: str | None, new: str | None, more: tuple[str, ...] = ()
) -> str:
    """Return the command with all that it needs."""
    words = ["lineage", "advise", str(source), "--tasks", str(tasks)]
    words += ["--from", old or "smollm2-135m@r0", "--to", new or "smollm2-135m@r1", *more]
    return shlex.join(words)


def _prepared(options: argparse.Namespace) -> Job:
    """Return the first run that the options ask for, with room for the memory."""
    from lineage.runs.advise import advised
    from lineage.runs.folder import only_folders
    from lineage.runs.plan import prepare

    if not options.tasks.is_file():
        raise LineageError(
            f"{options.tasks} is no file: lineage advise {options.source} drafts one"
        )
    parsed = compose.parsed(options.more)
    named = any(one.key_or_group == "suite" for one in parsed)
    mine = [] if named else ["suite=jsonl", "suite.on_bad=skip"]
    config = compose.load([*mine, *options.more], options.old, options.new)
    only_folders(config, "what is advised")
    config = replace(config, suite={**config.suite, "path": str(options.tasks)})
    if not named:
        _check_tasks(config)
    options.told = ()
    if options.history:
        config, options.told = _with_history(config, options.history)
    config = advised(config, options.source, options.old, options.new)
    if not any(one.key_or_group == BUDGET for one in parsed):
        config = _with_room(config, options)
    return prepare(config)


def _with_history(config: Config, files: list[Path]) -> tuple[Config, tuple[str, ...]]:
    """Return `config` with the history in `files`, and what to say of it.

    A run that was begun goes on with what it has read: logs grow meanwhile.
    """
    from lineage.runs.folder import new_folder
    from lineage.runs.gathered import gathered
    from lineage.suites.filesuite import FileSuite

    if not isinstance(make_suite(config.suite), FileSuite):
        raise LineageError("--history is for tasks of a file: leave it out, or use suite=jsonl")
    saved = new_folder(config) / "config.yaml"
    if config.run.name and saved.exists():
        start = compose.load_file(saved).start
        if start.history:
            kept = replace(config.start, history=start.history, history_hash=start.history_hash)
            return replace(config, start=kept), ("history: as this run has read it before",)
    return gathered(config, files)


def _check_tasks(config: Config) -> None:
    """Raise LineageError, with a line that would do, where no line of the file does."""
    from lineage.runs.advise import questions_of

    try:
        questions_of({**config.suite, "pooled": True})
    except LineageError as error:
        raise LineageError(f"{error}; a line that will do: {LINE}") from error


def _with_room(config: Config, options: argparse.Namespace) -> Config:
    """Return `config` with a budget that holds all memories of the folder, for either version."""
    from lineage.agent.index import index_block
    from lineage.agent.prompt import memory_block
    from lineage.models.counting import counter_of
    from lineage.models.versions import window_of
    from lineage.runs.start import start_of

    agent, knowledge = config.agent, start_of(config).knowledge
    indexed = knowledge.docs if agent.docs and agent.index_share else ()
    block = memory_block(knowledge, index=index_block(indexed, agent.memory_chars))
    budgets = [config.agent.budget(window_of(config, one)) for one in (options.old, options.new)]
    counters = [counter_of(config, one) for one in (options.old, options.new)]
    needed = [int(ROOM * count(block)) for count in counters if count is not None]
    if config.agent.memory_budget == AUTO or max(needed, default=0) <= min(budgets):
        return config
    return replace(config, agent=replace(config.agent, memory_budget=max(needed)))


def _tell(job: Job, options: argparse.Namespace, console: Console) -> None:
    """Say what is asked, at least and at most, and what is odd.

    Raises LineageError where the memory as it is would not be whole.
    """
    from lineage.commands.foretold import start_told
    from lineage.runs.advise import left_out, questions_of
    from lineage.runs.foresee import check_kept
    from lineage.suites.filesuite import FileSuite

    foreseen, warnings = start_told(job)
    # What is written anew from the history keeps none of the entries, and is to be compared.
    kept = [one for one in foreseen if one.kind != "rebuild"]
    check_kept(kept, "name a version with a larger window", unsure=False)
    if options.json:
        return
    config, entries = job.config, len(job.start.knowledge.entries)
    tasks = len(questions_of(config.suite))
    first = len(job.arms) * tasks
    say(
        console,
        f"{entries} entries, {tasks} tasks: {first:,} answers to compare versions and migrations, "
        f"then up to {(entries + 1) * tasks:,} to leave entries out, each asked once; "
        f"{BUDGET}={config.agent.memory_budget}",
    )
    say(console, left_out(config))
    for line in options.told:
        say(console, one_line(line))
    if isinstance(job.suite, FileSuite):
        held = sum(place.questions for place in job.suite.index.worlds.values())
        if held > tasks:
            say(console, f"of {held:,} tasks {tasks:,} are drawn: raise suite.world_tasks")
    if job.suite.notice:
        say(console, f"{options.tasks}: {job.suite.notice}")
    for warning in warnings:
        say(console, f"warning: {one_line(warning)}")


def _looked(
    job: Job, options: argparse.Namespace, console: Console
) -> tuple[dict[str, Any], Looked, Path]:
    """Run it, and return the receipt, which is written too, with what it is made from."""
    from lineage.log.record import read_record
    from lineage.log.views.connect import connect
    from lineage.metrics import summarise_all
    from lineage.report.receipt import receipt_html
    from lineage.runs.advise import investigate
    from lineage.runs.folder import new_folder
    from lineage.runs.receipt import receipt

    folder = new_folder(job.config)
    options.then = f"; what was finished is kept: the same command, run.name={folder.name}, goes on"
    quiet = Console(quiet=True) if options.json else console
    looked = investigate(job, folder, quiet)
    options.then = ""
    with busy(quiet, "writing the receipt"):
        found = receipt(looked, str(options.source), options.old, read_record(folder))
        (summary,) = summarise_all(connect(folder)).values()
        atomic_write(folder / "metrics.json", json.dumps(summary, indent=1).encode())
        atomic_write(folder / f"{RECEIPT}.json", json.dumps(found, indent=1).encode())
        atomic_write(folder / f"{RECEIPT}.html", receipt_html(found).encode())
    return found, looked, folder


def _show(found: dict[str, Any], folder: Path, console: Console) -> None:
    from lineage.report.headline import banner
    from lineage.report.receipt import advice_words, receipt_sheets
    from lineage.report.terminal import plain, show_sheet

    if warning := banner(found["engine"], (found["from"], found["to"])):
        console.print(plain(warning), style="bold yellow", highlight=False)
    console.print(plain(found["verdict"]["sentence"]), style="bold", highlight=False)
    say(console, advice_words(found))
    unfolded(console)
    for sheet in receipt_sheets(found):
        show_sheet(sheet, console)
    console.print()
    say(console, f"{folder}/{RECEIPT}.html")


def _check_patch(options: argparse.Namespace, came: Reading) -> None:
    if options.apply and came.folder is None:
        raise LineageError(
            f"{options.source} is lineage's own folder, of which no patch is made: leave --apply "
            "out, and see its receipt"
        )


def _put(options: argparse.Namespace, came: Reading, looked: Looked) -> None:
    """Write the patch that makes of the folder what the verdict leaves."""
    from lineage.markdown.folder import changes_of
    from lineage.markdown.patch import patch
    from lineage.markdown.writing import written

    start = looked.job.start
    left: Knowledge = start.redacted.restored(looked.left)
    what = written(came, left, start.knowledge)
    atomic_write(options.apply, patch(changes_of(options.source, what)))


def _from_within(options: argparse.Namespace) -> Path:
    place: Path = options.apply.absolute()
    return place
