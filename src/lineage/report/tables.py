"""The tables of a run as values: the terminal and the report draw the same rows.

A table is here only where a run has something to fill it with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lineage.metrics.keeping import AFTER
from lineage.report.headline import engine_words, versions_words
from lineage.report.sheet import (
    NOT_COMPUTED,
    STARRED_FROM,
    Sheet,
    bounds,
    counted,
    gained,
    name,
    pairs_of,
    share,
    starred,
)
from lineage.report.tables_truth import doc_search, freshness, poison, summaries

CROWDED = 4
"""From more arms than this on, a table has a row an arm, not one an arm and family."""
MOST_CATEGORIES = 12
"""More categories than these are left to `metrics.json`."""
BASELINE = "baseline"
"""Stands where a gain of the baseline over itself would."""
STAR = f"the interval excludes 0, {STARRED_FROM} pairs or more"
MATRIX = "writer x reader: what is one version's Knowledge worth to another?"
UNDEFINED = {
    "score": "n/a: the interval of what is divided by holds 0",
    "tokens": "n/a: generation 0 left no memories",
    "fidelity": "n/a: generation 0 left no steady fact stated rightly",
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
    rows: list[tuple[str, ...]] = []
    counts: list[tuple[int, ...]] = []
    for family in summary["families"]:
        for arm in summary["arms"]:
            score = summary["scores"].get(arm, {}).get(family)
            if score is None:
                continue
            gain = summary["gain"].get(arm, {}).get(family)
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
        for gains in summary["gain"].values()
        for family, gain in gains.items()
        if gain["share_reason"]
    }
    reasons = "; ".join(sorted(undefined))
    note = _note(
        f"mean over pairs [{_level(summary)} interval] of the probes of all generations",
        f"* {STAR}",
        reasons and f"of possible n/a: {reasons}",
        *_asides(summary),
    )
    return counted(Sheet(_title(summary), head, tuple(rows[:-1]), note, left=2), counts[:-1])


def scores_by_arm(summary: dict[str, Any]) -> Sheet:
    """A row an arm: score by family, and whether the gain over the baseline earns a star."""
    rows, counts = [], []
    for arm in summary["arms"]:
        cells = []
        for family in summary["families"]:
            score = summary["scores"].get(arm, {}).get(family)
            gain = summary["gain"].get(arm, {}).get(family)
            mark = f" {NOT_COMPUTED}" if _apart(summary, arm) else "*" if _is_star(gain) else " "
            cells.append(bounds(score) + mark if score else NOT_COMPUTED)
        rows.append((arm, *cells))
        counts.append([pairs_of(score) for score in summary["scores"].get(arm, {}).values()])
    note = _note(
        f"mean over pairs [{_level(summary)} interval] of the probes of all generations",
        f"* of the gain over {summary['baseline']} {STAR}",
        *_asides(summary),
    )
    head = ("arm", *summary["families"])
    return counted(Sheet(_title(summary), head, tuple(rows), note), counts)


def inherited(summary: dict[str, Any]) -> Sheet:
    """The gain over the baseline with generation 0 apart, a column a family.

    Where there are many arms, generation 0 is left to `metrics.json`.
    """
    found = summary.get("gain_by_inheritance", [])
    cells = {(g["inherited"], g["arm"], g["family"]): g for g in found}
    later = len(summary["schedule"]) - 1
    names = {False: "0", True: "1" if later == 1 else f"1-{later}"}
    crowded = len(summary["arms"]) > CROWDED
    shown = [
        (told, arm)
        for told, arm in dict.fromkeys((told, arm) for told, arm, _ in cells)
        if told or not crowded
    ]
    families = summary["families"]
    rows = tuple(
        (names[told], arm, *(gained(cells.get((told, arm, f))) for f in families))
        for told, arm in shown
    )
    counts = [[pairs_of(cells.get((told, arm, f))) for f in families] for told, arm in shown]
    title = f"does a successor profit? gain over {summary['baseline']}"
    head = ("gen.", "arm", *families)
    note = _note(
        "generation 0 inherits nothing: its probes read what it wrote itself, after 1 handoff",
        f"* {STAR}",
    )
    # The matrix says it better: there each version has a baseline of its own.
    several = any(told for told, _ in shown) and not summary.get("matrix")
    return counted(Sheet(title, head, rows if several else (), note, left=2), counts)


def costs(summary: dict[str, Any]) -> Sheet:
    """What an arm costs: tokens and time of a probe, and of what is between the tasks."""
    columns = {
        "prompt_tokens": ("tokens read", ",.0f"),
        "cached_tokens": ("cached", ",.0f"),
        "engine_seconds": ("seconds", ",.1f"),
        "handoff_tokens": ("tokens between", ",.0f"),
        "handoff_seconds": ("seconds between", ",.1f"),
    }
    rows, counts = [], []
    for arm in summary["arms"]:
        found = summary["costs"].get(arm, {})
        means = (
            format(found[cost]["mean"], form) if cost in found else NOT_COMPUTED
            for cost, (_, form) in columns.items()
        )
        rows.append((arm, *means))
        counts.append([pairs_of(cell) for cell in found.values()])
    head = ("arm", *(title for title, _ in columns.values()))
    note = (
        "a probe: prompt tokens, those the prefix cache held, seconds in the engine (in a batch "
        "with others); a generation: tokens and engine seconds of migration, handoff and training"
    )
    if len(rows) <= CROWDED:
        return Sheet("what does an arm cost?", head, (), note)
    return counted(Sheet("what does an arm cost?", head, tuple(rows), note), counts)


def gains_by_version(summary: dict[str, Any]) -> Sheet:
    """The gain of each arm by the version that worked, a column a family."""
    cells = {(g["version"], g["arm"], g["family"]): g for g in summary["gain_by_version"]}
    title = f"gain over {summary['baseline']}, by version, from generation 1"
    head = ("version", "arm", *summary["families"])
    shown = list(dict.fromkeys((version, arm) for version, arm, _ in cells))
    if len({version for version, _ in shown}) < 2 or len(summary["arms"]) > CROWDED:
        return Sheet(title, head, ())
    of = [[cells.get((*place, family)) for family in summary["families"]] for place in shown]
    rows = tuple(
        (name(version), arm, *map(gained, gains))
        for (version, arm), gains in zip(shown, of, strict=True)
    )
    return counted(Sheet(title, head, rows, left=2), [map(pairs_of, gains) for gains in of])


def matrix(summary: dict[str, Any]) -> Sheet:
    """Writer x reader: what Knowledge is worth over none, a column a reader."""
    cells = {(r["family"], r["writer"], r["reader"]): r for r in summary.get("matrix", [])}
    readers = list(dict.fromkeys(reader for _, _, reader in cells))
    rows: list[tuple[str, ...]] = []
    counts: list[list[int]] = []
    for family in summary["families"]:
        for writer in dict.fromkeys(writer for _, writer, _ in cells):
            found = [cells.get((family, writer, reader)) for reader in readers]
            gains = [cell and cell["gain"] for cell in found]
            rows.append((family, name(writer), *map(gained, gains)))
            counts.append([pairs_of(gain) for gain in gains])
        rows.append(("",) * (2 + len(readers)))
        counts.append([])
    head = ("family", "writer", *(f"read by {name(reader)}" for reader in readers))
    note = _note(
        "gain over the same reader without Knowledge, in the last generation",
        f"* {STAR}",
        "n/a: no such arm, or no cold arm of that reader",
    )
    if not cells:
        return Sheet(MATRIX, head, ())
    return counted(Sheet(MATRIX, head, tuple(rows[:-1]), note, left=2), counts[:-1])


def upgrade(summary: dict[str, Any]) -> Sheet:
    """Upgrade retention and harm of each cell of the matrix."""
    found = [
        row
        for family in summary["families"]
        for row in summary.get("matrix", [])
        if row["family"] == family
    ]
    measures = ("score", "retention", "harm")
    rows = tuple(
        (
            row["family"],
            name(row["writer"]),
            name(row["reader"]),
            *(bounds(row[measure]) for measure in measures),
        )
        for row in found
    )
    counts = [[pairs_of(row[measure]) for measure in measures] for row in found]
    head = ("family", "writer", "reader", *measures)
    note = (
        "retention: gain with the writer's Knowledge / gain with the reader's own; n/a where the "
        "interval of the latter holds 0. harm: share of the probes solved cold that are failed "
        "with Knowledge; n/a where none is solved cold"
    )
    return counted(Sheet("upgrade retention and harm", head, rows, note, left=3), counts)


def kept(summary: dict[str, Any]) -> Iterator[Sheet]:
    """What is left after k handoffs: of the score, of the tokens, of the facts."""
    if len({arm["migration"] for arm in summary["defined"].values()}) < 2:
        return
    cells = {(row["measure"], row["arm"], row["k"]): row for row in summary.get("kept", [])} | {
        ("fidelity", row["arm"], row["handoffs"]): row
        for row in summary.get("ground", {}).get("fidelity", [])
        if row["generation"] == 0
    }
    columns = [k for k in AFTER if any(key[2] == k for key in cells)]
    titles = {
        "score": f"score kept after k handoffs: gain on same tasks / that of {summary['ceiling']}",
        "tokens": "tokens kept after k handoffs: of the memories that generation 0 left",
        "fidelity": "fidelity after k handoffs: facts that generation 0 left, still stated rightly",
    }
    for measure, title in titles.items():
        arms = [arm for arm in summary["arms"] if any((measure, arm, k) in cells for k in columns)]
        found = [[cells.get((measure, arm, k)) for k in columns] for arm in arms]
        rows = tuple((arm, *map(share, of)) for arm, of in zip(arms, found, strict=True))
        head = ("arm", *(f"k = {k}" for k in columns))
        undefined = any(NOT_COMPUTED in row for row in rows)
        note = UNDEFINED[measure] if undefined else ""
        yield counted(Sheet(title, head, rows, note), [map(pairs_of, of) for of in found])


def categories(summary: dict[str, Any]) -> Sheet:
    """Score by the benchmark's own categories: of the first arm, the baseline and the ceiling."""
    found = summary.get("categories", [])
    cells = {(row["family"], row["category"], row["arm"]): row for row in found}
    kinds = list(dict.fromkeys((family, category) for family, category, _ in cells))
    shown = dict.fromkeys((*summary["arms"][:1], summary["baseline"], summary["ceiling"]))
    arms = [arm for arm in shown if arm in summary["arms"]]
    order = {family: place for place, family in enumerate(summary["families"])}
    places = sorted(kinds, key=lambda kind: (order[kind[0]], kind[1]))
    of = [[cells.get((*place, arm)) for arm in arms] for place in places]
    rows = tuple((*place, *map(bounds, row)) for place, row in zip(places, of, strict=True))
    several = 1 < len({category for _, category in kinds}) <= MOST_CATEGORIES
    head = ("family", "category", *arms)
    note = "mean over pairs that met the category; metrics.json has every arm"
    if not several:
        return Sheet("score by category", head, ())
    counts = [map(pairs_of, row) for row in of]
    return counted(Sheet("score by category", head, rows, note, left=2), counts)


def _apart(summary: dict[str, Any], arm: str) -> bool:
    """Whether `arm` has no gain because other versions serve it than the baseline."""
    return arm != summary["baseline"] and not summary["gain"].get(arm)


def _is_star(gain: dict[str, Any] | None) -> bool:
    return gain is not None and starred(gain)


def _asides(summary: dict[str, Any]) -> Iterator[str]:
    """Yield what must be said below the scores: what is n/a, stars by chance, probes unscored."""
    if any(_apart(summary, arm) for arm in summary["arms"]):
        pointer = f"; see {MATRIX.partition(':')[0]}" if summary.get("matrix") else ""
        yield f"n/a: no gain, served by other versions than {summary['baseline']}{pointer}"
    stars = summary.get("stars", {}).get("gain")
    if stars:
        yield (
            f"of {stars['cells']} gains {stars['by_chance']:.1f} would have a star by chance "
            f"(correction: {stars['correction']})"
        )
    unscored = [row for row in summary.get("unscored", ()) if row["overlong"] or row["missing"]]
    if unscored:
        yield "probes over-long (scored 0) + missing: " + ", ".join(
            f"{row['arm']} {row['family']} {row['overlong']} + {row['missing']}" for row in unscored
        )


def _note(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _title(summary: dict[str, Any]) -> str:
    return f"{summary['run']} on {engine_words(summary.get('engine'))}: {versions_words(summary)}"


def _level(summary: dict[str, Any]) -> str:
    return f"{summary['confidence']:.0%}"
