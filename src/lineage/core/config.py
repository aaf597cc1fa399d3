"""The typed configuration: one node of `conf/` a class, one key a line, with its bounds and unit.

Nothing is configurable elsewhere. `lineage.compose` composes `conf/` with Hydra and checks it
against these classes. They are values: `dataclasses.replace` makes another one, and checks it.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from lineage.core.config_advise import AdviseConfig as AdviseConfig
from lineage.core.config_agent import AgentConfig as AgentConfig
from lineage.core.config_agent import Opening as Opening
from lineage.core.config_agent import Policy as Policy
from lineage.core.config_engine import EngineConfig, FinetuneConfig, ModelConfig
from lineage.core.config_training import CurriculumConfig as CurriculumConfig
from lineage.core.config_training import MethodConfig as MethodConfig
from lineage.core.config_trajectory import TrajectoryConfig
from lineage.core.fields import NODE, Gpus, Number, Share, Whole, check_place, key, wrong
from lineage.core.names import check_names, check_run_name
from lineage.core.urls import is_url

Correction = Literal["none", "holm", "bh"]


@dataclass(frozen=True, config=NODE)
class ProbeConfig:
    """Probes a generation, by family."""

    same: Whole = key("", "probes a generation", ge=0, le=10_000)
    similar: Whole = key("", "probes a generation", ge=0, le=10_000)
    dissimilar: Whole = key("", "probes a generation", ge=0, le=10_000)


@dataclass(frozen=True, config=NODE)
class ExperimentConfig:
    """What is run: how many paired lineages, and how much each generation works."""

    name: str = key()
    seed: Whole = key("", "seed of every draw", ge=0)
    lineages: Whole = key("paired seeds; each runs every arm", "pairs", ge=1)
    episodes: Whole = key("of work", "episodes a generation", ge=1, le=10_000)
    # None works where it is 0: then the tasks of the world are all for probes of family similar.
    working_generations: Whole | None = key(
        "later ones only inherit and probe; null: all work", "generations", default=None, ge=0
    )
    revisit: Share = key("meet a task of an earlier generation again", "share of the episodes")
    probes: ProbeConfig = key()


@dataclass(frozen=True, config=NODE)
class ArmConfig:
    """One arm; what is null is as the rest of the tree says."""

    receives: str = key("see `lineage.runs.arms`")
    policy: Policy | None = key("handoff policy", default=None)
    migration: str | None = key("", default=None)
    versions: list[str] | None = key("its own schedule, as long as the run's", default=None)
    poisoned: bool = key("see PoisonConfig", default=False)
    without: list[str] | None = key("entries of start.folder that it lacks", "ids", default=None)
    opening: Opening | None = key("how it opens docs; null: as agent.opening", default=None)


@dataclass(frozen=True, config=NODE)
class ArmsConfig:
    """The arms, the one that gains are measured against, and the ceiling."""

    names: list[str] = key()
    baseline: str = key("one of names")
    ceiling: str = key("one of names")
    defined: dict[str, ArmConfig] = key("others receive what they name", factory=dict)

    @model_validator(mode="after")
    def _named(self) -> Self:
        check_names("arms.names", self.names)
        for node, named in (("baseline", self.baseline), ("ceiling", self.ceiling)):
            if named not in self.names:
                raise wrong(f"arms.{node} is {named!r}, which is not among arms.names")
        return self


@dataclass(frozen=True, config=NODE)
class MigrationConfig:
    """What happens to Knowledge when the next version takes over."""

    kind: str = key("verbatim | rewrite | distil | verify | rebuild | none")
    when: Literal["release", "always"] = key("release: at a new version; always: at every one")
    distil_share: Share = key("that distil leaves", "share of the memory budget")
    verify_tasks: Whole = key("that verify tests an entry on", "past tasks", ge=1)


@dataclass(frozen=True, config=NODE)
class PoisonConfig:
    """What is planted in the Knowledge of arms that are `poisoned`."""

    generation: Whole = key("that inherits it first", "counted from 0", ge=0)
    carrier: Literal["memory", "doc"] = key()
    form: Literal["instruction", "fact"] = key()


@dataclass(frozen=True, config=NODE)
class StartConfig:
    """What lineages begin with: nothing, a folder of Markdown, or a fork of another run."""

    folder: str | None = key("or REPO@COMMIT; see `lineage.markdown.folder`", default=None)
    run: str | None = key("fork: the folder of the run", default=None)
    knowledge: str = key("fork: the id of the snapshot", default="")
    pair: Whole = key("fork: the one that goes on", "counted from 0", default=0, ge=0)
    # That the snapshot is from; the next one is the first of the fork.
    generation: Whole = key("fork: that left it", "-1: from the start", default=0, ge=-1)
    allow_drop: bool = key("folder: begin where entries of it would be lost", default=False)
    replays: Literal["commits", "models"] = key(
        "arm replay: snapshots evenly over commits, or over runs of commits by one model",
        default="commits",
    )
    secrets: Literal["redact", "keep"] = key("folder: credentials in it", default="redact")
    history: str | None = key("file of episodes, by lineage advise --history", default=None)
    history_hash: str = key("of what that file holds", default="")


@dataclass(frozen=True, config=NODE)
class ScheduleConfig:
    """The release schedule: the version that serves each generation."""

    versions: list[str] = key("", "name one version a generation", min_length=1)
    trained: dict[str, str] = key("name: parent; trained when first due", factory=dict)

    @model_validator(mode="after")
    def _named(self) -> Self:
        check_names("schedule.trained", self.trained)
        return self


@dataclass(frozen=True, config=NODE)
class RewardConfig:
    """Weights of the handoff reward; see `lineage.core.reward`."""

    same: Number = key("", "weight of a mean score", ge=0)
    similar: Number = key("", "weight of a mean score", ge=0)
    dissimilar: Number = key("", "weight of a mean score", ge=0)
    memory: Number = key("lambda", "price of a whole memory budget", ge=0)
    docs: Number = key("mu", "price of a whole memory budget, read in docs", ge=0)


@dataclass(frozen=True, config=NODE)
class TrainConfig:
    """What `lineage train` makes of which version."""

    name: str = key("of the new version")
    parent: str = key()
    curricula: list[str] = key()
    worlds: Whole = key("that each curriculum works in", "worlds", ge=1)
    episodes: Whole = key("of work", "episodes a generation", ge=1, le=10_000)
    probes: ProbeConfig = key("of each alternative")
    horizon: Whole = key("k: whose probes count for a handoff", "generations", ge=1)
    discount: Share = key("of each next generation", "weight")
    held_out: Whole = key("never trained on, for the reward before and after", "worlds", ge=0)
    log: str | None = key("run to train on; null: the parent works first", default=None)
    workers: Whole | None = key(
        "of the trainer; null: one a GPU, one where there is none", "processes", default=None, ge=1
    )
    gpus: Gpus = key("a worker, where the engines leave some; a fraction shares one", "GPUs", gt=0)

    @model_validator(mode="after")
    def _named(self) -> Self:
        check_names("train.name", (self.name,))
        check_names("train.curricula", self.curricula)
        return self


@dataclass(frozen=True, config=NODE)
class ObjectiveConfig:
    """The figure of a run that a sweeper such as Optuna's is told: one cell of `metrics.json`."""

    metric: str | None = key("null: the gain of inherit over the baseline on same", default=None)
    figure: str = key("column of the metric", default="mean")
    where: dict[str, Any] | None = key("values of columns that tell its row", default=None)


@dataclass(frozen=True, config=NODE)
class LogConfig:
    """The step log and what is computed from it."""

    journal_steps: Whole = key("journalled together: a kill costs fewer", "finished steps", ge=1)
    confidence: Number = key("", "level of an interval", gt=0, lt=1)
    correction: Correction = key("of a table's stars, for there being many", default="none")
    objective: ObjectiveConfig = key(factory=ObjectiveConfig)


@dataclass(frozen=True, config=NODE)
class StorageConfig:
    """How what is at a URL is read and written: `root`, `cache`, and the shelf of `model`."""

    attempts: Whole = key("of each call, then it has failed", "attempts", default=6, ge=1, le=100)
    backoff_s: Number = key("to the second, then doubled", "seconds", default=0.5, ge=0, le=60)
    timeout_s: Number = key("to connect", "seconds", default=10.0, gt=0, le=600)
    every_s: Number = key("between two rounds", "seconds", default=2.0, gt=0, le=3600)
    connections: Whole = key("at the same time", "objects", default=8, ge=1, le=256)
    lease_s: Number = key(
        "that a process which died keeps a URL from others", "seconds", default=30.0, ge=1, le=3600
    )
    copy: str = key("folder that stands for a `cache` that is a URL", default=".cache")

    @model_validator(mode="after")
    def _here(self) -> Self:
        if is_url(self.copy):
            raise wrong("run.storage.copy is a URL: it is the folder that stands for one")
        return self


@dataclass(frozen=True, config=NODE)
class RunConfig:
    """Where and how a run runs; nothing here changes what it logs but its clock columns."""

    name: str | None = key("folder under `root`; null: time and experiment", default=None)
    root: str = key("folder, or URL such as s3://bucket/runs")
    cache: str = key("folder, or URL: what is made once is shared there, by a copy in a folder")
    lineages_in_flight: Whole = key("that work at the same time", "lineages", ge=1)
    shards: Whole | None = key(
        "of its pairs, each in an actor; 1: all in this process; null: that in a Ray of our own, "
        "else one a node (runs of a sweep: all in this process)",
        "shards",
        default=None,
        ge=1,
        le=10_000,
    )
    points_in_flight: Whole = key("of a sweep, at the same time", "runs", default=8, ge=1)
    ray_address: str | None = key("null: a Ray of our own, stopped at the end", default=None)
    ray_timeout_s: Whole = key(
        "until the cluster at ray_address must answer", "seconds", default=60, ge=1, le=3600
    )
    price_hour: Number | None = key(
        "price of this machine, for lineage plan", "an hour, in your currency", default=None, ge=0
    )
    price_million_tokens: Number | None = key(
        "price of so many tokens, for lineage plan", "in your currency", default=None, ge=0
    )
    most_usd: Number | None = key(
        "that models behind an API may cost, by their prices; then the run stops, to be resumed",
        "USD",
        default=None,
        gt=0,
    )
    storage: StorageConfig = key(factory=StorageConfig)

    @model_validator(mode="after")
    def _placed(self) -> Self:
        check_place("run.root", self.root)
        check_place("run.cache", self.cache)
        return self

    @property
    def cache_folder(self) -> str:
        """The folder of the cache: `cache`, or what stands for its URL."""
        return self.storage.copy if is_url(self.cache) else self.cache

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.name is not None:
            check_run_name(self.name)
        return self


@dataclass(frozen=True, config=NODE)
class Config:
    """The whole tree, as `conf/config.yaml` composes it."""

    experiment: ExperimentConfig = key()
    model: ModelConfig = key()
    engine: EngineConfig = key()
    suite: dict[str, Any] = key("its keys are the fields of the class that `_target_` names")
    arms: ArmsConfig = key()
    migration: MigrationConfig = key()
    poison: PoisonConfig = key()
    finetune: FinetuneConfig = key()
    start: StartConfig = key(factory=StartConfig)
    advise: AdviseConfig = key(factory=AdviseConfig)
    schedule: ScheduleConfig = key()
    agent: AgentConfig = key()
    reward: RewardConfig = key()
    train: TrainConfig = key()
    method: MethodConfig = key()
    curricula: dict[str, CurriculumConfig] = key(factory=dict)
    log: LogConfig = key()
    run: RunConfig = key()
    trajectory: TrajectoryConfig | None = key("of lineage trajectory alone", default=None)


TRAINING = ("train", "method", "curricula")
"""The nodes that decide, with those of `IDENTITY`, what a training makes."""
APART = (*TRAINING, "log", "run", "advise", "trajectory")
"""The nodes that do not decide what a run logs."""
IDENTITY = tuple(node.name for node in fields(Config) if node.name not in APART)
"""The nodes that decide what a run logs; of `engine`, only the kind and its own node.

Of vLLM's node that is the precision, and what else is set that may change an answer: see
`lineage.compose.identity`.
"""
