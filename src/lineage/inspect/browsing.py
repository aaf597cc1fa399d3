"""Going into a run: its lineages, one generation of them, one episode step by step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import duckdb

from lineage.core.config import LogConfig
from lineage.core.errors import LineageError, nearest
from lineage.core.fields import checked
from lineage.inspect.snapshots import OFFERED
from lineage.inspect.snapshots import nearest as closest
from lineage.log.schema import PARTITION, STEP_SCHEMA
from lineage.log.sweep import is_sweep
from lineage.log.views.connect import read_record, rows
from lineage.log.views.settings import read_settings
from lineage.metrics.current import current_summary as current_summary
from lineage.metrics.training import summarise_training

COLUMNS = tuple(dict.fromkeys((*PARTITION, *STEP_SCHEMA.names)))
"""The columns of a step, as JSON has them."""
PARTS = ("reward", *(name for name in COLUMNS if name.startswith("reward_")))

PHASES = ("plant", "migrate", "work", "handoff", "probe", "reward")
"""In the order of a generation."""


@dataclass(frozen=True)
class Lineage:
    """One lineage of a run."""

    arm: str
    pair: int
    name: str


def open_record(run: Path) -> dict[str, Any]:
    """Return `run.json`; raises LineageError that names the nearest folder where there is none."""
    if not run.is_dir():
        beside = [path.name for path in run.parent.iterdir()] if run.parent.is_dir() else []
        raise LineageError(f"there is no run {run}{nearest(run.name, beside)}")
    if is_sweep(run):
        raise LineageError(f"{run} is a sweep: choose a point of it, see lineage ls {run}")
    if not (run / "run.json").exists() and any(run.glob("*/run.json")):
        raise LineageError(f"{run} holds several runs: choose one, see lineage ls {run}")
    return read_record(run)


def training_summary(run: Path) -> dict[str, Any]:
    """Return the figures of a training, with the intervals that its settings ask for.

    Raises LineageError where no step is finished, or where a file cannot be read (it is named).
    """
    settings = read_settings(run)
    named = (one.name for one in fields(LogConfig))
    values = {name: settings[f"log.{name}"] for name in named if f"log.{name}" in settings}
    return summarise_training(run, checked(LogConfig, values, "log"))


def lineages(connection: duckdb.DuckDBPyConnection) -> list[Lineage]:
    """Return the lineages of a run, those of `inherit` first."""
    found = connection.execute("SELECT DISTINCT arm, pair, lineage FROM steps").fetchall()
    return sorted(
        (Lineage(*row) for row in found), key=lambda one: (one.arm != "inherit", one.pair, one.arm)
    )


def matching(found: Sequence[Lineage], arm: str | None, pair: int | None) -> list[Lineage]:
    """Return those of `arm` and `pair` (None: any). Raises LineageError where there is none."""
    arms = list(dict.fromkeys(one.arm for one in found))
    if arm is not None and arm not in arms:
        raise LineageError(f"this run has no arm {arm!r}{nearest(arm, arms)}")
    among = [one for one in found if arm is None or one.arm == arm]
    pairs = sorted({one.pair for one in among})
    if pair is not None and pair not in pairs:
        of = f" of arm {arm}" if arm is not None else ""
        raise LineageError(f"this run has no pair {pair}{of}: choose from {spans(pairs)}")
    return [one for one in among if pair is None or one.pair == pair]


def check_generation(
    connection: duckdb.DuckDBPyConnection, of: Sequence[Lineage], generation: int
) -> None:
    """Raise LineageError where none of the lineages has finished `generation`."""
    found = connection.execute(
        "SELECT DISTINCT generation FROM steps WHERE list_contains(?, lineage) ORDER BY ALL",
        [[one.name for one in of]],
    ).fetchall()
    there = [int(row[0]) for row in found]
    if generation not in there:
        raise LineageError(f"generation {generation} is not there: choose from {spans(there)}")


def has(connection: duckdb.DuckDBPyConnection, lineage: Lineage, generation: int) -> bool:
    """Whether `lineage` has finished `generation`: in a run that goes on, others may have."""
    found = connection.execute(
        "SELECT 1 FROM steps WHERE lineage = ? AND generation = ? LIMIT 1",
        [lineage.name, generation],
    )
    return found.fetchone() is not None


def spans(numbers: Sequence[int]) -> str:
    """Return sorted numbers in short: "0 to 3, 5"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ", ".join(" to ".join(map(str, span)) for span in spans)


def generations(
    connection: duckdb.DuckDBPyConnection, of: Sequence[Lineage], generation: int | None = None
) -> list[dict[str, Any]]:
    """Return a row a generation of the lineages (None: every one), in the order of `of`.

    What it left (`knowledge` to `docs`) and `reward` are null where the arm hands nothing on.
    `scores` has the mean score of the probes of each family. An edit that changed nothing was
    refused.
    """
    names = [one.name for one in of]
    within = "list_contains($names, lineage)"
    given: dict[str, Any] = {"names": names}
    if generation is not None:
        within += " AND generation = $generation"
        given["generation"] = generation
    found = rows(
        connection,
        "SELECT arm, pair, lineage, generation, version, knowledge, memory_tokens, edits_made, "
        f"edits_refused, d.episodes, errors, {', '.join(PARTS)}, memories, docs "
        "FROM generations JOIN (SELECT lineage, generation, "
        "count(*) FILTER (kind = 'edit' AND knowledge_before <> knowledge_after) AS edits_made, "
        "count(*) FILTER (kind = 'edit' AND knowledge_before = knowledge_after "
        "AND NOT starts_with(detail, 'index: ')) AS edits_refused, "
        "count(*) FILTER (kind IN ('act', 'probe')) AS episodes FROM steps GROUP BY ALL) d "
        f"USING (lineage, generation) WHERE {within}",
        given,
    )
    scores = {
        (row["lineage"], row["generation"], row["family"]): row["score"]
        for row in rows(
            connection,
            "SELECT lineage, generation, family, avg(score ORDER BY step_id) AS score FROM steps "
            f"WHERE kind = 'probe' AND {within} GROUP BY ALL ORDER BY ALL",
            given,
        )
    }
    for row in found:
        row["reward"] = {part.removeprefix("reward_"): row.pop(part) for part in PARTS}
        row["scores"] = {
            family: score
            for (lineage, number, family), score in scores.items()
            if (lineage, number) == (row["lineage"], row["generation"])
        }
    place = {name: number for number, name in enumerate(names)}
    return sorted(found, key=lambda row: (place[row["lineage"]], row["generation"]))


def knowledge(connection: duckdb.DuckDBPyConnection, id: str | None) -> dict[str, Any]:
    """Return the `memories` and `docs` of a snapshot; both are empty where it is not there."""
    found = connection.execute("SELECT content FROM snapshots WHERE knowledge = ?", [id]).fetchone()
    content = json.loads(found[0]) if found else {}
    return {"memories": content.get("memories", []), "docs": content.get("docs", [])}


def edits(
    connection: duckdb.DuckDBPyConnection, lineage: Lineage, generation: int
) -> list[dict[str, Any]]:
    """Return the edits of a generation, in the order of their episodes."""
    return rows(
        connection,
        "SELECT phase, episode, entry, detail, completion AS text, "
        "knowledge_before <> knowledge_after AS made FROM steps "
        "WHERE kind = 'edit' AND lineage = ? AND generation = ? ORDER BY step_id",
        [lineage.name, generation],
    )


def episodes(
    connection: duckdb.DuckDBPyConnection, lineage: Lineage, generation: int
) -> list[dict[str, Any]]:
    """Return a row an episode of a generation: the step that ended its acting, or its first."""
    return rows(
        connection,
        "SELECT episode, phase, kind, family, task, world, met, score, answer, completion, detail, "
        "error, steps FROM (SELECT *, count(*) OVER (PARTITION BY episode) AS steps FROM steps "
        "WHERE lineage = $lineage AND generation = $generation) "
        "QUALIFY row_number() OVER (PARTITION BY episode "
        "ORDER BY kind NOT IN ('act', 'probe'), step_id) = 1 "
        "ORDER BY list_position($phases, phase), episode",
        {"lineage": lineage.name, "generation": generation, "phases": list(PHASES)},
    )


def find_episode(names: Sequence[str], name: str) -> str:
    """Return the one of `names` that is `name`, begins with it or holds it.

    Raises LineageError where there is none, or more than one.
    """
    tests = (
        [one for one in names if one == name],
        [one for one in names if one.startswith(name)],
        [one for one in names if name in one],
    )
    found = next((among for among in tests if among), [])
    if not found:
        raise LineageError(f"this generation has no episode {name!r}{closest(name, list(names))}")
    if len(found) > 1:
        raise LineageError(
            f"{name!r} fits {len(found)} episodes, {', '.join(found[:OFFERED])} among them: "
            "give more of the name"
        )
    return found[0]


def episode_steps(
    connection: duckdb.DuckDBPyConnection, lineage: Lineage, generation: int, episode: str
) -> list[dict[str, Any]]:
    """Return the steps of an episode, in order, with every column of `COLUMNS`."""
    found = rows(
        connection,
        "SELECT * FROM steps WHERE lineage = ? AND generation = ? AND episode = ? ORDER BY step",
        [lineage.name, generation, episode],
    )
    return [{name: row.get(name) for name in COLUMNS} for row in found]


def alternatives(
    connection: duckdb.DuckDBPyConnection, step: int, arm: str | None, pair: int | None
) -> list[dict[str, Any]]:
    """Return the alternatives of a training's step, of `arm` (a curriculum) and `pair` (a group).

    `connection` is that of `training.connect_training`. Raises LineageError where there are none.
    """
    found = rows(connection, "SELECT * FROM training")
    steps = sorted({row["step"] for row in found})
    if step not in steps:
        raise LineageError(f"step {step} is not there: choose from {spans(steps)}")
    found = [row | {"pair": _number(row["group"])} for row in found if row["step"] == step]
    groups = dict.fromkeys((row["curriculum"], row["pair"]) for row in found)
    of = {(one.arm, one.pair) for one in matching([Lineage(*g, "") for g in groups], arm, pair)}
    mine = [row for row in found if (row["curriculum"], row["pair"]) in of]
    return sorted(mine, key=lambda row: (row["curriculum"], row["pair"], row["alternative"]))


def _number(group: str) -> int:
    """Return the place of a group in its step, which is the `pair` of its steps in the log."""
    last = group.rpartition("/")[2]
    return int(last) if last.isdecimal() else 0
