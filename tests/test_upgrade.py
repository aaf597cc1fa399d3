"""Costs, what is kept after k handoffs, and the writer x reader matrix, against hand-made logs."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from lineage.analysis.costs import costs
from lineage.analysis.kept import kept
from lineage.analysis.matrix import matrix
from lineage.analysis.sheet import Sheet
from lineage.analysis.tables import sheets
from lineage.metrics import ratio

COLUMNS = (
    "arm, pair, generation, episode, step_id, phase, kind, family, task, score, prompt_tokens, "
    "cached_tokens, completion_tokens, memory_tokens, engine_seconds, wall_seconds"
)
TYPES = (
    "VARCHAR, INT, INT, VARCHAR, VARCHAR, VARCHAR, VARCHAR, VARCHAR, VARCHAR, DOUBLE, INT, "
    "INT, INT, INT, DOUBLE, DOUBLE"
)


def log(rows: list[tuple[Any, ...]]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    columns = zip(COLUMNS.split(","), TYPES.split(","), strict=True)
    names = ", ".join(f"{name.strip()} {kind.strip()}" for name, kind in columns)
    connection.execute(f"CREATE TABLE steps ({names})")
    connection.executemany(f"INSERT INTO steps VALUES ({', '.join('?' * 16)})", rows)
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
        "bootstrap": 500,
        "confidence": 0.95,
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
    found = ratio(above, below, 500, 0.95, "x")
    assert found is not None
    assert (found.mean, found.low, found.high, found.n) == (0.5, 0.5, 0.5, 3)
    assert ratio(above, {0: 1.0, 1: -1.0, 2: 0.0}, 500, 0.95, "x") is None
    assert ratio({0: 1.0}, {0: 1.0}, 500, 0.95, "x") is None


def test_the_matrix_scores_only_the_reader_and_compares_it_with_itself() -> None:
    versions = {
        "a-a": ["m@a", "m@a"],
        "a-b": ["m@a", "m@b"],
        "b-b": ["m@b", "m@b"],
        "cold-a": ["m@a", "m@a"],
        "cold-b": ["m@b", "m@b"],
    }
    last = {
        # By arm, the scores of four probes, the same in both pairs.
        "a-a": [1, 0, 0, 0],
        "a-b": [1, 1, 0, 0],
        "b-b": [1, 1, 1, 1],
        "cold-a": [0, 0, 0, 0],
        "cold-b": [0, 0, 0, 1],
    }
    rows = [
        probe(arm, pair, generation, number, float(score) if generation else 1.0)
        for arm, scores in last.items()
        for pair in (0, 1)
        for generation in (0, 1)
        for number, score in enumerate(scores)
    ]
    found = {
        (row["writer"], row["reader"]): row for row in matrix(log(rows), record(versions))
    }
    assert set(found) == {("m@a", "m@a"), ("m@a", "m@b"), ("m@b", "m@b")}
    crossed = found["m@a", "m@b"]
    assert crossed["score"]["mean"] == 0.5
    assert crossed["gain"]["mean"] == 0.25
    assert crossed["retention"]["mean"] == pytest.approx(0.25 / 0.75)
    assert crossed["harm"]["mean"] == 1.0, "the one that is solved cold is failed"
    assert found["m@b", "m@b"]["retention"]["mean"] == 1.0
    assert found["m@b", "m@b"]["harm"]["mean"] == 0.0
    assert found["m@a", "m@a"]["harm"]["n"] == 0, "nothing is solved cold"


def test_one_writer_and_one_reader_are_no_matrix() -> None:
    versions = {"inherit": ["m@a", "m@a"], "edit": ["m@a", "m@a"], "cold": ["m@a", "m@a"]}
    rows = [probe(arm, pair, 1, 0, 1.0) for arm in versions for pair in (0, 1)]
    assert matrix(log(rows), record(versions)) == []


def test_what_is_kept_is_a_share_of_the_ceiling_and_of_the_first_tokens() -> None:
    versions = {"all": ["m@a"] * 3, "half": ["m@a"] * 3, "cold": ["m@a"] * 3}
    rows = []
    for pair in (0, 1):
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
        for row in kept(log(rows), record(versions), list(versions))
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
    found = costs(log(rows), record({"docs": ["m@a"]}), ["docs"])["docs"]
    assert found["prompt_tokens"]["mean"] == (40 + 10) / 2
    assert found["engine_seconds"]["mean"] == pytest.approx((1.0 + 0.5) / 2)
    assert found["handoff_tokens"]["mean"] == 12
    assert found["handoff_seconds"]["mean"] == 0.5


def test_every_table_has_as_many_cells_as_it_has_columns(arms_summary: dict[str, Any]) -> None:
    found = list(sheets(arms_summary))
    assert len(found) >= 4
    for sheet in found:
        assert isinstance(sheet, Sheet)
        assert {len(row) for row in sheet.rows} == {len(sheet.head)}


@pytest.fixture(scope="module")
def arms_summary(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The metrics of a run with several migrations, docs and poison."""
    from helpers import run, surrogate

    tmp = tmp_path_factory.mktemp("tables")
    config = surrogate(tmp, "experiment=poison", "experiment.lineages=2")
    return run(config, tmp / "runs" / "tables")
