"""Two runs side by side, over what both were asked: pairs and generations with the same probes.

Runs whose tasks differ have nothing to compare: a difference of unpaired numbers is never made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lineage.core.errors import LineageError
from lineage.core.intervals import AMOUNT, DIFFERENCE, FREE, SHARE, Range
from lineage.inspect.browsing import open_record, spans
from lineage.log.record import require
from lineage.log.views.connect import connect
from lineage.log.views.settings import differing, read_settings
from lineage.metrics import METRICS
from lineage.metrics.cells import by_chance, means, starred
from lineage.metrics.records import held
from lineage.metrics.registry import INTERVAL, TEST

Asked = dict[tuple[str, str, int, int], str]
"""By arm, family, pair and generation: which probes there were."""
Compared = dict[tuple[Any, ...], dict[str, Any]]
"""By cell what a metric is in either run, and the difference."""

COSTS = {
    "prompt_tokens": "tokens read a probe",
    "completion_tokens": "tokens written a probe",
    "engine_seconds": "seconds a probe",
    "handoff_tokens": "tokens of a handoff",
    "handoff_seconds": "seconds of a handoff",
}
"""The costs that are compared (see `metrics.spending`), in words. A handoff is all that is between
the tasks: migration, edits, training."""
SHARED = pa.schema(
    [
        *((name, pa.string()) for name in ("arm", "family")),
        *((name, pa.int64()) for name in ("pair", "generation")),
    ]
)
ANSWERED = """\
SELECT arm, pair, generation, episode FROM steps
SEMI JOIN shared USING (arm, family, pair, generation) WHERE kind = 'probe' AND score IS NOT NULL
"""
APART = """\
CREATE TEMP TABLE steps AS
SELECT * EXCLUDE (prompt, completion) REPLACE (pair::VARCHAR AS folder) FROM memory.main.steps
SEMI JOIN shared USING (arm, pair, generation) WHERE phase <> 'probe'
UNION ALL
SELECT * EXCLUDE (prompt, completion) REPLACE (pair::VARCHAR AS folder)
FROM memory.main.steps
SEMI JOIN answered_a USING (arm, pair, generation, episode)
SEMI JOIN answered_b USING (arm, pair, generation, episode) WHERE phase = 'probe';
CREATE TEMP VIEW knowledge AS
SELECT * REPLACE (pair::VARCHAR AS folder) FROM memory.main.knowledge;
CREATE TEMP TABLE runs AS
SELECT r.* REPLACE (p.pair::VARCHAR AS folder) FROM memory.main.runs r
CROSS JOIN (SELECT DISTINCT pair FROM shared) p;
"""
"""What stands before the views of the log: of what is shared alone, and each pair a run by itself.

The steps are read once for all metrics, without their texts, of which no figure here is made. A
metric of a run of one pair is what the pair has, which is what differences are made of."""


def compare(a: Path, b: Path) -> dict[str, Any]:
    """Return what differs between the runs `a` and `b`: settings, scores, memory and cost.

    Every cell has `a`, `b` and `difference` (b - a), each an interval over the pairs that both
    have; `stars` say by table how many chance would give. `reasons` say in a line each what is left
    out. Raises LineageError where a run cannot be read or is a training.
    """
    folders = {"a": a, "b": b}
    records = {name: _record(folder) for name, folder in folders.items()}
    logs = {name: connect(folder) for name, folder in folders.items()}
    settings = {name: read_settings(folder) for name, folder in folders.items()}
    arms = {name: _arms(log) for name, log in logs.items()}
    shared, reasons = _shared(records, logs)
    scores, memory, costs = _measured(logs, shared) if shared else ({}, {}, {})
    of, families = records["a"]["arms"], records["a"]["families"]
    tables = {
        "scores": [scores[place] for place in product(of, families) if place in scores],
        "memory": [
            {"measure": "memory tokens", **memory[(arm,)]} for arm in of if (arm,) in memory
        ],
        "costs": [
            {"measure": words, **costs[cost, arm]}
            for cost, words in COSTS.items()
            for arm in of
            if (cost, arm) in costs
        ],
    }
    level, correction = records["a"]["confidence"], records["a"].get("correction", "none")
    return {
        **{name: _named(folders[name], records[name], settings[name]) for name in folders},
        "confidence": level,
        "arms": [arm for arm in of if arm in arms["a"] & arms["b"]],
        "families": families,
        "pairs": len({pair for _, _, pair, _ in shared}),
        "reasons": [*reasons, *_alone(arms)],
        "settings": [
            {"key": key, **{name: found[key] for name, found in settings.items()}}
            for key in differing(list(settings.values()))
            if all(key in found for found in settings.values())
        ],
        **_keys_of_one(settings["a"], settings["b"]),
        **tables,
        "stars": {
            name: by_chance([row["difference"] for row in rows], level, correction)
            for name, rows in tables.items()
        },
    }


def _keys_of_one(a: dict[str, Any], b: dict[str, Any]) -> dict[str, list[str]]:
    """Return the keys that one run alone has: they were written by other versions of lineage."""
    return {"only_a": sorted(a.keys() - b.keys()), "only_b": sorted(b.keys() - a.keys())}


def _record(folder: Path) -> dict[str, Any]:
    record = open_record(folder)
    if "training" in record:
        raise LineageError(f"{folder} is a training: lineage compare takes two runs")
    require(record, folder, "arms", "families", "confidence")
    return record


def _named(folder: Path, record: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    kept = {key: record.get(key) for key in ("run", "experiment", "schedule", "suite")}
    return {"folder": str(folder), **kept, "engine": settings.get("engine.kind")}


def _arms(log: duckdb.DuckDBPyConnection) -> set[str]:
    return {row[0] for row in log.execute("SELECT DISTINCT arm FROM steps").fetchall()}


def _alone(arms: dict[str, set[str]]) -> list[str]:
    a, b = arms["a"], arms["b"]
    only = {"A": sorted(a - b), "B": sorted(b - a)}
    return [f"only {name} has {', '.join(found)}" for name, found in only.items() if found]


def _shared(
    records: dict[str, dict[str, Any]], logs: dict[str, duckdb.DuckDBPyConnection]
) -> tuple[list[tuple[str, str, int, int]], list[str]]:
    """Return the cells whose probes are the same in both runs, and why others are not compared."""
    suites = [records[name].get("suite") for name in ("a", "b")]
    # A record that does not say its suite leaves that to the ids of the tasks.
    if None not in suites and suites[0] != suites[1]:
        names = [suite["name"] for suite in suites if suite]
        words = f"{names[0]} and {names[1]}" if names[0] != names[1] else f"two {names[0]}"
        return [], [f"nothing is paired: the suites are {words}, whose tasks differ"]
    a, b = (_asked(logs[name]) for name in ("a", "b"))
    same = sorted(cell for cell in a if b.get(cell) == a[cell])
    reasons = [*_pairs_of_one(a, b), *_left_out(a, b)]
    return same, reasons if same else ["nothing is paired: no task ids agree", *reasons]


def _pairs_of_one(a: Asked, b: Asked) -> list[str]:
    """Return, a line each, which run has pairs that the other lacks."""
    pairs_a, pairs_b = ({pair for _, _, pair, _ in cells} for cells in (a, b))
    only = {"A": sorted(pairs_a - pairs_b), "B": sorted(pairs_b - pairs_a)}
    return [f"only {name} has pairs {spans(pairs)}" for name, pairs in only.items() if pairs]


def _left_out(a: Asked, b: Asked) -> list[str]:
    """Return, a line each, which generations of the pairs of both are not compared, and why."""
    pairs, arms = ({cell[place] for cell in a} & {cell[place] for cell in b} for place in (2, 0))
    found: dict[str, set[tuple[str, int, int]]] = {}
    for cell in a.keys() | b.keys():
        arm, _, pair, generation = cell
        if arm in arms and pair in pairs and a.get(cell) != b.get(cell):
            both = cell in a and cell in b
            why = "their tasks differ" if both else "one run has not these probes"
            found.setdefault(why, set()).add((arm, pair, generation))
    return [
        f"left out, {why}: generations {spans(sorted({one[2] for one in places}))} of pairs "
        f"{spans(sorted({one[1] for one in places}))}, arms "
        f"{', '.join(sorted({one[0] for one in places}))}"
        for why, places in sorted(found.items())
    ]


def _asked(log: duckdb.DuckDBPyConnection) -> Asked:
    found = log.execute(
        "SELECT arm, family, pair, generation, "
        "md5(string_agg(episode || chr(0) || task, chr(0) ORDER BY episode)) "
        "FROM steps WHERE kind = 'probe' GROUP BY ALL"
    ).fetchall()
    return {tuple(row[:4]): row[4] for row in found}


def _set_apart(
    logs: dict[str, duckdb.DuckDBPyConnection], shared: list[tuple[str, str, int, int]]
) -> None:
    """Let each log be of the cells and probes that are `shared` alone: see `APART`.

    A probe that one run has no score of is missing in both.
    """
    table = pa.Table.from_pylist([dict(zip(SHARED.names, cell)) for cell in shared], SHARED)
    for log in logs.values():
        log.register("shared", table)
    answered = {name: log.sql(ANSWERED).to_arrow_table() for name, log in logs.items()}
    for log in logs.values():
        for name, probes in answered.items():
            log.register(f"answered_{name}", probes)
        log.execute(APART)


def _measured(
    logs: dict[str, duckdb.DuckDBPyConnection], shared: list[tuple[str, str, int, int]]
) -> tuple[Compared, Compared, Compared]:
    """Return scores, memory and costs in both runs, of what is `shared`: see `_compared`."""
    _set_apart(logs, shared)
    ranges, both = (AMOUNT, FREE), duckdb.connect()
    both.register("runs", logs["a"].sql("FROM memory.main.runs").to_arrow_table())
    with held(both), held(logs["a"]), held(logs["b"]):
        compared = partial(_compared, both, logs)
        return (
            compared("scores", ("arm", "family"), (SHARE, DIFFERENCE)),
            compared("memory_size", ("arm",), ranges, "measure = 'tokens'"),
            compared("costs", ("cost", "arm"), ranges, f"cost IN {tuple(COSTS)}"),
        )


def _compared(
    both: duckdb.DuckDBPyConnection,
    logs: dict[str, duckdb.DuckDBPyConnection],
    metric: str,
    by: Sequence[str],
    of: tuple[Range, Range],
    which: str = "true",
) -> Compared:
    """Return a metric in both runs and the difference, over the pairs that both have, by cell.

    `both` is where it is compared, with the records of the runs. `by` are the columns that make a
    cell, `of` the ranges of a value and of a difference, `which` says which rows of the metric
    count; a pair with several in a cell has their mean. Stars allow for there being as many cells
    as there are. Where a pair has one, the means are those of metrics.json to the last digit.
    """
    keys, values = ", ".join(by), {}
    for name, log in logs.items():
        both.register(f"metric_{name}", METRICS[metric].measure(log))
        values[name] = (
            f"(SELECT {keys}, folder::BIGINT AS pair, avg(mean ORDER BY mean) AS value "
            f"FROM metric_{name} WHERE mean IS NOT NULL AND {which} GROUP BY ALL) {name}"
        )
    pairs = (
        f"SELECT r.folder, {keys}, pair, a.value AS a, b.value AS b FROM {values['a']} "
        f"JOIN {values['b']} USING ({keys}, pair) CROSS JOIN runs r"
    )
    sides = {
        side: means(both, f"SELECT *, {side} AS value FROM ({pairs})", by, of[0])
        for side in ("a", "b")
    }
    change = f"SELECT *, b - a AS value FROM ({pairs})"
    sides["difference"] = starred(both, means(both, change, by, of[1], test=True))
    shown = {"a": INTERVAL, "b": INTERVAL, "difference": (*INTERVAL, *TEST)}
    return {
        tuple(rows[0][name] for name in by): {name: rows[0][name] for name in by}
        | {side: {name: row[name] for name in shown[side]} for side, row in zip(sides, rows)}
        for rows in zip(*(table.to_pylist() for table in sides.values()))
    }
