"""The tables of a run as values: the terminal and the report draw the same rows.

A table is here only where a run has something to fill it with.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from lineage.metrics.facts import HANDOFFS
from lineage.report.headline import engine_words, versions_words
from lineage.report.lookup import cells, lost, rows_of
from lineage.report.sheet import (
    NOT_COMPUTED,
    STARRED_FROM,
    Cell,
    Sheet,
    bounds,
    counted,
    gained,
    name,
    noted,
    pairs_of,
    share,
    starred,
    table,
)
from lineage.report.tables_release import releases
from lineage.report.tables_truth import doc_search, freshness, poison, summaries

CROWDED = 4
"""From more arms than this on, a table has a row an arm, not one an arm and family."""
MOST_CATEGORIES = 12
"""More categories than these are left to `metrics.json`."""
BASELINE = "baseline"
"""Stands where a gain of the baseline over itself would."""
STAR = f"the interval excludes 0, {STARRED_FROM} pairs or more"
MATRIX = "writer x reader: what is one version's Knowledge worth to another?"
COSTS = {
    "prompt_tokens": ("tokens read", ",.0f"),
    "cached_tokens": ("cached", ",.0f"),
    "engine_seconds": ("seconds", ",.1f"),
    "handoff_tokens": ("tokens between", ",.0f"),
    "handoff_seconds": ("seconds between", ",.1f"),
}
"""The costs that are shown: what stands above them, and how they are written."""
UNDEFINED = {
    "score": "the interval of what is divided by holds 0",
    "tokens": "generation 0 left no memories",
    "fidelity": "generation 0 left no steady fact stated rightly",
}
"""By what is kept: why a cell has no figure."""


def sheets(summary: dict[str, Any]) -> Iterator[Sheet]:
    """Yield the tables of `summary` (see `metrics.summarise`) that have rows."""
    yield from (sheet for sheet in (scores(summary),) if sheet.rows)
    yield from more(summary)


def more(summary: dict[str, Any]) -> Iterator[Sheet]:
    """Yield the tables after the headline that have rows."""
    found = (
        inherited(summary),
        costs(summary),
        gains_by_version(summary),
        matrix(summary),
        upgrade(summary),
        releases(summary),
        *kept(summary),
        freshness(summary),
        summaries(summary),
        categories(summary),
        *doc_search(summary),
        poison(summary),
    )
    return (sheet for sheet in found if sheet.rows)


def scores(summary: dict[str, Any]) -> Sheet:
    """The headline: the scores of all generations, by family and arm or, of many arms, by arm."""
    crowded = len(summary["arms"]) > CROWDED
    return scores_by_arm(summary) if crowded else scores_by_family(summary)


def scores_by_family(summary: dict[str, Any]) -> Sheet:
    """A row a family and arm: score, gain over the baseline, share of the possible."""
    found, gains = _scores(summary), _gains(summary)
    rows: list[tuple[str, ...]] = []
    counts: list[tuple[int, ...]] = []
    for family in summary["families"]:
        for arm in summary["arms"]:
            score, gain = found.get((arm, family)), gains.get((arm, family))
            if score is None:
                continue
            part = gain and gain["share_of_possible"]
            over = BASELINE if arm == summary["baseline"] else gained(gain)
            of_possible = NOT_COMPUTED if part is None else f"{part:.0%}"
            rows.append((family, arm, bounds(score), over, of_possible))
            counts.append((pairs_of(score), pairs_of(gain)))
        rows.append(("",) * 5)
        counts.append(())
    head = ("family", "arm", "score", f"gain over {summary['baseline']}", "of possible")
    undefined = {
        f"{family} tasks, {gain['share_reason']}"
        for (_, family), gain in gains.items()
        if gain["share_reason"]
    }
    reasons = "; ".join(sorted(undefined))
    note = noted(
        f"mean over pairs [{_level(summary)} interval] of the probes of all generations",
        f"* {STAR}",
        reasons and f"of possible n/a: {reasons}",
        *_asides(summary),
    )
    return counted(Sheet(_title(summary), head, tuple(rows[:-1]), note, left=2), counts[:-1])


def scores_by_arm(summary: dict[str, Any]) -> Sheet:
    """A row an arm: score by family, and whether the gain over the baseline earns a star."""
    found, gains, families = _scores(summary), _gains(summary), summary["families"]
    apart = _apart(summary)
    rows, counts = [], []
    for arm in summary["arms"]:
        row = [arm]
        for family in families:
            score, gain = found.get((arm, family)), gains.get((arm, family))
            mark = f" {NOT_COMPUTED}" if arm in apart else "*" if gain and starred(gain) else " "
            row.append(bounds(score) + mark if score else NOT_COMPUTED)
        rows.append(tuple(row))
        counts.append([pairs_of(found.get((arm, family))) for family in families])
    note = noted(
        f"mean over pairs [{_level(summary)} interval] of the probes of all generations",
        f"* of the gain over {summary['baseline']} {STAR}",
        *_asides(summary),
    )
    return counted(Sheet(_title(summary), ("arm", *families), tuple(rows), note), counts)


def inherited(summary: dict[str, Any]) -> Sheet:
    """The gain over the baseline with generation 0 apart, a column a family.

    Where there are many arms, generation 0 is left to `metrics.json`.
    """
    found = cells(summary, "gain_by_inheritance", "inherited", "arm", "family")
    later = len(summary["schedule"]) - 1
    names = {False: "0", True: "1" if later == 1 else f"1-{later}"}
    crowded = len(summary["arms"]) > CROWDED
    shown = [
        (told, arm)
        for told, arm in dict.fromkeys((told, arm) for told, arm, _ in found)
        if told or not crowded
    ]
    families = summary["families"]
    gains = [
        ((names[told], arm), [found.get((told, arm, family)) for family in families])
        for told, arm in shown
    ]
    title = f"does a successor profit? gain over {summary['baseline']}"
    head = ("gen.", "arm", *families)
    note = noted(
        "generation 0 inherits nothing: its probes read what it wrote itself, after 1 handoff",
        f"* {STAR}",
    )
    # The matrix says it better: there each version has a baseline of its own.
    several = any(told for told, _ in shown) and not rows_of(summary, "upgrade_matrix")
    return table(title, head, gains if several else [], gained, note)


def costs(summary: dict[str, Any]) -> Sheet:
    """What an arm costs: tokens and time of a probe, and of what is between the tasks."""
    found = cells(summary, "costs", "arm", "cost")
    of = [((arm,), [found.get((arm, cost)) for cost in COSTS]) for arm in summary["arms"]]
    head = ("arm", *(title for title, _ in COSTS.values()))
    written = [partial(_mean, form=form) for _, form in COSTS.values()]
    note = (
        "a probe: prompt tokens, those the prefix cache held, seconds in the engine (in a batch "
        "with others); a generation: tokens and engine seconds of migration, handoff and training"
    )
    return table("what does an arm cost?", head, of if len(of) > CROWDED else [], written, note)


def _mean(cell: Cell | None, form: str) -> str:
    return format(cell["mean"], form) if cell else NOT_COMPUTED


def gains_by_version(summary: dict[str, Any]) -> Sheet:
    """The gain of each arm by the version that worked, a column a family."""
    found = cells(summary, "gain_by_version", "version", "arm", "family")
    title = f"gain over {summary['baseline']}, by version, from generation 1"
    head = ("version", "arm", *summary["families"])
    shown = list(dict.fromkeys((version, arm) for version, arm, _ in found))
    if len({version for version, _ in shown}) < 2 or len(summary["arms"]) > CROWDED:
        return Sheet(title, head, ())
    gains = [
        ((name(version), arm), [found.get((version, arm, f)) for f in summary["families"]])
        for version, arm in shown
    ]
    return table(title, head, gains, gained)


def matrix(summary: dict[str, Any]) -> Sheet:
    """Writer x reader: what Knowledge is worth over none, a column a reader."""
    cell = cells(summary, "upgrade_matrix", "family", "writer", "reader", measure="gain")
    crossed = cells(summary, "upgrade_matrix", "writer", "reader")
    readers = list(dict.fromkeys(reader for _, reader in crossed))
    rows: list[tuple[str, ...]] = []
    counts: list[list[int]] = []
    for family in summary["families"]:
        for writer in dict.fromkeys(writer for writer, _ in crossed):
            gains = [cell.get((family, writer, reader)) for reader in readers]
            rows.append((family, name(writer), *map(gained, gains)))
            counts.append([pairs_of(gain) for gain in gains])
        rows.append(("",) * (2 + len(readers)))
        counts.append([])
    head = ("family", "writer", *(f"read by {name(reader)}" for reader in readers))
    note = noted(
        "gain over the same reader without Knowledge, in the last generation",
        f"* {STAR}",
        "n/a: no such arm, or no cold arm of that reader",
    )
    if not crossed:
        return Sheet(MATRIX, head, ())
    return counted(Sheet(MATRIX, head, tuple(rows[:-1]), note, left=2), counts[:-1])


def upgrade(summary: dict[str, Any]) -> Sheet:
    """Upgrade retention and harm of each cell of the matrix."""
    measures, by = ("score", "retention", "harm"), ("family", "arm", "writer", "reader")
    found = cells(summary, "upgrade_matrix", *by, "measure")
    scored = cells(summary, "upgrade_matrix", *by, measure="score")
    places = [place for family in summary["families"] for place in scored if place[0] == family]
    crossed = [
        ((family, name(writer), name(reader)), [found.get((*place, m)) for m in measures])
        for place in places
        for family, _, writer, reader in [place]
    ]
    head = ("family", "writer", "reader", *measures)
    note = (
        "retention: gain with the writer's Knowledge / gain with the reader's own; n/a where the "
        "interval of the latter holds 0. harm: share of the probes solved cold that are failed "
        "with Knowledge; n/a where none is solved cold"
    )
    return table("upgrade retention and harm", head, crossed, bounds, note)


def kept(summary: dict[str, Any]) -> Iterator[Sheet]:
    """What is left after k handoffs: of the score, of the tokens, of the facts."""
    if len({arm["migration"] for arm in summary["defined"].values()}) < 2:
        return
    cell = cells(summary, "kept", "measure", "arm", "k") | {
        ("fidelity", *place): row
        for place, row in cells(summary, "fidelity", "arm", "handoffs", generation=0).items()
    }
    columns = [k for k in HANDOFFS if any(key[2] == k for key in cell)]
    titles = {
        "score": f"score kept after k handoffs: gain on same tasks / that of {summary['ceiling']}",
        "tokens": "tokens kept after k handoffs: of the memories that generation 0 left",
        "fidelity": "fidelity after k handoffs: facts that generation 0 left, still stated rightly",
    }
    for measure, title in titles.items():
        arms = [arm for arm in summary["arms"] if any((measure, arm, k) in cell for k in columns)]
        found = [((arm,), [cell.get((measure, arm, k)) for k in columns]) for arm in arms]
        head = ("arm", *(f"k = {k}" for k in columns))
        yield table(title, head, found, share, undefined=UNDEFINED[measure])


def categories(summary: dict[str, Any]) -> Sheet:
    """Score by the benchmark's own categories: of the first arm, the baseline and the ceiling."""
    found = cells(summary, "scores_by_category", "family", "category", "arm")
    kinds = {(family, category) for family, category, _ in found}
    shown = dict.fromkeys((*summary["arms"][:1], summary["baseline"], summary["ceiling"]))
    arms = [arm for arm in shown if arm in summary["arms"]]
    places = [kind for family in summary["families"] for kind in sorted(kinds) if kind[0] == family]
    scores = [(place, [found.get((*place, arm)) for arm in arms]) for place in places]
    several = 1 < len({category for _, category in places}) <= MOST_CATEGORIES
    head = ("family", "category", *arms)
    note = "mean over pairs that met the category; metrics.json has every arm"
    return table("score by category", head, scores if several else [], bounds, note)


def _scores(summary: dict[str, Any]) -> dict[Any, dict[str, Any]]:
    return cells(summary, "scores", "arm", "family")


def _gains(summary: dict[str, Any]) -> dict[Any, dict[str, Any]]:
    return cells(summary, "inheritance_gain", "arm", "family")


def _apart(summary: dict[str, Any]) -> set[str]:
    """Return the arms that have no gain because other versions serve them than the baseline."""
    return {*summary["arms"]} - {summary["baseline"]} - {arm for arm, _ in _gains(summary)}


def _asides(summary: dict[str, Any]) -> Iterator[str]:
    """Yield what must be said below the scores: what is n/a, stars by chance, probes unscored."""
    if _apart(summary):
        crossed = rows_of(summary, "upgrade_matrix")
        pointer = f"; see {MATRIX.partition(':')[0]}" if crossed else ""
        yield f"n/a: no gain, served by other versions than {summary['baseline']}{pointer}"
    stars = summary["stars"].get("inheritance_gain")
    if stars:
        yield (
            f"of {stars['cells']} gains {stars['by_chance']:.1f} would have a star by chance "
            f"(correction: {stars['correction']})"
        )
    if said := lost(rows_of(summary, "unscored")):
        yield f"probes over-long (scored 0) + missing: {said}"


def _title(summary: dict[str, Any]) -> str:
    return f"{summary['run']} on {engine_words(summary.get('engine'))}: {versions_words(summary)}"


def _level(summary: dict[str, Any]) -> str:
    return f"{summary['confidence']:.0%}"
