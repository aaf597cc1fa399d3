"""The tables of what was measured against the world's facts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lineage.report.lookup import cells
from lineage.report.sheet import (
    NOT_COMPUTED,
    Sheet,
    bounds,
    counted,
    gained,
    pairs_of,
    share,
    table,
)


def freshness(summary: dict[str, Any]) -> Sheet:
    """How much of the truth the memories hold, how stale and how doubled they are."""
    density = _pooled(summary, "signal_density")
    columns = (
        ("facts held", _pooled(summary, "facts_held", by="any")),
        ("stale", _pooled(summary, "staleness", entries="memories")),
        ("doubled", _pooled(summary, "duplication")),
    )
    found = [
        ((arm,), [density[arm], *(its.get(arm) for _, its in columns)])
        for arm in summary["arms"]
        if arm in density
    ]
    note = (
        "memories against the world as it is: facts stated, share of the facts met that memories "
        "or docs state, share of memories that contradict it, share that add nothing"
    )
    why = "the arm has no memories, or no task asks for a fact"
    head = ("arm", "facts a 100 tokens", *(title for title, _ in columns))
    written = (bounds, share, share, share)
    return table(
        "what do the notes hold?", head, found if len(found) > 1 else [], written, note, why
    )


def summaries(summary: dict[str, Any]) -> Sheet:
    """What an instance's own summaries keep, where its context overflowed."""
    kept, wrong = _pooled(summary, "summary_fidelity"), _pooled(summary, "summary_distortion")
    found = [((arm,), [kept[arm], wrong.get(arm)]) for arm in summary["arms"] if arm in kept]
    note = "of the facts in what was summed up, when an episode outgrew agent.history_tokens"
    why = "no fact was in what was summed up"
    head = ("arm", "facts kept", "facts distorted")
    return table("what do summaries keep?", head, found, share, note, why)


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
    found = cells(summary, "doc_search", "arm", "measure", family=None)
    arms = [arm for arm in summary["arms"] if (arm, "recall") in found]
    for title, measures in SEARCH.items():
        of = [((arm,), [found.get((arm, measure)) for measure in measures]) for arm in arms]
        why = "there was nothing of the kind: no doc needed, found or opened"
        yield table(title, ("arm", *measures.values()), of, share, undefined=why)


def poison(summary: dict[str, Any]) -> Sheet:
    """How long a planted entry lives under each migration, and what it costs."""
    life = {arm: row for arm, row in cells(summary, "poison_life", "arm").items() if row["n"]}
    repeated, cost = _pooled(summary, "poison_repeated"), cells(summary, "poison_cost", "arm")
    arms = [arm for arm in summary["arms"] if arm in life]
    rows = tuple(
        (
            arm,
            bounds(life[arm]),
            f"{life[arm]['censored']} of {life[arm]['n']}",
            share(repeated.get(arm)),
            gained(cost.get(arm)),
        )
        for arm in arms
    )
    counts = [[pairs_of(found.get(arm)) for found in (life, repeated, cost)] for arm in arms]
    head = ("arm", "life", "alive", "repeated", "same, over unpoisoned")
    note = (
        "life in generations; lineages in which it is alive at the end; share of probes that "
        "repeat the planted value; score on same tasks from then on, less the unpoisoned arm's"
    )
    if any(NOT_COMPUTED in row for row in rows):
        note += f"; {NOT_COMPUTED}: no such probe, or no unpoisoned arm with the same migration"
    return counted(Sheet("how long does a poisoned entry live?", head, rows, note), counts)


def _pooled(summary: dict[str, Any], metric: str, **which: str) -> dict[str, dict[str, Any]]:
    return cells(summary, metric, "arm", generation=None, **which)
