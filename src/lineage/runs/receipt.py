"""What `lineage advise` found, as `receipt.json` holds it and the page shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import fmean
from typing import Any

from lineage.core.intervals import DIFFERENCE, SHARE, Interval, interval, paired_difference
from lineage.core.knowledge import Doc
from lineage.core.power import SOURCE
from lineage.core.verdict import Contrast, Kind, Verdict
from lineage.core.worth import DROP, KEEP, REVISE
from lineage.models.factory import behind_api
from lineage.models.purse import MILLION
from lineage.report.sheet import bounds
from lineage.runs.advise import ADVISED, AS_IT_IS, OLD, OLD_WITHOUT, WITHOUT, Looked, left_out
from lineage.runs.evidence import Probes, scores_of
from lineage.runs.forecast import HOUR
from lineage.runs.spending import cost_of, prices_of

SCHEMA = 1
SIZES = ("memory_tokens", "doc_tokens", "prompt_tokens")
"""What a prompt holds, on average over tasks."""


def receipt(looked: Looked, source: str, old: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that was found; `record` is that of the first run."""
    config = looked.job.config
    (new,) = config.schedule.versions
    confidence = config.log.confidence
    arms = dict(looked.probes) | ({ADVISED: looked.followed} if looked.followed else {})
    versions = {OLD: old, OLD_WITHOUT: old}
    rows = [
        _arm(name, versions.get(name, new), probes, looked.probes, confidence)
        for name, probes in arms.items()
    ]
    return {
        "schema": SCHEMA,
        "verdict": _verdict(looked.verdict, old, new, config.advise.margin, confidence),
        "folder": source,
        "from": old,
        "to": new,
        "tasks": len(looked.tasks),
        "history": len(looked.job.start.history.past),
        "confidence": confidence,
        "margin": config.advise.margin,
        "power": config.advise.power,
        "engine": config.engine.kind,
        "arms": rows,
        "entries": _entries(looked),
        "advice": {
            word: [one.of.entry for one in looked.worths if one.advice == word]
            for word in (KEEP, REVISE, DROP)
        },
        "left_out": left_out(config),
        "price": _price(rows, looked),
        "cost": _cost(looked),
        "commit": record.get("commit"),
        "dirty": record.get("dirty"),
        "machine": record.get("machine"),
        "command": record.get("command"),
        "began": record.get("began"),
    }


def _verdict(
    verdict: Verdict, old: str, new: str, margin: float, confidence: float
) -> dict[str, Any]:
    told = verdict.told_by
    return {
        "kind": str(verdict.kind),
        "by": verdict.by,
        "sentence": sentence(verdict, old, new, margin, confidence),
        "contrast": None if told is None else _contrast(told),
        "more_tasks": verdict.more,
        "formula": SOURCE,
        "contrasts": [_contrast(one) for one in verdict.contrasts],
    }


def sentence(verdict: Verdict, old: str, new: str, margin: float, confidence: float) -> str:
    """Return the verdict in one sentence, with the interval that tells it."""
    told = verdict.told_by
    if told is None:
        return "These tasks cannot tell: none was answered both with the memory and without."
    figure = _figure(told.found)
    count = f"{told.found.n} tasks"
    if verdict.kind == Kind.MIGRATE:
        over = "it as it is" if told.over == "as it is" else "no memory"
        return (
            f"Migrate the memory by {verdict.by}: with it {new} scores {figure} over {over} "
            f"({count})."
        )
    if verdict.kind == Kind.KEEP:
        return f"Keep the memory as it is: {new} scores {figure} over having none ({count})."
    how = "is less than having none" if told.worse else f"is within {margin:g} of having none"
    if verdict.kind == Kind.REBUILD:
        return (
            f"Rebuild the memory from the work itself: to {new} it {how} ({figure}, {count}), in "
            f"any form tried, though {old} gains by it."
        )
    if verdict.kind == Kind.ANEW:
        return (
            f"Start anew: to {new} the memory {how} ({figure}, {count}), in any form tried, and no "
            f"gain of {old} by it was found."
        )
    return (
        f"These tasks cannot tell: {new} scores {figure} over having none ({count}); about "
        f"{verdict.more:,} more would tell a difference of {margin:g}."
    )


def _figure(found: Interval) -> str:
    return bounds(asdict(found), signed=True)


def _contrast(one: Contrast) -> dict[str, Any]:
    return {"of": one.of, "over": one.over, **asdict(one.found), "real": one.real}


def _arm(
    name: str, version: str, probes: Probes, every: Mapping[str, Probes], confidence: float
) -> dict[str, Any]:
    scores = scores_of(probes)
    base = scores_of(every[OLD_WITHOUT if name in (OLD, OLD_WITHOUT) else WITHOUT])
    gains = paired_difference(scores, base)
    sizes = {size: _mean(probes, lambda one, size=size: getattr(one, size)) for size in SIZES}
    return {
        "arm": name,
        "version": version,
        "score": asdict(interval(scores, confidence, SHARE)) if scores else None,
        "gain": asdict(interval(gains, confidence, DIFFERENCE))
        if gains and name not in (OLD_WITHOUT, WITHOUT)
        else None,
        **sizes,
    }


def _mean(probes: Probes, of: Callable[..., float]) -> float | None:
    return fmean(of(one) for one in probes.values()) if probes else None


def _entries(looked: Looked) -> list[dict[str, Any]]:
    ids = [task.id.rpartition("/")[2] for task in looked.tasks]
    entries = {entry.id: entry for entry in looked.job.start.knowledge.entries}
    rows = []
    for one in looked.worths:
        entry, of = entries[one.of.entry], one.of
        rows.append(
            {
                "id": of.entry,
                "kind": "doc" if of.is_doc else "memory",
                "text": entry.title if isinstance(entry, Doc) else entry.text,
                "file": entry.created.episode,
                "tokens": of.tokens,
                "about": [ids[number] for number in of.about],
                "worth": one.on_about,
                "overall": asdict(one.overall) if one.overall else None,
                "real": one.real,
                "stale": "stale" in one.marks,
                "contradicted": "contradicted" in one.marks,
                "unused": "unused" in one.marks,
                "repeated": "repeated" in one.marks,
                "misled": [ids[number] for number in of.misled],
                "advice": one.advice,
                "why": one.why,
            }
        )
    return rows


def _price(rows: list[dict[str, Any]], looked: Looked) -> dict[str, Any]:
    """Return what a prompt holds before the upgrade, and after it by the verdict."""
    by_name = {row["arm"]: row for row in rows}
    last = looked.verdict.by or AS_IT_IS
    if looked.verdict.kind in (Kind.ANEW, Kind.REBUILD):
        last = WITHOUT
    elif looked.followed:
        last = ADVISED
    return {
        "before": {"arm": OLD, **{size: by_name[OLD][size] for size in SIZES}},
        "after": {"arm": last, **{size: by_name[last][size] for size in SIZES}},
    }


def _cost(looked: Looked) -> dict[str, Any]:
    run, spent = looked.job.config.run, looked.spent
    steps = spent.requests.values()
    tokens = {
        name: sum(getattr(step, name) for step in steps)
        for name in ("prompt_tokens", "completion_tokens")
    }
    parts = [
        None if run.price_hour is None else spent.seconds / HOUR * run.price_hour,
        None
        if run.price_million_tokens is None
        else sum(tokens.values()) / MILLION * run.price_million_tokens,
        _listed(looked),
    ]
    known = [part for part in parts if part is not None]
    return {
        "completions": len(spent.requests),
        **tokens,
        "seconds": round(spent.seconds, 1),
        "money": sum(known) if known else None,
        "rounds": looked.rounds,
    }


def _listed(looked: Looked) -> float | None:
    """Return what versions behind an API cost in USD; None where none of them has a price."""
    job = looked.job
    prices = prices_of(job.config, behind_api(job.config) & {*job.versions})
    return cost_of(looked.spent.requests.values(), prices) if prices else None
