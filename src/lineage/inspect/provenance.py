"""Where an entry of Knowledge comes from, who changed it, how it was used and whether it helped.

An entry (`m3`, `d4`) is named by its lineage and its id, which is never given twice there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

from lineage.core.errors import LineageError
from lineage.core.knowledge import Doc, Memory, Origin
from lineage.core.tasks import Fact
from lineage.inspect.diff import entries
from lineage.inspect.snapshots import Event, Snapshots, nearest
from lineage.log.views.connect import rows
from lineage.metrics.ground import Home

Entry = Memory | Doc


@dataclass(frozen=True)
class Change:
    """What an event did to one entry; None: it was not there. A refused one changed nothing."""

    event: Event
    old: str | None
    new: str | None


@dataclass(frozen=True)
class Use:
    """Episodes with the entry in the prompt (a doc: on the shelf), and what was done with it."""

    working: int
    probes: int
    opened: int
    echoed: int


@dataclass(frozen=True)
class Help:
    """Scores on the probes that need a fact which the entry states, with it and of the baseline.

    `needed` counts those probes; `n` those that both were scored on, by the same version. Means
    are over these `n`, None (with a `reason`) where there are none.
    """

    baseline: str
    needed: int
    n: int
    with_entry: float | None
    without: float | None
    difference: float | None
    reason: str | None


@dataclass(frozen=True)
class Provenance:
    """All that the log tells of one entry. `changes` are newest first.

    `text` is its last one, `alive` whether the lineage's last Knowledge holds it, `whole` whether
    the run logged how it was made: not where Knowledge came from a fork, a folder or another
    pair. `others` are further lineages with an entry of this id.
    """

    entry: str
    lineage: str
    kind: str
    text: str
    alive: bool
    created: Origin
    edited: Origin
    changes: tuple[Change, ...]
    whole: bool
    use: Use
    help: Help
    others: tuple[str, ...]


def provenance(
    snapshots: Snapshots, record: dict[str, Any], entry: str, lineage: str = ""
) -> Provenance:
    """Return what the run tells of `entry` in `lineage`, or in the first lineage that has it.

    `record` is that of `run.json`. Raises LineageError where no such lineage has it.
    """
    having = holders(snapshots, entry)
    if lineage:
        snapshots.lineage(lineage)
    if not having or (lineage and lineage not in having):
        raise LineageError(_unknown(snapshots, entry, lineage, having))
    lineage = lineage or having[0]
    versions = {
        id: found
        for id, knowledge in snapshots.of_lineage(lineage).items()
        if (found := entries(knowledge).get(entry)) is not None
    }
    changes = _changes(snapshots, lineage, entry)
    last = versions[max(versions, key=lambda id: len(snapshots.chain(id, lineage)))]
    return Provenance(
        entry=entry,
        lineage=lineage,
        kind="doc" if isinstance(last, Doc) else "memory",
        text=last.text,
        alive=_last_held(snapshots, lineage) in versions,
        created=last.created,
        edited=last.edited,
        changes=tuple(reversed(changes)),
        whole=any(change.old is None and change.new is not None for change in changes),
        use=_use(snapshots, lineage, entry, versions),
        help=_help(snapshots, record["baseline"], lineage, versions),
        others=tuple(other for other in having if other != lineage),
    )


def holders(snapshots: Snapshots, entry: str) -> tuple[str, ...]:
    """Return the lineages that ever had `entry`, those of arm `inherit` first."""
    # Ids stand in the canonical form as `"id":"m3"`; quotes in a text are escaped there. A fork
    # logs its ancestors with each of its lineages, whether they receive them or not.
    found = snapshots.connection.execute(
        "WITH with_it AS (SELECT knowledge FROM snapshots WHERE contains(content, ?)) "
        "SELECT DISTINCT lineage FROM steps WHERE knowledge_before IN (FROM with_it) "
        "OR knowledge_after IN (FROM with_it)",
        [f'"id":"{entry}"'],
    ).fetchall()
    lineages = {lineage for (lineage,) in found}
    return tuple(dict.fromkeys(p.lineage for p in snapshots.places if p.lineage in lineages))


def _unknown(snapshots: Snapshots, entry: str, lineage: str, having: tuple[str, ...]) -> str:
    where = f"lineage {lineage}" if lineage else "this run"
    if having:
        return f"{where} has no entry {entry!r}: {', '.join(having[:3])} have one"
    content = (
        snapshots.of_lineage(lineage).values()
        if lineage
        else (k for p in snapshots.places for k in snapshots.of_lineage(p.lineage).values())
    )
    known = {id for knowledge in content for id in entries(knowledge)} - {entry}
    return f"{where} has no entry {entry!r}{nearest(entry, sorted(known))}"


def _changes(snapshots: Snapshots, lineage: str, entry: str) -> list[Change]:
    """Return the events that changed `entry` or were to, oldest first."""
    found: list[Change] = []
    for event in snapshots.events(lineage):
        before, after = snapshots.get(event.before), snapshots.get(event.after)
        if before is None or after is None:
            continue
        old, new = entries(before).get(entry), entries(after).get(entry)
        if old == new and event.entry != entry:
            continue
        # A migration as a whole tells only what no edit of it does: that all was thrown away.
        told = any(
            (c.event.phase, c.event.generation) == ("migrate", event.generation)
            and c.event.before != c.event.after
            for c in found
        )
        if event.whole and (told or old == new):
            continue
        texts = (one.text if one else None for one in (old, new))
        found.append(Change(event, *texts))
    return found


def _last_held(snapshots: Snapshots, lineage: str) -> str:
    """Return the Knowledge that the last generation of `lineage` probed with."""
    found = snapshots.connection.execute(
        "SELECT knowledge_after FROM steps WHERE lineage = ? AND phase IN ('probe', 'reward') "
        "ORDER BY generation DESC, phase = 'reward' DESC, step_id LIMIT 1",
        [lineage],
    ).fetchone()
    return str(found[0]) if found else ""


def _use(snapshots: Snapshots, lineage: str, entry: str, versions: dict[str, Entry]) -> Use:
    counted = rows(
        snapshots.connection,
        "SELECT kind, generation, episode, knowledge_before, entry FROM steps "
        "WHERE lineage = ? AND kind IN ('act', 'probe', 'open')",
        [lineage],
    )
    held = [row for row in counted if row["knowledge_before"] in versions]
    mine = [row for row in held if row["entry"] == entry]
    return Use(
        working=sum(row["kind"] == "act" for row in held),
        probes=sum(row["kind"] == "probe" for row in held),
        opened=len({(r["generation"], r["episode"]) for r in mine if r["kind"] == "open"}),
        echoed=sum(row["kind"] != "open" for row in mine),
    )


def _help(snapshots: Snapshots, baseline: str, lineage: str, versions: dict[str, Entry]) -> Help:
    nothing = Help(baseline, 0, 0, None, None, None, None)
    homes = _homes(snapshots, lineage)
    if not homes:
        return replace(nothing, reason="the run logged no worlds")
    probes = rows(
        snapshots.connection,
        "SELECT a.generation, a.world, a.facts, a.knowledge_before, a.score, b.score AS other "
        "FROM steps a LEFT JOIN steps b ON b.kind = 'probe' AND b.arm = ? AND b.pair = a.pair "
        "AND b.generation = a.generation AND b.episode = a.episode AND b.task = a.task "
        "AND b.version = a.version WHERE a.kind = 'probe' AND a.lineage = ? AND a.arm <> ? "
        "ORDER BY a.step_id",
        [baseline, lineage, baseline],
    )
    if not probes:
        return replace(nothing, reason=f"there is no arm {baseline} to compare this lineage with")
    needed = [row for row in probes if _needs(row, homes, versions)]
    if not needed:
        return replace(nothing, reason="no probe needed a fact that it states")
    scored = [row for row in needed if row["score"] is not None and row["other"] is not None]
    if not scored:
        reason = f"no such probe was scored with both this lineage and {baseline}, by one version"
        return replace(nothing, needed=len(needed), reason=reason)
    with_entry = sum(row["score"] for row in scored) / len(scored)
    without = sum(row["other"] for row in scored) / len(scored)
    return Help(baseline, len(needed), len(scored), with_entry, without, with_entry - without, None)


def _needs(row: dict[str, Any], homes: dict[int, Home], versions: dict[str, Entry]) -> bool:
    """Whether a probe had the entry, which then stated a fact that its task asks for."""
    entry, home = versions.get(row["knowledge_before"]), homes.get(row["generation"])
    # Another world may have facts of the same keys.
    if entry is None or home is None or home.world != row["world"]:
        return False
    return not home.read(entry.text).stated.isdisjoint(row["facts"] or ())


def _homes(snapshots: Snapshots, lineage: str) -> dict[int, Home]:
    """Return the own world of `lineage` by generation."""
    found = snapshots.connection.execute(
        "SELECT generation, world, key, value, text FROM worlds WHERE lineage = ? ORDER BY ALL",
        [lineage],
    ).fetchall()
    return {
        generation: Home(world, [Fact(*row[2:]) for row in facts])
        for (generation, world), facts in groupby(found, key=itemgetter(0, 1))
    }
