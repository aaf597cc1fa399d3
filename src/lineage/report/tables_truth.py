"""The tables of what was measured against the world's facts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lineage.report.sheet import NOT_COMPUTED, Sheet, bounds, counted, gained, pairs_of, share


def freshness(summary: dict[str, Any]) -> Sheet:
    """How much of the truth the memories hold, how stale and how doubled they are."""
    ground = summary.get("ground", {})
    density = _pooled(ground, "signal_density")
    columns = (
        ("facts held", _pooled(ground, "facts_held", by="any")),
        ("stale", _pooled(ground, "staleness", entries="memories")),
        ("doubled", _pooled(ground, "duplication")),
    )
    arms = [arm for arm in summary["arms"] if arm in density]
    rows = tuple(
        (arm, bounds(density[arm]), *(share(cells.get(arm)) for _, cells in columns))
        for arm in arms
    )
    counts = [
        [pairs_of(density[arm]), *(pairs_of(cells.get(arm)) for _, cells in columns)]
        for arm in arms
    ]
    note = (
        "memories against the world as it is: facts stated, share of the facts met that memories "
        "or docs state, share of memories that contradict it, share that add nothing"
    ) + _why(rows, "the arm has no memories, or no task asks for a fact")
    head = ("arm", "facts a 100 tokens", *(title for title, _ in columns))
    if len(rows) < 2:
        return Sheet("what do the notes hold?", head, ())
    return counted(Sheet("what do the notes hold?", head, rows, note), counts)


def summaries(summary: dict[str, Any]) -> Sheet:
    """What an instance's own summaries keep, where its context overflowed."""
    ground = summary.get("ground", {})
    kept, wrong = _pooled(ground, "summary_fidelity"), _pooled(ground, "summary_distortion")
    arms = [arm for arm in summary["arms"] if arm in kept]
    rows = tuple((arm, share(kept[arm]), share(wrong.get(arm))) for arm in arms)
    note = "of the facts in what was summed up, when an episode outgrew agent.history_tokens" + (
        _why(rows, "no fact was in what was summed up")
    )
    head = ("arm", "facts kept", "facts distorted")
    counts = [(pairs_of(kept[arm]), pairs_of(wrong.get(arm))) for arm in arms]
    return counted(Sheet("what do summaries keep?", head, rows, note), counts)


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
        of = [[cells.get((arm, measure)) for measure in measures] for arm in arms]
        rows = tuple((arm, *map(share, row)) for arm, row in zip(arms, of, strict=True))
        note = _why(rows, "there was nothing of the kind: no doc needed, found or opened")
        sheet = Sheet(title, ("arm", *measures.values()), rows, note.removeprefix("; "))
        yield counted(sheet, [map(pairs_of, row) for row in of])


def poison(summary: dict[str, Any]) -> Sheet:
    """How long a planted entry lives under each migration, and what it costs."""
    ground = summary.get("ground", {})
    life = {row["arm"]: row for row in ground.get("poison_life", []) if row["n"]}
    repeated = _pooled(ground, "poison_repeated")
    arms = [arm for arm in summary["arms"] if arm in life]
    rows = tuple(
        (
            arm,
            bounds(life[arm]),
            f"{life[arm]['censored']} of {life[arm]['n']}",
            share(repeated.get(arm)),
            gained(summary["poison_cost"].get(arm)),
        )
        for arm in arms
    )
    counts = [
        [pairs_of(cells.get(arm)) for cells in (life, repeated, summary["poison_cost"])]
        for arm in arms
    ]
    head = ("arm", "life", "alive", "repeated", "same, over unpoisoned")
    note = (
        "life in generations; lineages in which it is alive at the end; share of probes that "
        "repeat the planted value; score on same tasks from then on, less the unpoisoned arm's"
    ) + _why(rows, "no such probe, or no unpoisoned arm with the same migration")
    return counted(Sheet("how long does a poisoned entry live?", head, rows, note), counts)


def _why(rows: tuple[tuple[str, ...], ...], reason: str) -> str:
    """Return why cells are n/a, to end a note with; "" where none is."""
    return f"; {NOT_COMPUTED}: {reason}" if any(NOT_COMPUTED in row for row in rows) else ""


def _pooled(ground: dict[str, Any], measure: str, **which: str) -> dict[str, dict[str, Any]]:
    return {
        row["arm"]: row
        for row in ground.get(measure, [])
        if row["generation"] is None and all(row[key] == value for key, value in which.items())
    }
