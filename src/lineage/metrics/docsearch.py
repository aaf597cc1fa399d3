"""How well docs are found and opened, against the facts that the tasks need.

A task needs the facts of its own world that its step names; tasks of other worlds need nothing
that a doc could state. A doc that only holds a kindred fact (from which the answer follows by a
rule) does not count as needed: read the family `similar` with that in mind. Only episodes whose
Knowledge holds docs and that had no error count, but for an over-long prompt, which is its own.

`family` is `work` for working episodes, and null in the cells over all of them.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lineage.core.errors import OVERLONG
from lineage.core.intervals import SHARE
from lineage.metrics.ground import DOC_STEPS, has_table, prepare
from lineage.metrics.pooled import pooled
from lineage.metrics.registry import POOLED, metric

MOST_RESULTS = 1 << 20
"""More than a search finds: places of several searches are told apart by it."""
WORK = "work"
"""What stands for the family of working episodes."""
TABLE = "ground_asked"
"""The last that is made."""
OF_EPISODE = "USING (folder, lineage, generation, episode)"
# What ends an episode stands for it: to group millions of steps would take all memory.
EPISODES = f"""\
CREATE OR REPLACE TEMP TABLE ground_searches AS
SELECT row_number() OVER () AS search, struct_pack(g := e.generation, e := e.episode) AS turn,
       e.folder, e.arm, e.pair, e.lineage, e.generation, e.episode, h.shelf,
       if(e.family = '', '{WORK}', e.family) AS family, if(e.world = p.world, e.facts, []) AS needed
FROM ({DOC_STEPS}) e
ANTI JOIN (SELECT folder, lineage, generation, episode FROM ({DOC_STEPS})
           WHERE error <> '' AND finish_reason <> '{OVERLONG}') f {OF_EPISODE}
JOIN ground_places p USING (folder, lineage, generation)
JOIN ground_shelves h ON h.home = p.home AND h.knowledge = e.knowledge_before
SEMI JOIN (SELECT shelf FROM ground_entries WHERE entries = 'docs') d ON d.shelf = h.shelf
WHERE e.kind IN ('act', 'probe')
"""
"""The episodes that had docs to search and no error; `turn` orders those of a pair."""
NEEDED = """\
CREATE OR REPLACE TEMP TABLE ground_needed AS
WITH needed AS (SELECT DISTINCT search, shelf, unnest(needed) AS key FROM ground_searches)
SELECT DISTINCT n.search, n.key, e.entry, m.key IS NULL AS missing
FROM needed n JOIN ground_entries e ON e.shelf = n.shelf AND e.entries = 'docs'
JOIN ground_said s ON s.text = e.text AND s.key = n.key AND s.stated
LEFT JOIN ground_stated m ON m.shelf = n.shelf AND m.entries = 'memories' AND m.key = n.key
"""
"""By episode: the docs that state a fact it needs, `missing` where no memory states it."""
RESULTS = f"""\
CREATE OR REPLACE TEMP TABLE ground_results AS
SELECT search, entry, row_number() OVER (PARTITION BY search ORDER BY place) AS rank
FROM (SELECT search, entry, min(step * {MOST_RESULTS} + place) AS place
      FROM (SELECT g.search, s.step, unnest(s.results) AS entry,
                   generate_subscripts(s.results, 1) AS place
            FROM ({DOC_STEPS}) s JOIN ground_searches g {OF_EPISODE}
            WHERE s.kind = 'search') GROUP BY ALL)
"""
"""Ids found, best first, each once over all searches of an episode."""
OPENED = f"""\
CREATE OR REPLACE TEMP TABLE ground_opened AS
SELECT DISTINCT g.search, s.entry FROM ({DOC_STEPS}) s JOIN ground_searches g {OF_EPISODE}
WHERE s.kind = 'open' AND s.entry <> ''
"""
ASKED = f"""\
CREATE TEMP TABLE {TABLE} AS
SELECT DISTINCT g.search FROM ({DOC_STEPS}) s JOIN ground_searches g {OF_EPISODE}
WHERE s.kind = 'search'
"""
"""The episodes that searched at all."""
SEARCH = "e.folder, e.arm, e.pair, e.family, e.turn"


def doc_recall(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of the needed facts that docs state which a doc among the results states."""
    return _measure(
        log,
        f"SELECT {SEARCH}, CASE WHEN a.search IS NOT NULL THEN f.value END AS value "
        "FROM ground_searches e LEFT JOIN ground_asked a USING (search) "
        "LEFT JOIN (SELECT n.search, count(DISTINCT n.key) FILTER (r.entry IS NOT NULL) "
        "/ count(DISTINCT n.key) AS value FROM ground_needed n "
        "LEFT JOIN ground_results r USING (search, entry) GROUP BY ALL) f USING (search)",
        "no search needed a doc that exists",
    )


def doc_reciprocal_rank(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return 1 / the rank of the first needed doc among the results, 0 where none is there."""
    return _measure(
        log,
        f"SELECT {SEARCH}, CASE WHEN a.search IS NOT NULL AND f.search IS NOT NULL "
        "THEN coalesce(1.0::DOUBLE / f.rank, 0) END AS value "
        "FROM ground_searches e LEFT JOIN ground_asked a USING (search) "
        "LEFT JOIN (SELECT n.search, min(r.rank) AS rank FROM ground_needed n "
        "LEFT JOIN ground_results r USING (search, entry) GROUP BY ALL) f USING (search)",
        "no search needed a doc that exists",
    )


def doc_precision(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how many of the opened docs were needed."""
    return _measure(
        log,
        f"SELECT {SEARCH}, CASE WHEN o.entry IS NOT NULL "
        "THEN (n.entry IS NOT NULL)::DOUBLE END AS value FROM ground_searches e "
        "LEFT JOIN ground_opened o USING (search) "
        "LEFT JOIN (SELECT DISTINCT search, entry FROM ground_needed) n "
        "ON n.search = o.search AND n.entry = o.entry",
        "no doc was opened",
    )


def doc_opened_when_needed(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how often a needed doc was opened, where one states what no memory states."""
    return _measure(
        log,
        f"SELECT {SEARCH}, f.value FROM ground_searches e "
        "LEFT JOIN (SELECT n.search, bool_or(o.entry IS NOT NULL)::DOUBLE AS value "
        "FROM ground_needed n LEFT JOIN ground_opened o USING (search, entry) "
        "WHERE n.missing GROUP BY ALL) f USING (search)",
        "no episode needed a doc that exists",
    )


def doc_opened_in_vain(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how often a doc was opened all the same, where none states what memories lack."""
    return _measure(
        log,
        f"SELECT {SEARCH}, CASE WHEN f.search IS NULL THEN (o.search IS NOT NULL)::DOUBLE END "
        "AS value FROM ground_searches e "
        "LEFT JOIN (SELECT DISTINCT search FROM ground_needed WHERE missing) f USING (search) "
        "LEFT JOIN (SELECT DISTINCT search FROM ground_opened) o ON o.search = e.search",
        "every episode needed a doc that exists",
    )


@metric("arm", "family", *POOLED, "measure")
def doc_search(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how well docs are found and opened, by arm, family and `measure`, such as `recall`."""
    tables = [
        table.append_column("measure", pa.array([name] * len(table), pa.string()))
        for name, measure in MEASURES.items()
        for table in [measure(log)]
    ]
    return pa.concat_tables(tables)


MEASURES = {
    "recall": doc_recall,
    "reciprocal_rank": doc_reciprocal_rank,
    "precision": doc_precision,
    "opened_when_needed": doc_opened_when_needed,
    "opened_in_vain": doc_opened_in_vain,
}


def _measure(log: duckdb.DuckDBPyConnection, values: str, reason: str) -> pa.Table:
    prepare(log)
    if not has_table(log, TABLE):
        for statement in (EPISODES, NEEDED, RESULTS, OPENED, ASKED):
            log.execute(statement)
    return pooled(log, values, SHARE, ("arm", "family"), reason)
