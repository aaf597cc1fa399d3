"""The tables of what was measured against the world's facts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lineage.analysis.sheet import Sheet, bounds, gained, or_undefined, share


def freshness(summary: dict[str, Any]) -> Sheet:
    """How much of the truth the memories hold, how stale and how doubled they are."""
    ground = summary.get("ground", {})
    density = _pooled(ground, "signal_density")
    columns = (
        ("facts held", _pooled(ground, "facts_held", by="any")),
        ("stale", _pooled(ground, "staleness", entries="memories")),
        ("doubled", _pooled(ground, "duplication")),
    )
    rows = tuple(
        (arm, or_undefined(density[arm]), *(share(cells.get(arm)) for _, cells in columns))
        for arm in summary["arms"]
        if arm in density
    )
    note = (
        "memories against the world as it is: facts stated, share of the facts met that memories "
        "or docs state, share of memories that contradict it, share that add nothing"
    )
    head = ("arm", "facts a 100 tokens", *(title for title, _ in columns))
    return Sheet("what do the notes hold?", head, rows if len(rows) > 1 else (), note)


def summaries(summary: dict[str, Any]) -> Sheet:
    """What an instance's own summaries keep, where its context overflowed."""
    ground = summary.get("ground", {})
    kept, wrong = _pooled(ground, "summary_fidelity"), _pooled(ground, "summary_distortion")
    rows = tuple(
        (arm, share(kept[arm]), share(wrong.get(arm))) for arm in summary["arms"] if arm in kept
    )
    note = "of the facts in what was summed up, when an episode outgrew agent.history_tokens"
    head = ("arm", "facts kept", "facts distorted")
    return Sheet("what do summaries keep?", head, rows, note)


SEARCH = {
    "are docs found?": {
        "recall": "recall",
        "reciprocal_rank": "reciprocal rank",
    },
    "are docs opened at the right time?": {
        "precision": "needed, of opened",
        "opened_when_needed": "opened, of needed",
        "opened_in_vain": "opened in vain",
    },
}


def doc_search(summary: dict[str, Any]) -> Iterator[Sheet]:
    """How well docs are found and opened."""
    found = summary.get("ground", {}).get("doc_search", [])
    cells = {(row["arm"], row["measure"]): row for row in found if row["family"] is None}
    arms = [arm for arm in summary["arms"] if (arm, "recall") in cells]
    for title, measures in SEARCH.items():
        rows = tuple(
            (arm, *(share(cells.get((arm, measure))) for measure in measures)) for arm in arms
        )
        yield Sheet(title, ("arm", *measures.values()), rows)


def poison(summary: dict[str, Any]) -> Sheet:
    """How long a planted entry lives under each migration, and what it costs."""
    ground = summary.get("ground", {})
    life = {row["arm"]: row for row in ground.get("poison_life", []) if row["n"]}
    repeated = _pooled(ground, "poison_repeated")
    rows = tuple(
        (
            arm,
            bounds(life[arm]),
            f"{life[arm]['censored']} of {life[arm]['n']}",
            share(repeated.get(arm)),
            gained(summary["poison_cost"].get(arm)),
        )
        for arm in summary["arms"]
        if arm in life
    )
    head = ("arm", "life", "alive", "repeated", "same, over unpoisoned")
    note = (
        "life in generations; lineages in which it is alive at the end; share of probes that "
        "repeat the planted value; score on same tasks from then on, less the unpoisoned arm's"
    )
    return Sheet("how long does a poisoned entry live?", head, rows, note)


def _pooled(ground: dict[str, Any], measure: str, **which: str) -> dict[str, dict[str, Any]]:
    return {
        row["arm"]: row
        for row in ground.get(measure, [])
        if row["generation"] is None and all(row[key] == value for key, value in which.items())
    }
