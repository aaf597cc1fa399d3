"""Two runs side by side, over what both were asked: pairs and generations with the same probes.

Runs whose tasks differ have nothing to compare: a difference of unpaired numbers is never made.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from lineage.metrics.cells import INTERVAL, TEST, by_chance, means, starred
from lineage.metrics.relations import scored

Asked = dict[tuple[str, str, int, int], str]
"""By arm, family, pair and generation: which probes there were."""

PROBE = "phase = 'probe'"
BETWEEN = "phase IN ('migrate', 'handoff')"
COSTS = {
    "tokens read a probe": ("prompt_tokens", PROBE, "episode"),
    "tokens written a probe": ("completion_tokens", PROBE, "episode"),
    "seconds a probe": ("engine_seconds", PROBE, "episode"),
    "tokens of a handoff": ("prompt_tokens + completion_tokens", BETWEEN, "generation"),
    "seconds of a handoff": (
        "if(engine_seconds > 0, engine_seconds, wall_seconds)",
        BETWEEN,
        "generation",
    ),
}
"""By measure: what is summed, over which steps, and over what the mean of a pair is (see
`metrics.spending`). A handoff is all that is between the tasks: migration, edits, training."""


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
    for log in logs.values():
        log.register("shared", _table(shared))
    tables = {
        "scores": _scores(logs, records["a"]),
        "memory": _memory(logs, records["a"]),
        "costs": _costs(logs, records["a"]),
    }
    level, correction = records["a"]["confidence"], records["a"].get("correction", "none")
    return {
        **{name: _named(folders[name], records[name], settings[name]) for name in folders},
        "confidence": level,
        "arms": [arm for arm in records["a"]["arms"] if arm in arms["a"] & arms["b"]],
        "families": records["a"]["families"],
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
    # A run of schema 1 does not say its suite: there the ids of the tasks must do.
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


def _table(shared: list[tuple[str, str, int, int]]) -> pa.Table:
    names = ("arm", "family", "pair", "generation")
    types = (pa.string(), pa.string(), pa.int64(), pa.int64())
    columns = zip(*shared) if shared else ([] for _ in names)
    return pa.table(
        [pa.array(list(column), type) for column, type in zip(columns, types)], names=list(names)
    )


def _scores(
    logs: dict[str, duckdb.DuckDBPyConnection], record: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the mean score by arm and family; pairs first, as `metrics.scores` has it.

    A probe that one run has no score of is missing in both.
    """
    probe = "arm, family, pair, generation, episode"
    known = f"SELECT {probe} FROM steps WHERE kind = 'probe' AND score IS NOT NULL"
    for log, other in ((logs["a"], logs["b"]), (logs["b"], logs["a"])):
        log.register("scored_there", other.sql(known).to_arrow_table())
    shared = (
        "SEMI JOIN shared USING (arm, family, pair, generation) "
        f"SEMI JOIN scored_there USING ({probe})"
    )
    cells = scored("arm, family", "kind = 'probe'", f"(FROM steps {shared}) steps")
    found = {
        (row["arm"], row["family"]): row
        for row in _sides(logs, cells, ("arm", "family"), (SHARE, DIFFERENCE))
    }
    places = [(arm, family) for arm in record["arms"] for family in record["families"]]
    return [found[place] for place in places if place in found]


def _memory(
    logs: dict[str, duckdb.DuckDBPyConnection], record: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the tokens of the memories that a generation leaves, by arm."""
    cells = (
        f"SELECT arm, pair, avg(memory_tokens ORDER BY step_id) AS value FROM steps "
        f"SEMI JOIN {_GENERATIONS} WHERE phase = 'reward' GROUP BY ALL"
    )
    return _by_arm(logs, record, "memory tokens", cells)


def _costs(
    logs: dict[str, duckdb.DuckDBPyConnection], record: dict[str, Any]
) -> list[dict[str, Any]]:
    found = []
    for measure, (column, which, by) in COSTS.items():
        # A generation in which nothing was handed on cost nothing, which is a value too.
        total = f"coalesce(sum({column} ORDER BY step_id) FILTER ({which}), 0)"
        place = "generation, episode" if by == "episode" else "generation, '' AS episode"
        kept = f"WHERE {which}" if by == "episode" else ""
        cells = (
            "SELECT arm, pair, avg(total ORDER BY generation, episode) AS value FROM "
            f"(SELECT arm, pair, {place}, {total} AS total "
            f"FROM steps SEMI JOIN {_GENERATIONS} {kept} GROUP BY ALL) GROUP BY ALL"
        )
        found += _by_arm(logs, record, measure, cells)
    return found


_GENERATIONS = "(SELECT DISTINCT arm, pair, generation FROM shared) USING (arm, pair, generation)"


def _by_arm(
    logs: dict[str, duckdb.DuckDBPyConnection], record: dict[str, Any], measure: str, cells: str
) -> list[dict[str, Any]]:
    found = {row["arm"]: row for row in _sides(logs, cells, ("arm",), (AMOUNT, FREE))}
    return [{"measure": measure, **found[arm]} for arm in record["arms"] if arm in found]


def _sides(
    logs: dict[str, duckdb.DuckDBPyConnection],
    cells: str,
    by: Sequence[str],
    of: tuple[Range, Range],
) -> list[dict[str, Any]]:
    """Return both values and their difference, over the pairs that both have, a row a cell.

    `cells` is SQL for the columns of `by`, pair and value, a row a pair; `of` are the ranges of a
    value and of a difference. Stars allow for there being as many rows as there are. The means are
    as DuckDB sums them, so that they are those of metrics.json to the last digit.
    """
    log = logs["a"]
    for name, other in logs.items():
        log.register(f"pairs_of_{name}", other.sql(cells).to_arrow_table())
    keys = ", ".join(by)
    both = (
        f"SELECT r.folder, {keys}, pair, a.value AS a, b.value AS b "
        f"FROM pairs_of_a a JOIN pairs_of_b b USING ({keys}, pair) CROSS JOIN runs r "
        "WHERE a.value IS NOT NULL AND b.value IS NOT NULL"
    )
    sides = {
        side: means(log, f"SELECT *, {side} AS value FROM ({both})", by, of[0])
        for side in ("a", "b")
    }
    change = f"SELECT *, b - a AS value FROM ({both})"
    sides["difference"] = starred(log, means(log, change, by, of[1], test=True))
    shown = {"a": INTERVAL, "b": INTERVAL, "difference": (*INTERVAL, *TEST)}
    return [
        {name: rows[0][name] for name in by}
        | {side: {name: row[name] for name in shown[side]} for side, row in zip(sides, rows)}
        for rows in zip(*(table.to_pylist() for table in sides.values()))
    ]
