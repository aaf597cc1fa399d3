"""What flows from a history to an adapter, in five values, and who learns.

A `Group` branches from one history into `Rollout`s: handoffs, or episodes, that are sampled from
one snapshot and rewarded. Each is made of completions that share its reward. What a step learns
from are `Sample`s, a completion and its advantage each; they make a `Batch`, of which a learner
makes the next adapter and tells what that was like as `Learnt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from lineage.core.config import MethodConfig
from lineage.core.knowledge import Knowledge
from lineage.core.reward import Reward
from lineage.models.protocol import Completion
from lineage.training.diagnostics import Diagnostics

if TYPE_CHECKING:  # a learner's process needs neither agent nor run
    from lineage.agent.episode import Attempt
    from lineage.training.histories import History

AHEAD = "k"
"""What follows a rollout's name in episodes that meet what it left."""
GREEDY = f"(regexp_matches(episode, '^a[0-9]+{AHEAD}') OR kind = 'judge')"
"""Which steps in the log of a training are asked as `agent.temperature` says, greedily by default,
and not sampled to be learnt from. Tokens do not tell that: what failed has none, and what the
stand-in writes without a choice."""


def rollout_name(number: int) -> str:
    """Return what the names of the episodes of rollout `number` of a group begin with."""
    return f"a{number:02d}"


@dataclass(frozen=True)
class Rollout:
    """One of G: what was completed, and what that was worth.

    `completions` are those to be trained, by episode and step. `knowledge` is what a handoff left,
    or what an episode read; only an episode has an `attempt`. `reward` is None where it failed, and
    as long as it is not known. One that was `forced` did not choose by itself: see `exploring`.
    """

    completions: Mapping[str, Completion]
    knowledge: Knowledge
    diagnostics: Diagnostics
    attempt: Attempt | None = None
    reward: Reward | None = None
    error: str = ""
    forced: bool = False


@dataclass(frozen=True)
class Group:
    """A history of a curriculum, and the rollouts that branch from it and meet the same probes.

    `number` is its place in the step; `turn` counts the groups of the curriculum over all steps:
    episodes take the probes by turns.
    """

    curriculum: str
    number: int
    turn: int
    history: History
    rollouts: tuple[Rollout, ...] = ()

    @property
    def id(self) -> str:
        """What its samples and its rows in the log are known by."""
        return f"{self.curriculum}/{self.history.id}/{self.number:03d}"

    def rollout_id(self, number: int) -> str:
        """Return what the samples of its rollout `number` are known by."""
        return f"{self.id}/{rollout_name(number)}"


@dataclass(frozen=True)
class Sample:
    """One completion and its advantage.

    `prompt` is the rendered text; `tokens` are the ids as sampled, the end token with them, and
    `logprobs` their log-probabilities then, before any grammar was applied. `rollout` is the id of
    that which it is of.
    """

    prompt: str
    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    advantage: float
    rollout: str = ""


def sample(group: Group, number: int, place: str, advantage: float) -> Sample:
    """Return the completion at `place` of rollout `number`, to be learnt with `advantage`."""
    one = group.rollouts[number].completions[place]
    return Sample(one.prompt, one.tokens, one.logprobs, advantage, group.rollout_id(number))


Samples = tuple[tuple[Sample, ...], ...]
"""Groups of samples that are compared with one another; of one where nothing is compared."""


@dataclass(frozen=True)
class Batch:
    """One training step by the algorithm `kind`.

    `start` is the folder that the step before left ("": none, the step starts from the parent
    version); `folder` is where this step's appears, whole or not at all.
    """

    kind: str
    step: int
    groups: Samples
    start: str
    folder: str
    seed: int

    @property
    def samples(self) -> list[Sample]:
        """All samples, group by group."""
        return [one for group in self.groups for one in group]

    @property
    def tokens(self) -> int:
        """How many tokens are learnt from."""
        return sum(len(one.tokens) for one in self.samples)


@dataclass(frozen=True)
class Learnt:
    """What a step did: mean loss, norm of the gradient, KL to the parent (null where not asked).

    Then the policy's mean entropy in nats a token, the tokens learnt from, and seconds. All are
    null or 0 where there was nothing to learn from. `dtype` is that of the base's weights, `device`
    what learnt, in words; both are "" where no weights are.
    """

    loss: float | None = None
    grad_norm: float | None = None
    kl: float | None = None
    entropy: float | None = None
    tokens: int = 0
    seconds: float = 0.0
    dtype: str = ""
    device: str = ""


class Learner(Protocol):
    """Makes the next adapter of a batch. The same batches and seeds give the same adapters."""

    async def start(self) -> None:
        """Load what is needed. Raises LineageError where that fails."""
        ...

    async def learn(self, batch: Batch) -> Learnt:
        """Learn `batch` and leave `batch.folder`; one that is there already is not made again.

        Raises LineageError where that fails; nothing is left behind then.
        """
        ...

    async def close(self) -> None:
        """Stop everything that `start` started; safe to call twice."""
        ...


WARM = "rft"
"""The kind of the first `method.warm_steps` steps."""


def method_at(method: MethodConfig, step: int) -> MethodConfig:
    """Return the method of `step`: the first ones warm up."""
    return method_of(method, WARM if step < method.warm_steps else method.kind)


def method_of(method: MethodConfig, kind: str) -> MethodConfig:
    """Return `method` as it is for steps of `kind`: those of another kind than its own warm up."""
    if kind == method.kind:
        return method
    return replace(
        method,
        kind=kind,
        groups=method.warm_groups,
        temperature=method.warm_temperature,
        learning_rate=method.warm_learning_rate,
        most=method.warm_most,
    )
