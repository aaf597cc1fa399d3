"""The training loop: sample alternatives, reward them, learn, and serve what was learnt.

A step is a function of its number and of what the step before left, and its record is written
last: killed at any point and started again, the loop goes on where it was, and nothing that was
generated is generated again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.core.files import put_folder
from lineage.core.seeds import derive
from lineage.models.protocol import Engine
from lineage.training.batch import Batch, Learner, Learnt
from lineage.training.credit import Groups, chosen, compared
from lineage.training.histories import Source
from lineage.training.record import curve_file, write_curve, write_step
from lineage.training.rollout import Group, Rollouts, Spent
from lineage.training.syllabus import allotted, draws

NOTHING = Learnt(None, None, None, None, 0, 0.0)
"""What a step did in which all alternatives of each group did equally well."""


@dataclass(frozen=True)
class Progress:
    """What a finished step is told as: its number, its mean reward and its seconds."""

    step: int
    kind: str
    reward: float
    seconds: float


@dataclass(frozen=True)
class Trainer:
    """What makes `config.train.name` of its parent. `parent_adapter` is a folder, "" for none."""

    config: Config
    folder: Path
    config_hash: str
    engine: Engine
    learner: Learner
    sources: dict[str, Source]
    parent_adapter: str
    tell: Callable[[Progress], None]

    async def run(self) -> Path:
        """Run all steps that are not finished; return the folder of the last adapter."""
        steps = self.config.method.steps
        left = [step for step in range(steps) if not curve_file(self.folder, step).exists()]
        if left:
            await self.learner.start()
            await self._serve(left[0] - 1)
        for step in left:
            await self._step(step)
        return self._adapter(steps - 1)

    def kind(self, step: int) -> str:
        """Return the method of `step`: the first ones warm up by rft."""
        method = self.config.method
        return "rft" if step < method.warm_steps else method.kind

    def _warm(self, step: int) -> bool:
        """Whether `step` only prepares those of another method."""
        return self.kind(step) != self.config.method.kind

    async def _step(self, step: int) -> None:
        train, method, kind = self.config.train, self.config.method, self.kind(step)
        began, spent = time.monotonic(), Spent()
        parent = self._version(step - 1)
        rollouts = Rollouts(
            config=self.config,
            folder=self.folder,
            config_hash=self.config_hash,
            engine=self.engine,
            count=await self.engine.counter(train.parent),
            sources=self.sources,
            temperature=self._temperature(step),
        )
        chosen_draws = draws(train.name, step, self._counts(step), self._before(step), self.sources)
        groups = await rollouts.sample(step, parent, chosen_draws, method.group, spent)
        if kind == "rft":
            most = method.warm_most if self._warm(step) else method.most
            samples = chosen(groups, most, self._shares)
        else:
            samples = compared(groups, method.most, self._shares)
        learning = time.monotonic()
        learnt = await self._learn(step, kind, samples)
        learning = time.monotonic() - learning
        syncing = time.monotonic()
        await self._serve(step)
        syncing = time.monotonic() - syncing
        write_step(self.folder, step, kind, parent, groups, samples)
        write_curve(
            self.folder,
            step,
            kind=kind,
            version=parent,
            samples=sum(map(len, samples)),
            tokens_learnt=learnt.tokens,
            tokens_generated=spent.tokens,
            loss=learnt.loss,
            grad_norm=learnt.grad_norm,
            kl=learnt.kl,
            entropy=learnt.entropy,
            seconds_generate=spent.generate,
            seconds_probe=spent.probe,
            seconds_learn=learning,
            seconds_sync=syncing,
            seconds=time.monotonic() - began,
        )
        self.tell(Progress(step, kind, mean_reward(groups), time.monotonic() - began))

    async def _learn(self, step: int, kind: str, samples: Groups) -> Learnt:
        """Learn `samples`; without any, leave the adapter as the step before left it."""
        folder = self._adapter(step)
        if samples:
            batch = Batch(
                kind=kind,
                step=step,
                groups=samples,
                start=str(self._adapter(step - 1)) if step else self.parent_adapter,
                folder=str(folder),
                seed=derive("learn", self.config.train.name, step),
            )
            return await self.learner.learn(batch)
        if step == 0:
            raise LineageError(
                f"the first step of training {self.config.train.name} has nothing to learn from: "
                "all alternatives of each group did equally well, or failed. Raise method.group, "
                "method.groups or the temperature"
            )
        unfinished = folder.with_name(f".{folder.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(self._adapter(step - 1), unfinished)
        put_folder(unfinished, folder)
        return NOTHING

    def _temperature(self, step: int) -> float:
        method = self.config.method
        return method.warm_temperature if self._warm(step) else method.temperature

    @property
    def _shares(self) -> dict[str, float]:
        """The share of each curriculum in what is drawn, and in what is learnt from."""
        config = self.config
        return {name: config.curricula[name].share for name in config.train.curricula}

    def _counts(self, step: int) -> dict[str, int]:
        method = self.config.method
        groups = method.warm_groups if self._warm(step) else method.groups
        return allotted(groups, self._shares)

    def _before(self, step: int) -> dict[str, int]:
        earlier = [self._counts(past) for past in range(step)]
        return {
            name: sum(counts[name] for counts in earlier) for name in self.config.train.curricula
        }

    def _version(self, step: int) -> str:
        """Return the engine's name of what `step` left; before the first, the parent."""
        train = self.config.train
        return train.parent if step < 0 else f"{train.name}-s{step:03d}"

    def _adapter(self, step: int) -> Path:
        return self.folder / "adapters" / f"step-{step:03d}"

    async def _serve(self, step: int) -> None:
        if step >= 0:
            name, parent = self._version(step), self.config.train.parent
            await self.engine.serve(name, parent, self._adapter(step))


def mean_reward(groups: tuple[Group, ...]) -> float:
    """Return the mean reward of all alternatives that did not fail; 0.0 where all did."""
    rewards = [
        alternative.reward.total
        for group in groups
        for alternative in group.alternatives
        if alternative.reward is not None
    ]
    return sum(rewards) / len(rewards) if rewards else 0.0
