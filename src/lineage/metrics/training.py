"""What a training changed, step by step, from the datasets that it leaves.

A step counts once its row of `curve` is there. Groups come first: a mean is one over the means of
groups, so that a failed alternative does not make its group weigh less. Numbers that are not
finite are left out, as missing ones are.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from lineage.core.config import LogConfig
from lineage.core.errors import LineageError
from lineage.core.intervals import FREE, interval
from lineage.log.reader import check_file
from lineage.log.schema import CURVE_SCHEMA, KEYS, TRAINING_SCHEMA
from lineage.log.views.connect import rows

SUMMARY_VERSION = 2
SCHEMAS = {"curve": CURVE_SCHEMA, "training": TRAINING_SCHEMA}
PARTS = tuple(name for name in TRAINING_SCHEMA.names if name.startswith("reward_"))
MEASURES = (
    *PARTS,
    *("memory_tokens", "completion_tokens", "entropy", "copied", "density", "staleness"),
)
OPENED = ("needed", "vain", "missed", "spared")
TIMES = ("generate", "probe", "learn", "sync")
COMMON_ERRORS = 8
"""So many different errors are told, the most frequent first."""
FALL = 0.5
"""A measure that falls below this share of what it was at first has fallen."""
RISE = 0.1
"""A share that rises by this much has risen."""
FALLING = {
    "memory_tokens": "memory tokens",
    "density": "facts per 100 tokens",
    "entropy": "entropy",
}
RISING = {"copied": "the copied share", "staleness": "the stale share"}


def summarise_training(folder: Path, log: LogConfig) -> dict[str, Any]:
    """Return every figure of the training in `folder`; the layout is that of `training.json`.

    Raises LineageError where no step is finished, or where a file cannot be read (it is named).
    """
    connection = connect_training(folder)
    groups = rows(connection, _groups_sql())
    curve = rows(connection, "SELECT * FROM curve ORDER BY step")

    by_step = [
        {**_clock(row), **_point([g for g in groups if g["step"] == row["step"]], log)}
        for row in curve
    ]
    of: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for group in groups:
        of.setdefault((group["step"], group["curriculum"]), []).append(group)
    by_curriculum = [
        {"step": step, "curriculum": name, **_point(found, log)}
        for (step, name), found in of.items()
    ]
    return {
        "schema": SUMMARY_VERSION,
        "confidence": log.confidence,
        "curricula": sorted({name for _, name in of}),
        "by_step": by_step,
        "by_curriculum": by_curriculum,
        "time": _time(by_step),
        "errors": rows(
            connection,
            "SELECT error, count(*) AS alternatives FROM training WHERE error <> '' "
            f"GROUP BY ALL ORDER BY alternatives DESC, error LIMIT {COMMON_ERRORS}",
        ),
        "signs": _signs(by_curriculum),
    }


def connect_training(folder: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection with the views `curve` and `training` of the finished steps.

    Raises LineageError where there are none, or where a file cannot be read (it is named).
    """
    connection = duckdb.connect()
    for name, schema in SCHEMAS.items():
        files = sorted(folder.glob(f"{name}/*.parquet"))
        if not files:
            raise LineageError(f"{folder} has no finished training step yet (nothing in {name})")
        for file in files:
            check_file(file, KEYS[name])
        place = f"{glob.escape(str(folder))}/{name}/*.parquet".replace("'", "''")
        finite = ", ".join(
            f"CASE WHEN isfinite({field.name}) THEN {field.name} END AS {field.name}"
            for field in schema
            if pa.types.is_floating(field.type)
        )
        finished = "" if name == "curve" else "WHERE step IN (SELECT step FROM curve)"
        # Not hive: `step` is a column of the files too, and folders above may hold a "=".
        connection.execute(
            f"CREATE VIEW {name} AS SELECT * REPLACE ({finite}) FROM read_parquet('{place}', "
            f"hive_partitioning = false, union_by_name = true) {finished}"
        )
    return connection


def _groups_sql() -> str:
    means = ", ".join(
        f"avg({name} ORDER BY alternative) AS {name}" for name in ("reward", *MEASURES)
    )
    opened = ", ".join(f"count(*) FILTER (opened = '{name}') AS {name}" for name in OPENED)
    return (
        f'SELECT step, curriculum, "group", {means}, {opened}, count(*) AS alternatives, '
        "count(*) FILTER (error <> '') AS failed, count(*) FILTER (learnt) AS learnt "
        "FROM training GROUP BY ALL ORDER BY ALL"
    )


def _point(groups: Sequence[dict[str, Any]], log: LogConfig) -> dict[str, Any]:
    """Return the figures of one step, or of one curriculum in it."""
    alternatives = sum(group["alternatives"] for group in groups)
    opened = {name: sum(group[name] for group in groups) for name in OPENED}
    rewards = {n: g["reward"] for n, g in enumerate(groups) if g["reward"] is not None}
    reward: dict[str, Any] = {"mean": None, "low": None, "high": None, "n": 0}
    if rewards:
        found = interval(rewards, log.confidence, FREE)
        reward = {name: getattr(found, name) for name in reward}
    return {
        "groups": len(groups),
        "alternatives": alternatives,
        "failed": _ratio(sum(group["failed"] for group in groups), alternatives),
        "learnt": _ratio(sum(group["learnt"] for group in groups), alternatives),
        "reward": reward,
        **{name: _mean([group[name] for group in groups]) for name in MEASURES},
        "opened": {
            **opened,
            "precision": _ratio(opened["needed"], opened["needed"] + opened["vain"]),
            "recall": _ratio(opened["needed"], opened["needed"] + opened["missed"]),
        },
    }


def _clock(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `curve`: its times in one dict, and its entropy under a name of its own."""
    seconds = row["seconds"] or 0.0
    time = {name: row[f"seconds_{name}"] or 0.0 for name in TIMES}
    # What overlaps can add up to more than the step took.
    time["other"] = max(0.0, seconds - sum(time.values()))
    left = {k: v for k, v in row.items() if not k.startswith("seconds") and k != "entropy"}
    return {**left, "policy_entropy": row["entropy"], "seconds": seconds, "time": time}


def _time(by_step: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the seconds of the whole training, and of each part with its share of them."""
    whole = sum(step["seconds"] for step in by_step)
    parts = {name: sum(step["time"][name] for step in by_step) for name in (*TIMES, "other")}
    shares = {name: {"seconds": s, "share": _ratio(s, whole)} for name, s in parts.items()}
    return {"seconds": whole, "parts": shares}


def _signs(by_curriculum: Sequence[dict[str, Any]]) -> list[str]:
    """Return, a line each, what may mean that the reward is had in another way than was meant."""
    found = []
    for name in dict.fromkeys(point["curriculum"] for point in by_curriculum):
        points = [p for p in by_curriculum if p["curriculum"] == name and p["reward"]["n"]]
        if not points or points[-1]["reward"]["mean"] <= points[0]["reward"]["mean"]:
            continue
        first, last = points[0], points[-1]
        rose = f"while reward rose {first['reward']['mean']:.2f} -> {last['reward']['mean']:.2f}"
        tests: list[tuple[dict[str, str], str, Callable[[float, float], bool]]] = [
            (FALLING, "fell", lambda old, new: new < FALL * old),
            (RISING, "rose", lambda old, new: new > old + RISE),
        ]
        for measures, verb, is_sign in tests:
            for key, words in measures.items():
                old, new = first[key], last[key]
                if old is not None and new is not None and is_sign(old, new):
                    found.append(f"{name}: {words} {verb} {old:.2f} -> {new:.2f} {rose}")
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
