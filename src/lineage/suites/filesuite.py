"""Suites whose tasks come from a file: one pass checks every row, later ones read single rows.

Rows are kept in the file itself or in a nameless temporary one; in memory are only their places.
Worlds stay as they are: a file does not drift.
"""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, TypeVar

from lineage.core.errors import LineageError, nearest
from lineage.core.fields import Count
from lineage.core.files import sha256
from lineage.core.seeds import derive, rng
from lineage.core.tasks import Fact, Referral, Suite, Task, World
from lineage.suites import scorers
from lineage.suites.formats import Differs
from lineage.suites.options import OPTIONS
from lineage.suites.records import Problem, Record, records
from lineage.suites.rows import Row

SHOWN = 3
"""Rows left out that a report names."""
POOL = "all"
"""The one world of a file whose worlds are pooled."""
HELD_OUT = 3
"""One world in so many is held out from training."""

T = TypeVar("T")


@dataclass
class Places:
    """Where the rows of one world are: byte offset and length of each; `first`: `at` of one."""

    first: str
    starts: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("Q"))
    lessons: array[int] = field(default_factory=lambda: array("B"))
    gone: set[int] = field(default_factory=set)  # places of rows that were left out later

    @property
    def questions(self) -> int:
        """Rows that ask something."""
        return len(self.lessons) - sum(self.lessons) - len(self.gone)


@dataclass
class Index:
    """What one pass over the file found; `store` is the open file that the places are in."""

    store: IO[bytes]
    worlds: dict[str, Places]
    judges: tuple[str, ...]
    left_out: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileSuite(Suite):
    """Tasks from a file; a subclass says how its records become rows."""

    source: ClassVar[str] = "it"  # which file is wanted, for an error's advice
    larger: ClassVar[str] = "suite.world_tasks, or more rows a world in the file"
    path: str
    world_tasks: Count  # most questions of a world, drawn where there are more
    answer_chars: Count  # longest right answer
    on_bad: Literal["stop", "skip"]  # at a row that cannot be used
    part: Literal["all", "training", "held-out"] = field(default="all", kw_only=True)
    pooled: bool = field(default=False, kw_only=True)  # all worlds of the file are one

    def rows(self, record: Record) -> Iterator[Row | Problem]:
        """Yield what one record of the file becomes: one row, several, or a problem.

        It may raise `Differs`, which is a problem of the record.
        """
        raise NotImplementedError

    def all_rows(self) -> Iterator[Row | Problem]:
        """Yield what all records become; for formats whose records belong together."""
        for found in self.made(lambda record: list(self.rows(record))):
            if isinstance(found, Problem):
                yield found
            else:
                yield from found

    def made(self, make: Callable[[Record], T]) -> Iterator[T | Problem]:
        """Yield what `make` makes of each record, a problem where it raises `Differs`."""
        for record in records(self.file):
            try:
                yield record if isinstance(record, Problem) else make(record)
            except Differs as error:
                yield Problem(record.at, str(error))

    @property
    def file(self) -> Path:
        """The file of tasks. Raises LineageError where none is named."""
        if not self.path:
            raise LineageError(f"suite {self.name!r} reads a file: set suite.path to {self.source}")
        return Path(self.path)

    def world(self, seed: int, generation: int) -> World:
        """Return one of the file's worlds; `seed` picks it, and each is as likely."""
        names = self._order
        return self._world(names[seed % len(names)], generation)

    def score(self, task: Task, completion: str) -> float | Referral:
        """Return what the row's own scorer says."""
        row: Row = task.check
        return scorers.score(row.scorer, row.options, row.answers, row.prompt, completion)

    @property
    def judges(self) -> tuple[str, ...]:
        """The model versions that rows name as judges."""
        return self.index.judges

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 of the file."""
        return sha256(self.file)[:16]

    @property
    def notice(self) -> str:
        """How many rows were left out, and the first of them; "" where none was."""
        index = self.index
        if not index.left_out:
            return ""
        return f"{index.left_out} rows or worlds left out: {'; '.join(index.examples)}"

    @cached_property
    def index(self) -> Index:
        """Where each row is. Raises LineageError at the first row that cannot be used."""
        return _Pass(self).index()

    @cached_property
    def _order(self) -> list[str]:
        names = sorted(self.index.worlds)
        drawn = rng("worlds", self.name).sample(names, len(names))
        parts = {
            "all": drawn,
            "held-out": drawn[::HELD_OUT],
            "training": [name for at, name in enumerate(drawn) if at % HELD_OUT],
        }
        if not parts[self.part]:
            raise LineageError(
                f"{self.path} has a single world, so none can be held out from training: "
                "set train.held_out=0"
            )
        return parts[self.part]

    def _world(self, name: str, generation: int) -> World:
        rows = [_restored(self.index.store, place) for place in self._chosen(name)]
        id = f"{self.name}-{name}"
        facts = {fact.key: fact for row in rows for fact in row.facts}
        return World(id, generation, tuple(facts.values()), tuple(_task(id, row) for row in rows))

    def _chosen(self, name: str) -> list[tuple[int, int]]:
        """Return the places of a world's lessons and of at most `world_tasks` questions."""
        places = self.index.worlds[name]
        rows = [n for n in range(len(places.lessons)) if n not in places.gone]
        asked = [n for n in rows if not places.lessons[n]]
        if len(asked) > self.world_tasks:
            asked = rng("rows", self.name, name).sample(asked, self.world_tasks)
        kept = sorted({*asked, *(n for n in rows if places.lessons[n])})
        return [(places.starts[n], places.lengths[n]) for n in kept]


class _Pass:
    """The one pass over a file."""

    def __init__(self, suite: FileSuite) -> None:
        self.suite = suite
        # It lives as long as the suite.
        self.store: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.worlds: dict[str, Places] = {}
        self.ids: set[int] = set()
        self.judges: dict[str, None] = {}
        self.needed: list[tuple[int, Row, int]] = []
        self.left_out: list[str] = []
        self.count = 0

    def index(self) -> Index:
        for found in self.suite.all_rows():
            problem = found if isinstance(found, Problem) else self._wrong(found)
            if problem is not None:
                self._bad(problem)
            elif isinstance(found, Row):
                self._keep(found)
        for id, row, place in self.needed:
            if id not in self.ids and place not in self.worlds[row.world].gone:
                names = ", ".join(map(repr, row.needs))
                self._bad(Problem(row.at, f"it needs {names}, which are not all ids of rows"))
                self.worlds[row.world].gone.add(place)
        for name, places in list(self.worlds.items()):
            if places.questions < 2:
                what = f"world {name!r} has no second question, so nothing is similar"
                self._bad(Problem(places.first, f"{what}: give it more rows, or another world"))
                del self.worlds[name]
        if not self.worlds:
            why = f"; the first: {self.left_out[0]}" if self.left_out else ""
            raise LineageError(f"{self.suite.path} has no row that can be used{why}")
        self.store.flush()
        judges = tuple(self.judges)
        return Index(self.store, self.worlds, judges, self.count, tuple(self.left_out))

    def _wrong(self, row: Row) -> Problem | None:
        """Return what is wrong with a row, None where nothing is."""
        id = derive(row.id)
        if not row.id or not row.world:
            return Problem(row.at, "a row needs an 'id' and a 'world' that are not empty")
        if id in self.ids:
            return Problem(row.at, f"id {row.id!r} is there twice: give each row its own")
        self.ids.add(id)
        if not row.prompt and not row.context:
            return Problem(row.at, "a row needs a 'prompt', or as a lesson a 'context'")
        if not row.prompt:
            return None
        if not any(answer.strip() for answer in row.answers):
            return Problem(row.at, "a row with a prompt needs an 'answer' that is not empty")
        longest = max(map(len, row.answers))
        if longest > self.suite.answer_chars:
            return Problem(
                row.at,
                f"an answer has {longest} characters, more than suite.answer_chars "
                f"({self.suite.answer_chars}): no answer of such length fits a window",
            )
        if row.scorer not in OPTIONS:
            known = nearest(row.scorer, list(OPTIONS))
            return Problem(row.at, f"scorer {row.scorer!r} is unknown{known}")
        wrong = scorers.check(row.scorer, row.options, row.answers)
        return Problem(row.at, wrong) if wrong else None

    def _bad(self, problem: Problem) -> None:
        located = f"{self.suite.path}:{problem.at}: {problem.text}"
        if self.suite.on_bad == "stop":
            raise LineageError(f"{located} (suite.on_bad=skip leaves such rows out)")
        self.count += 1
        if len(self.left_out) < SHOWN:
            self.left_out.append(located)

    def _keep(self, row: Row) -> None:
        data = json.dumps(asdict(row)).encode()
        row = replace(row, world=POOL) if self.suite.pooled else row
        places = self.worlds.setdefault(row.world, Places(row.at))
        bare = replace(row, prompt="", context="")
        self.needed += [(derive(id), bare, len(places.starts)) for id in row.needs]
        places.starts.append(self.store.tell())
        places.lengths.append(len(data))
        places.lessons.append(not row.prompt)
        self.store.write(data)
        if row.scorer == "judge":
            self.judges[str(row.options["version"])] = None


def _restored(store: IO[bytes], place: tuple[int, int]) -> Row:
    start, length = place
    # Many threads may read at once: no seeking.
    raw: dict[str, Any] = json.loads(os.pread(store.fileno(), length, start))
    raw["facts"] = tuple(Fact(**fact) for fact in raw["facts"])
    return Row(**raw | {key: tuple(raw[key]) for key in ("answers", "needs")})


def _task(world: str, row: Row) -> Task:
    return Task(
        id=f"{world}/{row.id}",
        world=world,
        prompt=row.prompt,
        answer=row.answers[0] if row.answers else "",
        facts=tuple(fact.key for fact in row.facts),
        group=row.group,
        category=row.category,
        context=row.context,
        order=row.order,
        needs=tuple(f"{world}/{id}" for id in row.needs),
        check=row,
    )
