"""The metrics of a run, from SQL over its step log: what `metrics.json` holds.

Rows with an error have no score; they are counted and left out of means. Scores are averaged
within a pair first, then over pairs, with a bootstrap over pairs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb

from lineage.analysis.views import connect, read_record, rows
from lineage.metrics import Interval, interval, paired_difference

METRICS_VERSION = 1
KEPT = ("run", "experiment", "config_hash", "schedule", "confidence")
ByPair = dict[int, float]


def summarise(run: Path) -> dict[str, Any]:
    """Return every metric of `run` as plain values; the layout is that of `metrics.json`.

    Raises LineageError where the run cannot be read.
    """
    record = read_record(run)
    connection = connect(run)
    measure = _Measure(connection, record)
    arms = [arm for arm in record["arms"] if arm in measure.arms()]
    return {
        "schema": METRICS_VERSION,
        **{key: record[key] for key in KEPT},
        "arms": arms,
        "families": record["families"],
        "baseline": record["baseline"],
        "ceiling": record["ceiling"],
        "scores": measure.scores(arms),
        "gain": measure.gains(arms),
        "by_generation": measure.by_generation(arms),
        "retention": measure.retention(),
        "harm": measure.harm(arms),
        "memory": measure.memory(),
        "edits": rows(
            connection,
            "SELECT generation, version, detail, count(*) AS edits FROM steps "
            "WHERE kind = 'edit' GROUP BY ALL ORDER BY ALL",
        ),
        "opens": rows(
            connection,
            "SELECT generation, version, count(*) AS asked, "
            "count(*) FILTER (entry <> '') AS opened FROM steps "
            "WHERE kind = 'open' GROUP BY ALL ORDER BY ALL",
        ),
        "reward": rows(
            connection,
            "SELECT generation, avg(reward) AS reward, avg(reward_same) AS same, "
            "avg(reward_similar) AS similar, avg(reward_dissimilar) AS dissimilar, "
            "avg(reward_memory) AS memory, avg(reward_docs) AS docs FROM steps "
            "WHERE reward IS NOT NULL GROUP BY ALL ORDER BY ALL",
        ),
        "totals": rows(
            connection,
            "SELECT count(*) AS steps, count(DISTINCT pair) AS pairs, "
            "count(*) FILTER (kind IN ('act', 'probe')) AS episodes, "
            "count(*) FILTER (error <> '') AS errors, "
            "sum(prompt_tokens)::BIGINT AS prompt_tokens, "
            "sum(cached_tokens)::BIGINT AS cached_tokens, "
            "sum(completion_tokens)::BIGINT AS completion_tokens, "
            "max(ended_at) - min(ended_at) AS seconds FROM steps",
        )[0],
    }


class _Measure:
    def __init__(self, connection: duckdb.DuckDBPyConnection, record: dict[str, Any]) -> None:
        self.connection, self.record = connection, record
        found = rows(
            connection,
            "SELECT arm, family, pair, avg(score) AS score FROM steps "
            "WHERE kind = 'probe' AND score IS NOT NULL GROUP BY ALL ORDER BY ALL",
        )
        self.table: dict[tuple[str, str], ByPair] = defaultdict(dict)
        for row in found:
            self.table[row["arm"], row["family"]][row["pair"]] = row["score"]

    def arms(self) -> set[str]:
        return {arm for arm, _ in self.table}

    def interval(self, values: ByPair, *ids: str | int) -> Interval:
        return interval(values, self.record["bootstrap"], self.record["confidence"], *ids)

    def scores(self, arms: list[str]) -> dict[str, dict[str, Any]]:
        """Mean score by arm and family."""
        return {
            arm: {
                family: asdict(self.interval(values, "score", family))
                for family in self.record["families"]
                if (values := self.table.get((arm, family)))
            }
            for arm in arms
        }

    def gains(self, arms: list[str]) -> dict[str, dict[str, Any]]:
        """Inheritance gain S(arm) - S(baseline), and its share of S(ceiling) - S(baseline)."""
        return {
            arm: {
                family: gain
                for family in self.record["families"]
                if (gain := self._gain(arm, family)) is not None
            }
            for arm in arms
            if arm != self.record["baseline"]
        }

    def _gain(self, arm: str, family: str) -> dict[str, Any] | None:
        baseline = self.table.get((self.record["baseline"], family), {})
        gained = paired_difference(self.table.get((arm, family), {}), baseline)
        if not gained:
            return None
        gain = self.interval(gained, "gain", family)
        possible = paired_difference(
            self.table.get((self.record["ceiling"], family), {}), baseline
        )
        share = None
        if possible:
            whole = self.interval(possible, "possible", family)
            share = gain.mean / whole.mean if whole.excludes_zero else None
        return {**asdict(gain), "excludes_zero": gain.excludes_zero, "share_of_possible": share}

    def by_generation(self, arms: list[str]) -> list[dict[str, Any]]:
        """Mean score by arm, family and generation."""
        found = rows(
            self.connection,
            "SELECT arm, family, generation, pair, avg(score) AS score FROM steps "
            "WHERE kind = 'probe' AND score IS NOT NULL GROUP BY ALL ORDER BY ALL",
        )
        cells: dict[tuple[str, str, int], ByPair] = defaultdict(dict)
        for row in found:
            cells[row["arm"], row["family"], row["generation"]][row["pair"]] = row["score"]
        return [
            {
                "arm": arm,
                "family": family,
                "generation": generation,
                "version": self.record["schedule"][generation],
                **asdict(self.interval(values, "generation", family, generation)),
            }
            for (arm, family, generation), values in sorted(cells.items())
            if arm in arms
        ]

    def retention(self) -> list[dict[str, Any]]:
        """S[g, t]: score of generation g on tasks first met in generation t."""
        return rows(
            self.connection,
            "SELECT arm, generation, met, avg(score) AS score, count(score) AS probes FROM steps "
            "WHERE kind = 'probe' AND family = 'same' GROUP BY ALL ORDER BY ALL",
        )

    def harm(self, arms: list[str]) -> list[dict[str, Any]]:
        """Share of probes that the baseline solves and the arm fails, of those it solves."""
        return rows(
            self.connection,
            "WITH p AS (SELECT * FROM steps WHERE kind = 'probe' AND score IS NOT NULL) "
            "SELECT a.arm, a.family, count(*) FILTER (a.score < 1) AS failed, "
            "count(*) AS solved_by_baseline, "
            "count(*) FILTER (a.score < 1) / count(*) AS harm "
            "FROM p a JOIN p b USING (pair, generation, episode, task) "
            "WHERE b.arm = ? AND a.arm <> b.arm AND b.score = 1 GROUP BY ALL ORDER BY ALL",
            [self.record["baseline"]],
        )

    def memory(self) -> list[dict[str, Any]]:
        """Size of the inherited memories at each generation's end, tokens and entries."""
        return rows(
            self.connection,
            "SELECT s.arm, s.generation, s.version, avg(s.memory_tokens) AS tokens, "
            "avg(k.memories) AS memories, avg(k.docs) AS docs FROM steps s "
            "JOIN (SELECT DISTINCT knowledge, memories, docs FROM knowledge) k "
            "ON s.knowledge_after = k.knowledge "
            "WHERE s.phase = 'reward' GROUP BY ALL ORDER BY ALL",
        )
