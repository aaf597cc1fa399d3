"""What stands beside every headline: what served a run, and where its figures come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from lineage.report.lookup import rows_of, totals
from lineage.report.sheet import NOT_COMPUTED, short

STAND_IN = "surrogate"
"""The engine that is no language model."""
WARNING = (
    "STAND-IN: a deterministic behavioural model, no language model; figures say nothing about"
)
COMMIT = 7
"""Hex digits of a commit that are shown."""
MINUTE = 60


def banner(engine: str | None, versions: Iterable[str]) -> str:
    """Return what a reader must know first of figures that the stand-in made; else ""."""
    if engine != STAND_IN:
        return ""
    bases = dict.fromkeys(version.partition("@")[0] for version in versions)
    return f"{WARNING} {', '.join(bases) or 'any model'}"


def engine_words(engine: str | None) -> str:
    """Return the name of an engine, with a mark where it is the stand-in."""
    if not engine:
        return f"engine {NOT_COMPUTED}"
    return f"{engine} (stand-in)" if engine == STAND_IN else engine


def versions_words(summary: Mapping[str, Any]) -> str:
    """Return the versions by generation, where all arms are served alike."""
    if len({tuple(arm["versions"]) for arm in summary["defined"].values()}) > 1:
        return "versions by arm"
    return " > ".join(short(summary["schedule"]))


def faults_words(summary: Mapping[str, Any]) -> str:
    """Return what failed while a run went on and was mended, in a few words.

    And the names of lineages that were given up.
    """
    number = totals(summary).get("faults")
    if number is None:
        return f"{NOT_COMPUTED} faults"
    each = (f"{row['count']} {row['fault']}" for row in rows_of(summary, "faults"))
    given_up = (summary.get("origin") or {}).get("given_up")
    lost = f"given up: {', '.join(given_up)}" if given_up else "no step lost by them"
    told = f" {'' if given_up else 'mended '}({', '.join(each).replace('_', ' ')}; {lost})"
    return f"{number} {'fault' if number == 1 else 'faults'}{told if number else ''}"


def provenance(summary: Mapping[str, Any]) -> str:
    """Return where the figures of a run come from, in a line; n/a for what nobody noted.

    Commit and whether the code was as committed, date, machine, engine with device and precision,
    how long it took, what other work took of the machine meanwhile, and the command.
    """
    origin: Mapping[str, Any] = summary.get("origin") or {}
    machine = origin.get("machine")
    served = origin.get("engine") or {}
    commit = str(origin.get("commit") or NOT_COMPUTED)[:COMMIT]
    if origin.get("dirty") is not None:
        commit += " (dirty)" if origin["dirty"] else " (clean)"
    began, others = origin.get("began"), origin.get("others")
    seconds = totals(summary)["seconds"]
    parts = (
        f"commit {commit}",
        datetime.fromtimestamp(began).strftime("%Y-%m-%d") if began else f"date {NOT_COMPUTED}",
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
        if machine
        else f"machine {NOT_COMPUTED}",
        f"engine {summary.get('engine') or NOT_COMPUTED}{_replicas(served)}, device "
        f"{served.get('device', NOT_COMPUTED)}, precision {served.get('dtype', NOT_COMPUTED)}",
        f"duration {NOT_COMPUTED}" if seconds is None else f"{seconds / MINUTE:.1f} minutes",
        f"other work {NOT_COMPUTED if others is None else format(others, '.0%')}",
        f"command: {origin.get('command') or NOT_COMPUTED}",
    )
    return "; ".join(parts)


def _replicas(served: Mapping[str, Any]) -> str:
    """Return how many replicas a checkpoint had, where their number followed the load."""
    counts = [one["replicas"] for one in served.get("scaled") or ()]
    return f", {min(counts)} to {max(counts)} replicas" if counts else ""
