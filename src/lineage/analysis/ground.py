"""The measures with ground truth from the world: what Knowledge holds of it, and how truly.

Rows by arm and generation, and by arm over all generations (`generation` null), with an interval
over pairs; values are averaged within a pair first. What is undefined is null, with a `reason`.
Runs of schema 1 logged no worlds: their lists are empty.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb

from lineage.analysis.ground_docs import doc_search
from lineage.analysis.ground_log import Cells, End, GroundLog, Home, Row
from lineage.analysis.ground_poison import poison_life, poison_repeated, poison_survival
from lineage.analysis.ground_summary import summary_distortion, summary_fidelity
from lineage.knowledge import Doc, Memory
from lineage.truth import normalised

HANDOFFS = (1, 2, 4, 8)
"""After how many handoffs fidelity is measured."""
DENSITY_TOKENS = 100
"""Signal density is in facts per this many tokens."""


def ground_truth(
    connection: duckdb.DuckDBPyConnection, record: dict[str, Any]
) -> dict[str, list[Row]]:
    """Return every measure with ground truth, by name; `record` is that of `run.json`."""
    log = GroundLog(connection, record["bootstrap"], record["confidence"])
    measures = (
        signal_density,
        facts_held,
        staleness,
        duplication,
        fidelity,
        migration_fidelity,
        kept_tokens,
        doc_search,
        summary_fidelity,
        summary_distortion,
        poison_survival,
        poison_life,
        poison_repeated,
    )
    return {measure.__name__: measure(log) if log.homes else [] for measure in measures}


def signal_density(log: GroundLog) -> list[Row]:
    """World facts that the memories state, each once, per 100 tokens of the memory block."""
    cells = Cells(log, "signal_density", "generation", reason="no lineage has memories")
    for end in log.ends.values():
        density = [
            DENSITY_TOKENS * len(end.shelf.memories) / end.memory_tokens
            for _ in end.knowledge.memories[:1]
            if end.memory_tokens
        ]
        cells.add_pooled(end.pair, density, end.arm, end.generation)
    return cells.rows()


def facts_held(log: GroundLog) -> list[Row]:
    """Share of the facts met in work so far that is stated: by `memories`, or by `any` entry."""
    cells = Cells(log, "facts_held", "by", "generation", reason="no task met asks for a fact")
    met = _met(log)
    for end in log.ends.values():
        so_far = met[end.lineage, end.generation] & end.home.facts.keys()
        for by, stated in (("memories", end.shelf.memories), ("any", end.shelf.stated)):
            share = [len(stated & so_far) / len(so_far)] if so_far else []
            cells.add_pooled(end.pair, share, end.arm, by, end.generation)
    return cells.rows()


def _met(log: GroundLog) -> dict[tuple[str, int], frozenset[str]]:
    """Return the facts of the own world that work has met, by lineage and last generation."""
    asked: dict[tuple[str, int], set[str]] = defaultdict(set)
    for row in log.rows(
        "SELECT lineage, generation, world, facts FROM steps WHERE kind IN ('act', 'read')"
    ):
        home = log.homes.get((row["lineage"], row["generation"]))
        if home is not None and home.world == row["world"]:
            asked[row["lineage"], row["generation"]] |= set(row["facts"] or ())
    return {
        (lineage, generation): frozenset[str]().union(
            *(asked[lineage, earlier] for earlier in range(generation + 1))
        )
        for lineage, generation in log.ends
    }


def staleness(log: GroundLog) -> list[Row]:
    """Share of entries that contradict the world now; `entries` are `memories` or `docs`.

    An entry contradicts where it denies a fact that it does not state as well.
    """
    cells = Cells(log, "staleness", "entries", "generation", reason="no lineage has such entries")
    for end in log.ends.values():
        kinds: tuple[tuple[str, Sequence[Memory | Doc]], ...] = (
            ("memories", end.knowledge.memories),
            ("docs", end.knowledge.docs),
        )
        for kind, entries in kinds:
            said = [end.home.said(entry) for entry in entries]
            stale = sum(bool(one.denied - one.stated) for one in said)
            share = [stale / len(said)] if said else []
            cells.add_pooled(end.pair, share, end.arm, kind, end.generation)
    return cells.rows()


def duplication(log: GroundLog) -> list[Row]:
    """Share of memories that add nothing to the earlier ones.

    Such a memory states facts, all of which earlier memories state, or repeats an earlier text.
    """
    cells = Cells(log, "duplication", "generation", reason="no lineage has memories")
    for end in log.ends.values():
        share = [_doubled(end) / len(end.knowledge.memories)] if end.knowledge.memories else []
        cells.add_pooled(end.pair, share, end.arm, end.generation)
    return cells.rows()


def _doubled(end: End) -> int:
    texts: set[str] = set()
    known: frozenset[str] = frozenset()
    count = 0
    for memory in end.knowledge.memories:
        text, stated = normalised(memory.text), end.home.said(memory).stated
        count += text in texts or (bool(stated) and stated <= known)
        texts.add(text)
        known |= stated
    return count


def fidelity(log: GroundLog) -> list[Row]:
    """Share of the facts that a generation left stated rightly which still are k handoffs later.

    `handoffs` is k, `generation` the earlier one. Facts that drifted in between are left out.
    """
    reason = "no generation left a steady fact stated rightly"
    cells = Cells(log, "fidelity", "handoffs", "generation", reason=reason)
    for (lineage, generation), end in log.ends.items():
        for k in HANDOFFS:
            later = log.ends.get((lineage, generation + k))
            if later is None:
                continue
            homes = [log.homes[lineage, g] for g in range(generation, generation + k + 1)]
            facts = end.shelf.stated & _steady(homes)
            share = [len(facts & later.shelf.stated) / len(facts)] if facts else []
            cells.add_pooled(end.pair, share, end.arm, k, generation)
    return cells.rows()


def _steady(homes: Sequence[Home]) -> frozenset[str]:
    """Return the keys of facts that are the same in all of `homes`."""
    first = homes[0].facts
    return frozenset(
        key for key, fact in first.items() if all(home.facts.get(key) == fact for home in homes)
    )


def migration_fidelity(log: GroundLog) -> list[Row]:
    """Share of the facts stated rightly before a migration that are so after it.

    Both in the world as it is then; `migration` is the kind.
    """
    reason = "nothing was stated rightly before"
    cells = Cells(log, "migration_fidelity", "migration", "generation", reason=reason)
    for row in _migrations(log):
        before = log.knowledge.get(row["knowledge_before"])
        after = log.knowledge.get(row["knowledge_after"])
        if before is None or after is None:
            continue
        home = log.homes[row["lineage"], row["generation"]]
        facts = home.shelf(row["knowledge_before"], before).stated
        kept = facts & home.shelf(row["knowledge_after"], after).stated
        share = [len(kept) / len(facts)] if facts else []
        cells.add_pooled(row["pair"], share, row["arm"], row["detail"], row["generation"])
    return cells.rows()


def kept_tokens(log: GroundLog) -> list[Row]:
    """Tokens of the memory block after a migration / those that the generation before left.

    Each is counted by its own version's tokenizer: where these differ, so does the count.
    """
    reason = "the generation before left no memories"
    cells = Cells(log, "kept_tokens", "migration", "generation", reason=reason)
    for row in _migrations(log):
        end = log.ends.get((row["lineage"], row["generation"] - 1))
        left = end.memory_tokens if end is not None and end.knowledge.memories else 0
        share = [row["memory_tokens"] / left] if left else []
        cells.add_pooled(row["pair"], share, row["arm"], row["detail"], row["generation"])
    return cells.rows()


def _migrations(log: GroundLog) -> Iterator[Row]:
    # A migration's tests of single entries are steps of kind `migrate` too, and name the entry.
    for row in log.rows(
        "SELECT arm, pair, lineage, generation, detail, knowledge_before, knowledge_after, "
        "memory_tokens FROM steps WHERE kind = 'migrate' AND entry = '' AND detail <> '' "
        "ORDER BY lineage, generation, step_id"
    ):
        if (row["lineage"], row["generation"]) in log.homes:
            yield row
