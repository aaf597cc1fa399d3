"""`lineage trajectory`: the score over many releases, on the surrogate, and what a goal needs."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from lineage.commands import Commands, add_command
from lineage.commands.flags import with_folder
from lineage.commands.runs import find_run
from lineage.core.console import busy
from lineage.core.errors import LineageError
from lineage.core.files import atomic_write
from lineage.core.text import one_line, say, say_json, unfolded
from lineage.report.sheet import NOT_COMPUTED, Sheet, bounds
from lineage.report.terminal import show_sheet

if TYPE_CHECKING:
    from lineage.core.config import Config
    from lineage.core.config_engine import SkillConfig
    from lineage.core.config_trajectory import TrajectoryConfig
    from lineage.surrogate.setting import Setting
    from lineage.surrogate.trajectory import Curve, Needed

EXAMPLES = """\
examples:
  lineage trajectory --picture trajectory.svg       from the shipped skills
  lineage trajectory --fit runs/latest              from those of a run, with bands over their fit
  lineage trajectory 'trajectory.jumps=[0.1,0.3]' suite.drift=0.1
The key trajectory of conf/experiment/trajectory.yaml says what is varied.
"""
EXPERIMENT = "experiment=trajectory"


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "the surrogate's score over many releases, and what it would need to reach a goal"
    parser = add_command(commands, "trajectory", what, EXAMPLES)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    parser.add_argument(
        "--fit", type=Path, action="append", metavar="RUN", help="fit the first skills to this run"
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="write a picture, .svg or .png"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument(
        "-cd", "--config-dir", metavar="DIR", help="a conf folder of your own, beside conf/"
    )
    parser.set_defaults(command=_trajectory, more=())


def _trajectory(options: argparse.Namespace, console: Console) -> None:
    # SciPy and DuckDB take a moment to load, which `lineage --help` need not wait for.
    from lineage import compose
    from lineage.surrogate.setting import MIGRATIONS, Setting
    from lineage.surrogate.trajectory import curves, needed

    given = with_folder([*options.overrides, *options.more], options.config_dir)
    config = compose.load(["engine=surrogate", EXPERIMENT, *given])
    wanted = config.trajectory
    if wanted is None:
        raise LineageError(f"conf key 'trajectory' has no value: leave {EXPERIMENT} as it is")
    for kind in wanted.migrations:
        if kind not in MIGRATIONS:
            raise LineageError(
                f"trajectory.migrations: {kind!r} has no vectorised form: choose from "
                f"{', '.join(MIGRATIONS)}"
            )
    base, seed = Setting.of(config), config.experiment.seed
    with busy(console, "fitting the first skills"):
        skills = _skills(config, wanted, options.fit)
    with busy(console, "simulating releases"):
        lines = list(curves(base, wanted, skills, seed))
        needs = list(needed(base, wanted, skills, seed))
    said = assumptions(base, wanted, config, len(skills), options.fit)
    if options.picture:
        _draw(lines, wanted.goal, said, options.picture)
    if options.json:
        found = {"assumptions": said, "goal": wanted.goal}
        found |= {"curves": [asdict(one) for one in lines], "needed": [asdict(n) for n in needs]}
        say_json(console, found)
        return
    unfolded(console)
    say(console, Text(one_line(answer(lines, needs, wanted.goal)), "bold"))
    for line in said:
        say(console, line)
    show_sheet(_sheet(lines), console)
    show_sheet(_needs(needs, wanted), console)
    if options.picture:
        say(console, f"picture: {options.picture}")


def answer(lines: Sequence[Curve], needs: Sequence[Needed], goal: float) -> str:
    """Return in one sentence where the score ends, and what the goal needs."""
    first, reached = lines[0], [one for one in needs if one.jump is not None]
    end = (
        f"On the stand-in the score goes from {first.mean[0]:.2f} to {first.mean[-1]:.2f} in "
        f"{len(first.mean)} generations"
    )
    if not reached:
        return f"{end}; no combination that was tried reaches {goal:g}."
    least = min(reached, key=lambda one: (one.jump or 1.0, -one.course.cadence))
    slow = max(reached, key=lambda one: (one.course.cadence, -(one.jump or 1.0)))
    return (
        f"{end}; {goal:g} is reached by {len(reached)} of {len(needs)} combinations: with the "
        f"least jump, {least.jump:g}, by a release every {least.course.cadence} generations, and "
        f"at most every {slow.course.cadence}, with a jump of {slow.jump:g}."
    )


def assumptions(
    base: Setting,
    wanted: TrajectoryConfig,
    config: Config,
    draws: int,
    runs: Sequence[Path] | None,
) -> list[str]:
    """Return what the curves rest on, a line each."""
    version = config.schedule.versions[0]
    source = f"fitted to {', '.join(run.name for run in runs)}" if runs else "as shipped"
    bands = f"bands: {draws} draws of the fit" if draws > 1 else "no bands: nothing was fitted"
    return [
        "The surrogate, no language model. Each release adds to recall and infer the share `jump` "
        "of what lacks to 1, and with a trained writer to write and edit;",
        f"the first version is {version} with skills {source}; {bands}; {wanted.lineages} lineages "
        "a draw; what is not varied is the first value of each panel.",
        f"A generation works on {base.episodes} tasks, {base.revisit:g} of them met before; "
        f"{base.drift:g} of the facts change each generation; a world of {base.machines} machines; "
        "no docs. Dotted: the goal.",
    ]


def _skills(
    config: Config, wanted: TrajectoryConfig, runs: Sequence[Path] | None
) -> list[SkillConfig]:
    """Return the first version's skills: as conf has them, or draws of their fit to `runs`."""
    shipped, version = config.engine.surrogate.skills, config.schedule.versions[0]
    if not runs:
        return [shipped.get(version, shipped["default"])]
    from lineage.log.views.open import open_log
    from lineage.surrogate.fitting import fit
    from lineage.surrogate.outcomes import read_answers, read_writings

    log = open_log(*(find_run(run) for run in runs))
    _, outcomes = read_answers(log)
    fitted = fit([*outcomes, *read_writings(log)], shipped, config.log.confidence)
    if version not in fitted:
        raise LineageError(
            f"the runs have nothing of {version}, which schedule.versions begins with: fit to one "
            f"that has, or begin with one of {', '.join(fitted)}"
        )
    return [fitted[version].drawn(number) for number in range(wanted.draws)]


def _sheet(lines: Sequence[Curve]) -> Sheet:
    last = len(lines[0].mean) - 1
    shown = [0, last // 4, last // 2, 3 * last // 4, last]
    rows = [
        (line.factor, line.label, *(_cell(line, generation) for generation in shown))
        for line in lines
    ]
    head = ("what is varied", "to", *(f"generation {generation}" for generation in shown))
    note = "score on same and similar [band over draws of the fitted skills]"
    return Sheet("over releases", head, tuple(rows), note, left=2)


def _cell(line: Curve, at: int) -> str:
    low = line.low[at] if line.low else None
    return bounds({"mean": line.mean[at], "low": low, "high": line.high[at] if line.high else None})


def _needs(needs: Sequence[Needed], wanted: TrajectoryConfig) -> Sheet:
    cadences = sorted(wanted.cadences)
    table: dict[tuple[str, str, str], dict[int, str]] = defaultdict(dict)
    for one in needs:
        course = one.course
        told = NOT_COMPUTED if one.jump is None else f"{one.jump:g}"
        key = (str(course.budget), course.migration, course.writer)
        table[key][course.cadence] = f"{told} ({one.share:.0%})"
    rows = [(*key, *(cells[cadence] for cadence in cadences)) for key, cells in table.items()]
    head = ("memory", "migration", "writer", *(f"every {cadence}" for cadence in cadences))
    note = (
        f"least jump of {', '.join(f'{j:g}' for j in sorted(wanted.jumps))} that ends at "
        f"{wanted.goal:g} or more (mean of the last sixth), by the generations a release is "
        "served; n/a: not even the largest does; in brackets the share of the draws that do"
    )
    return Sheet("what would have to be true for no wall", head, tuple(rows), note, left=3)


def _draw(lines: Sequence[Curve], goal: float, said: Sequence[str], file: Path) -> None:
    from lineage.report.canvas import picture_bytes
    from lineage.report.figures import score_over_releases

    panels: dict[str, dict[str, Any]] = defaultdict(dict)
    for line in lines:
        panels[line.factor][line.label] = (line.mean, line.low, line.high)
    figure = score_over_releases(panels, goal, said)
    atomic_write(file, picture_bytes(figure, file.suffix.removeprefix(".") or "svg"))
