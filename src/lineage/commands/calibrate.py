"""`lineage calibrate`: the surrogate's skills, fitted to what real versions did in logged runs."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from lineage.commands import Commands, add_command
from lineage.commands.runs import add_run, find_run
from lineage.core import plainyaml
from lineage.core.console import busy
from lineage.core.files import atomic_write
from lineage.core.text import one_line, say, say_json, unfolded
from lineage.report.sheet import NOT_COMPUTED, Sheet, bounds
from lineage.report.terminal import show_sheet

if TYPE_CHECKING:
    from lineage.surrogate.check import Check
    from lineage.surrogate.effects import Effect
    from lineage.surrogate.fitting import Skills

EXAMPLES = """\
examples:
  lineage calibrate latest                          the skills of the versions of a run
  lineage calibrate RUN RUN --picture fit.svg       of several runs; predicted against real
  lineage calibrate latest --to mine                write them as mine/engine/calibrated.yaml
  lineage run engine=calibrated --config-dir mine   a run of the surrogate with these skills
"""
ENTRY = Path("engine", "calibrated.yaml")
"""Where the skills are written, below the conf folder that is named."""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "fit the surrogate's skills to runs, and check them on pairs held out"
    parser = add_command(commands, "calibrate", what, EXAMPLES)
    add_run(parser, "runs", "folder of a run or a sweep", nargs="+")
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help=f"write the skills to DIR/{ENTRY}, for --config-dir"
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="write a picture, .svg or .png"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(command=_calibrate)


def _calibrate(options: argparse.Namespace, console: Console) -> None:
    # DuckDB and Arrow take a moment to load, which `lineage --help` need not wait for.
    from lineage import compose
    from lineage.log.views.open import open_log
    from lineage.surrogate.check import held_out
    from lineage.surrogate.effects import effects
    from lineage.surrogate.fitting import fit
    from lineage.surrogate.outcomes import read_answers, read_writings

    runs = [find_run(run) for run in options.runs]
    with busy(console, "reading every prompt of the log as the surrogate would"):
        log = open_log(*runs)
        answers, outcomes = read_answers(log)
        outcomes += read_writings(log)
    shipped = compose.load(["engine=surrogate"]).engine.surrogate.skills
    confidence = _confidence(log)
    with busy(console, "fitting, over and over"):
        fitted = fit(outcomes, shipped, confidence)
        check = held_out(answers, outcomes, shipped, confidence)
        others = effects(log, answers, outcomes, confidence)
    if options.picture:
        _draw(check, options.picture)
    if options.to:
        atomic_write(
            options.to / ENTRY, fragment(fitted, [str(run) for run in options.runs]).encode()
        )
    if options.json:
        say_json(console, _document(runs, fitted, check, others, confidence))
        return
    unfolded(console)
    say(console, Text(one_line(answer(fitted, check)), "bold"))
    for sheet in (_skills(fitted, confidence), _effects(others, confidence), _points(check)):
        show_sheet(sheet, console)
    if options.picture:
        say(console, f"picture: {options.picture}")
    if options.to:
        say(console, f"skills: {options.to / ENTRY}")
        say(console, f"lineage run engine=calibrated --config-dir {options.to}")


def answer(fitted: Mapping[str, Skills], check: Check) -> str:
    """Return in one sentence how well the fitted skills foretell what they were not fitted on."""
    told = sum(one.value is not None for skills in fitted.values() for one in skills.fitted)
    count = sum(len(skills.fitted) for skills in fitted.values())
    return (
        f"{told} of {count} chances of {len(fitted)} versions fitted; on pairs that they were not "
        f"fitted on ({check.pairs} pairs, {check.answers} answers) a predicted mean is "
        f"{check.error:.2f} from the real one and within its interval at {check.within} of "
        f"{check.bounded} points, where the shipped skills are {check.shipped_error:.2f} off."
    )


def fragment(fitted: Mapping[str, Skills], runs: Sequence[str]) -> str:
    """Return a conf entry of group `engine`: the surrogate with these skills beside its own."""
    tree = {name: _rounded(asdict(skills.config)) for name, skills in fitted.items()}
    lines = [
        "# @package _global_",
        f"# Fitted by lineage calibrate to {one_line(', '.join(runs))}. As shipped, for want of",
        "# outcomes:",
        *(f"#   {name}: {', '.join(missing(skills))}" for name, skills in fitted.items()),
        "defaults:",
        "  - surrogate",
    ]
    body = plainyaml.dump({"engine": {"surrogate": {"skills": tree}}})
    return "\n".join(lines) + "\n" + body


def _rounded(skill: dict[str, Any]) -> dict[str, Any]:
    # Dice show neither 0 nor 1, and a fit is never that near to them.
    recall = [round(chance, 6) for chance in skill["recall"]]
    others = {name: round(value, 6) for name, value in skill.items() if name != "recall"}
    return {"recall": recall, **others}


def missing(skills: Skills) -> list[str]:
    """Return the names of the skills that keep their defaults."""
    from lineage.surrogate.fitting import UNTOLD

    return [*(one.name for one in skills.fitted if one.value is None), *UNTOLD]


def _confidence(log: Any) -> float:
    ((confidence,),) = log.execute("SELECT min(confidence) FROM runs").fetchall()
    return float(confidence)


def _skills(fitted: Mapping[str, Skills], confidence: float) -> Sheet:
    rows = []
    for version, skills in fitted.items():
        for one in skills.fitted:
            value = bounds({"mean": one.value, "low": one.low, "high": one.high})
            rows.append((version, one.name, value, f"{one.outcomes:.0f}", f"{one.default:.2f}"))
        rows += [(version, name, NOT_COMPUTED, "0", "") for name in missing(skills)[-2:]]
        rows.append(("",) * 5)
    note = (
        f"chances, maximum likelihood [{confidence:.0%} interval over pairs]; n/a: the log cannot "
        "tell, and the shipped one stays"
    )
    head = ("version", "skill", "fitted", "outcomes", "shipped")
    return Sheet("skills", head, tuple(rows[:-1]), note, left=2)


def _effects(others: Sequence[Effect], confidence: float) -> Sheet:
    rows = [
        (
            one.version,
            one.skill,
            one.what,
            NOT_COMPUTED
            if one.ratio is None
            else f"{one.ratio:.2f} [{one.low:.2f}, {one.high:.2f}]",
            str(one.outcomes),
        )
        for one in others
    ]
    note = (
        f"odds ratio, 1: no effect [{confidence:.0%} interval over pairs]; recall: all at once; "
        "the surrogate has no skill for these"
    )
    head = ("version", "skill", "where it is", "odds", "outcomes")
    return Sheet("what the skills leave out", head, tuple(rows), note, left=3)


def _points(check: Check) -> Sheet:
    rows = [
        (p.panel, p.curve, p.at, bounds(asdict(p.real)), f"{p.skills:.2f}", f"{p.shipped:.2f}")
        for p in check.points
    ]
    note = (
        "means over pairs, each predicted from its prompts by skills fitted on the other half of "
        f"the pairs; nats an answer: fitted {check.log_scores[0]:.3f}, shipped "
        f"{check.log_scores[1]:.3f}"
    )
    head = ("what", "of", "at", "real", "predicted", "by shipped")
    return Sheet("predicted and real", head, tuple(rows), note, left=3)


def _document(
    runs: Sequence[Path],
    fitted: Mapping[str, Skills],
    check: Check,
    others: Sequence[Effect],
    confidence: float,
) -> dict[str, Any]:
    versions = {
        name: {
            "skills": asdict(skills.config),
            "fitted": [asdict(one) for one in skills.fitted],
            "not_told": missing(skills),
        }
        for name, skills in fitted.items()
    }
    return {
        "folders": [str(run) for run in runs],
        "confidence": confidence,
        "versions": versions,
        "effects": [asdict(one) for one in others],
        "check": asdict(check),
    }


def _draw(check: Check, file: Path) -> None:
    from lineage.report.canvas import picture_bytes
    from lineage.report.figures import predicted_and_real

    panels: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for point in check.points:
        panels[point.panel][point.curve].append((point.at, point.real, point.skills))
    figure = predicted_and_real(panels)
    atomic_write(file, picture_bytes(figure, file.suffix.removeprefix(".") or "svg"))
