"""Whole runs on the surrogate: what is logged is a function of the configuration alone."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from helpers import FULL, answering, flattened, measured, run, steps, surrogate, timeless, torn
from killed import begin, kill

from lineage import compose
from lineage.cli import main
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, knowledge_from_json
from lineage.log.views.connect import SCORE_SQL
from lineage.log.writer import GenerationLog
from lineage.models.protocol import Completion, Request
from lineage.models.surrogate import count_tokens
from lineage.report.lookup import cells, totals

THREE = "schedule.versions=[smollm2-135m@r0,smollm2-135m@r1,smollm2-135m@r1]"
TWO = "schedule.versions=[smollm2-135m@r0,smollm2-135m@r1]"
PAIRS = ("experiment=tiny", "experiment.lineages=2", TWO)
ONE = ("experiment=tiny", "experiment.lineages=1")
ALONE = ("arms.names=[inherit]", "arms.ceiling=inherit", "arms.baseline=inherit")
SECOND = ("arms.names=[inherit,cold]", "arms.ceiling=inherit")

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished run that several tests read and none writes."""
    tmp = tmp_path_factory.mktemp("finished")
    folder = tmp / "runs" / "one"
    measured(surrogate(tmp, *PAIRS), folder, ["scores"])
    return folder


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """What runs as `ONE` does, from one file."""
    return flattened(tmp_path_factory.mktemp("flat"), "engine=surrogate", *ONE)


def snapshots(folder: Path) -> dict[str, Any]:
    place = str(folder / "knowledge" / "**" / "*.parquet")
    found = duckdb.sql(f"SELECT knowledge, parent, content FROM read_parquet('{place}')")
    return {id: knowledge_from_json(content, parent) for id, parent, content in found.fetchall()}


def begun(folder: Path) -> list[dict[str, Any]]:
    """Return the steps of the first two generations of one lineage."""
    found = [r for r in steps(folder) if r["lineage"] == "000-inherit" and r["generation"] < 2]
    assert {r["generation"] for r in found} == {0, 1}
    return found


@pytest.mark.parametrize("in_flight", [1, 8] if FULL else [1])
def test_the_log_does_not_depend_on_when_or_how_parallel(
    finished: Path, tmp_path: Path, in_flight: int
) -> None:
    folder = tmp_path / "runs" / "other"
    run(surrogate(tmp_path, *PAIRS, f"run.lineages_in_flight={in_flight}"), folder)
    assert timeless(folder) == timeless(finished)


def test_another_seed_gives_another_log(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "other"
    run(surrogate(tmp_path, *ONE, *ALONE, TWO, "experiment.seed=1"), folder)
    met, others = ([r["task"] for r in begun(f)] for f in (folder, finished))
    assert met and met != others


def test_a_finished_run_leaves_no_journal(finished: Path) -> None:
    # Its own size of journal: the last steps of a generation still wait when it is finished.
    assert compose.load_file(finished / "config.yaml").log.journal_steps > 1
    assert not list((finished / "journal").glob("*"))


def test_arms_of_a_pair_meet_the_same_tasks_in_the_same_order(finished: Path) -> None:
    met: dict[str, dict[int, list[tuple[Any, ...]]]] = {}
    for row in steps(finished):
        if row["kind"] in ("act", "probe"):
            task = (row["generation"], row["episode"], row["task"], row["answer"], row["family"])
            met.setdefault(row["arm"], {}).setdefault(row["pair"], []).append(task)
    assert set(met) == {"inherit", "cold", "oracle"}
    for pair in range(2):
        orders = [sorted(tasks[pair]) for tasks in met.values()]
        assert orders[0] == orders[1] == orders[2]


def test_draws_of_one_arm_do_not_depend_on_which_others_run(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "fewer"
    run(surrogate(tmp_path, *ONE, *ALONE, TWO), folder)
    fewer, those = ([r["completion"] for r in begun(f)] for f in (folder, finished))
    assert fewer and fewer == those


def test_probes_leave_knowledge_byte_identical(finished: Path) -> None:
    log = steps(finished)
    probes = [r for r in log if r["phase"] == "probe"]
    assert probes
    assert all(r["knowledge_before"] == r["knowledge_after"] for r in probes)
    for lineage in {r["lineage"] for r in probes if r["arm"] == "inherit"}:
        for generation in range(2):
            here = [r for r in log if (r["lineage"], r["generation"]) == (lineage, generation)]
            probed = {r["knowledge_before"] for r in here if r["phase"] == "probe"}
            (reward,) = (r for r in here if r["phase"] == "reward")
            assert probed == {reward["knowledge_after"]}


def test_every_snapshot_is_kept_and_descends_from_the_empty_one(finished: Path) -> None:
    kept, log = snapshots(finished), steps(finished)
    mentioned = {r[c] for r in log for c in ("knowledge_before", "knowledge_after")}
    inherited = {r["knowledge_after"] for r in log if r["arm"] == "inherit"} - {""}
    assert inherited <= set(kept) | {EMPTY.id}
    assert mentioned
    for id, knowledge in kept.items():
        assert knowledge.id == id
        while id != EMPTY.id:
            id = kept[id].parent


def test_memories_in_prompts_stay_within_the_budget(tmp_path: Path) -> None:
    config = surrogate(tmp_path, "agent.memory_budget=60", *ONE, "experiment.episodes=4")
    folder = tmp_path / "runs" / "tight"
    run(config, folder)
    log = steps(folder)
    assert max(r["memory_tokens"] for r in log) <= 60
    for row in log:
        if row["kind"] in ("act", "probe") and "<notes" in row["prompt"]:
            start = row["prompt"].index("<notes")
            block = row["prompt"][start : row["prompt"].index("</notes>") + len("</notes>")]
            assert 0 < count_tokens(block) <= 60
    details = [r["detail"] for r in log if r["kind"] == "edit"]
    assert "drop: applied" in details
    assert "drop: overflow" in details
    assert any(r["episode"] == "handoff-fit" and r["kind"] == "handoff" for r in log)


def test_a_canary_in_a_transcript_never_reaches_a_successor(tmp_path: Path) -> None:
    canary = "CANARY7"

    def leak(request: Request, answer: Completion) -> Completion:
        working = "/w" in request.id and not request.choices
        return replace(answer, text=f"{answer.text}\n{canary}") if working else answer

    folder = tmp_path / "runs" / "canary"
    with answering(leak):
        run(surrogate(tmp_path, "experiment.lineages=1", TWO, *SECOND), folder)
    log = steps(folder)
    assert any(canary in r["completion"] for r in log if r["kind"] == "act")
    shown = [r for r in log if canary in r["prompt"]]
    assert shown, "the instance itself sees what it did when it hands over"
    assert {r["phase"] for r in shown} == {"handoff"}
    assert all(r["kind"] == "handoff" for r in shown)


def test_metrics_equal_sql_over_the_log(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    found = duckdb.sql(SCORE_SQL.format(run=finished)).fetchall()
    assert found
    for arm, family, score, _ in found:
        cell = cells(metrics, "scores", "arm", "family")[arm, family]
        assert cell["mean"] == pytest.approx(score, abs=1e-12)


def test_a_failed_episode_costs_only_itself(tmp_path: Path) -> None:
    def fail(request: Request, answer: Completion) -> Completion:
        bad = "001-inherit/g01/w001/s" in request.id
        return Completion(error="engine error, planted") if bad else answer

    folder = tmp_path / "runs" / "failing"
    with answering(fail):
        summary = measured(surrogate(tmp_path, *PAIRS, *SECOND), folder, ["scores", "totals"])
    failed = [r for r in steps(folder) if r["error"]]
    assert {r["error"] for r in failed} == {"engine error, planted"}
    assert totals(summary)["errors"] == len(failed)
    assert totals(summary)["pairs"] == 2


def progress(folder: Path) -> int:
    """Count lines of journals and 30 a record, while another process writes and removes them."""
    lines = 0
    for file in (folder / "journal").glob("*.jsonl"):
        with suppress(FileNotFoundError):
            lines += file.read_bytes().count(b"\n")
    return lines + 30 * len(list((folder / "done").glob("*.json")))


def test_a_run_killed_anywhere_resumes_to_the_same_log(
    finished: Path, flat: tuple[str, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "killed"
    words = [
        "run",
        *flat,
        *PAIRS[1:],
        "agent.docs=true",
        "log.journal_steps=1",
        f"run.root={tmp_path / 'runs'}",
        f"run.cache={tmp_path / 'cache'}",
        "run.name=killed",
    ]
    kills = 0
    # What is gone on with may be cut off too: that, below, takes no process.
    waits = (20, 120, 300) if FULL else (150,)
    for wait in waits:
        kills += kill(begin(*words), lambda most=wait: progress(folder) > most)
        words = ["resume", str(folder)]
    assert kills >= min(2, len(waits))
    assert main_code("resume", str(folder)) == 0
    assert timeless(folder) == timeless(finished)
    assert not list((folder / "journal").glob("*"))


def test_what_is_in_the_journal_is_not_generated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = surrogate(tmp_path, "log.journal_steps=1", *ONE)
    folder = tmp_path / "runs" / "broken"
    asked: list[str] = []

    def count(request: Request, answer: Completion) -> Completion:
        asked.append(request.id)
        return answer

    def broken(self: GenerationLog, *left: Any) -> None:
        raise LineageError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(GenerationLog, "finish", broken)
        with answering(count), pytest.raises(LineageError, match="planted"):
            run(config, folder)
    before = set(asked)
    assert before
    with answering(count):
        run(config, folder)
    assert len(asked) == len(set(asked))
    assert before <= {r["step_id"] for r in steps(folder)}


LEFT = {"choice": (5, 14), "native": (6, 20)}


@pytest.mark.parametrize("opening", LEFT)
def test_a_run_cut_off_after_any_answer_ends_in_the_same_log(tmp_path: Path, opening: str) -> None:
    config = surrogate(
        tmp_path,
        *("log.journal_steps=1", *ONE, THREE, "experiment.episodes=3"),
        *("agent.docs_opened=2", f"agent.opening={opening}", *SECOND),
        "experiment.probes={same: 1, similar: 1, dissimilar: 0}",
    )
    whole, cut = tmp_path / "runs" / "whole", tmp_path / "runs" / "cut"
    with answering(torn):
        run(config, whole)
    assert any(r["error"] for r in steps(whole))
    for left in sorted(itertools.chain(*LEFT.values())) if FULL else LEFT[opening]:
        asked = itertools.count()

        def stop(
            request: Request, answer: Completion, last: int = left, asked: Iterator[int] = asked
        ) -> Completion:
            if next(asked) == last:
                raise LineageError("planted")
            return torn(request, answer)

        with answering(stop), pytest.raises(LineageError, match="planted"):
            run(config, cut)
    with answering(torn):
        run(config, cut)
    assert timeless(cut) == timeless(whole)


def main_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    return int(stopped.value.code or 0)


def test_a_folder_with_another_configuration_is_refused(finished: Path) -> None:
    with pytest.raises(LineageError, match="another configuration") as told:
        run(surrogate(finished.parent.parent, *ONE), finished)
    assert "\n" not in str(told.value)


def test_an_interrupted_run_says_how_to_go_on(
    flat: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[GenerationLog] = []

    def interrupt(self: GenerationLog, *left: Any) -> None:
        # Once: several lineages finish at a time, and a second signal ends the process at once.
        if not told:
            told.append(self)
            os.kill(os.getpid(), signal.SIGINT)

    # A shell without job control lets its background processes ignore the signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(GenerationLog, "finish", interrupt)
    code = main_code("run", *flat, f"run.root={tmp_path}", "run.name=x")
    assert code == 130
    assert f"lineage resume {tmp_path / 'x'}" in capsys.readouterr().err
