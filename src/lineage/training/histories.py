"""Histories: what logged generations lived through, up to the handoff that is to be trained.

Read from a run's folder, so that any run can be trained on. All rollouts of a group branch
from one history (rollouts that start from different memories are not comparable: Memory-R2,
arXiv 2605.21768).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from lineage import compose
from lineage.agent.history import Experience, restore
from lineage.core.config import Config
from lineage.core.curriculum import Plan, plans
from lineage.core.errors import LineageError
from lineage.core.knowledge import EMPTY, Knowledge
from lineage.core.tasks import Suite
from lineage.log.reader import finished, knowledge_of, read_snapshots, read_steps
from lineage.runs.arms import find_arm
from lineage.runs.lineage import place_of
from lineage.suites import make_suite

TRAIN_ON = "to train on it all the same, name that suite._target_ on the command line"
"""What to do where `train.log` is a run of a suite that is not lineage's own."""


@dataclass(frozen=True)
class History:
    """One generation before its handoff.

    `plans` are those of this generation and of the later ones that its lineage has; `knowledge` is
    what it worked from, `used` the ids of memories that it answered from rightly.
    """

    id: str
    plans: tuple[Plan, ...]
    knowledge: Knowledge = EMPTY
    experiences: tuple[Experience, ...] = ()
    used: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Source:
    """A run's histories and the suite that its worlds are of."""

    suite: Suite
    histories: tuple[History, ...]


def read_source(run: Path, horizon: int, suites: Collection[str] = ()) -> Source:
    """Return the histories of the finished generations of `run` that a handoff can be made from.

    One that has fewer than `horizon` generations ahead of it, counting its own, is left out.
    `suites` are `_target_`s that may be imported beside lineage's own. Raises LineageError where
    nothing is left, or the suite is none of these.
    """
    config = compose.load_file(run / "config.yaml")
    compose.check_suite(config, run / "config.yaml", TRAIN_ON, suites)
    suite = make_suite(config.suite)
    found = tuple(_histories(run, config, suite, horizon))
    if not found:
        raise LineageError(
            f"{run} has no finished generation that hands over and has {horizon} to be probed "
            "after it: train.log must be a run with an arm such as inherit"
        )
    return Source(suite, found)


def _histories(run: Path, config: Config, suite: Suite, horizon: int) -> Iterator[History]:
    generations = len(config.schedule.versions)
    arms = (find_arm(config, name) for name in config.arms.names)
    writers = [arm for arm in arms if arm.receives.hands_over]
    for pair in range(config.experiment.lineages):
        # Arms of a pair share its plans.
        planned = plans(suite, config.experiment, generations, pair)
        snapshots: dict[str, Knowledge] = {EMPTY.id: EMPTY}
        for id, parent, content in read_snapshots(run, pair):
            snapshots.setdefault(id, knowledge_of(content, parent, run))
        for arm, generation in product(writers, range(generations - horizon + 1)):
            place, ahead = place_of(arm.name, pair, generation), planned[generation:]
            if finished(run, place) is None:
                continue
            steps = read_steps(run, place)
            work = [step for step in steps if step.phase == "work"]
            answers = [step for step in work if step.kind == "act" and step.score == 1.0]
            if past := restore(ahead[0], generation, steps, suite):
                yield History(
                    id=place.name,
                    plans=ahead,
                    knowledge=snapshots[work[0].knowledge_before],
                    experiences=tuple(one.experience for one in past),
                    used=frozenset(step.entry for step in answers if step.entry),
                )
