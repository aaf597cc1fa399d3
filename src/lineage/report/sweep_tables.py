"""What a sweep found, in words and tables: the answer first, then what it rests on. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from lineage.metrics.points import Below
from lineage.report.answer import FAMILIES
from lineage.report.sheet import (
    NOT_COMPUTED,
    STARRED_FROM,
    Cell,
    Sheet,
    bounds,
    counted,
    gained,
    pairs_of,
    table,
)
from lineage.report.sweep import FINISHED, Result, Sweep

KINDS = {
    "gain": ("gain by family", f"* the interval excludes 0, {STARRED_FROM} pairs or more"),
    "score": ("score by family", "mean over the probes of all generations"),
}
REST = ("what it costs", "memory tokens: that the last generation leaves; tokens read: of a probe")
"""Titles and notes of tables."""
NO_PAIRS = "no pair was asked the same in both"


def sweep_answer(sweep: Sweep) -> str:
    """Return which point is best, with its interval, and what it can be told from."""
    ranked = sweep.ranked
    if not ranked:
        return f"Best point: {NOT_COMPUTED}, {_why_none(sweep)}."
    best, others = ranked[0], ranked[1:]
    if sweep.by_objective:
        return _by_objective(sweep, best, others)
    cell = best.measures[sweep.headline]
    gain = sweep.headline.startswith("gain")
    figure = bounds(cell, signed=gain)
    over = f" over {best.over}" if gain else ""
    n = pairs_of(cell)
    of = "held-out worlds" if sweep.record.kind == "training" else "pairs" if n != 1 else "pair"
    verb = "gained" if gain else "scored"
    said = (
        f"{best.named[0].upper()}{best.named[1:]} is best of {len(ranked)} with results: "
        f"{best.of} {verb} {figure}{over} {_where(sweep.headline)} ({n} {of})"
    )
    if not others:
        return f"{said}. No other point has finished."
    return f"{said}. {_told(sweep, best, others)}."


def _by_objective(sweep: Sweep, best: Result, others: list[Result]) -> str:
    """Return which point is best by what the sweeper was told."""
    said = (
        f"{best.named[0].upper()}{best.named[1:]} is best of {len(others) + 1} with results by the "
        f"objective, with {_least(sweep)} {sweep.record.objective}: {_objective(best)}"
    )
    cell = best.measures.get(sweep.headline)
    if cell is not None and sweep.headline.startswith("gain"):
        figure = bounds(cell, signed=True)
        said += f", where {best.of} gained {figure} over {best.over} {_where(sweep.headline)}"
    if not others:
        return f"{said}. No other point has finished."
    near = others[0]
    return (
        f"{said}. The next, {near.named}, has {_objective(near)}; whether it can be told from the "
        f"others is {NOT_COMPUTED}: an objective has no figures by pair."
    )


def _least(sweep: Sweep) -> str:
    return "the least" if sweep.record.minimize else "the most"


def _better(sweep: Sweep) -> str:
    """Return in words by what a point is better."""
    if sweep.by_objective:
        return f"best: {_least(sweep)} {sweep.record.objective}, the objective"
    return f"best: the most {sweep.headline}" if sweep.headline else ""


def _why_none(sweep: Sweep) -> str:
    if not sweep.results:
        return "the sweep has no point yet"
    if not sweep.finished:
        return "no point has finished"
    return "no finished point has a gain or a score"


def _where(headline: str) -> str:
    kind, on, family = headline.partition(" on ")
    return f"on {family} tasks" if on else f"in {kind.removeprefix('gain in ')}"


def _told(sweep: Sweep, best: Result, others: list[Result]) -> str:
    """Return in words which of the others are told from the best, and how far the next one is."""
    told = [one for one in others if _below(sweep, one).told]
    if len(told) == len(others):
        said = "It is told from every other" if len(others) > 1 else "It is told from the other"
    elif told:
        said = f"It is told from {len(told)} of the {len(others)} others"
    else:
        said = f"It cannot be told from {'any' if len(others) > 1 else 'the'} other"
    near = others[0]
    parts = [f"{said}; the next, {near.named}, is {_lower(_below(sweep, near))}"]
    first = min((best, *others), key=lambda one: one.point.number)
    if first not in (best, near):
        parts.append(f"the first, {first.named}, is {_lower(_below(sweep, first))}")
    return "; ".join(parts)


def _below(sweep: Sweep, one: Result) -> Below:
    return sweep.below.get(one.point.number, Below(None))


def _lower(below: Below) -> str:
    one = below.interval
    if one is None:
        return f"not compared: {NO_PAIRS}"
    said = f"lower by {bounds(_cell(below))}"
    if below.told:
        return said
    return f"{said} ({'too few pairs to tell' if one.n < STARRED_FROM else 'not told from 0'})"


def _cell(below: Below) -> Cell | None:
    one = below.interval
    if one is None:
        return None
    known = {"mean": one.mean, "low": one.low, "high": one.high, "n": one.n}
    return {**known, "starred": below.told}


def sweep_about(sweep: Sweep) -> str:
    """Return in a line what was swept, and what the words of the answer mean."""
    states = Counter(one.state for one in sweep.results)
    kinds = ", ".join(f"{count} {state}" for state, count in states.items())
    record = sweep.record
    family = sweep.headline.partition(" on ")[2]
    parts = (
        f"{len(sweep.results)} points over {', '.join(sweep.keys) or 'no keys'}: {kinds}",
        f"sweeper {record.sweeper}, launcher {record.launcher}",
        f"objective {record.objective}" if sweep.record.guided else "",
        _better(sweep),
        f"{family}: {FAMILIES[family]}" if family in FAMILIES else "",
    )
    return "; ".join(part for part in parts if part)


def sweep_sheets(sweep: Sweep, more: bool = True) -> Iterator[Sheet]:
    """Yield the tables that have rows; without `more` only those that the answer rests on."""
    found = [headline_table(sweep)]
    found += rest_tables(sweep) if more else []
    found.append(missing_table(sweep))
    return (sheet for sheet in found if sheet.rows)


def headline_table(sweep: Sweep) -> Sheet:
    """A row a finished point: swept keys, objective, headline, and how far it is from the best."""
    kind, ranked = sweep.headline.partition(" ")[0], sweep.ranked
    objective = ("objective",) if sweep.record.guided or sweep.by_objective else ()
    best = ranked[0].point.number if ranked else 0
    rows, counts = [], []
    for one in sweep.finished:
        figure, less = one.measures.get(sweep.headline), _cell(_below(sweep, one))
        names = [str(one.point.number), *_values(sweep, one)]
        names += [_objective(one)] if objective else []
        written = gained(figure) if kind == "gain" else bounds(figure)
        rows.append((*names, written, "best " if one.point.number == best else gained(less)))
        counts.append((pairs_of(figure), pairs_of(less)))
    head = ("point", *short_keys(sweep.keys), *objective, sweep.headline or "gain", f"{best} - it")
    left = len(head) - 2
    return counted(Sheet(sweep.name, head, tuple(rows), _note(sweep, kind, best), left), counts)


def _note(sweep: Sweep, kind: str, best: int) -> str:
    """Return what the headline's table must say of itself."""
    whose = {
        f"of {one.of} over {one.over}" if kind == "gain" else f"of {one.of}"
        for one in sweep.finished
        if one.of
    }
    others = sweep.ranked[1:]
    unpaired = any(_below(sweep, one).interval is None for one in others)
    why = "a training keeps no figures by world" if sweep.record.kind == "training" else NO_PAIRS
    if sweep.by_objective:
        why = f"{best} is best by the objective, which has no figures by pair"
    among = f"; of {best} - it, also allowing for {len(others)} comparisons (Bonferroni)"
    parts = (
        f"mean over pairs [interval], {'; '.join(sorted(whose))}" if whose else "",
        f"* the interval excludes 0, {STARRED_FROM} pairs or more"
        f"{'' if sweep.by_objective else among}" if others else "",
        f"n/a: {why}" if unpaired else "",
    )  # fmt: skip
    return "; ".join(part for part in parts if part)


def rest_tables(sweep: Sweep) -> list[Sheet]:
    """A row a finished point: the figures that the first table does not have, a table a kind."""
    found: dict[str, list[str]] = {}
    names = dict.fromkeys(name for one in sweep.finished for name in one.measures)
    for name in names:
        kind = name.partition(" ")[0]
        found.setdefault(kind if kind in KINDS else "", []).append(name)
    sheets = []
    for kind, columns in found.items():
        rows = [
            ((str(one.point.number), *_values(sweep, one)), [one.measures.get(c) for c in columns])
            for one in sweep.finished
        ]
        head = ("point", *short_keys(sweep.keys), *columns)
        title, note = KINDS.get(kind, REST)
        sheets.append(table(title, head, rows, gained if kind == "gain" else bounds, note))
    return sheets


def missing_table(sweep: Sweep) -> Sheet:
    """A row a point that failed or is not finished, with why."""
    rows = tuple(
        (str(one.point.number), *_values(sweep, one), one.state, one.why)
        for one in sweep.results
        if one.state != FINISHED or one.why
    )
    head = ("point", *short_keys(sweep.keys), "state", "why")
    return Sheet("what failed or is missing", head, rows, left=len(head))


def short_keys(keys: Sequence[str]) -> tuple[str, ...]:
    """Return the last parts of dotted `keys`, whole where two would be the same."""
    last = [key.rpartition(".")[2] for key in keys]
    return tuple(
        key if last.count(name) > 1 else name for key, name in zip(keys, last, strict=True)
    )


def _values(sweep: Sweep, one: Result) -> tuple[str, ...]:
    return tuple(str(one.values.get(key)) for key in sweep.keys)


def _objective(one: Result) -> str:
    value = one.point.objective
    return NOT_COMPUTED if value is None else f"{value:.4g}"
