"""What fails: an engine's failures are no data unless it was well, an agent's own score 0."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import vaults
from helpers import FULL, answering, engine_answering, run, steps, surrogate, timeless
from rich.console import Console
from test_training import toy

import lineage
from lineage.core.errors import OVERLONG, LineageError
from lineage.inspect.comparison import compare
from lineage.metrics import summarise, summarise_all
from lineage.models.meter import Meter
from lineage.models.protocol import Completion, Request, Turn
from lineage.models.surrogate import Surrogate
from lineage.report.lookup import cells
from lineage.runs.plan import prepare
from lineage.training import run as training_run
from lineage.training.run import execute as train

DOWN = Completion(error="engine down, planted")
TOO_LONG = Completion(prompt="p", finish_reason=OVERLONG, error="over-long prompt, planted")
TINY = (
    *("experiment=tiny", "experiment.lineages=1"),
    *("arms.names=[inherit,cold]", "arms.ceiling=inherit"),
)
TWO = (*TINY, "experiment.lineages=2")

pytestmark = pytest.mark.usefixtures("undrawn")


# The meter alone.


class Told(Surrogate):
    """An engine that answers as `plan` says of each request and of how many came before it."""

    def __init__(self, plan: Callable[[str, int], Completion], waits: int = 1) -> None:
        self.plan, self.waits, self.asked = plan, waits, list[Request]()

    async def generate(self, request: Request) -> Completion:
        place = len(self.asked)
        self.asked.append(request)
        for _ in range(self.waits):
            await asyncio.sleep(0)
        return self.plan(request.id, place)


def ask(id: str) -> Request:
    return Request(id, "v", (Turn("user", id),), 8, 0.0, seed=7)


def metered(engine: Told, ids: str, most: int) -> list[Completion | BaseException]:
    """Return what comes of requests that are asked together."""

    async def together() -> list[Completion | BaseException]:
        meter = Meter(engine, lambda tokens: None, most)
        every = asyncio.gather(*(meter.generate(ask(id)) for id in ids), return_exceptions=True)
        return await asyncio.wait_for(every, 10)

    return asyncio.run(together())


@pytest.mark.parametrize("ids", ["a", "abcdefghi"])
@pytest.mark.parametrize("most", [1, 2, 3, 8])
def test_an_engine_that_is_gone_gives_no_completion(ids: str, most: int) -> None:
    engine = Told(lambda id, place: DOWN)
    found = metered(engine, ids, most)
    assert all(isinstance(one, LineageError) for one in found)
    assert f"{most} requests in a row failed" in str(found[0])
    assert most <= len(engine.asked) <= most + len(ids)


@pytest.mark.parametrize("ids", ["x", "xa", "axbcx", "xxxx"])
@pytest.mark.parametrize("most", [2, 3, 32])
def test_a_request_that_no_engine_can_answer_is_data(ids: str, most: int) -> None:
    if ids.count("x") >= most:
        return
    engine = Told(lambda id, place: DOWN if id == "x" else Completion("yes"))
    found = metered(engine, ids, most)
    assert [one.error if isinstance(one, Completion) else one for one in found] == [
        DOWN.error if id == "x" else "" for id in ids
    ]


def test_a_failure_alone_is_tried_again_as_it_was() -> None:
    engine = Told(lambda id, place: DOWN if place < 5 else Completion("yes"))
    assert metered(engine, "a", 32) == [Completion("yes")]
    assert [one for one in engine.asked if one.id == "a"] == [ask("a")] * 4
    # By turns with a check, which any engine that is well can answer.
    engine = Told(lambda id, place: DOWN if place < 4 else Completion("yes"))
    assert metered(engine, "a", 32) == [DOWN]


def test_a_failure_waits_for_what_is_under_way() -> None:
    engine = Told(lambda id, place: DOWN if id == "x" else Completion("yes"))
    assert metered(engine, "xabc", 32) == [DOWN, *[Completion("yes")] * 3]
    assert len(engine.asked) == 4


def test_an_over_long_prompt_says_nothing_about_the_engine() -> None:
    engine = Told(lambda id, place: TOO_LONG if id == "l" else DOWN)
    found = metered(engine, "lllldldldd", 4)
    assert [one for one in found if not isinstance(one, LineageError)] == [TOO_LONG] * 6
    assert len([one for one in engine.asked if one.id != "l"]) <= 4


def test_a_failure_that_waits_can_be_cancelled_and_others_go_on() -> None:
    async def cancelled() -> Completion:
        meter = Meter(Told(lambda id, place: DOWN, waits=3), lambda tokens: None, 1000)
        first, second = (asyncio.create_task(meter.generate(ask(id))) for id in "ab")
        for _ in range(20):
            await asyncio.sleep(0)
        first.cancel()
        meter.engine.plan = lambda id, place: Completion("yes")  # type: ignore[attr-defined]
        found = await asyncio.wait_for(second, 10)
        assert first.cancelled()
        return found

    assert asyncio.run(cancelled()).error in ("", DOWN.error)


# Runs and trainings.


def dies(after: int) -> Callable[[Request, Completion], Completion]:
    """Return an engine's change that fails every request but the first `after`."""
    asked: list[str] = []

    def change(request: Request, answer: Completion) -> Completion:
        asked.append(request.id)
        return DOWN if len(asked) > after else answer

    return change


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What a run logs whose engine is well."""
    tmp = tmp_path_factory.mktemp("whole")
    run(surrogate(tmp, *TINY), tmp / "runs" / "whole")
    return timeless(tmp / "runs" / "whole")


@pytest.mark.parametrize("after", [0, *[9] * FULL, 20])
def test_a_run_that_ends_for_want_of_an_engine_leaves_no_failure(
    after: int, whole: list[dict[str, Any]], tmp_path: Path
) -> None:
    config, cut = surrogate(tmp_path, *TINY, "engine.max_failures=7"), tmp_path / "runs" / "cut"
    with engine_answering(dies(after)), pytest.raises(LineageError, match="in a row failed"):
        run(config, cut)
    run(config, cut)
    assert timeless(cut) == whole


def test_a_training_that_ends_for_want_of_an_engine_leaves_no_failure(tmp_path: Path) -> None:
    small = ("train.curricula=[open]", "train.held_out=0", "method.steps=2", "log.journal_steps=1")
    few = ("method.groups=2", "method.group=2", "method.warm_steps=0", "train.worlds=1")
    config = toy(tmp_path, *small, *few, "engine.max_failures=7")
    cut = tmp_path / "runs" / "toy"
    quiet = Console(quiet=True)
    with (
        engine_answering(dies(9), training_run),
        pytest.raises(LineageError, match="in a row failed"),
    ):
        train(config, cut, quiet)
    assert list((cut / "journal").glob("*.jsonl"))
    train(config, cut, quiet)
    assert not [s for s in steps(cut) if s["error"]]


def test_a_single_failure_is_data(tmp_path: Path) -> None:
    def poison(request: Request, answer: Completion) -> Completion:
        return DOWN if "000-inherit/g01/w001/s" in request.id else answer

    folder = tmp_path / "runs" / "one"
    with engine_answering(poison):
        run(surrogate(tmp_path, *TINY, "engine.max_failures=4"), folder)
    failed = [s for s in steps(folder) if s["error"]]
    assert {s["episode"] for s in failed} == {"w001"} and len(failed) == 1


# Probes.


def last_probes(arm: str, failed: Completion) -> Callable[[Request, Completion], Completion]:
    """Return a change that fails the probes p000 of the last generation of `arm`."""

    def change(request: Request, answer: Completion) -> Completion:
        return failed if f"-{arm}/g01/p000/" in request.id else answer

    return change


def probed(folder: Path, arm: str) -> list[dict[str, Any]]:
    return [s for s in steps(folder) if s["kind"] == "probe" and s["arm"] == arm]


def counted(summary: dict[str, Any], arm: str, family: str = "same") -> tuple[int, int]:
    (row,) = [r for r in summary["metrics"]["unscored"] if (r["arm"], r["family"]) == (arm, family)]
    return row["overlong"], row["missing"]


def test_what_an_agent_could_not_do_scores_0_and_is_counted(tmp_path: Path) -> None:
    folder, config = tmp_path / "runs" / "one", surrogate(tmp_path, *TINY)
    with answering(last_probes("inherit", TOO_LONG)):
        run(config, folder)
    summary = summarise(folder, ("scores", "unscored"))
    found = probed(folder, "inherit")
    lost = [s for s in found if s["error"]]
    assert [(s["score"], s["finish_reason"]) for s in lost] == [(0.0, OVERLONG)]
    assert counted(summary, "inherit") == (1, 0) and counted(summary, "cold") == (0, 0)
    same = [s["score"] for s in found if s["family"] == "same"]
    assert len(same) == 4
    score = cells(summary, "scores", "arm", "family")["inherit", "same"]
    assert score["mean"] == pytest.approx(sum(same) / 4)
    # The reward of the handoff knows it too.
    last = [s for s in steps(folder) if s["pair"] == s["generation"] - 1 == 0]
    (reward,) = [s["reward_same"] for s in last if s["phase"] == "reward"]
    mine = [s["score"] for s in last if s in found and s["family"] == "same"]
    assert reward == pytest.approx(config.reward.same * sum(mine) / 2) and 0.0 in mine


def test_over_long_work_leaves_no_experience_and_is_replayed(tmp_path: Path) -> None:
    def change(request: Request, answer: Completion) -> Completion:
        return TOO_LONG if "-inherit/g00/w001/" in request.id else answer

    config = surrogate(tmp_path, *TINY)
    whole, cut = tmp_path / "runs" / "whole", tmp_path / "runs" / "cut"
    with answering(change):
        run(config, whole)
    (lost,) = [s for s in steps(whole) if s["error"]]
    assert (lost["kind"], lost["score"], lost["finish_reason"]) == ("act", 0.0, OVERLONG)
    assert not [s for s in steps(whole) if s["phase"] == "feedback" and s["episode"] == "w001"]
    asked: list[str] = []

    def stop(request: Request, answer: Completion) -> Completion:
        asked.append(request.id)
        if len(asked) == 20:
            raise LineageError("planted")
        return change(request, answer)

    with answering(stop), pytest.raises(LineageError, match="planted"):
        run(config, cut)
    with answering(change):
        run(config, cut)
    assert timeless(cut) == timeless(whole)


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By arm a run in which an engine failed probes of that arm."""
    tmp = tmp_path_factory.mktemp("lost")
    folders = {arm: tmp / "runs" / arm for arm in ("inherit", "cold")}
    for arm, folder in folders.items():
        with answering(last_probes(arm, DOWN)):
            run(surrogate(tmp, *TWO), folder)
    return folders


def test_what_an_engine_failed_is_missing_on_both_sides(lost: dict[str, Path]) -> None:
    gains, names = [], ("scores", "unscored", "inheritance_gain")
    summaries = summarise_all(lineage.open(*lost.values()), names)
    for arm, folder in lost.items():
        summary = summaries[str(folder)]
        assert counted(summary, arm) == (0, 2)
        key = ("pair", "generation", "episode", "task")
        inherit, cold = (
            {tuple(s[k] for k in key): s["score"] for s in probed(folder, one)}
            for one in ("inherit", "cold")
        )
        both = [
            (place[0], inherit[place] - cold[place])
            for place in inherit
            if place[2] in ("p000", "p001") and None not in (inherit[place], cold[place])
        ]
        assert len(both) == 6
        by_pair = [[change for pair, change in both if pair == one] for one in (0, 1)]
        mean = sum(sum(changes) / 3 for changes in by_pair) / 2
        gain = cells(summary, "inheritance_gain", "arm", "family")["inherit", "same"]["mean"]
        assert gain == pytest.approx(mean)
        gains.append(gain)
    # Whichever arm lost them: the same probes are compared.
    assert gains[0] == gains[1]


def test_a_doc_that_an_engine_failed_to_open_costs_the_score(tmp_path: Path) -> None:
    def change(request: Request, answer: Completion) -> Completion:
        return DOWN if "-docs/g01/p000/s01" in request.id else answer

    more = ("agent.opening=choice", "arms.names=[docs,cold]", "arms.ceiling=docs")
    folder = tmp_path / "runs" / "one"
    with answering(change):
        run(surrogate(tmp_path, *TINY, *more), folder)
    probe = [s for s in steps(folder) if "-docs/g01/p000/" in s["step_id"]]
    assert [(s["kind"], s["error"]) for s in probe] == [
        *(("search", ""), ("open", DOWN.error), ("probe", DOWN.error)),
    ]
    assert probe[-1]["score"] is None


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What chooses a suite of turns, from one folder: Hydra composes what is new to it."""
    return vaults.entry(tmp_path_factory.mktemp("turns"), "turns", noise=4)


def test_a_history_that_cannot_be_summed_up(turns: list[str], tmp_path: Path) -> None:
    """A text that is too long to learn from is the agent's own failure, a dead engine is not."""
    more = ("agent.history_tokens=60", "agent.summary_tokens=30", "agent.docs=false")
    failed = {"p000": TOO_LONG, "p001": DOWN}

    def change(request: Request, answer: Completion) -> Completion:
        probe = request.id.split("/")[-2]
        return failed.get(probe, answer) if request.max_tokens == 30 else answer

    folder = tmp_path / "runs" / "one"
    with answering(change):
        run(surrogate(tmp_path, *turns, *TINY, *more), folder)
    cut = {s["step_id"][:-4] for s in steps(folder) if s["kind"] == "summary" and s["error"]}
    ends = [s for s in steps(folder) if s["kind"] == "probe" and s["step_id"][:-4] in cut]
    assert {s["episode"] for s in ends} == failed.keys()
    for end in ends:
        if end["episode"] == "p001":
            assert end["score"] is None and end["error"] == DOWN.error
        else:
            assert end["score"] is not None and not end["error"]


def test_retrieval_is_checked_against_the_window_before_the_start(
    turns: list[str], tmp_path: Path
) -> None:
    arms = ("arms.names=[inherit,retrieval,cold,oracle]",)
    prepare(surrogate(tmp_path, *arms))
    with pytest.raises(LineageError, match=r"lower agent\.retrieved_episodes") as raised:
        prepare(surrogate(tmp_path, *arms, "agent.retrieved_episodes=60"))
    assert "\n" not in str(raised.value)
    # How long turns become is not known before.
    unknown = (*turns, *TINY, *arms, "arms.ceiling=oracle", "agent.retrieved_episodes=5")
    prepare(surrogate(tmp_path, *unknown, "agent.docs=false"))


def test_two_runs_are_compared_over_probes_that_both_answered(lost: dict[str, Path]) -> None:
    rows = compare(lost["cold"], lost["inherit"])["scores"]
    assert {"inherit", "cold"} <= {row["arm"] for row in rows}
    assert all(row["a"] == row["b"] and row["difference"]["mean"] == 0.0 for row in rows)


# Trainings.

OPEN = (
    *("train.curricula=[open]", "train.held_out=0", "method.steps=1", "method.warm_steps=0"),
    *("method.groups=2", "method.group=4"),
)


def alternatives(config: Any, folder: Path) -> list[dict[str, Any]]:
    train(config, folder, Console(quiet=True))
    return pq.read_table(folder / "training" / "step=000.parquet").to_pylist()


@pytest.mark.parametrize("way", ["choice", "native"])
def test_what_was_opened_is_known_however_it_was_opened(way: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "toy"
    rows = alternatives(toy(tmp_path, *OPEN, f"curricula.open.opening={way}"), folder)
    opened = {
        (s["pair"], s["episode"][:3]) for s in steps(folder) if s["kind"] == "open" and s["entry"]
    }
    assert opened and len(opened) < len(rows)
    for row in rows:
        place = (int(row["group"].rpartition("/")[2]), row["episode"])
        assert (row["opened"] in ("needed", "vain")) <= (place in opened)
        assert (row["opened"] == "spared") <= (place not in opened)
    assert "needed" in {row["opened"] for row in rows}


def test_an_over_long_attempt_is_worth_0_and_a_failed_one_is_missing(tmp_path: Path) -> None:
    def change(request: Request, answer: Completion) -> Completion:
        if request.choices:
            return answer
        return TOO_LONG if "/a00p" in request.id else DOWN if "/a01p" in request.id else answer

    config, folder = toy(tmp_path, *OPEN, "method.kind=rft"), tmp_path / "runs" / "toy"
    with answering(change, training_run):
        rows = alternatives(config, folder)
    for row in rows:
        parts = (row["reward_same"], row["reward_similar"], row["reward_dissimilar"])
        if row["alternative"] == 0:
            assert sum(part or 0.0 for part in parts) == 0.0 and row["reward"] is not None
            assert not row["error"]
        if row["alternative"] == 1:
            assert row["reward"] is None and DOWN.error in row["error"]
