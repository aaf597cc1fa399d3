"""The metrics of a run, from SQL over its step log: what `metrics.json` holds.

Rows with an error have no score; they are counted and left out of means. Scores are averaged
within a pair first, then over pairs, with a bootstrap over pairs. The means of `scores` are
those of `views.SCORE_SQL`.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import duckdb

from lineage.analysis.cells import ByPair, by_pair, measured
from lineage.analysis.costs import costs
from lineage.analysis.ground import ground_truth
from lineage.analysis.kept import kept
from lineage.analysis.matrix import matrix
from lineage.analysis.views import connect, read_record, rows
from lineage.metrics import Interval, paired_difference
from lineage.steplog.schema import STEP_SCHEMA

METRICS_VERSION = 2
KEPT = ("run", "experiment", "config_hash", "schedule", "confidence")
REWARD_PARTS = ("reward", *(name for name in STEP_SCHEMA.names if name.startswith("reward_")))


def summarise(run: Path) -> dict[str, Any]:
    """Return every metric of `run` as plain values; the layout is that of `metrics.json`.

    Raises LineageError where the run cannot be read.
    """
    record = read_record(run)
    # A run of schema 1 knew no arms of its own making.
    record.setdefault("defined", {})
    connection = connect(run)
    measure = _Measure(connection, record)
    arms = [arm for arm in record["arms"] if arm in measure.arms()]
    return {
        "schema": METRICS_VERSION,
        **{key: record[key] for key in KEPT},
        "arms": arms,
        "defined": record["defined"],
        "families": record["families"],
        "baseline": record["baseline"],
        "ceiling": record["ceiling"],
        "scores": measure.scores(arms),
        "gain": measure.gains(arms),
        "forward_transfer": measure.forward(arms),
        "categories": measure.categories(arms),
        "by_generation": measure.by_generation(arms),
        "gain_by_version": measure.by_version(arms),
        "retention": measure.retention(),
        "harm": measure.harm(arms),
        "memory": measure.memory(),
        "costs": costs(connection, record, arms),
        "kept": kept(connection, record, arms),
        "matrix": matrix(connection, record),
        "poison_cost": measure.poison_cost(),
        "ground": ground_truth(connection, record),
        "episodes": measure.episodes(arms),
        "edits": rows(
            connection,
            "SELECT arm, generation, version, detail, count(*) AS edits FROM steps "
            "WHERE kind = 'edit' GROUP BY ALL ORDER BY ALL",
        ),
        "opens": rows(
            connection,
            "SELECT arm, generation, version, count(*) AS asked, "
            "count(*) FILTER (entry <> '') AS opened FROM steps "
            "WHERE kind = 'open' GROUP BY ALL ORDER BY ALL",
        ),
        "reward": rows(
            connection,
            "SELECT arm, generation, "
            + ", ".join(
                f"avg({column} ORDER BY step_id) AS {column.removeprefix('reward_')}"
                for column in REWARD_PARTS
            )
            + " FROM steps "
            "WHERE reward IS NOT NULL GROUP BY ALL ORDER BY ALL",
        ),
        "errors": rows(
            connection,
            "SELECT arm, kind, count(*) AS errors FROM steps "
            "WHERE error <> '' GROUP BY ALL ORDER BY ALL",
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
        self.table = self._by_pair("arm, family", "kind = 'probe'")
        # The same sum in the same engine as SCORE_SQL, so that both agree to the last digit.
        self.means = {
            (row["arm"], row["family"]): row["score"]
            for row in rows(
                connection,
                "SELECT arm, family, avg(score ORDER BY pair) AS score FROM (SELECT arm, family, "
                "pair, avg(score ORDER BY step_id) AS score FROM steps "
                "WHERE kind = 'probe' GROUP BY ALL) GROUP BY ALL ORDER BY ALL",
            )
        }

    def _by_pair(self, by: str, which: str) -> dict[tuple[Any, ...], ByPair]:
        """Return the mean score of each pair in the cells of `by`; both are our own SQL."""
        mean = "avg(score ORDER BY step_id)"
        return by_pair(self.connection, by, mean, f"steps WHERE {which} AND score IS NOT NULL")

    def arms(self) -> set[str]:
        return {arm for arm, _ in self.table}

    def interval(self, values: ByPair, *ids: str | int) -> Interval:
        return measured(values, self.record, *ids)

    def scores(self, arms: list[str]) -> dict[str, dict[str, Any]]:
        """Mean score by arm and family."""
        return {
            arm: {
                family: asdict(
                    replace(self.interval(values, "score", family), mean=self.means[arm, family])
                )
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

    def _comparable(self, arm: str) -> bool:
        """Whether `arm` is served by the baseline's versions: else a gain would be theirs too."""
        defined, baseline = self.record["defined"], self.record["baseline"]
        if arm not in defined or baseline not in defined:
            return True
        return bool(defined[arm]["versions"] == defined[baseline]["versions"])

    def _gain(self, arm: str, family: str) -> dict[str, Any] | None:
        if not self._comparable(arm):
            return None
        baseline = self.table.get((self.record["baseline"], family), {})
        gained = paired_difference(self.table.get((arm, family), {}), baseline)
        if not gained:
            return None
        gain = self.interval(gained, "gain", family)
        possible = paired_difference(self.table.get((self.record["ceiling"], family), {}), baseline)
        share: float | None = None
        reason: str | None = f"no {self.record['ceiling']} arm"
        if possible:
            whole = self.interval(possible, "possible", family)
            if whole.excludes_zero:
                share, reason = gain.mean / whole.mean, None
            elif whole.low is None:
                reason = "one pair has no interval"
            else:
                reason = f"the interval of {self.record['ceiling']} over the baseline holds 0"
        return {
            **asdict(gain),
            "excludes_zero": gain.excludes_zero,
            "share_of_possible": share,
            "share_reason": reason,
        }

    def forward(self, arms: list[str]) -> dict[str, dict[str, Any]]:
        """Forward transfer: gain on similar probes whose task was never met before."""
        cells = self._by_pair("arm", "kind = 'probe' AND family = 'similar' AND met IS NULL")
        baseline = cells.get((self.record["baseline"],), {})
        gained = {arm: paired_difference(cells.get((arm,), {}), baseline) for arm in arms}
        return {
            arm: asdict(self.interval(values, "forward"))
            for arm, values in gained.items()
            if values and arm != self.record["baseline"]
        }

    def episodes(self, arms: list[str]) -> list[dict[str, Any]]:
        """Mean score of working episodes by arm and generation."""
        return [
            {"arm": arm, "generation": generation}
            | asdict(self.interval(values, "episodes", generation))
            for (arm, generation), values in self._by_pair(
                "arm, generation", "kind = 'act'"
            ).items()
            if arm in arms
        ]

    def categories(self, arms: list[str]) -> list[dict[str, Any]]:
        """Mean score by arm, family and category, where the tasks have categories."""
        cells = self._by_pair("arm, family, category", "kind = 'probe' AND category <> ''")
        return [
            {"arm": arm, "family": family, "category": category}
            | asdict(self.interval(values, "category", family, category))
            for (arm, family, category), values in sorted(cells.items())
            if arm in arms
        ]

    def by_generation(self, arms: list[str]) -> list[dict[str, Any]]:
        """Mean score by arm, family and generation."""
        cells = self._by_pair("arm, family, generation", "kind = 'probe'")
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

    def by_version(self, arms: list[str]) -> list[dict[str, Any]]:
        """Inheritance gain by version: a pooled gain would mix what a version is worth with it."""
        cells = self._by_pair("arm, family, version", "kind = 'probe'")
        found = []
        for version in dict.fromkeys(self.record["schedule"]):
            for arm in arms:
                for family in self.record["families"]:
                    here = cells.get((arm, family, version), {})
                    cold = cells.get((self.record["baseline"], family, version), {})
                    gained = paired_difference(here, cold)
                    if arm != self.record["baseline"] and gained:
                        gain = self.interval(gained, "gain", family, version)
                        row = {"version": version, "arm": arm, "family": family}
                        row |= {**asdict(gain), "excludes_zero": gain.excludes_zero}
                        found.append(row)
        return found

    def retention(self) -> list[dict[str, Any]]:
        """S[g, t]: score of generation g on tasks first met in generation t."""
        cells = self._by_pair("arm, generation, met", "kind = 'probe' AND family = 'same'")
        return [
            {
                "arm": arm,
                "generation": generation,
                "met": met,
                "score": whole.mean,
                **{key: asdict(whole)[key] for key in ("low", "high", "n")},
            }
            for (arm, generation, met), values in cells.items()
            for whole in [self.interval(values, "retention", generation, str(met))]
        ]

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

    def poison_cost(self) -> dict[str, dict[str, Any]]:
        """Score on *same* probes from the planting on, less that of the same arm unpoisoned."""
        defined = self.record["defined"]
        begun = self.connection.execute(
            "SELECT min(generation) FROM steps WHERE phase = 'plant'"
        ).fetchone()
        if begun is None or begun[0] is None:
            return {}
        cells = self._by_pair(
            "arm", f"kind = 'probe' AND family = 'same' AND generation >= {begun[0]}"
        )
        found = {}
        for name, arm in defined.items():
            like = {key: arm[key] for key in ("receives", "policy", "versions")}
            clean = next(
                (
                    other
                    for other, its in defined.items()
                    if not its["poisoned"] and {key: its[key] for key in like} == like
                ),
                "",
            )
            lost = paired_difference(cells.get((name,), {}), cells.get((clean,), {}))
            if arm["poisoned"] and lost:
                cost = self.interval(lost, "poison_cost")
                found[name] = {**asdict(cost), "excludes_zero": cost.excludes_zero}
        return found

    def memory(self) -> list[dict[str, Any]]:
        """Size of the inherited memories at each generation's end, tokens and entries."""
        return rows(
            self.connection,
            "SELECT s.arm, s.generation, s.version, avg(s.memory_tokens) AS tokens, "
            "avg(k.memories) AS memories, avg(k.docs) AS docs FROM steps s "
            "JOIN snapshots k ON s.knowledge_after = k.knowledge "
            "WHERE s.phase = 'reward' GROUP BY ALL ORDER BY ALL",
        )
