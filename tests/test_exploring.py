"""Learning when to open a doc: forced choices, credit, balanced tasks, growing libraries."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from helpers import FULL, steps
from rich.console import Console

from lineage import compose
from lineage.core.config import Config
from lineage.core.curriculum import Plan
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Knowledge, Memory, Origin
from lineage.core.reward import Reward
from lineage.core.seeds import rng
from lineage.core.tasks import World
from lineage.models.protocol import Completion
from lineage.training.advantages import group_advantages
from lineage.training.diagnostics import Diagnostics, opening
from lineage.training.exploring import credits, samples_of
from lineage.training.histories import History
from lineage.training.learners import grpo
from lineage.training.library import SOURCES, balanced, by_source, ideal_library, reads_own
from lineage.training.run import execute
from lineage.training.values import Group, Rollout, Sample

HISTORY = History("000-h", (Plan(World("world", 0, (), ()), (), ()),))
TOKENS = {"d4": (7, 4, 0), "d5": (7, 5, 0), "none": (9, 0)}
"""As a tokenizer may have them: two docs begin alike, and 0 ends a text."""
SHARES = {"open": 1.0}
ORIGIN = Origin(0, "v", "w000")
SUITE = compose.load_suite("codebook")

pytestmark = pytest.mark.usefixtures("undrawn")


def rollout(choice: str, reward: float, forced: bool = False, answer: int = 1) -> Rollout:
    """Return an episode that chose `choice`, and then wrote the token `answer`."""
    chosen = Completion(choice, "which?", tokens=TOKENS[choice], logprobs=(0.0,) * 3)
    answered = Completion("It is 1.", f"{choice}, what?", tokens=(answer,), logprobs=(0.0,))
    completions = {"p000/s01": chosen, "p000/s02": answered}
    worth = Reward(reward, None, None, 0.0, 0.0)
    return Rollout(completions, EMPTY, Diagnostics(1), reward=worth, forced=forced)


def group(*rollouts: Rollout, number: int = 0) -> Group:
    return Group("open", number, number, HISTORY, rollouts)


def tried(none: float, d4: float, d5: float, number: int = 0) -> Group:
    """Return a group of a policy that always opens d5, in which each choice was tried once."""
    forced = (rollout("none", none, True), rollout("d4", d4, True), rollout("d5", d5, True))
    return group(*forced, rollout("d5", d5), rollout("d5", d5), number=number)


def likelier(found: list[tuple[str, tuple[Sample, ...]]]) -> set[tuple[int, ...]]:
    """Return the choices of the first group that are made likelier, by their tokens."""
    (_, choices), *_ = found
    assert all(one.advantage > 0 for one in choices)
    return {one.tokens for one in choices}


def test_a_policy_that_always_opens_has_nothing_to_compare() -> None:
    same = group(*[rollout("d5", -0.1)] * 5)
    assert group_advantages(same) == [0.0] * 5
    assert grpo.advantages([same], 99, SHARES) == ()


def test_once_each_choice_is_tried_the_better_ones_are_learnt() -> None:
    # Opened in vain: the price alone tells.
    assert likelier(samples_of([tried(0.0, -0.01, -0.02)])) == {(9,)}
    # Needed: d5 answers, d4 costs only.
    assert likelier(samples_of([tried(0.0, -0.01, 0.39)])) == {(7, 5)}
    # Two docs answer.
    assert likelier(samples_of([tried(0.0, 0.3, 0.39)])) == {(7, 4), (7, 5)}
    # Worth the same: nothing is learnt.
    assert samples_of([tried(0.2, 0.2, 0.2)]) == []


def test_opening_is_credited_by_the_difference_that_it_made() -> None:
    # Of what chose alike, the mean; forced or free.
    made = group(
        *(rollout("none", 0.1, True), rollout("d4", 0.0, True), rollout("d5", 0.5, True)),
        rollout("d5", 0.1),
    )
    found = credits(made)
    assert found["d5"] - found["none"] == pytest.approx(0.3 - 0.1)
    assert found["d4"] - found["none"] == pytest.approx(0.0 - 0.1)
    assert sum(found.values()) == pytest.approx(0.0)
    told = group_advantages(made)
    assert told == [found[choice] for choice in ("none", "d4", "d5", "d5")]
    lost = Rollout({}, EMPTY, Diagnostics(1), error="engine")
    assert group_advantages(group(*made.rollouts, lost))[-1] is None


def test_only_the_tokens_that_decide_are_credited_and_choices_weigh_alike() -> None:
    (_, choices), *_ = samples_of([tried(0.5, -0.3, 0.4)])
    assert [one.tokens for one in choices] == [(9,), (7, 5)]
    assert all(len(one.logprobs) == len(one.tokens) for one in choices)
    # The learner takes the mean over a sample's tokens; so weigh the log-probabilities summed.
    weights = [one.advantage / len(one.tokens) for one in choices]
    assert weights[0] / weights[1] == pytest.approx(0.3 / 0.2)


def slopes(found: dict[str, float], likely: dict[str, float]) -> dict[str, float]:
    """Return the gradient of the sum of credit x log softmax over the choices that are learnt."""
    learnt = {choice: max(credit, 0.0) for choice, credit in found.items()}
    return {c: learnt[c] - likely[c] * sum(learnt.values()) for c in found}


@pytest.mark.parametrize("always", [0.5, 1 - 1e-9])
def test_the_gradient_does_not_vanish_for_what_the_policy_never_does(always: float) -> None:
    found = credits(tried(0.3, -0.3, 0.0))
    likely = {"none": (1 - always) / 2, "d4": (1 - always) / 2, "d5": always}
    assert slopes(found, likely)["none"] >= found["none"] / 2 > 0 > slopes(found, likely)["d5"]


def test_the_gradient_ends_once_the_best_is_chosen() -> None:
    found = credits(tried(0.3, -0.3, 0.0))
    assert slopes(found, {"none": 1.0, "d4": 0.0, "d5": 0.0}) == {"none": 0.0, "d4": 0.0, "d5": 0.0}


def test_what_is_written_after_a_choice_is_compared_with_its_like_alone() -> None:
    made = group(
        *(rollout("none", 0.0, True, 2), rollout("d4", 0.0, True, 3)),
        *(rollout("d5", 0.4, True, 4), rollout("d5", 0.4, answer=4), rollout("d5", 0.0, answer=5)),
    )
    choices, answers = (samples for _, samples in samples_of([made]))
    assert [one.tokens for one in choices] == [(7, 5)]
    assert {one.prompt for one in answers} == {"d5, what?"}
    assert [(one.tokens, one.advantage > 0) for one in answers] == [
        *(((4,), True), ((4,), True), ((5,), False))
    ]


def test_a_doc_that_answers_half_of_the_time_is_worth_opening() -> None:
    lucky, unlucky = tried(0.0, -0.02, 0.38), tried(0.0, -0.02, -0.02, number=1)
    pulls: Counter[tuple[int, ...]] = Counter()
    for _, choices in samples_of([lucky, unlucky]):
        for one in choices:
            pulls[one.tokens] += one.advantage / len(one.tokens)  # type: ignore[assignment]
    assert pulls[7, 5] > 10 * pulls[9,] > 0


ANSWERED = {"memory": {"none": 0.4, "d4": 0.4, "d5": 0.4}, "doc": {"d5": 0.4}, "neither": {}}
"""What a choice earns, by what answers the task; a doc costs PRICE."""
PRICE = 0.05


def trained(shared: float, explores: bool, steps: int) -> dict[str, float]:
    """Return how often a table of logits opens after so many steps, by what answers the task.

    It has a row for all tasks, of which `shared` is learnt, and one a source, of which the rest is.
    At first d5 is opened all but once in 10,000 times.
    """
    logits = {source: {"none": 0.0, "d4": 0.0, "d5": 10.0} for source in SOURCES}

    def likely(source: str) -> dict[str, float]:
        whole = sum(math.exp(z) for z in logits[source].values())
        return {choice: math.exp(z) / whole for choice, z in logits[source].items()}

    for step in range(steps):
        draw, groups = rng("always", step), []
        for number, source in enumerate(SOURCES * 4):
            policy = likely(source)
            free = draw.choices(list(policy), weights=list(policy.values()), k=5)
            made = ["none", "d4", "d5", *free[3:]] if explores else free
            worth = {c: ANSWERED[source].get(c, 0.0) - PRICE * (c != "none") for c in policy}
            rollouts = (rollout(c, worth[c], explores and n < 3) for n, c in enumerate(made))
            groups.append(group(*rollouts, number=number))
        for samples in grpo.advantages(groups, 999, SHARES):
            source = SOURCES[int(samples[0].rollout.split("/")[2]) % 3]
            policy = likely(source)
            for one in samples:
                chosen = next(
                    c for c, ids in TOKENS.items() if ids[: len(one.tokens)] == one.tokens
                )
                for choice in policy:
                    slope = (choice == chosen) - policy[choice]
                    pull = one.advantage / len(one.tokens) * slope
                    for row in SOURCES:
                        logits[row][choice] += pull * (1.0 if row == source else shared)
    return {source: 1 - likely(source)["none"] for source in SOURCES}


@pytest.mark.parametrize(("shared", "steps"), [(0.0, 12), (0.8, 60 if FULL else 30)])
def test_a_policy_that_always_opens_learns_when_not_to(shared: float, steps: int) -> None:
    opens = trained(shared, True, steps)
    assert opens["doc"] >= 0.85 and max(opens["memory"], opens["neither"]) <= 0.3, opens


def test_without_exploring_it_opens_always() -> None:
    assert min(trained(0.0, False, 12).values()) > 0.99


def test_tasks_are_balanced_by_what_answers_them() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(12):
        world, draw = SUITE.world(seed, 0), rng("balance", seed)
        library = ideal_library(world, "v", draw)
        tasks = by_source(library, world)
        for source, instance in zip(SOURCES, balanced(library, world, draw), strict=True):
            assert instance.task in tasks[source]
            docs = [doc.id for doc in library.docs]
            kinds[opening(library, docs, instance.task, world)] += 1
            assert (instance.family == "similar") == (source == "neither")
    # Two in three ask for no doc.
    assert kinds == {"needed": 12, "vain": 24}


def test_what_kin_may_tell_is_asked_of_nobody() -> None:
    world = SUITE.world(3, 0)
    ruled = [task for task in world.tasks if task.group]
    (text,) = world.fact_texts(ruled[0].facts)
    told = EMPTY.evolve(memories=(Memory("m1", text, ORIGIN, ORIGIN),), next_id=2)
    tasks = by_source(told, world)
    assert tasks["memory"] == (ruled[0],) and tasks["doc"] == ()
    assert ruled[0].group not in {task.group for task in tasks["neither"]}
    # A source without tasks is stood in for.
    drawn = balanced(told, world, rng("kin"))
    assert len(drawn) == len(SOURCES) and drawn[0].task == ruled[0]
    assert balanced(Knowledge(), World("empty", 0, (), ()), rng("none")) == ()


def test_a_library_grows_from_ideal_to_own() -> None:
    shares = [sum(reads_own(number, step, 5) for number in range(24)) for step in range(5)]
    assert shares == [0, 6, 12, 18, 24]
    # Balanced tasks come by turns: of each source as many are asked in an own library.
    turns = Counter(number % len(SOURCES) for number in range(24) if reads_own(number, 1, 5))
    assert turns == {0: 2, 1: 2, 2: 2}
    assert all(reads_own(number, 0, 1) for number in range(3))


def toy(tmp: Path, *overrides: str) -> Config:
    """Return a small training of the stand-in that explores."""
    return compose.load(
        [
            *("engine=surrogate", "agent=writer", "train.curricula=[open]", "train.worlds=2"),
            *("train.held_out=2", "method.steps=2", "method.warm_steps=0", "method.groups=3"),
            *("method.group=6", "method.most=60", "curricula.open.explore=true"),
            *("train.probes.same=1", "train.probes.similar=1"),
            *("curricula.open.tasks=balanced", "curricula.open.library=growing"),
            *("curricula.open.generations=2", "agent.memory_budget=48"),
            *(f"run.root={tmp / 'runs'}", f"run.cache={tmp / 'cache'}", "run.name=toy"),
            *overrides,
        ]
    )


def rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("training/*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training that explored."""
    tmp = tmp_path_factory.mktemp("explored")
    folder = tmp / "runs" / "toy"
    execute(toy(tmp), folder, Console(quiet=True))
    return folder


def test_each_choice_is_tried_once_and_the_rest_are_free(explored: Path) -> None:
    offered: dict[tuple[int, int], int] = {}
    opened: dict[tuple[int, int], dict[int, str]] = defaultdict(dict)
    for step in steps(explored):
        place = step["generation"], step["pair"]
        if step["kind"] == "search":
            offered[place] = len(step["results"])
        if step["kind"] == "open":
            opened[place][int(step["episode"][1:3])] = step["entry"]
    assert len(offered) == 6 and max(offered.values()) > 1
    for place, count in offered.items():
        forced = [opened[place][number] for number in range(min(count + 1, 6))]
        assert forced[0] == "" and len(set(forced)) == len(forced)
    # What was forced is not told as what the version chose.
    for row in rows(explored):
        _, _, number = row["group"].partition("/")[2].partition("/")
        free = row["alternative"] > offered[row["step"], int(number)]
        assert bool(row["opened"]) <= free
    assert {row["opened"] for row in rows(explored)} > {""}


def test_the_first_step_reads_ideal_libraries_and_the_last_one_own_ones(explored: Path) -> None:
    school = explored / "school" / "open"
    own = {s["knowledge_before"] for s in steps(school)} | {
        s["knowledge_after"] for s in steps(school)
    }
    read: dict[int, set[str]] = defaultdict(set)
    for step in steps(explored):
        if step["kind"] == "probe":
            read[step["generation"]].add(step["knowledge_before"])
    assert not read[0] & own and read[1] <= own


def test_held_out_episodes_are_balanced_and_free(explored: Path) -> None:
    found = {row["measure"]: row for row in json.loads((explored / "held-out.json").read_text())}
    assert {"opened when needed", "opened when not needed", "score", "doc tokens"} <= set(found)
    # A forced one would have opened none, each time.
    assert found["doc tokens"]["before"]["mean"] > 0


def test_a_training_that_explores_comes_out_the_same_again(explored: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "toy"
    execute(toy(tmp_path, "train.held_out=0"), folder, Console(quiet=True))
    assert rows(folder) == rows(explored)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("curricula.open.opening=native", "opening=choice"),
        ("curricula.open.trains=handoff", "trains=episode"),
        ("curricula.open.generations=1", "generations must be 2 or more"),
        ("curricula.open.tasks=even", "must be one of families, balanced"),
    ],
)
def test_what_cannot_be_explored_is_said(override: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(LineageError, match=words):
        toy(tmp_path, override)


def test_exploring_is_in_the_hash_and_its_absence_is_not() -> None:
    plain = compose.load(["engine=surrogate"])
    hashes = {
        compose.training_hash(compose.load(["engine=surrogate", *more]))
        for more in (["curricula.open.explore=true"], ["curricula.open.tasks=balanced"])
    }
    assert len(hashes | {compose.training_hash(plain)}) == 3
