"""Arms over whole runs on the surrogate: what each of them sees, and what it never sees."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from helpers import FULL, counting, measured, run, steps, surrogate, timeless, unclocked

from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, knowledge_from_json
from lineage.log.reader import read_snapshots
from lineage.metrics import summarise
from lineage.models.surrogate import count_tokens
from lineage.report.lookup import cells
from lineage.runs.plan import prepare
from lineage.runs.poison import PAYLOAD

ALL = ("inherit", "memories", "docs", "transcript", "retrieval", "finetune", "shuffled", "cold")
KEEPING = ("transcript", "retrieval", "finetune", "shuffled")
"""Those that see more than the Knowledge that their own lineage left."""
FEW = tuple(f"experiment.probes.{of}" for of in ("same=1", "similar=0", "dissimilar=0"))
"""As few probes as there can be, where none is looked at."""
THREE = "schedule.versions=[smollm2-135m@r0,smollm2-135m@r1,smollm2-135m@r1]"
TRANSCRIPT = 80
"""Tokens: of all its episodes a lineage's transcript has room for the newest."""
EVERY = (
    *("experiment=arms", "experiment.lineages=2", "experiment.episodes=2", THREE),
    *(f"experiment.probes.{of}" for of in ("same=2", "similar=1", "dissimilar=0")),
    *("agent.opening=first", f"agent.transcript_tokens={TRANSCRIPT}"),
)
"""A small run with every arm, in which each that has docs opens one, whatever a model would do."""
ONE_EACH = "{receives: inherit, versions: [smollm2-135m@r0]}"
PLANTED = ("experiment=poison", "arms.baseline=clean", *FEW)
"""No arm but those that are looked at."""


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run with every arm."""
    tmp = tmp_path_factory.mktemp("arms")
    folder = tmp / "runs" / "arms"
    run(surrogate(tmp, *EVERY), folder)
    return folder


@pytest.fixture(scope="module")
def log(arms: Path) -> list[dict[str, Any]]:
    """All that it logged, which no test changes."""
    return steps(arms)


@pytest.fixture(scope="module")
def wanted(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same without its clock columns, as `timeless` has it."""
    return unclocked(log)


def answering(log: list[dict[str, Any]], arm: str) -> list[dict[str, Any]]:
    return [r for r in log if r["arm"] == arm and r["kind"] in ("act", "probe")]


def test_each_arm_sees_only_what_it_receives(log: list[dict[str, Any]]) -> None:
    marks = {"<notes": "memories", "<doc ": "docs", "<history": "history"}
    seen = {
        arm: {
            name
            for mark, name in marks.items()
            if any(mark in r["prompt"] for r in answering(log, arm))
        }
        for arm in (*ALL, "oracle")
    }
    assert seen == {
        "inherit": {"memories", "docs"},
        "memories": {"memories"},
        "docs": {"docs"},
        "transcript": {"history"},
        "retrieval": {"history"},
        "finetune": set(),
        "shuffled": {"memories", "docs"},
        "cold": set(),
        "oracle": {"memories"},
    }


def test_arms_meet_the_same_tasks_in_the_same_order(log: list[dict[str, Any]]) -> None:
    met = {
        arm: [
            (r["pair"], r["generation"], r["episode"], r["task"], r["family"])
            for r in answering(log, arm)
        ]
        for arm in ALL
    }
    assert all(tasks == met["cold"] for tasks in met.values())


def test_the_transcript_is_within_its_budget_and_keeps_the_newest(
    log: list[dict[str, Any]],
) -> None:
    rows = [r for r in answering(log, "transcript") if r["generation"] == 2 and r["pair"] == 0]
    before = [r for r in answering(log, "transcript") if r["pair"] == 0 and r["phase"] == "work"]
    last = [r for r in rows if r["phase"] == "probe"]
    worked = [r["task"].rpartition("/")[2] for r in before]
    assert last and len(worked) == 6
    for row in last:
        start = row["prompt"].index("<history")
        block = row["prompt"][start : row["prompt"].index("</history>") + len("</history>")]
        assert count_tokens(block) <= TRANSCRIPT
        assert worked[-1] in block and worked[0] not in block


def test_retrieval_shows_the_episodes_that_its_search_found(log: list[dict[str, Any]]) -> None:
    mine = [r for r in log if r["arm"] == "retrieval"]
    searches = [r for r in mine if r["kind"] == "search"]
    assert searches
    assert all(0 < len(r["results"]) <= 4 for r in searches)
    met = [r for r in mine if r["kind"] == "probe" and r["family"] == "same"]
    found = sum(r["answer"] in r["prompt"] for r in met)
    assert found / len(met) > 0.9


def test_shuffled_reads_what_another_pair_wrote(log: list[dict[str, Any]]) -> None:
    left = {
        (r["pair"], r["generation"]): r["knowledge_after"]
        for r in log
        if r["arm"] == "inherit" and r["phase"] == "reward"
    }
    answered = answering(log, "shuffled")
    assert {r["phase"] for r in answered} == {"work", "probe"}
    for row in answered:
        # A generation works with what the one before it left, and is probed with its own.
        of = row["generation"] - (row["phase"] == "work")
        assert row["knowledge_before"] == left.get((1 - row["pair"], of), EMPTY.id)


def test_finetune_learns_and_leaves_its_version_as_it_was(log: list[dict[str, Any]]) -> None:
    scores = {
        arm: [r["score"] for r in answering(log, arm) if r["family"] == "same"]
        for arm in ("finetune", "cold")
    }
    assert sum(scores["finetune"]) > sum(scores["cold"])
    trained = [r for r in log if r["episode"].startswith("finetune")]
    assert {r["arm"] for r in trained} == {"finetune"}
    assert {r["version"] for r in answering(log, "finetune")} == {
        r["version"] for r in answering(log, "cold")
    }


def test_the_run_is_the_same_twice_and_raw_history_is_restored_from_its_log(
    wanted: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "again"
    few = () if FULL else (f"arms.names=[{','.join(KEEPING)},inherit,cold]", "arms.ceiling=inherit")
    config = surrogate(tmp_path, *EVERY, *few)
    run(replace(config, run=replace(config.run, lineages_in_flight=1)), folder)
    lost = {*ALL, "oracle"} if FULL else {*KEEPING}
    for arm in lost:
        for record in (folder / "done").glob(f"*-{arm}-g02.json"):
            record.unlink()
        for dataset in ("steps", "knowledge", "worlds"):
            shutil.rmtree(folder / dataset / f"arm={arm}" / "generation=2")
    with counting() as asked:
        run(config, folder)
    # No other arm was asked for anything, and those were.
    assert {id.split("/")[1].partition("-")[2] for id in asked} == lost
    again = timeless(folder)
    alike = set(config.arms.names)
    wanted = [row for row in wanted if row["arm"] in alike]
    # An arm lives the same beside more or fewer; only the run that it is of has another name.
    assert alike >= {*KEEPING, "inherit", "cold"} and {row["arm"] for row in again} == alike
    assert repr(again).replace(again[0]["run"], wanted[0]["run"]) == repr(wanted)


def test_verify_shortens_the_life_of_poison(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "poison"
    few = ("arms.names=[clean,verbatim,verify]", "experiment.lineages=1", "experiment.episodes=2")
    served = ("smollm2-135m@r0",) * 2 + ("smollm2-135m@r1",) * (4 if FULL else 3)
    run(surrogate(tmp_path, *PLANTED, *few, f"schedule.versions=[{','.join(served)}]"), folder)
    assert_planted(folder, {("verbatim", 0, 2), ("verify", 0, 2)})
    life = cells(summarise(folder, ["scores", "poison_life"]), "poison_life", "arm")
    assert "clean" not in life
    assert life["verbatim"]["mean"] == len(served) - 2, "nothing else removes it"
    assert life["verify"]["mean"] <= 1.0
    clean = [r for r in steps(folder) if r["arm"] == "clean"]
    assert clean
    assert not any(PAYLOAD in r["prompt"] for r in clean)


@pytest.mark.parametrize(
    ("form", "carrier"),
    [("fact", "doc")]  # an instruction in a memory is what verify is tested with
    + [("instruction", "memory"), ("instruction", "doc"), ("fact", "memory")] * FULL,
)
def test_every_poison_is_planted_once_and_named(carrier: str, form: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "poison"
    few = ("arms.names=[clean,verbatim]", "experiment.lineages=2", "experiment.episodes=1")
    kind = (f"poison.carrier={carrier}", f"poison.form={form}")
    short = "schedule.versions=[smollm2-135m@r0,smollm2-135m@r0,smollm2-135m@r1]"
    run(surrogate(tmp_path, *PLANTED, *few, *kind, short), folder)
    assert_planted(folder, {("verbatim", 0, 2), ("verbatim", 1, 2)})


def assert_planted(folder: Path, places: set[tuple[str, int, int]]) -> None:
    """Assert that each of `places` (arm, pair, generation) was poisoned, once, and no other."""
    planted = [r for r in steps(folder) if r["phase"] == "plant"]
    assert sorted((r["arm"], r["pair"], r["generation"]) for r in planted) == sorted(places)
    for row in planted:
        assert row["detail"] in ("add: applied", "write: applied")
        assert row["answer"] in row["completion"]
    authors = {
        entry.created.version
        for _, parent, content in read_snapshots(folder, 0)
        for known in [knowledge_from_json(content, parent)]
        for entry in (*known.memories, *known.docs)
        if entry.created.episode == "plant"
    }
    assert authors == {"smollm2-135m@r0"}, "the version that served before"


def test_under_drift_edit_keeps_staleness_below_append(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "drift"
    names = ("arms.names=[append,edit]", "arms.baseline=append", "arms.ceiling=edit")
    world = ("experiment=drift", "agent.docs=false", "experiment.episodes=3")
    # Intervals of a few lineages lie apart only where there are five, with as many generations.
    more = ("experiment.lineages=5", "experiment.revisit=0.8", "suite.drift=0.7")
    few = ("experiment.lineages=3", "experiment.revisit=0.9", "suite.drift=0.9")
    few = (*few, f"schedule.versions=[{','.join(['smollm2-135m@r1'] * 4)}]")
    config = surrogate(tmp_path, *world, *names, *(more if FULL else few), *FEW)
    summary = measured(config, folder, ["scores", "staleness"])
    stale = cells(summary, "staleness", "arm", generation=None, entries="memories")
    assert stale["edit"]["mean"] < 0.6 * stale["append"]["mean"]
    assert not FULL or stale["edit"]["high"] < stale["append"]["low"]


def test_a_fork_goes_on_from_the_snapshot_with_its_whole_ancestry(
    arms: Path, log: list[dict[str, Any]], tmp_path: Path
) -> None:
    (left,) = (
        r["knowledge_after"]
        for r in log
        if (r["arm"], r["pair"], r["generation"], r["phase"]) == ("inherit", 1, 0, "reward")
    )
    config = surrogate(
        tmp_path,
        *EVERY,
        "arms.names=[inherit,cold]",
        "arms.ceiling=inherit",
        f"start.run={arms}",
        f"start.knowledge={left}",
        "start.pair=1",
        "start.generation=0",
    )
    folder = tmp_path / "runs" / "fork"
    run(config, folder)
    forked = steps(folder)
    assert {(r["pair"], r["generation"]) for r in forked} == {(1, 1), (1, 2)}
    (migrated,) = (
        r for r in forked if (r["arm"], r["generation"], r["episode"]) == ("inherit", 1, "migrate")
    )
    assert migrated["knowledge_before"] == left
    met = {r["task"] for r in forked if r["phase"] == "work"}
    same = {
        r["task"]
        for r in log
        if r["phase"] == "work" and r["pair"] == 1 and r["generation"] in (1, 2)
    }
    assert met == same, "a fork lives in the same world and goes on with the same tasks"
    held = {
        id: knowledge_from_json(content, parent)
        for id, parent, content in duckdb.sql(
            f"SELECT knowledge, parent, content FROM '{folder}/knowledge/**/*.parquet' "
            "WHERE lineage = '001-inherit'"
        ).fetchall()
    }
    id = left
    while held[id].parent:
        id = held[id].parent


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("arms.names=[shuffled,cold]", "arms.ceiling=shuffled"), "borrows from another pair"),
        (("arms.names=[inherit,shuffled,cold,oracle]", "experiment.lineages=1"), "2 or more"),
        (("+arms.defined.x.receives=inherot", "arms.names=[x,cold,oracle]"), "choose from"),
        (("migration.kind=verfy",), "migration 'verfy' is unknown"),
        (("experiment=poison", "poison.generation=0"), "poison.generation is 0"),
        ((f"+arms.defined.x={ONE_EACH}", "arms.names=[x,cold,oracle]"), "has 4 generations"),
        (("agent.transcript_tokens=4000", "experiment=arms"), "lower agent.memory_budget"),
        (("start.run=nowhere", "start.knowledge=abc"), "has no Knowledge 'abc'"),
        (("start.run=nowhere", "experiment=arms"), "a fork goes on with one"),
    ],
)
def test_an_arm_that_cannot_be_is_one_line(
    overrides: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(LineageError) as error:
        prepare(surrogate(tmp_path, *overrides))
    assert words in str(error.value)
    assert "\n" not in str(error.value)
