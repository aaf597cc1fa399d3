"""The training loop: draw, roll out, reward, advantage, learn, serve, log.

A step is a function of its number and of what the step before left, and its record is written
last: killed at any point and started again, the loop goes on where it was, and nothing that was
generated is generated again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.core.files import whole
from lineage.core.seeds import derive
from lineage.models.remember import Remember
from lineage.training.learners import algorithm
from lineage.training.record import curve_file, write_curve, write_rollouts
from lineage.training.rollout import Sampling, roll_out
from lineage.training.syllabus import allotted, draw
from lineage.training.values import Batch, Group, Learner, Learnt, Samples, method_at


@dataclass(frozen=True)
class Trainer:
    """What makes `train.name` of its parent. `parent_adapter` is a folder, "" for none.

    `tell` is told of each finished step, in a line.
    """

    sampling: Sampling
    learner: Learner
    parent_adapter: str
    tell: Callable[[str], None]

    @property
    def config(self) -> Config:
        """The configuration of the training."""
        return self.sampling.config

    async def run(self) -> Path:
        """Run all steps that are not finished; return the folder of the last adapter."""
        steps, folder = self.config.method.steps, self.sampling.folder
        left = [step for step in range(steps) if not curve_file(folder, step).exists()]
        if left:
            await self.learner.start()
            await self._serve(left[0] - 1)
        for step in left:
            await self._step(step)
        return self._adapter(steps - 1)

    async def _step(self, step: int) -> None:
        method, version = method_at(self.config.method, step), self._version(step - 1)
        seconds = dict[str, float]()
        with timed(seconds, "seconds"):
            sampling, groups = drawn(self.sampling, step, version)
            began = time.monotonic()
            rooms = await roll_out(sampling, groups, method.group)
            written = max((room.written for room in rooms), default=began)
            seconds["seconds_generate"] = written - began
            seconds["seconds_probe"] = time.monotonic() - written
            groups = tuple(room.group for room in rooms)
            samples = algorithm(method.kind).advantages(groups, method.most, shares(self.config))
            with timed(seconds, "seconds_learn"):
                learnt = await self._learn(step, method.kind, samples)
            with timed(seconds, "seconds_sync"):
                await self._serve(step)
            about = {"step": step, "kind": method.kind, "version": version}
            write_rollouts(self.sampling.folder, groups, samples, about)
        write_curve(
            self.sampling.folder,
            about,
            samples=sum(map(len, samples)),
            tokens_generated=sum(room.tokens for room in rooms),
            tokens_learnt=learnt.tokens,
            loss=learnt.loss,
            grad_norm=learnt.grad_norm,
            kl=learnt.kl,
            entropy=learnt.entropy,
            **seconds,
        )
        told = f"mean reward {mean_reward(groups):+.3f}, {seconds['seconds']:.0f} s"
        self.tell(f"step {step} ({method.kind}): {told}")

    async def _learn(self, step: int, kind: str, samples: Samples) -> Learnt:
        """Learn `samples`; without any, leave the adapter as the step before left it."""
        folder = self._adapter(step)
        if samples:
            start = str(self._adapter(step - 1)) if step else self.parent_adapter
            seed = derive("learn", self.config.train.name, step)
            return await self.learner.learn(Batch(kind, step, samples, start, str(folder), seed))
        if step == 0:
            raise LineageError(
                f"the first step of training {self.config.train.name} has nothing to learn from: "
                "all rollouts of each group did equally well, or failed. Raise method.group, "
                "method.groups or the temperature"
            )
        with whole(folder) as making:
            shutil.copytree(self._adapter(step - 1), making)
        return Learnt()

    def _version(self, step: int) -> str:
        """Return the engine's name of what `step` left; before the first, the parent."""
        train = self.config.train
        return train.parent if step < 0 else f"{train.name}-s{step:03d}"

    def _adapter(self, step: int) -> Path:
        return self.sampling.folder / "adapters" / f"step-{step:03d}"

    async def _serve(self, step: int) -> None:
        if step >= 0:
            name, parent = self._version(step), self.config.train.parent
            await self.sampling.engine.serve(name, parent, self._adapter(step))


def drawn(sampling: Sampling, step: int, version: str) -> tuple[Sampling, tuple[Group, ...]]:
    """Return what `step` is sampled with, from what the engine serves as `version`, and the groups
    that it draws, without rollouts as yet.
    """
    config, name = sampling.config, sampling.config.train.name
    methods, of = [method_at(config.method, one) for one in range(step + 1)], shares(config)
    counts = [allotted(one.groups, of) for one in methods]
    made = replace(
        sampling,
        # Rollouts that wrote the same notes are probed with the same prompts.
        engine=Remember(sampling.engine, any_seed=True),
        step=step,
        serving=version,
        temperature=methods[-1].temperature,
    )
    return made, draw(name, counts, sampling.sources)


def shares(config: Config) -> dict[str, float]:
    """Return the share of each curriculum in what is drawn, and in what is learnt from."""
    return {name: config.curricula[name].share for name in config.train.curricula}


@contextmanager
def timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Put into `seconds` how long `part` took."""
    began = time.monotonic()
    yield
    seconds[part] = time.monotonic() - began


def mean_reward(groups: tuple[Group, ...]) -> float:
    """Return the mean reward of all rollouts that did not fail; 0.0 where all did."""
    found = [
        one.reward.total for group in groups for one in group.rollouts if one.reward is not None
    ]
    return sum(found) / len(found) if found else 0.0
