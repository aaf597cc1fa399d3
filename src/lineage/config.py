"""The typed configuration: one dataclass a node of `conf/`, and nothing configurable elsewhere.

`lineage.conf` composes `conf/` with Hydra and checks it against these classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class ProbeConfig:
    """Probes a generation, by family."""

    same: int = MISSING
    similar: int = MISSING
    dissimilar: int = MISSING


@dataclass
class ExperimentConfig:
    """What is run: how many paired lineages, and how much each generation works."""

    name: str = MISSING
    seed: int = MISSING
    lineages: int = MISSING  # paired seeds; each runs every arm
    episodes: int = MISSING  # working episodes a generation
    revisit: float = MISSING  # share of them that meet a task of an earlier generation again
    probes: ProbeConfig = field(default_factory=ProbeConfig)


@dataclass
class CheckpointConfig:
    """Where the weights are. `kind` is `folder`, `hub` or `package_gguf`."""

    kind: str = MISSING
    path: str = ""  # folder: the folder; hub: the id; package_gguf: the file in the package
    package: str = ""  # package_gguf: the installed package that holds the file
    remedy: str = ""  # what to do where it is missing


@dataclass
class VersionConfig:
    """One `ModelVersion`."""

    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    adapter: str = ""  # folder of a LoRA; `package:` stands for the folder of `lineage` itself
    context_window: int = MISSING  # tokens
    parent: str = ""
    released: str = ""


@dataclass
class ModelConfig:
    """The registry of versions, by name."""

    versions: dict[str, VersionConfig] = field(default_factory=dict)


@dataclass
class VllmConfig:
    """Arguments of each vLLM engine."""

    dtype: str = MISSING
    enforce_eager: bool = MISSING
    max_num_seqs: int = MISSING
    max_loras: int = MISSING
    max_lora_rank: int = MISSING
    tensor_parallel: int = MISSING
    cpus: float = MISSING  # CPUs that Ray reserves an engine
    gpus: float | None = None  # GPUs an engine; null: tensor_parallel where Ray has GPUs, else 0
    cpu_kv_cache_gib: int = MISSING
    gpu_memory_utilization: float = MISSING
    threads: int | None = None  # OpenMP threads on the CPU; null: all cores


@dataclass
class SkillConfig:
    """How a surrogate version behaves; see `lineage.models.surrogate`."""

    recall: list[float] = MISSING  # recall of a note at 2, 4, 8 and 16 notes in the prompt
    infer: float = MISSING  # chance of using a note about kin
    write: float = MISSING  # chance that a handoff states a fact whole
    edit: float = MISSING  # chance that a fact the notes already hold is left alone
    open: float = MISSING  # chance that the right doc is opened


@dataclass
class SurrogateConfig:
    """The deterministic engine: skills by version name, `default` for the others."""

    skills: dict[str, SkillConfig] = field(default_factory=dict)


@dataclass
class EngineConfig:
    """Which engine, how many, and how much may be in flight."""

    kind: str = MISSING  # vllm | surrogate
    hosted: bool = MISSING  # in Ray actors (vllm always is)
    replicas: int = MISSING  # actors a checkpoint
    max_in_flight: int = MISSING  # requests, over the whole fleet
    max_restarts: int = MISSING  # of one actor, before its requests fail
    max_failures: int = MISSING  # failed requests in a row, before the run gives up
    start_timeout_s: int = MISSING
    vllm: VllmConfig = field(default_factory=VllmConfig)
    surrogate: SurrogateConfig = field(default_factory=SurrogateConfig)


@dataclass
class SuiteConfig:
    """A suite and its difficulty."""

    name: str = "codebook"
    kinds: int = 4
    machines_per_kind: int = 6
    code_digits: int = 4
    difficulty: int = 1  # rule attributes a machine has: 1 zone, 2 zone and key
    drift: float = 0.0  # chance a generation that a fact changes


@dataclass
class ArmsConfig:
    """The arms, the one that gains are measured against, and the ceiling."""

    names: list[str] = MISSING
    baseline: str = MISSING
    ceiling: str = MISSING


@dataclass
class MigrationConfig:
    """What happens to Knowledge when the next version takes over."""

    kind: str = MISSING


@dataclass
class ScheduleConfig:
    """The release schedule: the version that serves each generation."""

    versions: list[str] = MISSING


@dataclass
class AgentConfig:
    """How an instance works and hands over."""

    memory_budget: int = MISSING  # tokens of the memory block, by the version's own tokenizer
    memory_chars: int = MISSING  # longest memory
    episodes_per_handoff: int = MISSING
    wrong_answers: bool = MISSING  # show answers that were wrong when handing over
    edits_per_episode: int = MISSING  # edits a handoff may propose for each of its episodes
    compress_edits: int = MISSING  # edits that a request to compress may propose
    docs: bool = MISSING  # write and open docs
    doc_title_chars: int = MISSING
    doc_body_chars: int = MISSING
    act_tokens: int = MISSING
    edit_tokens: int = MISSING  # longest single edit
    document_tokens: int = MISSING
    temperature: float = MISSING


@dataclass
class RewardConfig:
    """Weights of the handoff reward; see `lineage.reward`."""

    same: float = MISSING
    similar: float = MISSING
    dissimilar: float = MISSING
    memory: float = MISSING  # lambda
    docs: float = MISSING  # mu


@dataclass
class LogConfig:
    """The step log and what is computed from it."""

    journal_steps: int = MISSING  # finished steps that may wait before they are made durable
    bootstrap: int = MISSING  # resamples of an interval
    confidence: float = MISSING


@dataclass
class RunConfig:
    """Where and how a run runs; nothing here changes what it logs but its clock columns."""

    name: str | None = None  # folder under `root`; null: time and experiment
    root: str = MISSING
    cache: str = MISSING
    lineages_in_flight: int = MISSING
    ray_address: str | None = None  # null: a Ray of our own, stopped at the end


@dataclass
class Config:
    """The whole tree, as `conf/config.yaml` composes it."""

    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    suite: SuiteConfig = field(default_factory=SuiteConfig)
    arms: ArmsConfig = field(default_factory=ArmsConfig)
    migration: MigrationConfig = field(default_factory=MigrationConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    log: LogConfig = field(default_factory=LogConfig)
    run: RunConfig = field(default_factory=RunConfig)


IDENTITY = (
    "experiment",
    "model",
    "engine",
    "suite",
    "arms",
    "migration",
    "schedule",
    "agent",
    "reward",
)
"""The nodes that decide what a run logs; of `engine`, only the kind and its own node."""

Tree = dict[str, Any]
