"""Every metric as a table: its columns, its numbers against SQL by hand, and over several runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from helpers import FULL, OF_EACH_THEME, ratio, run, surrogate

from lineage.core.intervals import DIFFERENCE, SHARE, interval
from lineage.log.views.connect import SCORE_SQL, rows
from lineage.log.views.gathering import gathered
from lineage.metrics import METRICS, THEMES, registry, summarise_all
from lineage.metrics.cells import starred
from lineage.metrics.gains import harm, inheritance_gain
from lineage.metrics.keeping import compression
from lineage.metrics.registry import Metric, metric
from lineage.metrics.transfer import backward_transfer, forgetting
from lineage.report.lookup import cells, rows_of
from lineage.report.page import drawn
from lineage.report.tables import scores as sheet_of_scores

COUNTS = {"faults", "edits", "opens", "errors", "totals", "unscored"}
UNBOUNDED = {
    *("memory_size", "costs", "reward", "kept_tokens", "kept", "compression", "signal_density"),
}
"""Metrics that hold amounts or rewards: where nothing tells their spread they have no bounds."""
Log = duckdb.DuckDBPyConnection


def empty() -> Log:
    """A database like those that logs are gathered in: to start threads takes long."""
    return duckdb.connect(config={"threads": 1})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of so many pairs that a sum in blocks has another last digit than one in order."""
    tmp = tmp_path_factory.mktemp("tables")
    folder = tmp / "runs" / "one"
    more = (f"experiment.lineages={11 if FULL else 9}", "experiment.episodes=2", "suite.drift=0.2")
    probes = "experiment.probes={same: 3, similar: 1, dissimilar: 1}"
    versions = "schedule.versions=[smollm2-135m@r0,smollm2-135m@r1,smollm2-135m@r1]"
    run(surrogate(tmp, *more, probes, versions), folder)
    return folder


@pytest.fixture(scope="module")
def log(folder: Path) -> Iterator[Log]:
    with gathered(folder) as log:
        yield log


@pytest.fixture(scope="module")
def found(log: Log) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Every metric of the log as its function returns it, and what is made of all of them."""
    tables: dict[str, pa.Table] = {}

    def kept(one: Metric, log: Log) -> pa.Table:
        tables[one.name] = one.measure(log)
        return tables[one.name]

    with pytest.MonkeyPatch.context() as patch:
        for name, one in METRICS.items():
            patch.setitem(METRICS, name, replace(one, measure=partial(kept, one)))
        (summary,) = summarise_all(log).values()
    return tables, json.loads(json.dumps(summary))


@pytest.fixture(scope="module")
def tables(found: tuple[dict[str, pa.Table], dict[str, Any]]) -> dict[str, pa.Table]:
    return found[0]


@pytest.fixture(scope="module")
def metrics(found: tuple[dict[str, pa.Table], dict[str, Any]]) -> dict[str, Any]:
    return found[1]


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_the_columns_that_it_is_registered_with(
    tables: dict[str, pa.Table], name: str
) -> None:
    table = tables[name]
    assert isinstance(table, pa.Table)
    assert table.column_names == ["folder", *METRICS[name].columns]


@pytest.mark.parametrize("name", [name for name in METRICS if name not in COUNTS])
def test_every_metric_has_what_it_is_by_and_then_an_interval(
    tables: dict[str, pa.Table], name: str
) -> None:
    table = tables[name]
    names = table.column_names
    start = names.index("mean")
    assert names[0] == "folder" and names[start : start + 4] == ["mean", "low", "high", "n"]
    assert len(names) == len(set(names))
    by = table.select(names[:start] + [n for n in names if n == "measure"][:1]).to_pylist()
    assert len({tuple(row.values()) for row in by}) == len(by), "a row a cell"
    for row in table.to_pylist():
        assert (row["mean"] is None) == (row["n"] == 0)
        bounded = name in UNBOUNDED or row["low"] is not None
        assert bounded if row["n"] > 1 else row["low"] is None
        assert row["low"] is None or row["low"] <= row["high"]


def test_every_metric_says_what_it_is_and_stands_in_a_theme() -> None:
    assert all(len(one.doc) > 25 for one in METRICS.values())
    themes = {theme.__name__ for theme in THEMES}
    assert {one.measure.__module__ for one in METRICS.values()} == themes
    folder = Path(registry.__file__).parent
    marked = [file for file in folder.glob("*.py") if "\n@metric(" in file.read_text()]
    assert {f"lineage.metrics.{file.stem}" for file in marked} == themes


def test_a_name_is_taken_once_and_a_metric_says_what_it_is() -> None:
    with pytest.raises(ValueError, match="harm is there already"):
        metric("arm")(harm)
    with pytest.raises(ValueError, match="has no docstring"):
        metric("arm")(lambda log: log.sql("SELECT 1").to_arrow_table())


def by_hand(log: Log, value: str, by: str, which: str) -> str:
    """Pairs first, then over them in order: all that a query must do to have the same digits."""
    return (
        f"SELECT {by}, avg(value ORDER BY pair) AS mean FROM (SELECT {by}, pair, "
        f"avg({value} ORDER BY step_id) AS value FROM steps WHERE {which} GROUP BY ALL) "
        "GROUP BY ALL ORDER BY ALL"
    )


def test_scores_are_those_of_sql_to_the_last_digit(
    log: Log, folder: Path, metrics: dict[str, Any]
) -> None:
    found = duckdb.sql(SCORE_SQL.format(run=folder)).fetchall()
    assert len(found) == 9
    scores = cells(metrics, "scores", "arm", "family")
    assert all(scores[arm, family]["mean"] == score for arm, family, score, _ in found)
    probes = "kind = 'probe' AND score IS NOT NULL"
    for name, by, which in (
        ("scores_by_generation", "arm, family, generation", probes),
        ("work_scores", "arm, generation", "kind = 'act' AND score IS NOT NULL"),
        ("retention", "arm, generation, met", f"{probes} AND family = 'same'"),
    ):
        expected = {
            tuple(row[:-1]): row[-1] for row in log.sql(by_hand(log, "score", by, which)).fetchall()
        }
        keys = by.split(", ")
        assert {tuple(r[k] for k in keys): r["mean"] for r in rows_of(metrics, name)} == expected


def test_the_report_shows_the_scores_of_sql_to_its_last_digit(
    folder: Path, metrics: dict[str, Any]
) -> None:
    table = drawn(sheet_of_scores(metrics))
    cells = re.findall(r"<tr><td>(\w+)</td><td>(\w+)</td><td>([\d.]+) \[", table)
    found = duckdb.sql(SCORE_SQL.format(run=folder)).fetchall()
    assert sorted(cells) == sorted((f, arm, f"{score:.2f}") for arm, f, score, _ in found)
    assert len(cells) == 9


def test_gains_are_those_of_sql_to_the_last_digit(log: Log, metrics: dict[str, Any]) -> None:
    found = rows(
        log,
        "WITH p AS (SELECT arm, family, pair, avg(score ORDER BY step_id) AS score FROM steps "
        "WHERE kind = 'probe' GROUP BY ALL) "
        "SELECT a.arm, a.family, avg(a.score - b.score ORDER BY a.pair) AS gain, "
        "avg(a.score - b.score ORDER BY a.pair) / avg(o.score - b.score ORDER BY a.pair) AS share "
        "FROM p a JOIN p b USING (family, pair) JOIN p o USING (family, pair) "
        "WHERE b.arm = 'cold' AND o.arm = 'oracle' AND a.arm <> 'cold' GROUP BY ALL",
    )
    assert len(found) == 6
    gains = cells(metrics, "inheritance_gain", "arm", "family")
    for row in found:
        gain = gains[row["arm"], row["family"]]
        assert gain["mean"] == row["gain"]
        if gain["share_of_possible"] is not None:
            assert gain["share_of_possible"] == row["share"]
    shares = [gains["inherit", family]["share_of_possible"] for family in ("same", "similar")]
    assert None not in shares


def test_gains_have_generation_0_apart_and_arms_are_paired(
    log: Log, metrics: dict[str, Any]
) -> None:
    for inherited, which in ((False, "generation = 0"), (True, "generation > 0")):
        found = log.sql(
            "WITH p AS (SELECT arm, family, pair, avg(score ORDER BY step_id) AS score FROM steps "
            f"WHERE kind = 'probe' AND {which} GROUP BY ALL) "
            "SELECT a.arm, a.family, avg(a.score - b.score ORDER BY a.pair) "
            "FROM p a JOIN p b USING (family, pair) WHERE b.arm = 'cold' AND a.arm <> 'cold' "
            "GROUP BY ALL"
        ).fetchall()
        gains = rows_of(metrics, "gain_by_inheritance", inherited=inherited)
        assert {(row["arm"], row["family"], row["mean"]) for row in gains} == set(found)
    over = log.sql(
        "WITH p AS (SELECT arm, family, pair, avg(score ORDER BY step_id) AS score FROM steps "
        "WHERE kind = 'probe' AND generation > 0 GROUP BY ALL) "
        "SELECT a.family, avg(a.score - b.score ORDER BY a.pair) FROM p a JOIN p b "
        "USING (family, pair) WHERE a.arm = 'inherit' AND b.arm = 'oracle' GROUP BY ALL"
    ).fetchall()
    rows = rows_of(metrics, "contrasts")
    assert {(row["arm"], row["over"]) for row in rows} == {("inherit", "oracle")}
    assert {(row["family"], row["mean"]) for row in rows} == set(over)


def test_gains_by_version_are_of_generations_that_inherited(
    log: Log, metrics: dict[str, Any]
) -> None:
    found = log.sql(
        "WITH p AS (SELECT arm, family, version, generation, pair, avg(score) AS score FROM steps "
        "WHERE kind = 'probe' AND generation > 0 GROUP BY ALL) "
        "SELECT a.version, a.arm, a.family, round(avg(a.score - b.score), 9) FROM p a "
        "JOIN p b USING (family, version, generation, pair) "
        "WHERE b.arm = 'cold' AND a.arm <> 'cold' GROUP BY ALL"
    ).fetchall()
    rows = rows_of(metrics, "gain_by_version")
    assert {(r["version"], r["arm"], r["family"], round(r["mean"], 9)) for r in rows} == set(found)


def test_stars_are_of_enough_pairs_and_of_what_excludes_zero(
    log: Log, metrics: dict[str, Any]
) -> None:
    gains = rows_of(metrics, "inheritance_gain")
    assert all(row["starred"] == row["excludes_zero"] == (row["p"] < 0.05) for row in gains)
    assert any(row["starred"] for row in gains) and not all(row["starred"] for row in gains)
    few = empty()
    for name, sql in (("steps", "FROM steps WHERE pair < 4"), ("runs", "FROM runs")):
        few.register(name, log.sql(sql).to_arrow_table())
    gains = inheritance_gain(few).to_pylist()
    assert {row["n"] for row in gains} == {4}
    assert any(row["excludes_zero"] for row in gains)
    assert not any(row["starred"] for row in gains)


def test_a_correction_is_over_the_cells_of_one_table(log: Log) -> None:
    table = pa.table(
        {
            "folder": [*["run"] * 3, *["other"] * 2],
            "low": [0.1, 0.1, -0.1, 0.1, 0.1],
            "high": [0.2] * 5,
            "n": [6] * 5,
            "p": [0.02, 0.04, 0.5, 0.04, 0.045],
        }
    )
    for correction, expected in (
        ("none", [True, True, False, True, True]),
        ("holm", [False, False, False, False, False]),
        ("bh", [False, False, False, True, True]),
    ):
        (record,) = log.sql("FROM runs").to_arrow_table().to_pylist()
        records = [record | {"folder": one, "correction": correction} for one in ("run", "other")]
        runs = empty()
        runs.register("runs", pa.Table.from_pylist(records))
        assert starred(runs, table)["starred"].to_pylist() == expected


def test_sizes_costs_and_rewards_are_those_of_sql(log: Log, metrics: dict[str, Any]) -> None:
    for row in rows(
        log,
        "SELECT arm, generation, avg(memory_tokens ORDER BY pair) AS tokens, "
        "avg(reward ORDER BY pair) AS reward, avg(reward_same ORDER BY pair) AS same "
        "FROM steps WHERE phase = 'reward' GROUP BY ALL",
    ):
        of = {"generation": row["generation"]}
        (size,) = rows_of(metrics, "memory_size", measure="tokens", **of)
        reward = cells(metrics, "reward", "part", **of)
        assert size["mean"] == row["tokens"]
        assert (reward["reward"]["mean"], reward["same"]["mean"]) == (row["reward"], row["same"])
        assert reward["same"]["low"] <= row["same"] <= reward["same"]["high"]
    spent = (
        "SELECT arm, avg(value ORDER BY pair) FROM (SELECT arm, pair, "
        "avg(value ORDER BY generation, episode) AS value FROM (SELECT arm, pair, generation, "
        "episode, sum(prompt_tokens) AS value FROM steps WHERE phase = 'probe' GROUP BY ALL) "
        "GROUP BY ALL) GROUP BY ALL"
    )
    for arm, tokens in log.sql(spent).fetchall():
        assert cells(metrics, "costs", "arm", "cost")[arm, "prompt_tokens"]["mean"] == tokens


def test_metrics_are_made_of_the_registry(
    tables: dict[str, pa.Table], metrics: dict[str, Any]
) -> None:
    assert list(metrics["metrics"]) == list(METRICS)
    for name, table in tables.items():
        rows = table.drop_columns(["folder"]).to_pylist()
        assert sorted(map(repr, rows)) == sorted(map(repr, metrics["metrics"][name]))
    arms = [row["arm"] for row in metrics["metrics"]["scores"]]
    families = [row["family"] for row in metrics["metrics"]["scores"]]
    assert arms == [arm for arm in metrics["arms"] for _ in range(3)]
    assert families == metrics["families"] * 3


def test_a_log_of_two_runs_has_the_metrics_of_each(
    folder: Path, log: Log, metrics: dict[str, Any], tmp_path: Path
) -> None:
    other = tmp_path / "runs" / "two"
    more = (
        *("experiment.lineages=2", "experiment.seed=7", "suite.drift=0.5", "log.correction=bh"),
        *("experiment.episodes=2", "experiment.probes={same: 2, similar: 1, dissimilar: 1}"),
        "schedule.versions=[smollm2-135m@r0,smollm2-135m@r1]",
    )
    run(surrogate(tmp_path, *more), other)
    # Every metric of the first is looked at, of the other some of each theme.
    names = METRICS.keys() if FULL else {*OF_EACH_THEME, "inheritance_gain"}
    both = empty()
    with gathered(other) as log_of_other:
        (alone,) = summarise_all(log_of_other, names).values()
        for name in ("steps", "knowledge", "worlds", "runs"):
            tables = [
                one.sql(f"SELECT * FROM {name}").to_arrow_table() for one in (log, log_of_other)
            ]
            both.register(name, pa.concat_tables(tables))
    found = json.loads(json.dumps(summarise_all(both)))
    # Two arms in three families each; of two pairs no cell is tested.
    many, few = (one["stars"]["inheritance_gain"] for one in (metrics, alone))
    assert many == {"cells": 6, "by_chance": 0.3, "correction": "none"}
    assert few == {"cells": 0, "by_chance": 0.0, "correction": "bh"}
    assert list(found) == [str(folder), str(other)] and found[str(folder)] == metrics
    second = found[str(other)]
    for part in ("metrics", "stars"):
        second[part] = {name: rows for name, rows in second[part].items() if name in names}
    assert second == json.loads(json.dumps(alone))


COLUMNS = "arm, pair, generation, met, score"


def scored(cells: dict[tuple[str, int, int, int], float]) -> Log:
    """A log with one *same* probe for each arm, pair, generation and the one that met its task."""
    data = [(*cell, score) for cell, score in cells.items()]
    table = pa.table(list(zip(*data, strict=True)), names=COLUMNS.split(", "))
    log = empty()
    log.register("cells", table)
    log.execute(
        "CREATE VIEW steps AS SELECT 'run' AS folder, *, 'probe' AS kind, 'same' AS family, "
        "'p' || met AS episode, 'p' || met AS task, 0 AS step FROM cells"
    )
    record = {
        "folder": "run", "arms": ["inherit", "cold"], "families": ["same"], "baseline": "cold",
        "ceiling": "oracle", "schedule": ["m@a"] * 3, "confidence": 0.95,
        "correction": "none", "defined": "{}",
    }  # fmt: skip
    log.register("runs", pa.Table.from_pylist([record]))
    return log


def test_forgetting_and_backward_transfer_by_hand() -> None:
    def lineage(pair: int, *table: list[float]) -> dict[tuple[str, int, int, int], float]:
        return {
            ("inherit", pair, g, t): score
            for g, scores in enumerate(table)
            for t, score in enumerate(scores)
        }

    # S[g, t] by rows g. Pair 0 learns the first task late and loses it again.
    log = scored(
        lineage(0, [0.0], [1.0, 0.5], [0.25, 0.5, 1.0])
        | lineage(1, [1.0], [1.0, 1.0], [1.0, 0.0, 0.0])
    )
    found = {
        measure.__name__: {row["generation"]: row for row in measure(log).to_pylist()}
        for measure in (forgetting, backward_transfer)
    }
    # At g = 1: 0 - 1 and 1 - 1. At g = 2, pair 0: 1 - 0.25 and 0.5 - 0.5; pair 1: 0 and 1 - 0.
    lost = found["forgetting"]
    assert {g: row["mean"] for g, row in lost.items()} == {1: -0.5, 2: (0.375 + 0.5) / 2}
    expected = interval({0: 0.375, 1: 0.5}, 0.95, DIFFERENCE)
    assert (lost[2]["low"], lost[2]["high"], lost[2]["n"]) == (expected.low, expected.high, 2)
    # At g = 2, pair 0: 0.25 - 0 and 0.5 - 0.5; pair 1: 0 and 0 - 1.
    changed = found["backward_transfer"]
    assert {g: row["mean"] for g, row in changed.items()} == {1: 0.5, 2: (0.125 - 0.5) / 2}


def test_harm_is_a_ratio_over_pairs_that_could_be_harmed() -> None:
    cells = {("cold", 0, 0, 0): 1.0, ("cold", 0, 0, 1): 1.0, ("cold", 1, 0, 0): 1.0}
    cells |= {("cold", 1, 0, 1): 0.0, ("cold", 2, 0, 0): 0.0}
    # Pair 2 has nothing to lose; what pair 1 fails was not solved cold either.
    cells |= {("inherit", pair, 0, met): float((pair, met) == (1, 0)) for _, pair, _, met in cells}
    (row,) = harm(scored(cells)).to_pylist()
    assert (row["failed"], row["solved_by_baseline"], row["n"]) == (2, 3, 2)
    expected = ratio({0: 2.0, 1: 0.0}, {0: 2.0, 1: 1.0}, 0.95, SHARE)
    assert expected is not None
    assert (row["mean"], row["low"], row["high"]) == (2 / 3, expected.low, expected.high)
    alone = {cell: score for cell, score in cells.items() if cell[1] == 0}
    (row,) = harm(scored(alone)).to_pylist()
    assert (row["mean"], row["low"], row["high"], row["n"]) == (1.0, None, None, 1)


def test_compression_stands_beside_the_change_of_score(log: Log) -> None:
    found = {row["generation"]: row for row in compression(log).to_pylist()}
    assert set(found) == {1, 2}
    for generation, row in found.items():
        ((ratio, change),) = log.sql(
            "WITH c AS (SELECT generation, pair, "
            "sum(memory_tokens) FILTER (phase = 'reward') AS t, "
            "avg(score ORDER BY step_id) FILTER (kind = 'probe' AND family = 'same') AS s "
            "FROM steps WHERE arm = 'inherit' GROUP BY ALL) "
            "SELECT sum(a.t) / sum(b.t), avg(a.s - b.s ORDER BY a.pair) FROM c a JOIN c b "
            f"USING (pair) WHERE a.generation = {generation} AND b.generation = {generation} - 1"
        ).fetchall()
        assert (row["mean"], row["score_change"]) == (ratio, change)
        assert row["equal_score"] == (row["score_low"] <= 0 <= row["score_high"])
