"""Costs, what is kept after k handoffs, and the writer x reader matrix, against hand-made logs."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from helpers import FULL, measured, ratio, surrogate

from lineage.core.intervals import AMOUNT, DIFFERENCE
from lineage.metrics.keeping import kept
from lineage.metrics.spending import costs
from lineage.metrics.upgrade import upgrade_matrix
from lineage.report.sheet import Sheet
from lineage.report.tables import sheets

PAIRS = 6
"""As many as it takes to tell the ceiling from nothing."""
COLUMNS = (
    "arm, pair, generation, episode, step_id, phase, kind, family, task, score, prompt_tokens, "
    "cached_tokens, completion_tokens, memory_tokens, engine_seconds, wall_seconds"
)
TYPES = (
    "VARCHAR, INT, INT, VARCHAR, VARCHAR, VARCHAR, VARCHAR, VARCHAR, VARCHAR, DOUBLE, INT, "
    "INT, INT, INT, DOUBLE, DOUBLE"
)


def log(rows: list[tuple[Any, ...]], record: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """Return a log of one run, whose folder is "run"; each step is the first of its episode."""
    connection = duckdb.connect(config={"threads": 1})
    columns = zip(COLUMNS.split(","), TYPES.split(","), strict=True)
    names = ", ".join(f"{name.strip()} {kind.strip()}" for name, kind in columns)
    connection.execute(f"CREATE TABLE logged ({names})")
    many = ", ".join(f"({', '.join('?' * 16)})" for _ in rows)
    connection.execute(f"INSERT INTO logged VALUES {many}", [of for row in rows for of in row])
    connection.execute("CREATE VIEW steps AS SELECT 'run' AS folder, 0 AS step, * FROM logged")
    row = record | {"folder": "run", "defined": json.dumps(record["defined"])}
    connection.register("runs", pa.Table.from_pylist([row]))
    return connection


def probe(arm: str, pair: int, generation: int, number: int, score: float) -> tuple[Any, ...]:
    id = f"{arm}/{pair}/{generation}/{number}"
    return (
        arm, pair, generation, f"p{number}", id, "probe", "probe", "same", f"t{number}", score,
        10, 4, 2, 0, 0.5, 0.6,
    )  # fmt: skip


def record(defined: dict[str, list[str]], **more: Any) -> dict[str, Any]:
    arms = {
        name: {
            "receives": "cold" if name.startswith("cold") else "inherit",
            "versions": versions,
            "policy": "edit",
            "migration": "verbatim",
            "poisoned": False,
        }
        for name, versions in defined.items()
    }
    return {
        "arms": list(defined),
        "confidence": 0.95,
        "correction": "none",
        "families": ["same"],
        "schedule": next(iter(defined.values())),
        "defined": arms,
        "baseline": "cold",
        "ceiling": "all",
        **more,
    }


def test_a_ratio_is_of_means_over_pairs_and_undefined_over_zero() -> None:
    above = {0: 1.0, 1: 2.0, 2: 3.0, 9: 7.0}
    below = {0: 2.0, 1: 4.0, 2: 6.0}
    found = ratio(above, below, 0.5, AMOUNT)
    assert found is not None and (found.mean, found.n) == (0.5, 3)
    assert ratio(above, {0: 1.0, 1: -1.0, 2: 0.0}, 0.95, DIFFERENCE) is None
    assert ratio({0: 1.0}, {0: 1.0}, 0.95, DIFFERENCE) is None


def test_the_matrix_scores_only_the_reader_and_compares_it_with_itself() -> None:
    versions = {
        "a-a": ["m@a", "m@a"],
        "a-b": ["m@a", "m@b"],
        "b-b": ["m@b", "m@b"],
        "cold-a": ["m@a", "m@a"],
        "cold-b": ["m@b", "m@b"],
    }
    last = {
        # By arm, the scores of four probes, the same in all pairs.
        "a-a": [1, 0, 0, 0],
        "a-b": [1, 1, 0, 0],
        "b-b": [1, 1, 1, 1],
        "cold-a": [0, 0, 0, 0],
        "cold-b": [0, 0, 0, 1],
    }
    rows = [
        probe(arm, pair, generation, number, float(score) if generation else 1.0)
        for arm, scores in last.items()
        for pair in range(PAIRS)
        for generation in (0, 1)
        for number, score in enumerate(scores)
    ]
    table = upgrade_matrix(log(rows, record(versions))).to_pylist()
    found = {(row["writer"], row["reader"], row["measure"]): row["mean"] for row in table}
    crossed = {(writer, reader) for writer, reader, _ in found}
    assert crossed == {("m@a", "m@a"), ("m@a", "m@b"), ("m@b", "m@b")}
    assert found["m@a", "m@b", "score"] == 0.5
    assert found["m@a", "m@b", "gain"] == 0.25
    assert found["m@a", "m@b", "retention"] == pytest.approx(0.25 / 0.75)
    assert found["m@a", "m@b", "harm"] == 1.0, "the one that is solved cold is failed"
    assert found["m@b", "m@b", "retention"] == 1.0
    assert found["m@b", "m@b", "harm"] == 0.0
    assert ("m@a", "m@a", "harm") not in found, "nothing is solved cold"
    assert all(row["n"] == PAIRS and row["folder"] == "run" for row in table)


def test_one_writer_and_one_reader_are_no_matrix() -> None:
    versions = {"inherit": ["m@a", "m@a"], "edit": ["m@a", "m@a"], "cold": ["m@a", "m@a"]}
    rows = [probe(arm, pair, 1, 0, 1.0) for arm in versions for pair in (0, 1)]
    assert len(upgrade_matrix(log(rows, record(versions)))) == 0


def test_versions_that_each_read_their_own_notes_are_no_matrix() -> None:
    versions = {name: [f"m@{name}"] * 2 for name in ("a", "b", "c")}
    rows = [probe(arm, pair, 1, 0, 1.0) for arm in versions for pair in (0, 1)]
    assert len(upgrade_matrix(log(rows, record(versions)))) == 0


def test_what_is_kept_is_a_share_of_the_ceiling_and_of_the_first_tokens() -> None:
    versions = {"all": ["m@a"] * 3, "half": ["m@a"] * 3, "cold": ["m@a"] * 3}
    rows = []
    for pair in range(PAIRS):
        for generation in (0, 1, 2):
            for arm, score in (("all", 1.0), ("half", 0.5 ** generation), ("cold", 0.0)):
                rows.append(probe(arm, pair, generation, 0, score))
                if arm != "cold":
                    tokens = 100 if arm == "all" else 100 - 20 * generation
                    row = list(probe(arm, pair, generation, 1, 0.0))
                    row[5:9] = "reward", "handoff", "", ""
                    row[9], row[13] = None, tokens
                    rows.append(tuple(row))
    found = {
        (row["measure"], row["arm"], row["k"]): row["mean"]
        for row in kept(log(rows, record(versions))).to_pylist()
    }
    assert found == {
        ("score", "all", 1): 1.0, ("tokens", "all", 1): 1.0,
        ("score", "all", 2): 1.0, ("tokens", "all", 2): 1.0,
        ("score", "half", 1): 0.5, ("tokens", "half", 1): 0.8,
        ("score", "half", 2): 0.25, ("tokens", "half", 2): 0.6,
    }  # fmt: skip


def test_costs_are_summed_over_the_steps_of_a_probe_and_of_what_is_between() -> None:
    opened = list(probe("docs", 0, 0, 0, 1.0))
    opened[4], opened[6], opened[9], opened[10] = "docs/0/0/0/open", "open", None, 30
    between = list(probe("docs", 0, 0, 5, 1.0))
    between[3], between[4], between[5], between[6] = "h000", "docs/h", "handoff", "handoff"
    rows = [tuple(opened), tuple(between), *(probe("docs", 0, 0, n, 1.0) for n in (0, 1))]
    table = costs(log(rows, record({"docs": ["m@a"]})))
    found = {row["cost"]: row["mean"] for row in table.to_pylist()}
    assert found["prompt_tokens"] == (40 + 10) / 2
    assert found["engine_seconds"] == pytest.approx((1.0 + 0.5) / 2)
    assert found["handoff_tokens"] == 12
    assert found["handoff_seconds"] == 0.5


def test_every_table_has_as_many_cells_as_it_has_columns(arms_summary: dict[str, Any]) -> None:
    found = list(sheets(arms_summary))
    assert len(found) >= 11
    for sheet in found:
        assert isinstance(sheet, Sheet)
        assert {len(row) for row in sheet.rows} == {len(sheet.head)}


@pytest.fixture(scope="module")
def arms_summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The metrics of a run with several migrations, docs and poison."""
    tmp = tmp_path_factory.mktemp("tables")
    few = (
        f"experiment.lineages={1 + FULL}",
        "experiment.episodes=2",
        "experiment.probes={same: 2, similar: 1, dissimilar: 1}",
        "poison.generation=1",
        f"schedule.versions=[{'smollm2-135m@r0,' * (1 + FULL)}smollm2-135m@r1]",
        *(() if FULL else ("arms.names=[clean,verbatim,rewrite,none,cold]",)),
    )
    return measured(surrogate(tmp, "experiment=poison", *few), tmp / "runs" / "tables")
