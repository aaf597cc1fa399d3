"""`lineage suites` and `lineage preview`: which task suites there are, and what one holds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from textwrap import wrap
from typing import Any

from omegaconf import MISSING, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lineage import compose
from lineage.commands import Commands, add_command
from lineage.commands.flags import with_folder
from lineage.core.config import ExperimentConfig, ProbeConfig
from lineage.core.curriculum import TaskInstance, plans
from lineage.core.errors import LineageError
from lineage.core.plaintext import spaced
from lineage.core.tasks import FAMILIES, Family, Suite, World
from lineage.report.terminal import new_table
from lineage.suites import make_suite, suite_class

SUITES_EXAMPLE = """\
examples:
  lineage suites
  lineage suites --config-dir mine              with those of a conf folder of your own
"""
PREVIEW_EXAMPLE = """\
examples:
  lineage preview codebook
  lineage preview codebook suite.kinds=2 suite.drift=0.1 --seed 3
  lineage preview jsonl suite.path=my-tasks.jsonl
  lineage preview mine --config-dir mine
"""
SHOWN = 3
"""Tasks of each family, and facts of the world."""

MEANING = {
    Family.SAME: "tasks that were met",
    Family.SIMILAR: "other tasks of this world",
    Family.DISSIMILAR: "tasks of other worlds",
}
LINES = 6
"""Of the terminal, for one text of a suite; what is over is cut."""


@dataclass(frozen=True)
class Entry:
    """One line of `lineage suites`."""

    name: str
    what: str
    turns: str
    source: str
    needs: str


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands."""
    listing = add_command(commands, "suites", "list the task suites", SUITES_EXAMPLE)
    _add_folder(listing)
    listing.set_defaults(command=_suites)
    what = "show a suite's world, tasks of each family, and what an ideal note would say"
    preview = add_command(commands, "preview", what, PREVIEW_EXAMPLE)
    preview.add_argument("suite", metavar="SUITE", help="its name; see lineage suites")
    preview.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    preview.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="which pair of lineages, as in a run (default: 0)",
    )
    _add_folder(preview)
    preview.set_defaults(command=_preview)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    what = "a conf folder of your own, beside conf/"
    parser.add_argument("-cd", "--config-dir", metavar="DIR", help=what)


def entry(name: str, *overrides: str) -> Entry:
    """Return what the suite of the conf entry `name` is; says so where it cannot be loaded."""
    values = _composed(name, overrides)
    needs = [f"suite.{key}" for key in sorted(values) if values[key] == MISSING]
    try:
        kind = suite_class(str(values.get("_target_", "")))
    except LineageError as error:
        return Entry(name, str(error), "", "", ", ".join(needs))
    from_file = kind.fingerprint is not Suite.fingerprint
    if from_file and not values.get("path", " "):
        needs.append("suite.path")
    extra = str(getattr(kind, "extra", ""))
    if extra:
        there = " (installed)" if find_spec(extra) else ""
        needs.insert(0, f"lineage[{extra}]{there}")
    return Entry(
        name,
        (kind.__doc__ or "").strip().split("\n")[0],
        _turns(kind, values),
        "file" if from_file else "seeds",
        ", ".join(needs),
    )


def _turns(kind: type[Suite], values: dict[str, Any]) -> str:
    """Return whether a task takes one turn or many; by the class where a value is missing."""
    try:
        many = make_suite(values).many_turns
    except LineageError:
        many = kind.environment is not Suite.environment
    return "many" if many else "one"


def _composed(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the keys of the entry `name`, unchecked: a path may have no value yet."""
    tree = compose.composed([f"suite={name}", *overrides])
    values = OmegaConf.to_container(tree.suite, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _suites(options: argparse.Namespace, console: Console) -> None:
    table = new_table()
    table.add_column("suite", no_wrap=True)
    table.add_column("what", overflow="fold")
    for head in ("turns", "tasks from", "needs"):
        table.add_column(head, overflow="fold")
    searched = with_folder((), options.config_dir)
    for name in compose.options_of("suite", compose.folders(searched)):
        found = entry(name, *searched)
        cells = (found.name, found.what, found.turns, found.source, found.needs)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)


def _preview(options: argparse.Namespace, console: Console) -> None:
    searched = with_folder(options.overrides, options.config_dir)
    config = compose.load([f"suite={options.suite}", *searched])
    suite = make_suite(config.suite)
    last = plans(suite, _three(config.experiment), len(config.schedule.versions), options.seed)[-1]
    _show_world(last.world, console)
    if lessons := [one for one in last.work if one.task.lesson]:
        _title(f"lessons: {SHOWN} of the last generation's", console)
        for task_instance in lessons[:SHOWN]:
            _show(suite, task_instance, console)
    for family in FAMILIES:
        task_instances = [one for one in last.probes if one.family == family]
        _title(f"{family}: {MEANING[family]}", console)
        if not task_instances:
            console.print(Text("none"))
        for task_instance in task_instances:
            _show(suite, task_instance, console)


def _three(config: ExperimentConfig) -> ExperimentConfig:
    """Return `config` with so many probes as are shown, and none where it has none."""
    wanted = {family: SHOWN if getattr(config.probes, family) else 0 for family in FAMILIES}
    return replace(config, probes=ProbeConfig(**wanted))


def _show_world(world: World, console: Console) -> None:
    groups = {task.group for task in world.tasks if task.group}
    lessons = sum(task.lesson for task in world.tasks)
    counts = f"{len(world.tasks) - lessons} tasks in {len(groups)} groups, {len(world.facts)} facts"
    _title(f"world {world.id}: {counts}" + (f", {lessons} lessons" if lessons else ""), console)
    _fields(
        console,
        ("groups", ", ".join(sorted(groups))),
        ("facts", " ".join(fact.text for fact in world.facts[:SHOWN])),
        ("categories", ", ".join(sorted({task.category for task in world.tasks} - {""}))),
    )


def _show(suite: Suite, task_instance: TaskInstance, console: Console) -> None:
    task, world = task_instance.task, task_instance.world
    console.print()
    fields = [
        ("task", task.id),
        ("group", task.group),
        ("category", task.category),
        ("prompt", task.prompt),
        ("to read", task.context),
    ]
    environment = suite.environment(task, world)
    if environment is not None:
        try:
            first = environment.begin()
        finally:
            environment.close()
        fields += [("sees first", first.text), ("choices", "; ".join(first.choices))]
    if not task.lesson:
        fields += [("answer", task.answer), ("ideal note", suite.solution(task, world))]
    _fields(console, *fields)


def _title(text: str, console: Console) -> None:
    console.print()
    console.print(Text(cut(text, console.width, 1), style="bold"))


def _fields(console: Console, *fields: tuple[str, str]) -> None:
    """Print each text that is not empty beside its name, cut to a few lines."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    width = console.width - max(len(name) for name, _ in fields) - 3
    for name, text in fields:
        if text:
            grid.add_row(Text(name, style="dim"), Text(cut(text, width, LINES)))
    console.print(grid)


def cut(text: str, width: int, lines: int) -> str:
    """Return `text` in at most so many lines of so many characters, "…" where more is left.

    What would steer a terminal becomes a space.
    """
    wrapped: list[str] = []
    for line in text.strip().splitlines():
        wrapped += wrap(spaced(line), max(2, width), drop_whitespace=False) or [""]
        if len(wrapped) > lines:
            return "\n".join([*wrapped[: lines - 1], wrapped[lines - 1][: max(1, width - 1)] + "…"])
    return "\n".join(wrapped)
