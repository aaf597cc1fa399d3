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
FACTS = """\
(SELECT n.search, min(r.rank) AS rank,
        count(DISTINCT n.key) FILTER (r.entry IS NOT NULL) / count(DISTINCT n.key) AS found
 FROM ground_needed n LEFT JOIN ground_results r USING (search, entry) GROUP BY ALL) f
"""
"""By episode: the rank of the first needed doc found, and the share of needed facts so stated."""
NO_SEARCH = "no search needed a doc that exists"
# Of each measure the value, what is joined to the episodes for it, and why there may be none.
MEASURES = {
    # The share of the needed facts that docs state which a doc among the results states.
    "recall": (
        "CASE WHEN a.search IS NOT NULL THEN f.found END",
        f"LEFT JOIN ground_asked a USING (search) LEFT JOIN {FACTS} USING (search)",
        NO_SEARCH,
    ),
    # 1 / the rank of the first needed doc among the results, 0 where none is there.
    "reciprocal_rank": (
        "CASE WHEN a.search IS NOT NULL AND f.search IS NOT NULL "
        "THEN coalesce(1.0::DOUBLE / f.rank, 0) END",
        f"LEFT JOIN ground_asked a USING (search) LEFT JOIN {FACTS} USING (search)",
        NO_SEARCH,
    ),
    # How many of the opened docs were needed.
    "precision": (
        "CASE WHEN o.entry IS NOT NULL THEN (n.entry IS NOT NULL)::DOUBLE END",
        "LEFT JOIN ground_opened o USING (search) "
        "LEFT JOIN (SELECT DISTINCT search, entry FROM ground_needed) n "
        "ON n.search = o.search AND n.entry = o.entry",
        "no doc was opened",
    ),
    # How often a needed doc was opened, where one states what no memory states.
    "opened_when_needed": (
        "f.value",
        "LEFT JOIN (SELECT n.search, bool_or(o.entry IS NOT NULL)::DOUBLE AS value "
        "FROM ground_needed n LEFT JOIN ground_opened o USING (search, entry) "
        "WHERE n.missing GROUP BY ALL) f USING (search)",
        "no episode needed a doc that exists",
    ),
    # How often a doc was opened all the same, where none states what memories lack.
    "opened_in_vain": (
        "CASE WHEN f.search IS NULL THEN (o.search IS NOT NULL)::DOUBLE END",
        "LEFT JOIN (SELECT DISTINCT search FROM ground_needed WHERE missing) f USING (search) "
        "LEFT JOIN (SELECT DISTINCT search FROM ground_opened) o ON o.search = e.search",
        "every episode needed a doc that exists",
    ),
}


@metric("arm", "family", *POOLED, "measure")
def doc_search(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how well docs are found and opened, by arm, family and `measure`, such as `recall`."""
    read_searches(log)
    tables = []
    for name, (value, joined, reason) in MEASURES.items():
        values = (
            f"SELECT e.folder, e.arm, e.pair, e.family, e.turn, {value} AS value "
            f"FROM ground_searches e {joined}"
        )
        found = pooled(log, values, SHARE, ("arm", "family"), reason)
        named = pa.array([name] * len(found), pa.string())
        tables.append(found.append_column("measure", named))
    return pa.concat_tables(tables)


def read_searches(log: duckdb.DuckDBPyConnection) -> None:
    """Make the tables `ground_searches` to `ground_asked`, unless this connection has them."""
    prepare(log)
    if not has_table(log, TABLE):
        for statement in (EPISODES, NEEDED, RESULTS, OPENED, ASKED):
            log.execute(statement)
