"""How well docs are found and opened, against the facts that the tasks need.

A task needs the facts of its own world that its step names; tasks of other worlds need nothing
that a doc could state. A doc that only holds a kindred fact (from which the answer follows by a
rule) does not count as needed: read the family `similar` with that in mind. Only episodes whose
Knowledge holds docs and that had no error count.

Every table has folder, arm, family (`work` for working episodes, null for all), mean, low, high, n,
values and reason.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lineage.analysis.measures.ground import DOC_STEPS, has_table, prepare
from lineage.analysis.measures.pooled import pooled

WORK = "work"
"""What stands for the family of working episodes."""
TABLE = "ground_opened"
"""The last that is made."""
# Lists of an episode rather than joins with its steps: there may be millions of them.
EPISODES = f"""\
CREATE OR REPLACE TEMP TABLE ground_searches AS
WITH episode AS (
    SELECT folder, arm, pair, lineage, generation, episode,
           max_by(struct_pack(knowledge := knowledge_before, family := family, world := world,
                              facts := facts), struct_pack(step := step, id := step_id)) AS ended,
           list(results ORDER BY step, step_id) FILTER (kind = 'search') AS found,
           list(entry ORDER BY step, step_id) FILTER (kind = 'open' AND entry <> '') AS opened
    FROM ({DOC_STEPS}) GROUP BY ALL HAVING NOT bool_or(error <> ''))
SELECT row_number() OVER (ORDER BY e.folder, e.lineage, e.generation, e.episode) AS turn,
       e.folder, e.arm, e.pair, h.shelf, flatten(e.found) AS found, e.opened,
       if(e.ended.family = '', '{WORK}', e.ended.family) AS family,
       if(e.ended.world = p.world, e.ended.facts, []) AS needed
FROM episode e JOIN ground_places p USING (folder, lineage, generation)
JOIN ground_shelves h ON h.home = p.home AND h.knowledge = e.ended.knowledge
SEMI JOIN (SELECT shelf FROM ground_entries WHERE entries = 'docs') d ON d.shelf = h.shelf
"""
"""The episodes: `found` is null where none searched, `turn` numbers them in order."""
NEEDED = """\
CREATE OR REPLACE TEMP TABLE ground_needed AS
WITH needed AS (SELECT DISTINCT turn, shelf, unnest(needed) AS key FROM ground_searches)
SELECT DISTINCT n.turn, n.key, e.entry, m.key IS NULL AS missing
FROM needed n JOIN ground_entries e ON e.shelf = n.shelf AND e.entries = 'docs'
JOIN ground_said s ON s.text = e.text AND s.key = n.key AND s.stated
LEFT JOIN ground_stated m ON m.shelf = n.shelf AND m.entries = 'memories' AND m.key = n.key
"""
"""By episode (`turn`): the docs that state a fact it needs, `missing` where no memory states it."""
RESULTS = """\
CREATE OR REPLACE TEMP TABLE ground_results AS
SELECT turn, entry, row_number() OVER (PARTITION BY turn ORDER BY place) AS rank
FROM (SELECT turn, entry, min(place) AS place
      FROM (SELECT turn, unnest(found) AS entry, generate_subscripts(found, 1) AS place
            FROM ground_searches) GROUP BY ALL)
"""
"""Ids found, best first, each once over all searches of an episode."""
OPENED = """\
CREATE TEMP TABLE ground_opened AS
SELECT DISTINCT turn, unnest(opened) AS entry FROM ground_searches
"""
SEARCH = "e.folder, e.arm, e.pair, e.family, e.turn"


def doc_recall(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of the needed facts that docs state which a doc among the results states."""
    return _measure(
        log,
        "recall",
        f"SELECT {SEARCH}, CASE WHEN e.found IS NOT NULL THEN f.value END AS value "
        "FROM ground_searches e "
        "LEFT JOIN (SELECT n.turn, count(DISTINCT n.key) FILTER (r.entry IS NOT NULL) "
        "/ count(DISTINCT n.key) AS value FROM ground_needed n "
        "LEFT JOIN ground_results r USING (turn, entry) GROUP BY ALL) f USING (turn)",
        "no search needed a doc that exists",
    )


def doc_reciprocal_rank(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return 1 / the rank of the first needed doc among the results, 0 where none is there."""
    return _measure(
        log,
        "reciprocal_rank",
        f"SELECT {SEARCH}, CASE WHEN e.found IS NOT NULL AND f.turn IS NOT NULL "
        "THEN coalesce(1.0::DOUBLE / f.rank, 0) END AS value FROM ground_searches e "
        "LEFT JOIN (SELECT n.turn, min(r.rank) AS rank FROM ground_needed n "
        "LEFT JOIN ground_results r USING (turn, entry) GROUP BY ALL) f USING (turn)",
        "no search needed a doc that exists",
    )


def doc_precision(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how many of the opened docs were needed."""
    return _measure(
        log,
        "precision",
        f"SELECT {SEARCH}, CASE WHEN o.entry IS NOT NULL "
        "THEN (n.entry IS NOT NULL)::DOUBLE END AS value FROM ground_searches e "
        "LEFT JOIN ground_opened o USING (turn) "
        "LEFT JOIN (SELECT DISTINCT turn, entry FROM ground_needed) n "
        "ON n.turn = o.turn AND n.entry = o.entry",
        "no doc was opened",
    )


def doc_opened_when_needed(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how often a needed doc was opened, where one states what no memory states."""
    return _measure(
        log,
        "opened_when_needed",
        f"SELECT {SEARCH}, f.value FROM ground_searches e "
        "LEFT JOIN (SELECT n.turn, bool_or(o.entry IS NOT NULL)::DOUBLE AS value "
        "FROM ground_needed n LEFT JOIN ground_opened o USING (turn, entry) "
        "WHERE n.missing GROUP BY ALL) f USING (turn)",
        "no episode needed a doc that exists",
    )


def doc_opened_in_vain(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return how often a doc was opened all the same, where none states what memories lack."""
    return _measure(
        log,
        "opened_in_vain",
        f"SELECT {SEARCH}, CASE WHEN f.turn IS NULL THEN (o.turn IS NOT NULL)::DOUBLE END AS value "
        "FROM ground_searches e "
        "LEFT JOIN (SELECT DISTINCT turn FROM ground_needed WHERE missing) f USING (turn) "
        "LEFT JOIN (SELECT DISTINCT turn FROM ground_opened) o ON o.turn = e.turn",
        "every episode needed a doc that exists",
    )


def doc_search(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return all of the above, with their names in the column `measure`, the last."""
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


def _measure(log: duckdb.DuckDBPyConnection, measure: str, values: str, reason: str) -> pa.Table:
    prepare(log)
    if not has_table(log, TABLE):
        for statement in (EPISODES, NEEDED, RESULTS, OPENED):
            log.execute(statement)
    return pooled(log, values, f"doc_search/{measure}", ("arm", "family"), reason)
