"""What Knowledge holds of its lineage's own world, and how truly: from entries, by generation.

`generation` is null in the cells over all of them, and what is undefined has a reason. Values are
averaged within a pair first. Empty where a run logged no worlds.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from lineage.core.intervals import AMOUNT, SHARE
from lineage.metrics.ground import MIGRATIONS
from lineage.metrics.pooled import pooled
from lineage.metrics.registry import POOLED, metric

HANDOFFS = (1, 2, 4, 8)
"""After how many handoffs is asked what is left."""
DENSITY_TOKENS = 100
"""Signal density is in facts per this many tokens."""
END = "e.folder, e.arm, e.pair, e.generation, e.generation AS turn"
STALE = (
    "WITH stale AS (SELECT DISTINCT text FROM ground_said WHERE denied AND NOT stated), "
    "share AS (SELECT shelf, entries, count(s.text) / count(*) AS value "
    "FROM ground_entries LEFT JOIN stale s USING (text) GROUP BY ALL) "
    f"SELECT {END}, w.entries, s.value FROM ground_ends e "
    "CROSS JOIN (VALUES ('memories'), ('docs')) w(entries) "
    "LEFT JOIN share s ON s.shelf = e.shelf AND s.entries = w.entries"
)
"""SQL for the share of a generation's entries that contradict the world now (see `staleness`)."""
COUNTED = "SELECT shelf, entries, count(*) AS entered FROM ground_entries GROUP BY ALL"


@metric("arm", "generation", *POOLED)
def signal_density(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return world facts that the memories state, each once, per 100 tokens of the memory block.

    By arm and generation, which leaves these memories.
    """
    values = (
        f"SELECT {END}, CASE WHEN c.entered > 0 AND e.memory_tokens > 0 "
        f"THEN {DENSITY_TOKENS} * coalesce(s.facts, 0) / e.memory_tokens END AS value "
        f"FROM ground_ends e LEFT JOIN ({COUNTED}) c "
        "ON c.shelf = e.shelf AND c.entries = 'memories' "
        "LEFT JOIN (SELECT shelf, count(*) AS facts FROM ground_stated "
        "WHERE entries = 'memories' GROUP BY ALL) s ON s.shelf = e.shelf"
    )
    return pooled(log, values, AMOUNT, ("arm", "generation"), "no lineage has memories")


@metric("arm", "by", "generation", *POOLED)
def facts_held(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of the facts met in work so far that is stated, by arm, `by`, generation.

    `by` is `memories`, or `any` entry. Met are the facts of the own world that a task asked for.
    """
    values = (
        "WITH met AS (SELECT folder, lineage, key, min(generation) AS since FROM "
        "(SELECT DISTINCT s.folder, s.lineage, s.generation, unnest(s.facts) AS key "
        "FROM steps s JOIN ground_places p USING (folder, lineage, generation) "
        "WHERE s.kind IN ('act', 'read') AND s.world = p.world) GROUP BY ALL), "
        "held AS (SELECT shelf, key, bool_or(entries = 'memories') AS noted "
        "FROM ground_stated GROUP BY ALL), "
        "so_far AS (SELECT e.folder, e.lineage, e.generation, count(DISTINCT f.key) AS met, "
        "count(DISTINCT f.key) FILTER (h.noted) AS memories, "
        "count(DISTINCT f.key) FILTER (h.key IS NOT NULL) AS every "
        "FROM ground_ends e JOIN met m ON m.folder = e.folder AND m.lineage = e.lineage "
        "AND m.since <= e.generation "
        "JOIN ground_facts f ON f.home = e.home AND f.key = m.key "
        "LEFT JOIN held h ON h.shelf = e.shelf AND h.key = m.key GROUP BY ALL) "
        f"SELECT {END}, w.name AS 'by', if(w.name = 'any', s.every, s.memories) / s.met AS value "
        "FROM ground_ends e CROSS JOIN (VALUES ('memories'), ('any')) w(name) "
        "LEFT JOIN so_far s USING (folder, lineage, generation)"
    )
    return pooled(log, values, SHARE, ("arm", "by", "generation"), "no task met asks for a fact")


@metric("arm", "entries", "generation", *POOLED)
def staleness(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of entries that contradict the world now, by arm, `entries`, generation.

    `entries` are `memories` or `docs`. An entry contradicts where it denies a fact that it does not
    state as well.
    """
    by = ("arm", "entries", "generation")
    return pooled(log, STALE, SHARE, by, "no lineage has such entries")


@metric("arm", "generation", *POOLED)
def duplication(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of memories that add nothing to the earlier ones, by arm and generation.

    Such a memory states facts, all of which earlier memories state, or repeats an earlier text.
    """
    values = (
        "WITH note AS (SELECT * FROM ground_entries WHERE entries = 'memories'), "
        "first_text AS (SELECT shelf, same, min(place) AS place FROM note GROUP BY ALL), "
        "fact AS (SELECT shelf, place, key FROM note JOIN ground_said USING (text) WHERE stated), "
        "first_fact AS (SELECT shelf, key, min(place) AS place FROM fact GROUP BY ALL), "
        "told AS (SELECT f.shelf, f.place, bool_and(e.place < f.place) AS before "
        "FROM fact f JOIN first_fact e ON e.shelf = f.shelf AND e.key = f.key GROUP BY ALL), "
        "share AS (SELECT n.shelf, count(*) FILTER (t.place < n.place OR o.before) / count(*) "
        "AS value FROM note n JOIN first_text t ON t.shelf = n.shelf AND t.same = n.same "
        "LEFT JOIN told o ON o.shelf = n.shelf AND o.place = n.place GROUP BY ALL) "
        f"SELECT {END}, s.value FROM ground_ends e LEFT JOIN share s USING (shelf)"
    )
    return pooled(log, values, SHARE, ("arm", "generation"), "no lineage has memories")


@metric("arm", "handoffs", "generation", *POOLED)
def fidelity(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of the facts left stated rightly that still are k handoffs later.

    By arm, `handoffs` k and generation, the earlier one. Facts that drifted in between are left
    out.
    """
    values = (
        "WITH step AS (SELECT a.folder, a.lineage, b.generation, a.home, b.home AS next "
        "FROM ground_places a JOIN ground_places b ON b.folder = a.folder "
        "AND b.lineage = a.lineage AND b.generation = a.generation + 1 AND b.home <> a.home), "
        "changed AS (SELECT t.home, t.next, f.key FROM (SELECT DISTINCT home, next FROM step) t "
        "JOIN ground_facts f ON f.home = t.home ANTI JOIN ground_facts g ON g.home = t.next "
        "AND g.key = f.key AND g.value = f.value AND g.text = f.text), "
        "drift AS (SELECT folder, lineage, generation, key "
        "FROM step JOIN changed USING (home, next)), "
        "held AS (SELECT DISTINCT shelf, key FROM ground_stated), "
        "later AS (SELECT e.*, l.shelf AS later, l.generation - e.generation AS handoffs "
        "FROM ground_ends e JOIN ground_ends l ON l.folder = e.folder AND l.lineage = e.lineage "
        f"AND l.generation - e.generation IN {HANDOFFS}), "
        "steady AS (SELECT e.folder, e.lineage, e.generation, e.handoffs, e.later, h.key "
        "FROM later e JOIN held h ON h.shelf = e.shelf ANTI JOIN drift d ON d.folder = e.folder "
        "AND d.lineage = e.lineage AND d.key = h.key AND d.generation > e.generation "
        "AND d.generation <= e.generation + e.handoffs), "
        "share AS (SELECT s.folder, s.lineage, s.generation, s.handoffs, "
        "count(h.key) / count(*) AS value FROM steady s "
        "LEFT JOIN held h ON h.shelf = s.later AND h.key = s.key GROUP BY ALL) "
        f"SELECT {END}, e.handoffs, s.value FROM later e "
        "LEFT JOIN share s USING (folder, lineage, generation, handoffs)"
    )
    by = ("arm", "handoffs", "generation")
    return pooled(log, values, SHARE, by, "no generation left a steady fact stated rightly")


@metric("arm", "migration", "generation", *POOLED)
def migration_fidelity(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the share of the facts stated rightly before a migration that are so after it.

    By arm, `migration` (the kind) and generation; both in the world as it is then.
    """
    values = (
        "WITH held AS (SELECT DISTINCT shelf, key FROM ground_stated), "
        "migrated AS (SELECT m.*, b.shelf AS before, a.shelf AS after "
        f"FROM ({MIGRATIONS}) m JOIN ground_places p USING (folder, lineage, generation) "
        "JOIN ground_shelves b ON b.home = p.home AND b.knowledge = m.knowledge_before "
        "JOIN ground_shelves a ON a.home = p.home AND a.knowledge = m.knowledge_after) "
        "SELECT m.folder, m.arm, m.pair, m.generation, m.step_id AS turn, m.detail AS migration, "
        "CASE WHEN count(b.key) > 0 THEN count(a.key) / count(b.key) END AS value "
        "FROM migrated m LEFT JOIN held b ON b.shelf = m.before "
        "LEFT JOIN held a ON a.shelf = m.after AND a.key = b.key GROUP BY ALL"
    )
    by = ("arm", "migration", "generation")
    return pooled(log, values, SHARE, by, "nothing was stated rightly before")


@metric("arm", "migration", "generation", *POOLED)
def kept_tokens(log: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return the tokens of the memory block after a migration / those left before it.

    By arm, `migration` and generation. Each is counted by its own version's tokenizer: where these
    differ, so does the count.
    """
    values = (
        "SELECT m.folder, m.arm, m.pair, m.generation, m.step_id AS turn, m.detail AS migration, "
        "CASE WHEN e.memory_tokens > 0 AND c.entered > 0 "
        "THEN m.memory_tokens / e.memory_tokens END AS value "
        f"FROM ({MIGRATIONS}) m SEMI JOIN ground_places p USING (folder, lineage, generation) "
        "LEFT JOIN ground_ends e ON e.folder = m.folder AND e.lineage = m.lineage "
        "AND e.generation = m.generation - 1 "
        f"LEFT JOIN ({COUNTED}) c ON c.shelf = e.shelf AND c.entries = 'memories'"
    )
    by = ("arm", "migration", "generation")
    return pooled(log, values, AMOUNT, by, "the generation before left no memories")
