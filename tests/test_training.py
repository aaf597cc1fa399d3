"""Training the memory writer: advantages by hand, whole trainings of the surrogate's toy policy."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from helpers import FULL, answering, counting, flattened, run, steps, timeless, torn
from hypothesis import given
from hypothesis import strategies as st
from killed import begin, kill
from rich.console import Console

from lineage import compose
from lineage.cli import main
from lineage.core.config import Config, StartConfig
from lineage.core.curriculum import Plan
from lineage.core.errors import LineageError
from lineage.core.files import mark
from lineage.core.knowledge import EMPTY, Doc, Memory, Origin
from lineage.core.reward import Reward, over_horizon
from lineage.core.seeds import derive
from lineage.core.tasks import World
from lineage.models import shelves
from lineage.models.protocol import Completion, Engine, EngineLayer, Request
from lineage.models.recorder import Recorder
from lineage.models.surrogate import Surrogate
from lineage.runs.run import execute as execute_run
from lineage.suites import make_suite
from lineage.training import run as training_run
from lineage.training.advantages import group_advantages
from lineage.training.diagnostics import Diagnostics, copied_share, diagnose, opening
from lineage.training.histories import History, read_source
from lineage.training.learners import grpo, rft
from lineage.training.learners.learner import ToyLearner, read_skills
from lineage.training.record import write_rollouts
from lineage.training.run import check, execute, release
from lineage.training.schooling import held_out, school
from lineage.training.syllabus import allotted, quotas
from lineage.training.values import Batch, Group, Learnt, Rollout, Sample, Samples

QUIET = Console(quiet=True)
PLAN = Plan(World("world", 0, (), ()), (), ())
SHARES = {"signal": 1.0, "open": 1.0}
CLOCK = ("seconds_generate", "seconds_probe", "seconds_learn", "seconds_sync", "seconds")
ORIGIN = Origin(0, "v", "w000")
CHOSEN = ("engine=surrogate", "agent=writer")
SUCCESSION = ("experiment=succession", "method=grpo")

SHORT = (
    *("train.worlds=1", "train.held_out=1", "method.steps=2"),
    *("method.warm_groups=3", "method.groups=3", "train.probes.same=1"),
)
"""One group of each curriculum, in a warm step and in one that is not."""

pytestmark = pytest.mark.usefixtures("undrawn")


def toy(tmp: Path, *overrides: str) -> Config:
    """Return a small training of the surrogate."""
    return compose.load(
        [
            *(*CHOSEN, "train.worlds=2", "train.held_out=2"),
            *("train.episodes=3", "train.probes.same=2", "train.probes.similar=1"),
            *("method.steps=3", "method.warm_steps=1", "method.warm_groups=4", "method.groups=4"),
            *("method.group=3", "log.journal_steps=8"),
            *(f"run.root={tmp / 'runs'}", f"run.cache={tmp / 'cache'}", "run.name=toy"),
            *overrides,
        ]
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished toy training."""
    tmp = tmp_path_factory.mktemp("trained")
    folder = tmp / "runs" / "toy"
    execute(toy(tmp, *SHORT), folder, QUIET)
    return folder


def curve(folder: Path, dataset: str = "curve") -> list[dict[str, Any]]:
    """Return the rows of a training's dataset without their clock columns."""
    files = sorted((folder / dataset).glob("*.parquet"))
    found = [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in found]


# Advantages, by hand.


def rollout(total: float | None, *completions: tuple[str, int]) -> Rollout:
    """Return one whose reward is `total` (None: failed), with completions (place, token)."""
    reward = None if total is None else Reward(total, None, None, 0.0, 0.0)
    made = {
        place: Completion(prompt=f"prompt {place}", tokens=(token,), logprobs=(-0.5,))
        for place, token in completions
    }
    return Rollout(made, EMPTY, Diagnostics(0), reward=reward)


def group(*rollouts: Rollout, id: str = "g", course: str = "signal") -> Group:
    return Group(course, 0, 0, History(id, (PLAN,)), rollouts)


def contest(course: str, spread: float, count: int) -> list[Group]:
    """Return groups of two rollouts of two completions, whose rewards are `spread` apart."""
    return [
        group(
            rollout(spread, (f"{course}{n}a", 1), (f"{course}{n}b", 2)),
            rollout(0.0, (f"{course}{n}a", 3), (f"{course}{n}b", 4)),
            id=str(n),
            course=course,
        )
        for n in range(count)
    ]


def taken(samples: Sequence[Sequence[Sample]]) -> Counter[str]:
    """Return how many samples are of each curriculum."""
    return Counter(one.rollout.partition("/")[0] for of in samples for one in of)


def test_advantages_are_those_of_the_group_that_did_not_fail() -> None:
    rewards = (0.0, None, 1.0, 1.0, 0.0)
    found = group_advantages(group(*(rollout(r) for r in rewards)))
    # Mean 1/2 and spread 1/2 of the four that count.
    assert found == [-1.0, None, 1.0, 1.0, -1.0]


def test_all_completions_of_a_rollout_share_its_advantage() -> None:
    better = rollout(0.75, ("open", 1), ("answer", 2))
    worse = rollout(0.25, ("open", 3), ("answer", 4))
    samples = grpo.advantages([group(better, worse)], most=8, shares=SHARES)
    found = [[(s.prompt, s.tokens, s.advantage) for s in one] for one in samples]
    assert found == [
        [("prompt answer", (2,), 1.0), ("prompt answer", (4,), -1.0)],
        [("prompt open", (1,), 1.0), ("prompt open", (3,), -1.0)],
    ]


def test_what_cannot_be_compared_teaches_nothing() -> None:
    equal = group(rollout(0.5, ("a", 1)), rollout(0.5, ("a", 2)))
    failed = group(rollout(0.5, ("a", 1)), rollout(None, ("a", 2)))
    lonely = group(rollout(1.0, ("a", 1)), rollout(0.0, ("b", 2)))
    assert grpo.advantages([equal, failed, lonely], most=8, shares=SHARES) == ()


def test_the_widest_spread_is_learnt_first_and_no_more_than_most() -> None:
    narrow = group(rollout(0.5, ("a", 1)), rollout(0.25, ("a", 2)), id="narrow")
    wide = group(rollout(1.0, ("a", 3)), rollout(0.0, ("a", 4)), id="wide")
    samples = grpo.advantages([narrow, wide], most=3, shares=SHARES)
    assert [[s.tokens for s in one] for one in samples] == [[(3,), (4,)]]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({"signal": 1.0, "open": 1.0}, {"signal": 12, "open": 12}),
        ({"signal": 2.0, "open": 1.0}, {"signal": 16, "open": 8}),
    ],
)
def test_a_wide_spread_crowds_no_curriculum_out(
    shares: dict[str, float], expected: dict[str, int]
) -> None:
    groups = contest("open", 1.0, 6) + contest("signal", 0.25, 6)
    samples = grpo.advantages(groups, most=24, shares=shares)
    assert taken(samples) == expected
    # Within a curriculum ids decide where spreads are equal, whatever the order of groups.
    assert grpo.advantages(groups[::-1], most=24, shares=shares) == samples
    learnt = rft.advantages(groups, most=12, shares=shares)
    assert taken(learnt) == {name: count // 2 for name, count in expected.items()}


def test_what_a_curriculum_leaves_of_its_share_is_the_others() -> None:
    groups = contest("open", 1.0, 6) + contest("signal", 0.25, 1)
    assert taken(grpo.advantages(groups, most=24, shares=SHARES)) == {"signal": 4, "open": 20}
    assert taken(rft.advantages(groups, most=8, shares=SHARES)) == {"signal": 2, "open": 6}
    # None is drawn in this step.
    assert taken(grpo.advantages(groups, most=8, shares=SHARES | {"edit": 9.0})) == {
        "signal": 4,
        "open": 4,
    }


@given(
    st.integers(0, 60),
    st.dictionaries(st.sampled_from("abcd"), st.integers(0, 30)),
    st.lists(st.floats(0.1, 9.0), min_size=4, max_size=4),
)
def test_quotas_leave_no_place_that_is_wanted(
    most: int, wanted: dict[str, int], shares: list[float]
) -> None:
    of = dict(zip("abcd", shares, strict=True))
    found = quotas(most, wanted, of)
    assert found.keys() == wanted.keys()
    assert sum(found.values()) == min(most, sum(wanted.values()))
    assert all(0 <= found[name] <= wanted[name] for name in wanted)
    if wanted and all(count >= most for count in wanted.values()):
        assert found == allotted(most, {name: of[name] for name in of if name in wanted})


def test_only_the_rollouts_that_were_learnt_from_are_said_to_be(tmp_path: Path) -> None:
    # All three say the same: it is imitated once, and is one curriculum's alone.
    groups = [
        group(rollout(1.0, ("a", 1)), rollout(0.5, ("a", 1)), id="0", course="open"),
        group(rollout(1.0, ("a", 1)), rollout(0.0, ("a", 2)), id="0"),
    ]
    samples = rft.advantages(groups, most=8, shares=SHARES)
    write_rollouts(tmp_path, groups, samples, {"step": 0, "kind": "rft", "version": "v"})
    rows = [(row["group"], row["learnt"]) for row in curve(tmp_path, "training")]
    assert rows == [
        *(("open/0/000", True), ("open/0/000", False)),
        *(("signal/0/000", False), ("signal/0/000", False)),
    ]


def test_rewards_that_only_rounding_tells_apart_are_equal() -> None:
    # Three of four same and both similar ones, or one similar one and the dissimilar one.
    summed = [0.4 * 3 / 4 + 0.4, 0.4 * 3 / 4 + 0.4 / 2 + 0.2]
    assert summed[0] != summed[1]
    assert group_advantages(group(*map(rollout, summed))) == [0.0, 0.0]
    same = group(*(rollout(total, ("a", i)) for i, total in enumerate(summed)))
    assert grpo.advantages([same], most=8, shares=SHARES) == ()


@pytest.mark.parametrize("judge", ["judge", "me"])
def test_what_a_judge_says_is_not_learnt_from(judge: str) -> None:
    asked = [("me", "answer", True), (judge, "yes", judge != "me")]
    taken = [
        (
            Request(f"run/a00p000/{n}", who, (), 1, 0.0, 0, logprobs=sampled),
            Completion(text=text, tokens=(1,)),
        )
        for n, (who, text, sampled) in enumerate(asked)
    ]
    engine = compose.load(["engine=surrogate", "agent=writer"]).engine  # as of all trainings here
    recorder = Recorder(Surrogate(engine.surrogate), taken)
    assert [one.text for one in recorder.completions("a00", "me").values()] == ["answer"]


def test_rejection_sampling_imitates_the_best_and_nothing_that_failed() -> None:
    one = group(rollout(0.25, ("a", 1)), rollout(1.0, ("a", 2), ("b", 3)), id="one")
    wrong = group(rollout(0.0, ("a", 4)), rollout(None, ("a", 5)), id="wrong")
    again = group(rollout(0.5, ("a", 2)), rollout(0.5, ("a", 6)), id="again")
    samples = rft.advantages([one, wrong, again], most=8, shares=SHARES)
    assert [[s.tokens for s in g] for g in samples] == [[(2,)], [(3,)]]
    assert len(rft.advantages([one, wrong, again], most=1, shares=SHARES)) == 1


def test_the_reward_over_a_horizon_by_hand() -> None:
    near = Reward(1.0, None, 0.5, -0.25, 0.0, -0.5)
    far = Reward(0.0, 0.75, 0.5, -0.5, -0.25, 0.0)
    found = over_horizon([near, far], 0.5)
    # Weights 1 and 1/2; a part that only one generation has is that one's.
    assert found.same == pytest.approx(2 / 3)
    assert (found.similar, found.dissimilar) == (0.75, 0.5)
    assert found.memory == pytest.approx(-(0.25 + 0.25) / 1.5)
    assert found.docs == pytest.approx(-0.125 / 1.5)
    assert found.stale == pytest.approx(-0.5 / 1.5)
    assert over_horizon([near], 0.5) == near


def test_groups_are_allotted_by_share() -> None:
    assert allotted(8, {"a": 2.0, "b": 1.0, "c": 1.0}) == {"a": 4, "b": 2, "c": 2}
    # 3.2, 1.6 and 3.2: the largest remainder is b's.
    assert allotted(8, {"a": 2.0, "b": 1.0, "c": 2.0}) == {"a": 3, "b": 2, "c": 3}


# What betrays a hacked reward.


def test_the_copied_share_by_hand() -> None:
    shown = "Right. The code of pump Birch is 4821."
    assert copied_share(["The code of pump Birch is 4821."], shown) == 1.0
    # "pump birch has", "birch has 4821" are its own, "code of pump" and "of pump birch" copied.
    assert copied_share(["code of pump Birch has 4821"], shown) == 0.5
    assert copied_share(["Birch 4821"], shown) is None


def test_density_and_staleness_by_hand() -> None:
    world = compose.load_suite("codebook").world(1, 0)
    right, other = world.facts[0], world.facts[1]
    false = other.text.replace(other.value, "9" * 5)
    notes = tuple(
        Memory(f"m{i}", text, ORIGIN, ORIGIN) for i, text in enumerate((right.text, false))
    )
    found = diagnose(EMPTY.evolve(memories=notes), 50, "", world)
    assert (found.density, found.staleness) == (2.0, 0.5)
    assert diagnose(EMPTY, 0, "", world) == Diagnostics(1, None, None, None)


def test_opening_is_right_where_a_doc_alone_holds_the_answer() -> None:
    world = compose.load_suite("codebook").world(1, 0)
    task = next(task for task in world.tasks if len(task.facts) == 1)
    (text,) = world.fact_texts(task.facts)
    note = Memory("m1", text, ORIGIN, ORIGIN)
    doc = Doc("d2", "A doc", text, ORIGIN, ORIGIN)
    only_doc = EMPTY.evolve(docs=(doc,))
    both = only_doc.evolve(memories=(note,))
    assert opening(only_doc, ["d2"], task, world) == "needed"
    assert opening(only_doc, [], task, world) == "missed"
    assert opening(both, ["d2"], task, world) == "vain"
    assert opening(both, [], task, world) == "spared"
    assert opening(EMPTY, [], task, world) == ""
    # Another doc than the one that holds it.
    other = Doc("d3", "Another doc", "It says nothing.", ORIGIN, ORIGIN)
    assert opening(only_doc.evolve(docs=(doc, other)), ["d3"], task, world) == "missed"
    assert opening(EMPTY.evolve(docs=(other,)), ["d3"], task, world) == "vain"


# Whole trainings of the toy policy.


def test_a_training_logs_every_rollout_with_its_reward(trained: Path) -> None:
    rows = curve(trained, "training")
    assert {(row["step"], row["kind"]) for row in rows} == {(0, "rft"), (1, "grpo")}
    assert {row["curriculum"] for row in rows} == {"signal", "edit", "open"}
    assert len(rows) == 2 * 3 * 3
    parts = ("same", "similar", "dissimilar", "memory", "docs", "stale")
    for row in rows:
        assert row["reward"] == pytest.approx(sum(row[f"reward_{part}"] or 0.0 for part in parts))
    assert any(row["learnt"] for row in rows) and not all(row["learnt"] for row in rows)
    assert any(row["reward_stale"] for row in rows if row["curriculum"] == "edit")
    assert not any(row["reward_stale"] for row in rows if row["curriculum"] == "signal")
    opened = [s for s in steps(trained) if s["arm"] == "open" and s["kind"] == "probe"]
    assert {s["family"] for s in opened} >= {"same", "similar"}
    logged = {s["reward"] for s in steps(trained) if s["phase"] == "reward"}
    assert {row["reward"] for row in rows} <= logged


def test_an_episode_is_paid_its_family_s_part(trained: Path) -> None:
    weights = asdict(compose.load_file(trained / "config.yaml").reward)
    rows = [row for row in curve(trained, "training") if row["curriculum"] == "open"]
    paid = {
        (family, row[f"reward_{family}"])
        for row in rows
        for family in ("same", "similar", "dissimilar")
        if row[f"reward_{family}"]
    }
    # Any answer is right or wrong.
    assert paid and all(part == pytest.approx(weights[family]) for family, part in paid)


def test_rollouts_branch_from_one_snapshot_and_meet_the_same_probes(trained: Path) -> None:
    met: dict[tuple[Any, ...], dict[str, list[Any]]] = {}
    for step in steps(trained):
        if step["kind"] == "probe" and step["arm"] != "open":
            room = met.setdefault((step["arm"], step["lineage"], step["generation"]), {})
            rollout, probe = step["episode"].split("k0")
            room.setdefault(rollout, []).append((probe, step["task"]))
    assert met
    for rollouts in met.values():
        assert len(rollouts) == 3
        assert len({tuple(tasks) for tasks in rollouts.values()}) == 1
    # Another step probes the same history with other tasks: nothing can be written for a probe.
    drawn = {
        (key[2], tuple(sorted(tasks)))
        for key, rollouts in met.items()
        for tasks in rollouts.values()
    }
    assert len({tasks for _, tasks in drawn}) > len({step for step, _ in drawn})


def test_held_out_worlds_are_no_training_worlds(tmp_path: Path) -> None:
    config = toy(tmp_path)
    for course in config.train.curricula:
        runs = school(config, course), held_out(config, course)
        seeds = [
            {derive("home", r.experiment.name, r.experiment.seed, p) for p in range(50)}
            for r in runs
        ]
        assert not seeds[0] & seeds[1]


def stopping(folder: Path, wait: str) -> Callable[[Request, Completion], Completion]:
    """Return what ends a training at the first request once a file of this name is there."""

    def stop(request: Request, answer: Completion) -> Completion:
        if any(folder.glob(wait)):
            raise LineageError("planted")
        return answer

    return stop


def test_a_training_killed_anywhere_resumes_to_the_same_curve(
    trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "toy"
    config = toy(tmp_path, *SHORT, f"model.shelf={tmp_path / 'versions'}")
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(compose.to_yaml(config))
    record = json.loads((trained / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record))
    # Of one that is not marked each process would compose what stands for it.
    mark(shelves.of(config).folder)
    kills = 0
    waits = ("school/signal/done/*", "steps/**/*.parquet", "curve/step=000*", "held-out/**/*")
    for number, wait in enumerate(waits):
        if FULL or number == 1:
            kills += kill(begin("resume", str(folder)), lambda at=wait: any(folder.glob(at)))
            continue
        # It takes a process most of a second to come to where it is killed.
        stops = answering(stopping(folder, wait), training_run)
        with stops, pytest.raises(LineageError, match="planted"):
            execute(config, folder, QUIET)
    execute(config, folder, QUIET)
    assert kills >= (2 if FULL else 1)
    # The same seed gives the same curve, in one go or in several.
    for dataset in ("curve", "training"):
        assert curve(folder, dataset) == curve(trained, dataset)
    gains = ((at / "held-out.json").read_bytes() for at in (folder, trained))
    assert len(set(gains)) == 1
    ids = [step["step_id"] for step in steps(folder)]
    assert sorted(set(ids)) == sorted(ids) == sorted(s["step_id"] for s in steps(trained))


# What of a step goes on at the same time.

BRIEF = (
    *("train.curricula=[signal,open]", "train.worlds=1", "train.held_out=0", "method.steps=2"),
    *("method.warm_steps=0", "method.groups=3", "train.episodes=2"),
    *("train.probes.same=1", "train.probes.dissimilar=0"),
)


@dataclass(frozen=True)
class Brief:
    """A finished brief training, what it learnt from in each step and which requests it made."""

    folder: Path
    learnt: list[Samples]
    asked: list[str]


def logged(folder: Path) -> Any:
    """Return all that a training logged, but for its clocks."""
    return curve(folder), curve(folder, "training"), timeless(folder)


def briefly(tmp: Path, patch: pytest.MonkeyPatch) -> Brief:
    """Train below `tmp`."""
    made, learn = Brief(tmp / "runs" / "toy", [], []), ToyLearner.learn

    async def learns(self: ToyLearner, batch: Batch) -> Learnt:
        made.learnt.append(batch.groups)
        return await learn(self, batch)

    patch.setattr(ToyLearner, "learn", learns)
    with counting(training_run) as asked:
        execute(toy(tmp, *BRIEF), made.folder, QUIET)
    made.asked.extend(asked)
    return made


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Brief:
    """A brief training that nothing comes between."""
    with pytest.MonkeyPatch.context() as patch:
        return briefly(tmp_path_factory.mktemp("brief"), patch)


class Between(EngineLayer):
    """A layer between a training and its engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def generate(self, request: Request) -> Completion:
        """Return the answer of the engine behind."""
        return await self.engine.generate(request)


class InPhases(Between):
    """What is greedy waits until all that is sampled is written."""

    sampling = 0

    async def generate(self, request: Request) -> Completion:
        """Return the answer of the engine behind."""
        still = 0
        while request.temperature == 0 and still < 9:  # whoever has an answer may ask again at once
            await asyncio.sleep(0)
            still = 0 if self.sampling else still + 1
        sampled = request.temperature > 0
        self.sampling += sampled
        await asyncio.sleep(0)
        try:
            return await super().generate(request)
        finally:
            self.sampling -= sampled


class OutOfOrder(Between):
    """Each request takes its own time."""

    async def generate(self, request: Request) -> Completion:
        """Return the answer of the engine behind."""
        for _ in range(derive(request.id) % 7):
            await asyncio.sleep(0)
        return await super().generate(request)


class Stuck(OutOfOrder):
    """The last rollout of each group is not written before another one is probed; else any order is
    as good.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.probed = asyncio.Event()

    async def generate(self, request: Request) -> Completion:
        """Return the answer of the engine behind."""
        if re.search(r"-signal/g\d+/a\d+k", request.id):
            self.probed.set()
        elif re.search(r"-signal/g\d+/a02", request.id):
            await asyncio.wait_for(self.probed.wait(), 60)
        return await super().generate(request)


def behind(monkeypatch: pytest.MonkeyPatch, layer: type[Between]) -> None:
    """Put `layer` between trainings and their engines."""
    make = training_run.make_engine
    monkeypatch.setattr(training_run, "make_engine", lambda *of, **more: layer(make(*of, **more)))


@pytest.mark.parametrize("layer", [InPhases, *[OutOfOrder] * FULL, Stuck])
def test_a_training_is_the_same_in_whatever_order_its_engine_answers(
    layer: type[Between], brief: Brief, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind(monkeypatch, layer)
    found = briefly(tmp_path, monkeypatch)
    assert len(brief.learnt) == 2 and all(brief.learnt)
    assert found.learnt == brief.learnt
    assert logged(found.folder) == logged(brief.folder)
    # One part of a step follows the other, whatever goes on in either.
    for row in pq.read_table(found.folder / "curve").to_pylist():
        parts = [row[name] for name in CLOCK[:-1]]
        assert min(parts) >= 0 and sum(parts) <= row["seconds"]


def test_probes_that_are_alike_are_asked_once_and_have_a_row_each(brief: Brief) -> None:
    probes = [s for s in steps(brief.folder) if s["kind"] == "probe" and s["arm"] == "signal"]
    names = {step["step_id"] for step in probes}
    prompts = {(step["generation"], step["prompt"]) for step in probes}
    assert len([id for id in brief.asked if id in names]) == len(prompts) < len(probes)
    assert len({step["seed"] for step in probes}) == len(probes)


def test_of_a_step_that_was_stopped_only_groups_that_are_not_finished_are_asked_for(
    brief: Brief, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(brief.folder, tmp_path / "runs" / "toy"))
    shutil.rmtree(folder / "adapters" / "step-001")
    for file in folder.glob("c*/step=001.parquet"):
        file.unlink()
    lost = [*folder.glob("*/arm=signal/generation=1/001-signal.parquet")]
    for file in (*lost, folder / "done" / "001-signal-g01.json"):
        file.unlink()
    with counting(training_run) as asked:
        execute(toy(tmp_path, *BRIEF), folder, QUIET)
    assert len(lost) == 3 and asked
    assert {id.split("/")[-4] for id in asked} == {"001-signal"}
    assert logged(folder) == logged(brief.folder)


def test_the_toy_policy_learns_what_pays(tmp_path: Path) -> None:
    overrides = (
        *("train.curricula=[open]", "train.worlds=4", "train.held_out=6", "method.groups=4"),
        *("method.group=5", "method.most=400"),
        # What a doc alone answers: that is what tells.
        *("train.probes.similar=0", "train.probes.dissimilar=0"),
        # Who forgets nothing is paid for what it opens, so a few worlds tell.
        "engine.surrogate.skills.default.recall=[1.0,1.0,1.0,1.0]",
        # So slowly that no step is at the end of where skills go.
        *("method.warm_learning_rate=0.00002", "method.learning_rate=0.001"),
    )
    folder = tmp_path / "runs" / "toy"
    execute(toy(tmp_path, *overrides), folder, QUIET)
    gains = json.loads((folder / "held-out.json").read_text())
    low = {gain["measure"]: gain["gain"]["low"] for gain in gains}
    assert low["opened rightly"] > 0 and low["reward"] > 0
    adapters = sorted((folder / "adapters").iterdir())
    warm, climbing, climbed = (read_skills(adapter)["open"] for adapter in adapters)
    assert warm < climbing < climbed


def test_a_step_with_nothing_to_learn_leaves_the_adapter_as_it_was(tmp_path: Path) -> None:
    overrides = (
        *("train.curricula=[open]", "train.held_out=0"),
        *("method.groups=1", "method.warm_groups=2", "method.group=2", "method.steps=6"),
    )
    folder = tmp_path / "runs" / "toy"
    execute(toy(tmp_path, *overrides), folder, QUIET)
    skills = [
        (folder / "adapters" / f"step-{step:03d}" / "skills.json").read_bytes() for step in range(6)
    ]
    rows = curve(folder)
    learnt = [row["samples"] > 0 for row in rows]
    assert set(learnt) == {True, False}
    assert all(skills[step] == skills[step - 1] for step in range(1, 6) if not learnt[step])
    assert all((row["loss"] is None) == (row["samples"] == 0) for row in rows)
    # Each step is of the version that the one before left, also where that learnt nothing.
    later = [f"smollm2-135m@mine-s{step:03d}" for step in range(5)]
    assert [row["version"] for row in rows] == ["smollm2-135m@r0", *later]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that can be trained on."""
    tmp = tmp_path_factory.mktemp("past")
    folder = tmp / "runs" / "past"
    words = ("experiment.episodes=4", "experiment.lineages=2", "arms.names=[inherit,cold]")
    brief = ("schedule.versions=[smollm2-135m@r0,smollm2-135m@r1]", "arms.ceiling=inherit")
    probes = "experiment.probes={same: 1, similar: 0, dissimilar: 0}"
    run(toy(tmp, *words, *brief, probes, "agent.docs=true", "agent.opening=first"), folder)
    return folder


def test_the_latest_run_can_be_trained_on(
    past: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = read_source(past, 1)
    assert len(source.histories) == 4  # two pairs of two generations
    assert all(len(history.experiences) == 4 for history in source.histories)
    with pytest.raises(LineageError, match=r"train\.log must be a run"):
        read_source(past, 3)
    latest = past.parent / "latest"
    assert latest.resolve() == past
    small = (
        *(*CHOSEN, "train.curricula=[signal]", "train.held_out=0", "method.steps=1"),
        *("method.warm_groups=2", "method.group=4"),
    )
    below = (f"run.root={past.parent}", f"run.cache={tmp_path}", "run.name=toy")
    with pytest.raises(SystemExit) as stopped:
        main(["train", *flattened(tmp_path, *small), f"train.log={latest}", *below])
    assert not stopped.value.code
    assert f"{past.parent}/toy/training.html" in "".join(capsys.readouterr().out.split())
    assert latest.resolve() == past.parent / "toy"
    assert compose.load_file(latest / "config.yaml").train.log == str(past)
    assert curve(latest) and not (latest / "school").exists()


def test_histories_know_which_docs_were_opened(past: Path) -> None:
    lived = [e for history in read_source(past, 1).histories for e in history.experiences]
    opened = {doc for experience in lived for doc in experience.opened}
    logged = {s["entry"] for s in steps(past) if s["kind"] == "open" and s["phase"] == "work"}
    assert opened == logged != set()


def rows_of(worlds: int, **more: Any) -> list[dict[str, Any]]:
    """Return lines of a file of tasks, twenty a world."""
    rows: list[dict[str, Any]] = []
    for world in range(worlds):
        facts = [f"The code of pump {world}-{n} is {1000 + n}." for n in range(20)]
        for n, fact in enumerate(facts):
            asked = {"prompt": f"What is the code of pump {world}-{n}?", "answer": f"{1000 + n}"}
            about = {"id": f"q{world}-{n}", "world": f"w{world}", "facts": [fact]}
            rows.append(about | asked | {"scorer": "contains"} | more)
    return rows


def on_file(tmp: Path, rows: list[dict[str, Any]], *overrides: str) -> Config:
    """Return a small training of the surrogate on a file of tasks."""
    path = tmp / "tasks.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return toy(tmp, "suite=jsonl", f"suite.path={path}", "train.curricula=[signal]", *overrides)


def test_worlds_of_a_file_that_are_held_out_are_no_training_worlds(tmp_path: Path) -> None:
    config = on_file(tmp_path, rows_of(7))
    check(config)
    suites = (make_suite(of(config, "signal").suite) for of in (school, held_out))
    training, kept = ({suite.world(seed, 0).id for seed in range(20)} for suite in suites)
    assert (len(training), len(kept)) == (4, 3)
    assert not training & kept
    few = on_file(tmp_path, rows_of(1))
    with pytest.raises(LineageError, match=r"a single world, .* set train\.held_out=0"):
        check(few)


def test_lessons_make_histories(tmp_path: Path) -> None:
    lessons = [
        {"id": f"l{w}-{n}", "world": f"w{w}", "context": f"The code of pump {w}-{n} is {1000 + n}."}
        for w in range(3)
        for n in range(12)
    ]
    few = ("method.steps=1", "method.warm_groups=2", "train.episodes=6", "train.held_out=0")
    config = on_file(tmp_path, rows_of(3) + lessons, *few)
    folder = tmp_path / "runs" / "toy"
    execute(config, folder, QUIET)
    assert all(row["samples"] for row in curve(folder))


def test_judges_are_served_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    async def start(self: Surrogate, versions: Sequence[str]) -> None:
        started.extend(versions)
        raise LineageError("enough")

    judged = rows_of(7, scorer={"name": "judge", "version": "smollm2-135m@r1"})
    config = on_file(tmp_path, judged)
    monkeypatch.setattr(Surrogate, "start", start)
    with pytest.raises(LineageError, match="enough"):
        execute(config, tmp_path / "runs" / "toy", QUIET)
    assert started == ["smollm2-135m@r0", "smollm2-135m@r1"]


def test_a_judge_that_is_trained_gets_no_advantage_for_judging(tmp_path: Path) -> None:
    asked: list[Request] = []

    def judge(request: Request, answer: Completion) -> Completion:
        if request.choices == ("yes", "no"):
            asked.append(request)
            return replace(answer, text="yes", tokens=(9, 9, 9))
        return answer

    rows = rows_of(3, scorer={"name": "judge", "version": "smollm2-135m@r0"})
    more = ("train.curricula=[open]", "train.held_out=0", "method.kind=rft", "method.steps=1")
    counts = ("method.warm_steps=0", "method.warm_groups=9", "method.groups=3")
    config = on_file(tmp_path, rows, *more, *counts)
    folder = tmp_path / "runs" / "toy"
    with answering(judge, training_run):
        execute(config, folder, QUIET)
    # It is the version that is sampled, and yet neither sampled nor learnt from.
    assert {(one.version, one.temperature, one.logprobs) for one in asked} == {
        ("smollm2-135m@r0", 0.0, False)
    }
    made = curve(folder, "training")
    sampled = sum(row["completion_tokens"] for row in made)
    assert sampled == sum(len(s["tokens"]) for s in steps(folder) if s["kind"] != "judge") > 0
    # Rejection sampling alone is no warming up: its groups are counted by `method.groups`.
    assert len(made) == 3 * 3


def test_held_out_episodes_read_ideal_libraries(tmp_path: Path) -> None:
    # An own library is the notes of the generation before.
    own = ("curricula.open.library=own", "curricula.open.generations=2", "train.episodes=4")
    one = ("train.curricula=[open]", "train.worlds=1", "train.held_out=1")
    small = (*one, *own, "method.steps=1", "method.warm_groups=3")
    folder = tmp_path / "runs" / "toy"
    execute(toy(tmp_path, *small), folder, QUIET)
    arms = sorted((folder / "held-out" / "open").iterdir())
    assert [arm.name for arm in arms] == ["after", "before"]
    for arm in arms:
        assert EMPTY.id not in {s["knowledge_before"] for s in steps(arm) if s["kind"] == "probe"}


def test_a_torn_handoff_is_worth_the_same_once_it_is_replayed(tmp_path: Path) -> None:
    small = ("train.curricula=[signal]", "train.worlds=1", "train.held_out=0", "method.steps=2")
    config = toy(tmp_path, *small, "method.warm_groups=2", "method.groups=2")
    folder = tmp_path / "runs" / "toy"
    with answering(torn, training_run):
        execute(config, folder, QUIET)
    assert any(s["error"] for s in steps(folder) if s["phase"] == "handoff")
    whole = curve(folder, "training"), curve(folder)
    # As a kill leaves it between the rollouts and the record of a step.
    shutil.rmtree(folder / "adapters" / "step-001")
    for file in folder.glob("c*/step=001.parquet"):
        file.unlink()
    with answering(torn, training_run):
        execute(config, folder, QUIET)
    assert (curve(folder, "training"), curve(folder)) == whole
    # Tokens that were replayed were generated all the same, by the process that was stopped.
    by_step: Counter[int] = Counter()
    for step in steps(folder):
        by_step[step["generation"]] += step["completion_tokens"]
    assert [row["tokens_generated"] for row in curve(folder)] == [by_step[0], by_step[1]]


def test_a_run_s_own_start_is_no_history_s(tmp_path: Path) -> None:
    config = toy(tmp_path, "start.folder=notes")
    assert school(config, "signal").start == StartConfig()


def test_a_schedule_that_cannot_train_is_not_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of the choice of options that what follows has: to compose another one takes longer.
    wrong = (*CHOSEN, *SUCCESSION, "train.curricula=[signl]")
    with pytest.raises(SystemExit) as stopped:
        main(["run", *wrong, f"run.root={tmp_path / 'runs'}"])
    assert stopped.value.code == 1
    assert "did you mean 'signal'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_grandchildren_count_where_the_horizon_says_so(tmp_path: Path) -> None:
    small = ("train.curricula=[signal]", "train.worlds=1", "train.held_out=0", "method.steps=1")
    overrides = ("train.horizon=2", *small, "method.warm_groups=1")
    folder = tmp_path / "runs" / "toy"
    execute(toy(tmp_path, *overrides), folder, QUIET)
    episodes = {step["episode"] for step in steps(folder) if step["kind"] == "probe"}
    assert {episode[3:5] for episode in episodes} == {"k0", "k1"}


def test_a_schedule_trains_what_it_ships(tmp_path: Path) -> None:
    overrides = (*SUCCESSION, "experiment.lineages=1")
    arms = ("arms.names=[inherit,r0-reads]", "arms.baseline=r0-reads", "experiment.episodes=2")
    names = [f"smollm2-135m@{v}" for v in ("r0", "s1", "s1", "s2")]
    reads = f"arms.defined.r0-reads.versions={[*names[:-1], names[0]]}"
    brief = (f"schedule.versions={names}", reads, "experiment.working_generations=3")
    probes = ("experiment.probes.same=1", "experiment.probes.similar=1")
    small = ("train.curricula=[signal]", "train.held_out=0", "method.warm_groups=2")
    more = (*small, "method.steps=1")
    config = toy(tmp_path, *overrides, *arms, *brief, *probes, *more)
    folder = tmp_path / "runs" / "toy"
    run_with_release(config, folder)
    log = steps(folder)
    served = {(s["generation"], s["version"]) for s in log if s["arm"] == "inherit"}
    assert served == set(enumerate(names))
    last = {s["version"] for s in log if s["arm"] == "r0-reads" and s["generation"] == 3}
    assert last == {"smollm2-135m@r0"}
    inherited = {
        s["arm"]: s["knowledge_before"]
        for s in log
        if s["generation"] == 3 and s["kind"] == "probe"
    }
    assert inherited["inherit"] == inherited["r0-reads"] != EMPTY.id
    adapters = sorted((folder / "training").glob("*/adapters/step-000/skills.json"))
    assert [file.parents[2].name for file in adapters] == ["smollm2-135m@s1", "smollm2-135m@s2"]
    for file, parent in zip(adapters, names[:2], strict=True):
        made = file.parents[2]
        assert {row["version"] for row in curve(made)} == {parent}
        assert f"name: {made.name}\n" in (made / "config.yaml").read_text()
    before = step_ids(folder)
    # All is done, so that nothing is trained again.
    execute_run(config, folder, QUIET, report=False)
    assert step_ids(folder) == before


def run_with_release(config: Config, folder: Path) -> None:
    execute_run(config, folder, QUIET, release, report=False)


def step_ids(folder: Path) -> list[str]:
    return [step["step_id"] for step in steps(folder)]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["train.parent=smollm2-135m@r9"], r"'smollm2-135m@r9' is unknown: did you mean"),
        (["train.name=smollm2-135m@r1"], "is of conf"),
        (["train.curricula=[]"], "train.curricula is empty"),
        (["train.curricula=[signl]"], "did you mean 'signal'"),
        (["method.kind=ppo"], r"method\.kind is 'ppo': it must be one of grpo, rft"),
        (["method.group=1"], r"method\.group is 1"),
        (["method.temperature=0"], r"method\.temperature is 0"),
        (["curricula.open.trains=both"], r"curricula\.open\.trains is 'both'"),
        (["train.probes.same=0", "train.probes.similar=0", "train.probes.dissimilar=0"], "all 0"),
        (["suite=finance", "suite.path=tests/data/finance-formula.jsonl"], "needs drift"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(LineageError, match=said):
        check(toy(tmp_path, *overrides))


def test_a_step_without_anything_to_learn_from_says_what_to_raise(tmp_path: Path) -> None:
    # No one can answer for other worlds: with a free memory all rollouts are worth the same.
    probes = ("train.probes.same=0", "train.probes.similar=0", "train.probes.dissimilar=2")
    few = ("train.curricula=[signal]", "train.held_out=0", "method.groups=2")
    config = toy(tmp_path, *few, "method.warm_groups=2", "reward.memory=0", *probes)
    with pytest.raises(LineageError, match=r"Raise method\.group"):
        execute(config, tmp_path / "runs" / "toy", QUIET)


def test_another_training_does_not_go_on_in_the_folder(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(LineageError, match=r"choose another run\.name"):
        execute(toy(tmp_path, "method.group=6"), trained, QUIET)


def test_a_run_does_not_go_on_in_a_training_s_folder(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(LineageError, match=r"choose another run\.name"):
        run(toy(tmp_path), trained)
