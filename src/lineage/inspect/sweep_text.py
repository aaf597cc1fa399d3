"""What `lineage show` prints of a sweep: what was swept, what became of it, what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lineage.core.text import one_line, say
from lineage.inspect.listing import FINISHED, Listed
from lineage.log.sweep import SweepRecord, by_objective
from lineage.report.headline import COMMIT
from lineage.report.sheet import NOT_COMPUTED, Sheet, bounds, gained
from lineage.report.terminal import show_banner, show_sheet


def show_sweep(
    console: Console, folder: Path, record: SweepRecord, sweep: Listed, points: Sequence[Listed]
) -> None:
    """Print which point is best so far, what was swept, and a row a point."""
    show_banner(sweep.engine, sweep.versions, console)
    say(console, Text(one_line(_best(record, sweep, points)), "bold"))
    for line in _about(record, sweep, points):
        say(console, one_line(line))
    if points:
        show_sheet(_table(record, sweep, points), console)
    for one in points:
        if one.trouble:
            say(console, Text(one_line(f"{one.state}: {one.folder}: {one.trouble}"), "red"))
    if sweep.state != FINISHED:
        say(console, f"go on with: lineage resume {folder}")


def _best(record: SweepRecord, sweep: Listed, points: Sequence[Listed]) -> str:
    best = next((one for one in points if one.folder == sweep.best), None)
    if best is None:
        return f"Best point: {NOT_COMPUTED}, none has finished with a gain."
    head, parts = best.headline, []
    if _guided(record, points):
        least = "the least" if record.minimize else "the most"
        parts.append(f"with {least} {record.objective}, the objective: {_number(best.objective)}")
    if head is not None:
        gain = f"{head['of']} gained {bounds(head, signed=True)} over {head['over']}"
        parts.append(f"where {gain} in {head['measure']}")
    values = ", ".join(f"{key}={value}" for key, value in best.point.items())
    said = f"Best of {sweep.finished} finished points: {best.folder} ({values})"
    return f"{', '.join((said, *parts))}."


def _guided(record: SweepRecord, points: Sequence[Listed]) -> bool:
    return by_objective(record, (one.objective for one in points if one.state == FINISHED))


def _about(record: SweepRecord, sweep: Listed, points: Sequence[Listed]) -> list[str]:
    states = Counter(one.state for one in points)
    kinds = ", ".join(f"{count} {state}" for state, count in states.items())
    began = datetime.fromtimestamp(record.began).strftime("%Y-%m-%d %H:%M")
    commit = str(record.origin.get("commit") or NOT_COMPUTED)[:COMMIT]
    if (dirty := record.origin.get("dirty")) is not None:
        commit += " (dirty)" if dirty else " (clean)"
    objective = f"; objective {record.objective}" if record.guided else ""
    return [
        f"a sweep over {', '.join(sweep.keys) or 'nothing'}, each point a {record.kind}; "
        f"{sweep.state}: {len(points)} points, {kinds or 'none yet'}",
        f"asked for: {' '.join(record.overrides)}",
        f"sweeper {record.sweeper}, launcher {record.launcher}{objective}; began {began}; commit "
        f"{commit}; command: {record.origin.get('command') or NOT_COMPUTED}",
    ]


def _table(record: SweepRecord, sweep: Listed, points: Sequence[Listed]) -> Sheet:
    told = record.guided or _guided(record, points)
    rows = tuple(
        (
            one.folder.rpartition("/")[2],
            *(str(one.point.get(key)) for key in sweep.keys),
            one.state,
            f"{one.finished}/{one.planned}" if one.planned else "",
            *((_number(one.objective),) if told else ()),
            gained(one.headline),
            str(one.headline["n"]) if one.headline else "",
        )
        for one in points
    )
    objective = ("objective",) if told else ()
    head = ("point", *sweep.keys, "state", "done", *objective, "gain", "n")
    heads = [one.headline for one in points if one.headline]
    of = {f"of {one['of']} over {one['over']}, {one['measure']}" for one in heads}
    note = f"gain: {'; '.join(sorted(of))}; n: pairs or held-out worlds" if of else ""
    return Sheet("points", head, rows, note, left=2 + len(sweep.keys))


def _number(value: float | None) -> str:
    return NOT_COMPUTED if value is None else f"{value:.4g}"
