"""The snapshots of a run: finding them by name, their ancestry, what made them, who left them.

A snapshot is named by its id, by a prefix of it, or as LINEAGE@GENERATION: what that left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property

import duckdb

from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Knowledge, knowledge_from_json
from lineage.log.place import Place
from lineage.log.views.connect import rows

SHORTEST = 4
"""Hex digits that name a snapshot, at least."""
OFFERED = 3
"""Candidates that an error names."""
FIRST = "arm <> 'inherit', pair, generation, arm, lineage"
"""Which of several lineages stands for all, as SQL orders them."""
PHASES = ("plant", "migrate", "handoff")
"""The phases that change Knowledge, in the order of a generation."""


@dataclass(frozen=True)
class Event:
    """A change of Knowledge, or one refused: an edit, or a whole migration.

    `entry` is the one that it names ("" for a migration), `text` what was proposed, `verdict` as
    `lineage.core.edits` gives it.
    """

    lineage: str
    generation: int
    version: str
    phase: str
    episode: str
    op: str
    verdict: str
    entry: str
    text: str
    before: str
    after: str

    @property
    def whole(self) -> bool:
        """Whether it is a migration as a whole, whose single edits are events of their own."""
        return self.phase == "migrate" and self.episode == "migrate"


@dataclass(frozen=True)
class Link:
    """A snapshot in a chain: what made it of its parent (None: not in this run), who left it."""

    knowledge: str
    parent: str
    memories: int
    docs: int
    made: Event | None
    left_by: tuple[str, ...]


class Snapshots:
    """The snapshots of the run behind `connection` (see `views.connect`)."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self._contents: dict[str, Knowledge] = {}
        self._parents: dict[tuple[str, str], str] = {}
        self._any_parent: dict[str, str] = {}
        # The first record counts: a later one may say that a snapshot descends from itself.
        for id, parent, lineage in connection.execute(
            f"SELECT knowledge, parent, lineage FROM knowledge ORDER BY {FIRST}"
        ).fetchall():
            self._parents.setdefault((lineage, id), parent)
            self._any_parent.setdefault(id, parent)

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """Every generation of the run, in the order of `FIRST`."""
        found = self.connection.execute(
            f"SELECT DISTINCT arm, pair, lineage, generation FROM steps ORDER BY {FIRST}"
        ).fetchall()
        return tuple(Place(*row) for row in found)

    @cached_property
    def left(self) -> dict[Place, str]:
        """What each generation that hands over left, in the order of `FIRST`."""
        found = self.connection.execute(
            "SELECT arm, pair, lineage, generation, knowledge_after FROM steps "
            f"WHERE phase = 'reward' ORDER BY {FIRST}"
        ).fetchall()
        return {Place(*row[:4]): row[4] for row in found}

    def left_by(self, id: str) -> tuple[Place, ...]:
        """Return the generations that left `id`."""
        return tuple(place for place, left in self.left.items() if left == id)

    def held_by(self, id: str) -> tuple[Place, ...]:
        """Return the generations that logged `id`, in the order of `FIRST`."""
        found = self.connection.execute(
            "SELECT arm, pair, lineage, generation FROM knowledge WHERE knowledge = ? "
            f"ORDER BY {FIRST}",
            [id],
        ).fetchall()
        return tuple(Place(*row) for row in found)

    def kin(self, a: str, b: str) -> bool:
        """Whether ids of entries mean the same in both: a lineage held both, or one is empty."""
        if EMPTY.id in (a, b):
            return True
        lineages = ({place.lineage for place in self.held_by(id)} for id in (a, b))
        return bool(set.intersection(*lineages))

    def lineage(self, name: str) -> str:
        """Return `name`; raises LineageError where the run has no such lineage."""
        return _known("lineage", name, [place.lineage for place in self.places])

    def find(self, name: str) -> str:
        """Return the id of the snapshot `name`; raises LineageError naming the nearest ones."""
        if "@" in name:
            places = {place.at: place for place in self.left}
            return self.left[places[_known("LINEAGE@GENERATION", name, list(places))]]
        if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST},}}", name.lower()):
            raise LineageError(
                f"{name!r} is no Knowledge id: give {SHORTEST} hex digits or more, "
                "or LINEAGE@GENERATION"
            )
        prefix, ids = name.lower(), sorted(self._any_parent)
        found = [id for id in ids if id.startswith(prefix)]
        if len(found) > 1:
            raise LineageError(
                f"{name!r} begins {len(found)} Knowledge ids, {', '.join(found[:OFFERED])} among "
                "them: give more digits"
            )
        if not found:
            # Compared by as many digits as were given; of those, any id stands for the rest.
            short = {id[: len(prefix)]: id for id in ids}
            near = get_close_matches(prefix, list(short), n=OFFERED, cutoff=0.0)
            nearest = ", ".join(short[match] for match in near)
            raise LineageError(f"no Knowledge id begins with {name!r}: the nearest are {nearest}")
        return found[0]

    def came_from(self, name: str) -> str:
        """Return the id of what the snapshot `name` was made from.

        Of LINEAGE@GENERATION that is what the generation before left. Raises LineageError where
        nothing was before.
        """
        id = self.find(name)
        if "@" not in name:
            parent = self.parent(id)
            if not parent:
                raise LineageError(f"{id} is the first Knowledge of all: name what to compare with")
            return parent
        place = next(place for place in self.left if place.at == name)
        before = replace(place, generation=place.generation - 1)
        began = (e.before for e in self.events(place.lineage) if e.generation == place.generation)
        return self.left.get(before) or next(began, EMPTY.id)

    def get(self, id: str) -> Knowledge | None:
        """Return the content of `id`, without its parent; None where the run has it not."""
        if id not in self._contents:
            content = self.connection.execute(
                "SELECT content FROM snapshots WHERE knowledge = ?", [id]
            ).fetchone()
            if content is None:
                return EMPTY if id == EMPTY.id else None
            self._contents[id] = _knowledge(id, content[0])
        return self._contents[id]

    def of_lineage(self, lineage: str) -> dict[str, Knowledge]:
        """Return the content of every snapshot that `lineage` logged, by id."""
        for id, content in self.connection.execute(
            "SELECT DISTINCT knowledge, content FROM knowledge WHERE lineage = ?", [lineage]
        ).fetchall():
            if id not in self._contents:
                self._contents[id] = _knowledge(id, content)
        return {id: self._contents[id] for of, id in self._parents if of == lineage}

    def parent(self, id: str, lineage: str = "") -> str:
        """Return what `id` was made from, in `lineage` where that says so; "" for the empty one."""
        return self._parents.get((lineage, id), self._any_parent.get(id, ""))

    def chain(self, id: str, lineage: str = "") -> tuple[str, ...]:
        """Return `id` and its ancestors back to the empty one, newest first."""
        found = {id: None}
        while (id := self.parent(id, lineage)) and id not in found:
            found[id] = None
        return tuple(found)

    def events(self, lineage: str) -> tuple[Event, ...]:
        """Return what changed, or would have changed, the Knowledge of `lineage`, in order."""
        mine = [event for event in self._events if event.lineage == lineage]
        depths = {id: len(self.chain(id, lineage)) for id in {event.before for event in mine}}

        def rank(event: Event) -> tuple[int, ...]:
            # Within a phase the snapshots tell the order: names of episodes do not.
            phase, changed = PHASES.index(event.phase), event.before != event.after
            return event.generation, phase, event.whole, depths[event.before], changed

        return tuple(sorted(mine, key=rank))

    def made(self, id: str, lineage: str = "") -> Event | None:
        """Return the event that made `id` of its parent; None where it was made elsewhere."""
        parent = self.parent(id, lineage)
        return min(
            self._made.get(id, ()),
            key=lambda event: (event.lineage != lineage, event.before != parent, event.whole),
            default=None,
        )

    def log(self, id: str, lineage: str = "") -> tuple[Link, ...]:
        """Return the chain of `id` with what made each snapshot, newest first."""
        self.of_lineage(lineage)
        return tuple(self._link(one, lineage) for one in self.chain(id, lineage))

    def _link(self, id: str, lineage: str) -> Link:
        knowledge = self.get(id) or EMPTY
        return Link(
            knowledge=id,
            parent=self.parent(id, lineage),
            memories=len(knowledge.memories),
            docs=len(knowledge.docs),
            made=self.made(id, lineage),
            left_by=tuple(place.at for place in self.left_by(id)),
        )

    @cached_property
    def _events(self) -> tuple[Event, ...]:
        found = rows(
            self.connection,
            "SELECT lineage, generation, version, phase, episode, detail, entry, completion AS "
            "text, knowledge_before AS before, knowledge_after AS after FROM steps "
            "WHERE kind = 'edit' OR (kind = 'migrate' AND episode = 'migrate') "
            f"ORDER BY {FIRST}, step_id",
        )
        return tuple(_event(row) for row in found)

    @cached_property
    def _made(self) -> dict[str, list[Event]]:
        made: dict[str, list[Event]] = {}
        for event in self._events:
            if event.before != event.after:
                made.setdefault(event.after, []).append(event)
        return made


def _knowledge(id: str, content: str) -> Knowledge:
    try:
        return knowledge_from_json(content)
    except ValueError as error:
        raise LineageError(f"the snapshot {id} is damaged ({error}): restore knowledge/") from error


def _event(row: dict[str, object]) -> Event:
    detail = str(row.pop("detail"))
    op, _, verdict = detail.partition(": ")
    return Event(**row, op=op, verdict=verdict or "applied")  # type: ignore[arg-type]


def nearest(name: str, names: list[str]) -> str:
    """Return how an error names the candidates nearest to `name`; "" where there are none."""
    found = get_close_matches(name, names, n=OFFERED, cutoff=0.0)
    return f": the nearest are {', '.join(found)}" if found else ""


def _known(what: str, name: str, names: list[str]) -> str:
    """Return `name` where it is among `names`; raises LineageError naming the nearest."""
    if name not in names:
        offered = nearest(name, list(dict.fromkeys(names)))
        raise LineageError(f"this run has no {what} {name!r}{offered}")
    return name
