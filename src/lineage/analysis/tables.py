"""The tables of a run as values: the terminal and the report draw the same rows.

A table is here only where a run has something to fill it with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lineage.analysis.measures.keeping import AFTER
from lineage.analysis.sheet import Sheet, bounds, gained, name, share, short
from lineage.analysis.tables_truth import doc_search, freshness, poison, summaries

CROWDED = 4
"""From more arms than this on, a table has a row an arm, not one an arm and family."""
MOST_CATEGORIES = 12
"""More categories than these are left to `metrics.json`."""


def sheets(summary: dict[str, Any]) -> Iterator[Sheet]:
    """Yield the tables of `summary` (see `measures.summarise`) that have rows."""
    found = (
        scores_by_family(summary) if len(summary["arms"]) <= CROWDED else scores_by_arm(summary),
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


def scores_by_family(summary: dict[str, Any]) -> Sheet:
    """A row a family and arm: score, gain over the baseline, share of the possible."""
    rows = []
    for family in summary["families"]:
        for arm in summary["arms"]:
            score = summary["scores"].get(arm, {}).get(family)
            if score is None:
                continue
            gain = summary["gain"].get(arm, {}).get(family)
            share = gain and gain["share_of_possible"]
            part = f"{share:.0%}" if share is not None else ""
            rows.append((family, arm, bounds(score), gained(gain), part))
        rows.append(("",) * 5)
    head = ("family", "arm", "score", f"gain over {summary['baseline']}", "of possible")
    note = f"mean over pairs [{_level(summary)} interval]; * the interval excludes 0"
    return Sheet(_title(summary), head, tuple(rows[:-1]), note, left=2)


def scores_by_arm(summary: dict[str, Any]) -> Sheet:
    """A row an arm: score by family."""
    rows = []
    for arm in summary["arms"]:
        cells = []
        for family in summary["families"]:
            score = summary["scores"].get(arm, {}).get(family)
            gain = summary["gain"].get(arm, {}).get(family)
            star = "*" if gain and gain["excludes_zero"] else " "
            cells.append(bounds(score) + star if score else "")
        rows.append((arm, *cells))
    note = (
        f"mean over pairs [{_level(summary)} interval]; * the gain over {summary['baseline']} "
        "excludes 0"
    )
    return Sheet(_title(summary), ("arm", *summary["families"]), tuple(rows), note)


def costs(summary: dict[str, Any]) -> Sheet:
    """What an arm costs: tokens and time of a probe, and of what is between the tasks."""
    columns = {
        "prompt_tokens": ("tokens read", ",.0f"),
        "cached_tokens": ("cached", ",.0f"),
        "engine_seconds": ("seconds", ",.1f"),
        "handoff_tokens": ("tokens between", ",.0f"),
        "handoff_seconds": ("seconds between", ",.1f"),
    }
    rows = []
    for arm in summary["arms"]:
        found = summary["costs"].get(arm, {})
        means = (
            format(found[name]["mean"] if name in found else 0.0, form)
            for name, (_, form) in columns.items()
        )
        rows.append((arm, *means))
    head = ("arm", *(title for title, _ in columns.values()))
    note = (
        "a probe: prompt tokens, those the prefix cache held, seconds in the engine (in a batch "
        "with others); a generation: tokens and engine seconds of migration, handoff and training"
    )
    crowded = len(rows) > CROWDED
    return Sheet("what does an arm cost?", head, tuple(rows) if crowded else (), note)


def gains_by_version(summary: dict[str, Any]) -> Sheet:
    """The gain of each arm by the version that worked, a column a family."""
    cells = {(g["version"], g["arm"], g["family"]): g for g in summary["gain_by_version"]}
    title = f"gain over {summary['baseline']}, by version"
    head = ("version", "arm", *summary["families"])
    if len(set(summary["schedule"])) < 2 or len(summary["arms"]) > CROWDED:
        return Sheet(title, head, ())
    rows = tuple(
        (name(version), arm, *(gained(cells.get((version, arm, f))) for f in summary["families"]))
        for version, arm in dict.fromkeys((v, a) for v, a, _ in cells)
    )
    return Sheet(title, head, rows, left=2)


def matrix(summary: dict[str, Any]) -> Sheet:
    """Writer x reader: what Knowledge is worth over none, a column a reader."""
    cells = {(r["family"], r["writer"], r["reader"]): r for r in summary.get("matrix", [])}
    readers = list(dict.fromkeys(reader for _, _, reader in cells))
    rows: list[tuple[str, ...]] = []
    for family in summary["families"]:
        for writer in dict.fromkeys(writer for _, writer, _ in cells):
            found = (cells.get((family, writer, reader)) for reader in readers)
            gains = (bounds(cell["gain"], signed=True) if cell else "" for cell in found)
            rows.append((family, name(writer), *gains))
        rows.append(("",) * (2 + len(readers)))
    head = ("family", "writer", *(f"read by {name(reader)}" for reader in readers))
    note = "gain over the same reader without Knowledge"
    title = "writer x reader: what is one version's Knowledge worth to another?"
    return Sheet(title, head, tuple(rows[:-1]) if cells else (), note, left=2)


def upgrade(summary: dict[str, Any]) -> Sheet:
    """Upgrade retention and harm of each cell of the matrix."""
    rows = tuple(
        (
            family,
            name(row["writer"]),
            name(row["reader"]),
            bounds(row["score"]),
            bounds(row["retention"]) if row["retention"]["mean"] is not None else "undefined",
            bounds(row["harm"]) if row["harm"]["n"] else "none solved",
        )
        for family in summary["families"]
        for row in summary.get("matrix", [])
        if row["family"] == family
    )
    head = ("family", "writer", "reader", "score", "retention", "harm")
    note = (
        "retention: gain with the writer's Knowledge / gain with the reader's own; undefined where "
        "the interval of the latter holds 0. harm: share of the probes solved cold that are failed "
        "with Knowledge"
    )
    return Sheet("upgrade retention and harm", head, rows, note, left=3)


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
        rows = tuple((arm, *(share(cells.get((measure, arm, k))) for k in columns)) for arm in arms)
        yield Sheet(title, ("arm", *(f"k = {k}" for k in columns)), rows)


def categories(summary: dict[str, Any]) -> Sheet:
    """Score by the benchmark's own categories: of the first arm, the baseline and the ceiling."""
    found = summary.get("categories", [])
    cells = {(row["family"], row["category"], row["arm"]): row for row in found}
    kinds = list(dict.fromkeys((family, category) for family, category, _ in cells))
    shown = dict.fromkeys((*summary["arms"][:1], summary["baseline"], summary["ceiling"]))
    arms = [arm for arm in shown if arm in summary["arms"]]
    order = {family: place for place, family in enumerate(summary["families"])}
    rows = tuple(
        (family, category, *(_or_nothing(cells.get((family, category, arm))) for arm in arms))
        for family, category in sorted(kinds, key=lambda kind: (order[kind[0]], kind[1]))
    )
    several = 1 < len({category for _, category in kinds}) <= MOST_CATEGORIES
    head = ("family", "category", *arms)
    note = "mean over pairs that met the category; metrics.json has every arm"
    return Sheet("score by category", head, rows if several else (), note, left=2)


def _or_nothing(cell: dict[str, Any] | None) -> str:
    return bounds(cell) if cell else ""


def _title(summary: dict[str, Any]) -> str:
    return f"{summary['run']}: {' > '.join(short(summary['schedule']))}"


def _level(summary: dict[str, Any]) -> str:
    return f"{summary['confidence']:.0%}"
