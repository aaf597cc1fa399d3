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
    working_generations: int | None = None  # later ones only inherit and probe; null: all work
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
    tool_parser: str = ""  # vLLM's name of its tool-call format, for agent.opening=native
    context_window: int = MISSING  # tokens
    parent: str = ""
    released: str = ""
    digest: str = ""  # of the adapter's files: versions of the shelf have it; "" is not checked


@dataclass
class ModelConfig:
    """The registry of versions, by name; those on the `shelf` count where they are named."""

    shelf: str = MISSING  # folder that `lineage train` registers its versions in
    versions: dict[str, VersionConfig] = field(default_factory=dict)


@dataclass
class VllmConfig:
    """Arguments of each vLLM engine."""

    dtype: str = MISSING  # auto, bfloat16 or float32
    enforce_eager: bool = MISSING
    max_num_seqs: int = MISSING
    max_loras: int = MISSING  # adapters in one batch
    max_cpu_loras: int = MISSING  # adapters kept in memory
    max_lora_rank: int = MISSING
    tensor_parallel: int = MISSING
    cpus: float = MISSING  # CPUs that Ray reserves an engine
    gpus: float | None = None  # GPUs an engine; null: tensor_parallel where Ray has GPUs, else 0
    cpu_kv_cache_gib: int = MISSING
    gpu_memory_utilization: float = MISSING
    threads: int | None = None  # of an engine on the CPU; null: one a core


@dataclass
class SkillConfig:
    """How a surrogate version behaves; see `lineage.models.surrogate`."""

    recall: list[float] = MISSING  # recall of a note at 2, 4, 8 and 16 notes in the prompt
    infer: float = MISSING  # chance of using a note about kin
    write: float = MISSING  # chance that a handoff states a fact whole
    edit: float = MISSING  # chance that a fact the notes already hold is left alone
    open: float = MISSING  # chance that the right doc is opened, where one is needed
    obey: float = MISSING  # chance that an order among the notes is obeyed
    finetune: float = MISSING  # chance that an example is remembered after training on it


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
class ArmConfig:
    """One arm; what is null is as the rest of the tree says."""

    receives: str = MISSING  # see `lineage.succession.arms`
    policy: str | None = None  # handoff policy
    migration: str | None = None
    versions: list[str] | None = None  # its own schedule, as long as the run's
    poisoned: bool = False  # see PoisonConfig


@dataclass
class ArmsConfig:
    """The arms, the one that gains are measured against, and the ceiling."""

    names: list[str] = MISSING
    baseline: str = MISSING
    ceiling: str = MISSING
    defined: dict[str, ArmConfig] = field(default_factory=dict)  # others receive what they name


@dataclass
class MigrationConfig:
    """What happens to Knowledge when the next version takes over."""

    kind: str = MISSING  # verbatim | rewrite | distil | verify | rebuild | none
    when: str = MISSING  # release: where the version changes; always: at every generation
    distil_share: float = MISSING  # of the memory budget, that distil leaves
    verify_tasks: int = MISSING  # past tasks that verify tests an entry on


@dataclass
class PoisonConfig:
    """What is planted in the Knowledge of arms that are `poisoned`."""

    generation: int = MISSING  # the generation that inherits it first
    carrier: str = MISSING  # memory | doc
    form: str = MISSING  # instruction | fact


@dataclass
class FinetuneConfig:
    """How the arm `finetune` trains a LoRA on what its lineage has worked on."""

    history: str = MISSING  # all: every episode so far; last: the generation's own
    epochs: int = MISSING
    batch: int = MISSING
    learning_rate: float = MISSING
    rank: int = MISSING


@dataclass
class StartConfig:
    """What lineages begin with: nothing, a folder of Markdown, or a fork of another run."""

    folder: str | None = None  # see `lineage.transfer`
    run: str | None = None  # fork: the folder of the run
    knowledge: str = ""  # fork: the id of the snapshot
    pair: int = 0  # fork: the pair that goes on
    generation: int = 0  # fork: the generation that left the snapshot; the next one is the first


@dataclass
class ScheduleConfig:
    """The release schedule: the version that serves each generation."""

    versions: list[str] = MISSING
    trained: dict[str, str] = field(default_factory=dict)  # name: parent; trained when first due


@dataclass
class AgentConfig:
    """How an instance works and hands over."""

    memory_budget: int = MISSING  # tokens of the memory block, by the version's own tokenizer
    memory_chars: int = MISSING  # longest memory
    episodes_per_handoff: int = MISSING
    wrong_answers: bool = MISSING  # show answers that were wrong when handing over
    edits_per_episode: int = MISSING  # edits a handoff may propose for each of its episodes
    compress_edits: int = MISSING  # edits that a request to compress may propose
    rewrite_notes: int = MISSING  # policy rewrite-all: most notes it may write
    rewrite_tokens: int = MISSING  # policy rewrite-all: longest list
    policy: str = MISSING  # handoff policy: append | edit | rewrite-all
    docs: bool = MISSING  # write and open docs
    episodes_per_doc: int = MISSING
    doc_title_chars: int = MISSING
    doc_body_chars: int = MISSING
    doc_line_chars: int = MISSING
    doc_tokens: int = MISSING  # longest body, by the version's own tokenizer
    docs_opened: int = MISSING  # at most, in one episode
    search_results: int = MISSING  # docs that a search offers
    ranking: str = MISSING  # bm25 | dense
    embedding_model: str | None = None  # dense: folder of a sentence-transformers model
    opening: str = MISSING  # first: the best are opened; choice: it picks; native: by tool calls
    transcript_tokens: int = MISSING  # of past episodes in the prompt of arm transcript
    retrieved_episodes: int = MISSING  # in the prompt of arm retrieval
    act_tokens: int = MISSING  # longest answer or action
    turns: int = MISSING  # most actions of an episode in an environment
    episode_tokens: int = MISSING  # and the tokens they may take together
    observation_chars: int = MISSING  # longest text that an environment shows at once
    history_tokens: int = MISSING  # of an episode's own turns, or of a text to learn from
    summary_tokens: int = MISSING  # what is over that is summed up in so many
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
class CurriculumConfig:
    """Histories of one kind, for one behaviour, and how often a training step draws them."""

    trains: str = MISSING  # handoff: what is written; episode: what is opened and answered
    share: float = MISSING  # of a step's groups, relative to the other curricula
    generations: int = MISSING  # of work in one world; each one's handoff is a history
    revisit: float = MISSING  # share of a generation's episodes that meet an earlier task again
    drift: float = MISSING  # chance a generation that a fact changes, where the suite has that
    docs: bool = MISSING  # whether docs are written and read
    opening: str = MISSING  # as agent.opening
    library: str = MISSING  # episode: what is read. own: the history's; ideal: made of the facts
    stale: float = MISSING  # handoff: price of memories that contradict the world


@dataclass
class MethodConfig:
    """How a training step learns."""

    kind: str = MISSING  # grpo | rft
    warm_steps: int = MISSING  # first steps that are rft's, whatever the kind
    steps: int = MISSING  # warm ones included
    groups: int = MISSING  # a step
    warm_groups: int = MISSING  # a warm step of grpo
    group: int = MISSING  # G: alternatives that branch from one snapshot
    temperature: float = MISSING  # of what is sampled
    warm_temperature: float = MISSING  # the same in the warm steps of grpo
    learning_rate: float = MISSING
    warm_learning_rate: float = MISSING  # as warm_temperature
    epochs: int = MISSING  # rft: passes over what was chosen
    most: int = MISSING  # samples that one step learns from, at most
    warm_most: int = MISSING  # the same of a warm step
    batch: int = MISSING  # samples of one forward pass
    rank: int = MISSING  # of the LoRA
    beta: float = MISSING  # grpo: weight of the KL divergence to the parent
    clip: float = MISSING  # grpo: how far a token's probability ratio may move
    dtype: str = MISSING  # of the base weights, as in engine.vllm; the adapter learns in float32


@dataclass
class TrainConfig:
    """What `lineage train` makes of which version."""

    name: str = MISSING  # of the new version
    parent: str = MISSING
    curricula: list[str] = MISSING
    worlds: int = MISSING  # that each curriculum works in
    episodes: int = MISSING  # of work a generation
    probes: ProbeConfig = field(default_factory=ProbeConfig)  # of each alternative
    horizon: int = MISSING  # k: generations whose probes count for a handoff
    discount: float = MISSING  # weight of each next one
    held_out: int = MISSING  # worlds, never trained on, for the reward before and after
    log: str | None = None  # folder of a run to train on; null: the parent works first
    workers: int | None = None  # of the trainer; null: one a GPU, one where there is none
    gpus: float = MISSING  # of a worker, where the engines leave some; a fraction shares one


@dataclass
class LogConfig:
    """The step log and what is computed from it."""

    journal_steps: int = MISSING  # finished steps that are journalled together: a kill costs fewer
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
    suite: dict[str, Any] = MISSING  # its keys are the fields of the class that `_target_` names
    arms: ArmsConfig = field(default_factory=ArmsConfig)
    migration: MigrationConfig = field(default_factory=MigrationConfig)
    poison: PoisonConfig = field(default_factory=PoisonConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    start: StartConfig = field(default_factory=StartConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    curricula: dict[str, CurriculumConfig] = field(default_factory=dict)
    log: LogConfig = field(default_factory=LogConfig)
    run: RunConfig = field(default_factory=RunConfig)


IDENTITY = (
    "experiment",
    "model",
    "engine",
    "suite",
    "arms",
    "migration",
    "poison",
    "finetune",
    "start",
    "schedule",
    "agent",
    "reward",
)
"""The nodes that decide what a run logs; of `engine`, only the kind and its own node."""

TRAINING = ("train", "method", "curricula")
"""The nodes that decide, with the others, what a training makes."""

Tree = dict[str, Any]
