"""Replaying the git history of a memory folder: each generation leaves one of its snapshots.

No model hands over. The edits that lead from what a generation received to its snapshot are logged
as those of a handoff are, with the file, the commit and the models that wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from lineage.agent.budget import fit
from lineage.agent.context import Context
from lineage.agent.proposal import after, log_edits
from lineage.core.config import Config
from lineage.core.credentials import redact
from lineage.core.edits import APPLIED, Change, Edit, Outcome
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, IMPORT, Doc, Knowledge, Memory, Origin
from lineage.core.lives import Said, Snapshot, matched
from lineage.core.text import one_line
from lineage.markdown.git import place_of
from lineage.markdown.history import at_commit, read_history

EPISODE = "replay"
_COMMIT = ", commit "
"""What stands between the file and the commit in the origin of an entry."""


def replayed(config: Config) -> tuple[Snapshot, ...]:
    """Return what each generation of `config` leaves: snapshots of `start.folder`'s history.

    They are spread evenly, and the last is the newest. Raises LineageError where there is no
    history, or one of fewer snapshots than there are generations.
    """
    text, wanted = config.start.folder or "", len(config.schedule.versions)
    folder, revision = at_commit(text) or (Path(text), "HEAD")
    place = place_of(folder)
    found = read_history(place, revision) if place is not None else None
    if found is None:
        raise LineageError(
            f"arm 'replay' replays a git history, and {one_line(text)} has none: set "
            "start.folder=REPO@COMMIT"
        )
    ends = list(found.snapshots)
    if config.start.replays == "models":
        ends = [list(group)[-1] for _, group in groupby(ends, lambda one: one.by)]
    if len(ends) < wanted:
        raise LineageError(
            f"the history of {one_line(text)} has {len(ends)} snapshots by "
            f"start.replays={config.start.replays}, and schedule.versions {wanted} generations: "
            "name fewer"
        )
    chosen = [ends[-(-(at + 1) * len(ends) // wanted) - 1] for at in range(wanted)]
    return tuple(chosen if config.start.secrets == "keep" else map(_redacted, chosen))


def as_knowledge(snapshot: Snapshot) -> Knowledge:
    """Return what `snapshot` says as if all of it were read at once."""
    return after(EMPTY, tuple(changes_to(EMPTY, snapshot, 0)))


async def replay(context: Context, knowledge: Knowledge, snapshot: Snapshot) -> Knowledge:
    """Return what `snapshot` says, within the budget, as the successor of `knowledge`."""
    changes = tuple(changes_to(knowledge, snapshot, context.ids.generation))
    left = after(knowledge, changes)
    context.write(
        "handoff",
        EPISODE,
        0,
        "handoff",
        detail=_by(snapshot),
        knowledge_before=knowledge.id,
        knowledge_after=left.id,
    )
    log_edits(context, "handoff", EPISODE, changes)
    touched = frozenset(change.outcome.entry for change in changes)
    return await fit(context, "handoff", left, touched, since=knowledge)


def changes_to(knowledge: Knowledge, snapshot: Snapshot, generation: int) -> Iterator[Change]:
    """Yield the edits that lead from `knowledge` to what `snapshot` says, one after another.

    An entry keeps its id as `lineage.core.lives` follows it. Texts stay as they are, however long.
    """
    whole = {(one.kind, one.path) for one in snapshot.entries if one.whole}
    before = [_said(entry, whole) for entry in knowledge.entries]
    same = matched(before, snapshot.entries)
    ids = [entry.id for entry in knowledge.entries]
    for at in sorted(set(range(len(ids))) - set(same.values())):
        change = _change(knowledge, Edit("drop", id=ids[at]), ids[at], None)
        yield change
        knowledge = change.after
    for number, said in enumerate(snapshot.entries):
        origin = Origin(generation, IMPORT, f"{said.path or 'memory'}{_COMMIT}{_by(snapshot)}")
        is_memory, known = said.kind == "memory", same.get(number)
        if known is not None and before[known].says == said.says:
            continue
        op = "revise" if known is not None else "add" if is_memory else "write"
        id = ids[known] if known is not None else f"{'m' if is_memory else 'd'}{knowledge.next_id}"
        edit = Edit(op, id=id if known is not None else "", text=said.text)
        if not is_memory:
            edit = replace(edit, text="", title=said.title, body=said.text)
        change = _change(knowledge, edit, id, _entry(id, said, origin))
        yield change
        knowledge = change.after


def _change(knowledge: Knowledge, edit: Edit, id: str, entry: Memory | Doc | None) -> Change:
    """Return what `edit` changes: the entry `id` becomes `entry`, or goes."""
    memories, docs = (
        {one.id: one for one in entries} for entries in (knowledge.memories, knowledge.docs)
    )
    if entry is None:
        memories.pop(id, None)
        docs.pop(id, None)
    elif isinstance(entry, Memory):
        made = memories[id].created if id in memories else entry.created
        memories[id] = replace(entry, created=made)
    else:
        made = docs[id].created if id in docs else entry.created
        docs[id] = replace(entry, created=made)
    number = knowledge.next_id + (edit.op in ("add", "write"))
    left = knowledge.evolve(
        memories=tuple(memories.values()), docs=tuple(docs.values()), next_id=number
    )
    return Change(knowledge, left, Outcome(edit, id, APPLIED))


def _entry(id: str, said: Said, origin: Origin) -> Memory | Doc:
    if said.kind == "memory":
        return Memory(id, said.text, origin, origin)
    return Doc(id, said.title, said.text, origin, origin)


def _said(entry: Memory | Doc, whole: set[tuple[str, str]]) -> Said:
    """Return `entry` as a snapshot has it; `whole` are kinds and paths of what is a file."""
    path = entry.edited.episode.rpartition(_COMMIT)[0]
    if isinstance(entry, Memory):
        return Said("memory", path, "", entry.text, ("memory", path) in whole)
    return Said("doc", path, entry.title, entry.body, ("doc", path) in whole)


def _by(snapshot: Snapshot) -> str:
    models = f" by {' + '.join(snapshot.by)}" if snapshot.by else ""
    return f"{snapshot.commit[:12]}{models}"


def _redacted(snapshot: Snapshot) -> Snapshot:
    """Return `snapshot` without the credentials in it."""
    nobody = Origin(0, IMPORT, "")
    made = [_entry(f"m{n}", one, nobody) for n, one in enumerate(snapshot.entries)]
    memories = tuple(one for one in made if isinstance(one, Memory))
    docs = tuple(one for one in made if isinstance(one, Doc))
    taken_out = redact(EMPTY.evolve(memories=memories, docs=docs)).knowledge
    found = {one.id: one for one in taken_out.entries}
    return replace(
        snapshot,
        entries=tuple(
            replace(one, title=left.title, text=left.body)
            if isinstance(left := found[f"m{n}"], Doc)
            else replace(one, text=left.text)
            for n, one in enumerate(snapshot.entries)
        ),
    )
