"""`lineage gate`: the threshold of `agent.opening=gate`, fitted on a run's log."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from lineage.commands import Commands, add_command
from lineage.commands.runs import add_run, find_run
from lineage.core.console import busy
from lineage.core.files import atomic_write
from lineage.core.text import one_line, say, say_json, unfolded
from lineage.report.sheet import Sheet, bounds
from lineage.report.terminal import show_sheet

if TYPE_CHECKING:
    from lineage.core.intervals import Interval
    from lineage.inspect.gate import Fit, Outcome

EXAMPLES = """\
examples:
  lineage gate latest                               where to set agent.gate, and what that opens
  lineage gate latest --version smollm2-135m@r1     for one version: its gate in conf/model
  lineage gate latest --picture gate.svg            over all thresholds, as a picture
  lineage run agent.opening=gate agent.gate=0.65    a run that opens by it
"""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "fit the threshold for opening docs (agent.opening=gate) on a run"
    gate = add_command(commands, "gate", what, EXAMPLES)
    add_run(gate)
    gate.add_argument("--version", metavar="NAME", help="only of what this version searched")
    gate.add_argument("--picture", type=Path, metavar="FILE", help="write a picture, .svg or .png")
    gate.add_argument("--json", action="store_true", help="one JSON document")
    gate.set_defaults(command=_gate)


def _gate(options: argparse.Namespace, console: Console) -> None:
    # DuckDB and Arrow take a moment to load, which `lineage --help` need not wait for.
    from lineage.inspect.gate import confidence_of, fit, searches

    run = find_run(options.run)
    with busy(console, "asking every search of the log again"):
        confidence = confidence_of(run)
        fitted = fit(searches(run, options.version), confidence)
    if options.picture:
        _draw(fitted, options.picture)
    if options.json:
        say_json(console, {"folder": str(run), "confidence": confidence, **asdict(fitted)})
        return
    unfolded(console)
    say(console, Text(one_line(answer(fitted)), "bold"))
    say(console, _where(fitted, options.version))
    show_sheet(_sheet(fitted, confidence), console)
    if options.picture:
        say(console, f"picture: {options.picture}")


def answer(fitted: Fit) -> str:
    """Return in one sentence what the threshold comes to."""
    held = fitted.held_out
    return (
        f"A gate of {fitted.threshold:g} opens the needed doc in {_told(held.when_needed)} of the "
        f"episodes that need one, and a doc in {_told(held.in_vain)} of the others, on pairs that "
        f"it was not fitted on; the run opened {_told(fitted.as_run.when_needed)} and "
        f"{_told(fitted.as_run.in_vain)}."
    )


def _where(fitted: Fit, version: str | None) -> str:
    if version:
        return f"Set gate: {fitted.threshold:g} of {version} in conf/model, agent.opening=gate."
    return f"Set agent.opening=gate agent.gate={fitted.threshold:g}."


def _sheet(fitted: Fit, confidence: float) -> Sheet:
    rows = [("as run", *_cells(fitted.as_run)), ("held out", *_cells(fitted.held_out))]
    rows += [(f"{at:.2f}", *_cells(its)) for at, its in fitted.by_threshold.items()]
    note = (
        f"share of episodes, mean over {fitted.pairs} pairs [{confidence:.0%} interval]; of "
        f"{fitted.searches} episodes that searched {fitted.needed} needed a doc; thresholds: on "
        "all pairs; held out: each half by the threshold of the other"
    )
    head = ("gate", "opened when needed", "opened in vain", "opened docs needed")
    return Sheet("opening by a threshold", head, tuple(rows), note)


def _cells(outcome: Outcome) -> tuple[str, str, str]:
    return _told(outcome.when_needed), _told(outcome.in_vain), _told(outcome.precision)


def _told(share: Interval | None) -> str:
    return bounds(None if share is None else asdict(share))


def _draw(fitted: Fit, file: Path) -> None:
    from lineage.report.canvas import picture_bytes
    from lineage.report.figures import opening_by_threshold

    curves: dict[str, Any] = {
        name: [(at, getattr(its, name)) for at, its in fitted.by_threshold.items()]
        for name in ("when_needed", "in_vain", "precision")
    }
    figure = opening_by_threshold(curves, fitted.threshold)
    atomic_write(file, picture_bytes(figure, file.suffix.removeprefix(".") or "svg"))
