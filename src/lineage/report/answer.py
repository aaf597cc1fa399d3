"""The answer first: what an experiment found, in one sentence with its interval.

Pure, over the summary of a run (`metrics.json`). Which question a run asks is read from what it
holds, so that an experiment of one's own gets its answer too; a function a question. What could not
be computed is n/a. Only generations that inherited count: see `metrics.gain_by_inheritance`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lineage.report.lookup import Summary, cells, rows_of
from lineage.report.sheet import NOT_COMPUTED, STARRED_FROM, bounds, name, pairs_of, share, starred

Cell = Mapping[str, Any]

RECEIVES = {
    "inherit": "reads the memories and docs that were handed over",
    "memories": "reads the memories that were handed over",
    "docs": "reads the docs that were handed over",
    "transcript": "reads the newest raw episodes",
    "retrieval": "reads the raw episodes that a search finds",
    "finetune": "reads nothing, but its weights were trained on the episodes",
    "shuffled": "reads what was handed over in another world",
    "replay": "reads the snapshots of a git history, one a generation",
    "cold": "receives nothing",
    "oracle": "reads the facts that the task asks for",
}
"""What an arm is, by what it receives."""
FAMILIES = {
    "same": "tasks met before",
    "similar": "other tasks of the same world",
    "dissimilar": "tasks of another world",
}
"""What a family of probes is."""
INHERITING = {
    "inherit": "Inheriting memories and docs",
    "memories": "Inheriting memories",
    "docs": "Inheriting docs",
    "replay": "Reading the snapshots of a git history",
}
COMPARED = ("memories", "transcript")
"""Kinds that `inherit` is compared with, where they are among the arms."""

MOST_CROSSED = 4
"""Of more pairs of writer and reader only those are named that keep most and least."""


def answer(summary: Summary) -> str:
    """Return what the experiment found, in a sentence with its interval."""
    questions: tuple[tuple[bool, Callable[[Summary], str]], ...] = (
        (bool(_lives(summary)), _poison),
        (bool(rows_of(summary, "upgrade_matrix")), _upgrade),
        (len(_several(summary, "migration")) > 1, _migrations),
        (len(_several(summary, "policy")) > 1, _policies),
        (len(_contenders(summary)) > 1 and bool(_gains(summary)), _arms),
        (bool(_gains(summary)), _inheritance),
    )
    return next((said(summary) for asked, said in questions if asked), _scores(summary))


def explained(summary: Summary) -> str:
    """Return in a line what the arms and families are that occur in `summary`."""
    kinds: dict[str, list[str]] = {}
    for arm in summary["arms"]:
        kinds.setdefault(_kind(summary, arm), []).append(arm)
    of_arms = (
        f"{', '.join(arms)}: {RECEIVES[kind]}" for kind, arms in kinds.items() if kind in RECEIVES
    )
    families = (f"{f}: {FAMILIES[f]}" for f in summary["families"] if f in FAMILIES)
    return "; ".join((*of_arms, *families))


def _inheritance(summary: Summary) -> str:
    """What is an inheritance worth to a successor?"""
    arm, gains = next(iter(_gains(summary).items()))
    kind = _kind(summary, arm)
    subject = INHERITING.get(kind, f"What {arm} receives")
    if kind == "inherit" and not _docs(summary, arm):
        subject = INHERITING["memories"]
    return f"{subject} {_effects(gains, summary['baseline'])}."


def _arms(summary: Summary) -> str:
    """Which arm is best, and what is all of an inheritance worth over a part of it?"""
    gains = _gains(summary)
    family = _family(summary)
    among = {
        arm: gains[arm][family] for arm in _contenders(summary) if family in gains.get(arm, {})
    }
    if not among:
        return _scores(summary)
    best = max(among, key=lambda arm: float(among[arm]["mean"]))
    said = (
        f"{best} gained most over {summary['baseline']} on {family} tasks: "
        f"{_interval(among[best])}{_pairs(among.values())}"
    )
    if "inherit" in summary["arms"]:
        contrasts = cells(summary, "contrasts", "arm", "over", family=family)
        against = dict.fromkeys((best, *COMPARED))
        others = [arm for arm in against if arm != "inherit" and arm in summary["arms"]]
        found = [
            f"{_difference(_contrast(contrasts, 'inherit', arm))} against {arm}" for arm in others
        ]
        said += f". There inherit scored {_listed(found)}" if found else ""
    return f"{said}."


def _upgrade(summary: Summary) -> str:
    """What does Knowledge keep of its worth, where another version reads it?"""
    family = _family(summary)
    found = cells(summary, "upgrade_matrix", "measure", "arm", "writer", "reader", family=family)
    crossed = [key[1:] for key in found if key[0] == "score" and key[2] != key[3]]
    if not crossed:
        return f"Upgrade retention: {NOT_COMPUTED}, no version read what another wrote."
    told = [key for key in crossed if _mean(found.get(("retention", *key))) is not None]
    shown, among = crossed, ""
    if len(crossed) > MOST_CROSSED:
        told.sort(key=lambda key: float(found["retention", *key]["mean"]))
        shown = [told[-1], told[0]] if len(told) > 1 else told
        among = f" (most and least of {len(told)} of {len(crossed)} that can be told)"
    if not shown:
        return f"Upgrade retention: {NOT_COMPUTED}, no reader gains measurably from its own notes."
    said = _listed(
        [
            _crossed(writer, reader, found.get(("retention", arm, writer, reader)))
            for arm, writer, reader in shown
        ]
    )
    said += among
    pairs = _pairs(found["score", *key] for key in crossed)
    return f"On {family} tasks {said}, against what the reader wrote itself{pairs}."


def _mean(cell: Cell | None) -> float | None:
    return None if cell is None else cell["mean"]


def _crossed(writer: str, reader: str, retention: Cell | None) -> str:
    said = f"what {name(writer)} wrote kept {share(retention)} of its worth to {name(reader)}"
    if retention is None or retention["mean"] is None:
        return f"{said} (which gains nothing measurable from its own)"
    return said


def _migrations(summary: Summary) -> str:
    """Which migration keeps most, after as many handoffs as there were?"""
    kept = cells(summary, "kept", "measure", "arm", "k")
    ceiling = summary["ceiling"]
    last = max((k for _, _, k in kept), default=0)
    scores = {
        arm: row
        for (measure, arm, k), row in kept.items()
        if (measure, k) == ("score", last) and row["mean"] is not None and arm != ceiling
    }
    if not scores:
        return f"What a migration keeps: {NOT_COMPUTED}, {ceiling} itself gains nothing."
    best = max(scores, key=lambda arm: float(scores[arm]["mean"]))
    tokens = kept.get(("tokens", best, last))
    return (
        f"After {last} handoffs {best} kept most: {share(scores[best])} of the gain that {ceiling} "
        f"has on {_family(summary)} tasks, and {share(tokens)} of the tokens of the memories"
        f"{_pairs(scores.values())}."
    )


def _policies(summary: Summary) -> str:
    """Which handoff policy scores best and keeps its notes fresh, against the first of them?"""
    family, arms = _family(summary), _several(summary, "policy")
    first, *others = arms
    scores = cells(summary, "contrasts", "arm", "over", family=family)
    stale = cells(summary, "staleness_contrasts", "arm", "over")
    found = [
        f"{arm} scored {_difference(_contrast(scores, arm, first))} against {first} and had "
        f"{_stale(_contrast(stale, arm, first))}"
        for arm in others
    ]
    pairs = _pairs(filter(None, [_contrast(scores, others[0], first)]))
    return f"On {family} tasks {'; '.join(found)}{pairs}."


def _poison(summary: Summary) -> str:
    """How long does a poisoned entry live, and where shortest?"""
    lives = _lives(summary)
    said = {arm: f"{bounds(row)} generations under {arm}" for arm, row in lives.items()}
    ordered = sorted(lives, key=lambda arm: float(lives[arm]["mean"]))
    shortest, longest = ordered[0], ordered[-1]
    found = [said[shortest]] + ([f"{said[longest]} (longest)"] if len(said) > 1 else [])
    return f"A poisoned entry lived {_listed(found)}{_pairs(lives.values())}."


def _scores(summary: Summary) -> str:
    """What scored best, where nothing can be said of a gain?"""
    family = _family(summary)
    scores = cells(summary, "scores", "arm", family=family)
    why = f"Gain over {summary['baseline']}: {NOT_COMPUTED}, "
    if rows_of(summary, "inheritance_gain"):
        return f"{why}no generation that inherited has finished."
    if not scores:
        return f"{why}no probe has a score."
    best = max(scores, key=lambda arm: float(scores[arm]["mean"]))
    return (
        f"{why}no arm is served by the versions of {summary['baseline']}. {best} scored highest on "
        f"{family} tasks: {bounds(scores[best])}{_pairs([scores[best]])}."
    )


def _effects(gains: Mapping[str, Cell], baseline: str) -> str:
    """Return what `gains`, by family, say: what rose, what fell, and what cannot be told."""
    rose, fell, few, unclear = list[str](), list[str](), list[str](), list[str]()
    for family, gain in gains.items():
        said = f"{_interval(gain)} on {family} tasks"
        if starred(gain):
            (rose if gain["mean"] > 0 else fell).append(said)
        elif gain["n"] < STARRED_FROM:
            few.append(said)
        else:
            unclear.append(f"{family} tasks ({_interval(gain)})")
    parts = [
        f"{verb} {_listed(found)}"
        for verb, found in (
            (f"raised the score over {baseline} by", rose),
            (f"lowered the score under {baseline} by", fell),
            (f"changed the score over {baseline}, in too few pairs to tell, by", few),
            ("made no measurable difference on", unclear),
        )
        if found
    ]
    return f"{'; it '.join(parts)}{_pairs(gains.values())}"


def _difference(cell: Cell | None) -> str:
    """Return how a score differs, and whether that can be told from nothing."""
    if cell is None or cell["mean"] is None:
        return NOT_COMPUTED
    if starred(cell):
        return _interval(cell)
    why = "too few pairs to tell" if cell["n"] < STARRED_FROM else "no measurable difference"
    return f"{_interval(cell)} ({why})"


def _stale(cell: Cell | None) -> str:
    if cell is None or cell["mean"] is None:
        return f"stale memories {NOT_COMPUTED}"
    points = {key: cell[key] and 100 * cell[key] for key in ("mean", "low", "high")}
    said = f"{points['mean']:+.0f}"
    if points["low"] is not None:
        said += f" [{points['low']:.0f}, {points['high']:.0f}]"
    return f"{said} points of stale memories{'' if starred(cell) else ' (not told from 0)'}"


def _contrast(found: Mapping[tuple[str, str], Cell], arm: str, over: str) -> Cell | None:
    """Return the paired difference of `arm` to `over`, either way round; None if there is none."""
    row = found.get((over, arm))
    if row is None or row["mean"] is None:
        return row or found.get((arm, over))
    low, high = row["low"], row["high"]
    bounds = {"low": None if high is None else -high, "high": None if low is None else -low}
    return {**row, "mean": -row["mean"], **bounds}


def _gains(summary: Summary) -> dict[str, dict[str, Cell]]:
    """Return the gains of generations that inherited, by arm and family; not of the ceiling."""
    found: dict[str, dict[str, Cell]] = {}
    gains = cells(summary, "gain_by_inheritance", "arm", "family", inherited=True)
    for (arm, family), row in gains.items():
        if row["mean"] is not None and not _is_oracle(summary, arm):
            found.setdefault(arm, {})[family] = row
    return dict(sorted(found.items(), key=lambda item: item[0] != "inherit"))


def _contenders(summary: Summary) -> list[str]:
    """Return the arms that something reaches from their ancestors."""
    return [
        arm
        for arm in summary["arms"]
        if arm != summary["baseline"] and not _is_oracle(summary, arm)
    ]


def _several(summary: Summary, what: str) -> list[str]:
    """Return the arms that hand over and differ in `what`, the first of each value."""
    first: dict[str, str] = {}
    for arm in _contenders(summary):
        if _kind(summary, arm) in INHERITING and arm in summary["defined"]:
            first.setdefault(summary["defined"][arm][what], arm)
    return list(first.values())


def _lives(summary: Summary) -> dict[str, Cell]:
    lives = cells(summary, "poison_life", "arm")
    return {arm: row for arm, row in lives.items() if row["mean"] is not None}


def _docs(summary: Summary, arm: str) -> bool:
    sizes = cells(summary, "memory_size", "generation", "version", arm=arm, measure="docs")
    return any(row["mean"] for row in sizes.values())


def _kind(summary: Summary, arm: str) -> str:
    return str(summary["defined"].get(arm, {}).get("receives", arm))


def _is_oracle(summary: Summary, arm: str) -> bool:
    return _kind(summary, arm) == "oracle"


def _family(summary: Summary) -> str:
    """Return the family that stands for the rest: the first that has figures."""
    return next(iter(summary["families"]), "")


def _interval(cell: Cell) -> str:
    return bounds(cell, signed=True)


def _pairs(cells: Iterable[Cell]) -> str:
    """Return " (12 pairs)", with the fewest and the most where they differ."""
    counts = sorted({pairs_of(cell) for cell in cells} - {0})
    if not counts:
        return ""
    many = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f" ({many} {'pair' if counts == [1] else 'pairs'})"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join((", ".join(parts[:-1]), parts[-1]) if len(parts) > 1 else parts)
