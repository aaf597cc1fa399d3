"""What the measures with ground truth stand on: what each entry says of the lineage's own world.

`prepare` puts it into temporary tables of the connection, once; from there on all is SQL:

    ground_places   folder, lineage, generation, pair, world, home
    ground_facts    home, key, value, text          a home is a world as it is at some time
    ground_shelves  shelf, home, knowledge          a shelf is some Knowledge as read in one home
    ground_ends     folder, arm, pair, lineage, generation, home, shelf, memory_tokens
    ground_entries  shelf, entries (`memories` or `docs`), place, entry, text, same
    ground_said     text, key, stated, denied       a text is one as read in one home
    ground_stated   shelf, entries, key             each fact that entries state, once (a view)

Only this module reads texts, by `lineage.core.facts`, and each but once a home. It goes by pairs,
so that it holds few of them at a time. Of a run that logged no facts all tables are empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import duckdb
import pyarrow as pa

from lineage.core.facts import Said, Truth, normalised
from lineage.core.knowledge import doc_text
from lineage.core.plaintext import clean
from lineage.core.tasks import Fact

AT_ONCE = 2048
"""Snapshots read at a time, or more where one pair has more; each has some KiB of text."""

# A home is known by its facts, of which each counts by 64 bits: worlds have too many to compare.
PLACES = """\
CREATE OR REPLACE TEMP TABLE ground_places AS
SELECT folder, lineage, generation, any_value(pair) AS pair, min(world) AS world,
       dense_rank() OVER (ORDER BY sum(hash(world, key, value, text)::HUGEINT)) AS home
FROM worlds GROUP BY folder, lineage, generation
"""
FACTS = """\
CREATE OR REPLACE TEMP TABLE ground_facts AS
SELECT DISTINCT p.home, w.key, w.value, w.text FROM worlds w
JOIN (SELECT DISTINCT ON (home) * FROM ground_places ORDER BY folder, lineage, generation) p
USING (folder, lineage, generation)
"""
MIGRATIONS = """\
SELECT folder, arm, pair, lineage, generation, step_id, detail, knowledge_before, knowledge_after,
       memory_tokens
FROM steps WHERE kind = 'migrate' AND entry = '' AND detail <> ''
"""
"""Whole migrations: the tests of single entries are steps of kind `migrate` too, and name these."""
DOC_STEPS = """\
SELECT * FROM steps SEMI JOIN
(SELECT DISTINCT folder, arm FROM steps WHERE kind IN ('search', 'open')) USING (folder, arm)
WHERE phase IN ('work', 'probe') AND kind IN ('search', 'open', 'act', 'probe')
"""
"""The steps of episodes that could search docs."""
SHELVES = f"""\
CREATE OR REPLACE TEMP TABLE ground_shelves AS
WITH used AS (
    SELECT folder, lineage, generation, knowledge_after AS knowledge FROM steps
    WHERE phase = 'reward'
    UNION SELECT folder, lineage, generation, unnest([knowledge_before, knowledge_after])
    FROM ({MIGRATIONS})
    UNION SELECT folder, lineage, generation, knowledge_before FROM ({DOC_STEPS})),
logged AS (SELECT knowledge, min(struct_pack(folder := folder, pair := pair)) AS log
           FROM knowledge GROUP BY ALL)
SELECT row_number() OVER (ORDER BY home, knowledge) AS shelf, *
FROM (SELECT DISTINCT home, knowledge, log.folder AS folder, log.pair AS pair
      FROM used JOIN ground_places USING (folder, lineage, generation)
      JOIN logged USING (knowledge))
"""
ENDS = """\
CREATE OR REPLACE TEMP TABLE ground_ends AS
SELECT s.folder, s.arm, s.pair, s.lineage, s.generation, p.home, h.shelf, s.memory_tokens
FROM steps s JOIN ground_places p USING (folder, lineage, generation)
JOIN ground_shelves h ON h.home = p.home AND h.knowledge = s.knowledge_after
WHERE s.phase = 'reward'
"""
STATED = """\
CREATE OR REPLACE TEMP VIEW ground_stated AS
SELECT DISTINCT e.shelf, e.entries, s.key FROM ground_entries e JOIN ground_said s USING (text)
WHERE s.stated
"""
ENTRY_SCHEMA = pa.schema(
    [
        ("shelf", pa.int64()),
        ("entries", pa.string()),
        ("place", pa.int64()),  # among the entries of its kind
        ("entry", pa.string()),
        ("text", pa.int64()),
        ("same", pa.int64()),  # equal where texts are, but for letter case and white space
    ]
)
SAID_SCHEMA = pa.schema(
    [("text", pa.int64()), ("key", pa.string()), ("stated", pa.bool_()), ("denied", pa.bool_())]
)
READY = "ground_ready"


class Home:
    """A lineage's own world as it is in one generation: its facts, which read each text once."""

    def __init__(self, world: str, facts: Iterable[Fact]) -> None:
        self.world = world
        self._truth = Truth(facts)
        self._said: dict[str, Said] = {}

    def read(self, text: str) -> Said:
        """Return what `text` says; equal texts are read once."""
        if text not in self._said:
            self._said[text] = self._truth.read(text)
        return self._said[text]


def prepare(log: duckdb.DuckDBPyConnection) -> None:
    """Make the tables above, unless this connection has them already."""
    if has_table(log, READY):
        return
    for statement in (PLACES, FACTS, SHELVES, ENDS):
        log.execute(statement)
    for name, schema in (("ground_entries", ENTRY_SCHEMA), ("ground_said", SAID_SCHEMA)):
        log.register("_read", schema.empty_table())
        log.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM _read")
    reader = _Reader(log)
    for first, last in spans(log, "ground_shelves", AT_ONCE):
        reader.read(first, last)
    log.unregister("_read")
    log.execute(STATED)
    log.execute(f"CREATE TEMP TABLE {READY} AS SELECT true AS ready")


def has_table(log: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Whether the connection has a table of its own by this name."""
    try:
        log.execute(f"SELECT 1 FROM {name} LIMIT 0")  # duckdb_tables() lists all that there are
    except duckdb.CatalogException:
        return False
    return True


def homes(log: duckdb.DuckDBPyConnection, which: str, params: list[object]) -> dict[int, Home]:
    """Return the homes for which the SQL `which` holds, by number."""
    found = log.execute(
        "SELECT f.home, p.world, f.key, f.value, f.text FROM ground_facts f "
        "JOIN (SELECT home, min(world) AS world FROM ground_places GROUP BY ALL) p USING (home) "
        f"WHERE f.home IN ({which}) ORDER BY ALL",
        params,
    ).fetchall()
    return {
        number: Home(world, [Fact(*row[2:]) for row in rows])
        for (number, world), rows in groupby(found, key=itemgetter(0, 1))
    }


def table_of(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    """Return rows, of which there may be none, as a table."""
    columns: Iterable[tuple[object, ...]] = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([list(column) for column in columns], schema=schema)


def spans(log: duckdb.DuckDBPyConnection, source: str, at_once: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last of so many pairs as have `at_once` rows in `source` together.

    `source` is SQL after FROM with a column pair; a pair that has more is alone.
    """
    sql = f"SELECT pair, count(*) FROM {source} GROUP BY ALL ORDER BY pair"
    counts = log.execute(sql).fetchall()
    span: list[int] = []
    waiting = 0
    for pair, count in counts:
        if span and waiting + count > at_once:
            yield span[0], span[-1]
            span, waiting = [], 0
        span.append(pair)
        waiting += count
    if span:
        yield span[0], span[-1]


class _Reader:
    """Reads the entries of shelves, and numbers their texts."""

    def __init__(self, log: duckdb.DuckDBPyConnection) -> None:
        self.log = log
        self.texts = 0

    def read(self, first: int, last: int) -> None:
        """Read the shelves of the pairs from `first` to `last` into the tables."""
        span: list[object] = [first, last]
        known = homes(self.log, "SELECT home FROM ground_shelves WHERE pair BETWEEN ? AND ?", span)
        shelves = self.log.execute(
            "SELECT h.home, h.shelf, any_value(k.content) FROM ground_shelves h JOIN knowledge k "
            "ON k.folder = h.folder AND k.pair = h.pair AND k.knowledge = h.knowledge "
            "WHERE k.pair BETWEEN ? AND ? GROUP BY ALL ORDER BY h.home, h.shelf",
            span,
        ).fetchall()
        entries, said = list[tuple[object, ...]](), list[tuple[object, ...]]()
        for number, rows in groupby(shelves, key=itemgetter(0)):
            self._read_home(known[number], rows, entries, said)
        self._insert("ground_entries", table_of(entries, ENTRY_SCHEMA))
        self._insert("ground_said", table_of(said, SAID_SCHEMA))

    def _read_home(
        self,
        home: Home,
        rows: Iterator[tuple[int, int, str]],
        entries: list[tuple[object, ...]],
        said: list[tuple[object, ...]],
    ) -> None:
        texts: dict[str, tuple[int, int]] = {}
        same: dict[str, int] = {}
        for _, shelf, content in rows:
            for kind, place, entry, text in _entries(content):
                if text not in texts:
                    number = self.texts + len(texts)
                    texts[text] = number, same.setdefault(normalised(text), number)
                    found = home.read(text)
                    for key in found.stated | found.denied:
                        said.append((number, key, key in found.stated, key in found.denied))
                entries.append((shelf, kind, place, clean(entry), *texts[text]))
        self.texts += len(texts)

    def _insert(self, name: str, rows: pa.Table) -> None:
        self.log.register("_read", rows)
        self.log.execute(f"INSERT INTO {name} SELECT * FROM _read")


def _entries(content: str) -> Iterator[tuple[str, int, str, str]]:
    """Yield kind, place, id and text of the entries of a snapshot, given in canonical form.

    Not as `Knowledge`: there are too many, and where they come from is not asked here.
    """
    held = json.loads(content)
    for place, memory in enumerate(held["memories"]):
        yield "memories", place, memory["id"], memory["text"]
    for place, doc in enumerate(held["docs"]):
        yield "docs", place, doc["id"], doc_text(doc["title"], doc["body"])


def texts_of(content: str) -> Iterator[str]:
    """Yield the texts, titles and bodies in a snapshot, given in canonical form."""
    held = json.loads(content)
    yield from (memory["text"] for memory in held["memories"])
    for doc in held["docs"]:
        yield from (doc["title"], doc["body"])
