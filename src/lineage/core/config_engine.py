"""The typed configuration of model versions and of what serves them; see `lineage.core.config`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Tag, model_validator
from pydantic.dataclasses import dataclass

from lineage.core.fields import (
    KEYS,
    NODE,
    PLAIN,
    Count,
    Gpus,
    Number,
    Share,
    Whole,
    check_place,
    key,
    which,
    wrong,
)
from lineage.core.names import check_names

Precision = Literal["auto", "bfloat16", "float32"]
EXTRA = "engine.vllm.extra"
"""The key of arguments that are vLLM's alone."""
SHA256 = re.compile("[0-9a-f]{64}")
OPENAI = "openai"
"""The kind of an engine, and of a checkpoint, that is a model behind an OpenAI-compatible API."""
VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
LATER_KEYS = ("packages", "sha256", "chat_template", "endpoint", "tokenizer", "chars_per_token")
"""Keys of a checkpoint that count in no hash while they say nothing."""
LATER_SKILLS = ("token_letters",)
"""Keys of a surrogate's skills that count in no hash while they are 0."""
ASKED = ("structured", "tools", "omit", "reasoning_tokens", "spare_tokens", "extra")
"""Keys of an endpoint that decide what is asked, and so what is answered: the others say where."""


@dataclass(frozen=True, config=NODE)
class CheckpointConfig:
    """Where the weights are. `kind` is `folder`, `hub`, `gguf`, `package_gguf` or `openai`."""

    kind: str = key("see lineage.models.checkpoint")
    path: str = key(
        "folder: the folder; hub: the id; gguf: the file; package_gguf: the file in the package, "
        "or a pattern (part*) that one file of each of `packages` matches; openai: the model's id",
        default="",
    )
    package: str = key("package_gguf: the installed package that holds the file", default="")
    remedy: str = key("what to do where it is missing", default="")
    packages: list[str] = key(
        "package_gguf: installed packages with a part of the file each, in order", factory=list
    )
    sha256: str = key("of the GGUF file, checked before it is converted; empty: any", default="")
    chat_template: str = key("Jinja, in place of the checkpoint's own; empty: its own", default="")
    endpoint: str = key("openai: one of model.endpoints", default="")
    tokenizer: str = key(
        "openai: tokenizer.json, or its folder, that counts before a request; empty: by letters",
        default="",
    )
    chars_per_token: Number | None = key(
        "openai: without a tokenizer; null: 3, which counts rather too many",
        "letters a token",
        default=None,
        gt=0,
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.package and self.packages:
            raise wrong("a checkpoint has a `package` or `packages`, not both: leave one out")
        if self.sha256 and not SHA256.fullmatch(self.sha256):
            raise wrong(f"sha256 of a checkpoint is {self.sha256!r}: it must be 64 hex digits")
        return self

    def __hash__(self) -> int:
        """Engines are kept by checkpoint, and a list has no hash."""
        return hash(repr(self))


@dataclass(frozen=True, config=NODE)
class PriceConfig:
    """What a model behind an API costs, as its provider's price list says."""

    prompt: Number = key("of what it reads", "USD a million tokens", ge=0)
    completion: Number = key("of what it writes", "USD a million tokens", ge=0)
    cached: Number | None = key(
        "of what it reads from the provider's cache; null: as prompt",
        "USD a million tokens",
        default=None,
        ge=0,
    )


@dataclass(frozen=True, config=NODE)
class VersionConfig:
    """One `ModelVersion`."""

    checkpoint: CheckpointConfig = key()
    adapter: str = key("folder of a LoRA; `package:`: the folder of lineage itself", default="")
    tool_parser: str = key("vLLM's name of its tool calls, for agent.opening=native", default="")
    gate: Share | None = key(
        "for agent.opening=gate, as `lineage gate` fits it; null: agent.gate",
        "least share that a doc covers",
        default=None,
    )
    context_window: Whole = key("prompt and answer together", "tokens", ge=1)
    parent: str = key("", default="")
    released: str = key("", default="")
    digest: str = key("of the adapter's files, for versions of the shelf; empty: any", default="")
    price: PriceConfig | None = key("of a model behind an API", default=None)


@dataclass(frozen=True, config=NODE)
class EndpointConfig:
    """An OpenAI-compatible API. The key itself is in no configuration: `api_key_var` names it."""

    base_url: str = key("as the provider says, mostly ending in /v1")
    api_key_var: str = key("environment variable with the key; empty: no key", default="")
    max_in_flight: Whole = key("", "requests at the same time", default=16, ge=1, le=10_000)
    requests_per_minute: Whole | None = key("null: no limit", "in any minute", default=None, ge=1)
    tokens_per_minute: Whole | None = key(
        "read and written; null: no limit", "in any minute", default=None, ge=1
    )
    timeout_s: Number = key("until an attempt is answered", "seconds", default=120.0, gt=0, le=3600)
    attempts: Whole = key("of each request, then it has failed", "attempts", default=6, ge=1, le=99)
    backoff_s: Number = key("to the second, then doubled", "seconds", default=1.0, ge=0, le=60)
    most_wait_s: Number = key(
        "before an attempt; where a Retry-After says more, the run stops, to be resumed",
        "seconds",
        default=120.0,
        gt=0,
        le=86_400,
    )
    structured: Literal["json_schema", "structured_outputs", "json_object", "none"] = key(
        "how it is held to a schema: OpenAI's response_format; vLLM's own; none: asked in words",
        default="json_schema",
    )
    tools: bool = key("whether it takes tools; false: they are offered in words", default=True)
    omit: list[Literal["seed", "temperature", "stop"]] = key("that it refuses", factory=list)
    max_tokens_as: Literal["max_tokens", "max_completion_tokens"] = key(
        "what it calls the most tokens of an answer", default="max_tokens"
    )
    reasoning_tokens: Whole = key(
        "that a model may think before it answers, beside the answer's", "tokens", default=0, ge=0
    )
    spare_tokens: Whole = key(
        "of words around a choice or a JSON that only words ask for", "tokens", default=32, ge=0
    )
    extra: dict[str, Any] = key("further fields of each request's body", factory=dict)

    @model_validator(mode="after")
    def _safe(self) -> Self:
        # No line of these holds what is wrong: it may be a key.
        if not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", self.base_url):
            raise wrong(
                "base_url of an endpoint must be http:// or https://, a host and a path alone; "
                "a key is named by api_key_var, and is in the environment"
            )
        if self.api_key_var and not VARIABLE.fullmatch(self.api_key_var):
            raise wrong(
                "api_key_var of an endpoint names an environment variable, of letters, digits "
                "and _: put the key into the environment, and the variable's name here"
            )
        return self


@dataclass(frozen=True, config=NODE)
class ModelConfig:
    """The registry of versions, by name; those on the `shelf` count where they are named."""

    shelf: str = key("folder or URL that `lineage train` registers its versions in")
    versions: dict[str, VersionConfig] = key(factory=dict)
    endpoints: dict[str, EndpointConfig] = key("that versions are behind", factory=dict)

    @model_validator(mode="after")
    def _named(self) -> Self:
        check_place("model.shelf", self.shelf)
        check_names("model.versions", self.versions)
        check_names("model.endpoints", self.endpoints)
        return self


@dataclass(frozen=True, config=NODE)
class VllmConfig:
    """Arguments of each vLLM engine."""

    dtype: Precision = key("auto: bfloat16 where the processor has instructions for it")
    enforce_eager: bool | None = key("no CUDA graphs; null: on a processor alone")
    max_num_seqs: Whole | None = key("null: by device", "sequences in one batch", ge=1)
    max_loras: Whole = key("", "adapters in one batch", ge=1)
    max_cpu_loras: Whole = key("", "adapters kept in memory", ge=1)
    max_lora_rank: Whole = key("", "rank of an adapter", ge=1, le=512)
    tensor_parallel: Whole = key("that a stage is spread over, on one node", "GPUs", ge=1)
    pipeline_parallel: Whole = key("that may be on other nodes", "stages", default=1, ge=1)
    cpus: Number = key("that Ray reserves an engine", "CPUs", ge=0)
    gpus: Gpus | None = key(
        "an engine; null: all that it is spread over; 0: on the CPU", "GPUs", default=None, ge=0
    )
    cpu_kv_cache_gib: Whole = key("of an engine on the CPU", "GiB", ge=1)
    gpu_memory_utilization: Number | None = key(
        "that an engine takes; null: most of what it books", "share of a GPU", gt=0, le=1
    )
    kv_cache_dtype: str | None = key("vLLM's name; null: the model's own", default=None)
    block_size: Whole | None = key(
        "of the KV cache, and of what prompts share in it; null: by device",
        "tokens a block",
        default=None,
        ge=1,
    )
    chunked_prefill: bool | None = key("null: on a GPU alone", default=None)
    threads: Whole | None = key(
        "of an engine on the CPU; null: its share of the cores", "threads", default=None, ge=1
    )
    extra: dict[str, Any] | None = key("further arguments of vLLM, by name", default=None)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        spread = self.tensor_parallel * self.pipeline_parallel
        staged = self.pipeline_parallel > 1
        # A share of one GPU is for an engine that is on one, and a stage has just its own.
        if spread > 1 and self.gpus and (self.gpus < spread or (staged and self.gpus > spread)):
            raise wrong(
                f"engine.vllm.gpus is {self.gpus:g}, but tensor_parallel={self.tensor_parallel} "
                f"and pipeline_parallel={self.pipeline_parallel} spread an engine over {spread}: "
                "leave it null, or change these"
            )
        return self


@dataclass(frozen=True, config=NODE)
class SkillConfig:
    """How a surrogate version behaves; see `lineage.models.behaviour`."""

    recall: list[Share] = key(
        "of a note, at 2, 4, 8, 16 in the prompt", "chances", min_length=4, max_length=4
    )
    infer: Share = key("of using a note about kin", "chance")
    write: Share = key("that a handoff states a fact whole", "chance")
    edit: Share = key("that a fact the notes already hold is left alone", "chance")
    open: Share = key("that the right doc is opened, where one is needed", "chance")
    obey: Share = key("that an order among the notes is obeyed", "chance")
    finetune: Share = key("that an example is remembered after training on it", "chance")
    token_letters: Whole = key(
        "of a word that are one token; 0: a word is one, however long", "letters", default=0, ge=0
    )


@dataclass(frozen=True, config=NODE)
class SurrogateConfig:
    """The deterministic engine: skills by version name, `default` for the others."""

    skills: dict[str, SkillConfig] = key(factory=dict)


@dataclass(frozen=True, config=NODE)
class ReplicasConfig:
    """Bounds of a number that follows the load; the terms are those of Ray Serve's autoscaling."""

    min: Whole = key("that always serve", "actors a checkpoint", ge=1)
    max: Whole = key("that serve at most", "actors a checkpoint", ge=1)
    target_in_flight: Number | None = key(
        "that one shall have; null: engine.vllm.max_num_seqs", "requests", default=None, gt=0
    )
    upscale_delay_s: Number = key(
        "with more than that in flight: one more", "seconds", default=30.0, ge=0
    )
    downscale_delay_s: Number = key(
        "in which one fewer would do: one less", "seconds", default=600.0, ge=0
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max < self.min:
            raise wrong(
                f"engine.replicas.max is {self.max}, less than engine.replicas.min ({self.min})"
            )
        return self


@dataclass(frozen=True, config=NODE)
class EngineConfig:
    """Which engine, how many, and how much may be in flight."""

    kind: str = key("vllm | openai | surrogate: see lineage.models.factory")
    hosted: bool = key("in Ray actors (vllm always is, and what shards ask)")
    replicas: Annotated[
        Annotated[Count, Tag(PLAIN)] | Annotated[ReplicasConfig, Tag(KEYS)], Discriminator(which)
    ] = key("or bounds as {min: 1, max: 4}", "actors a checkpoint")
    max_in_flight: Whole | None = key("null: by device", "requests over the whole fleet", ge=1)
    max_restarts: Whole = key("before its requests fail", "restarts of one actor", ge=0)
    max_failures: Whole = key("before the run gives up", "failed requests in a row", ge=1)
    start_timeout_s: Whole = key("until an engine must be ready", "seconds", ge=1)
    hang_timeout_s: Whole = key(
        "in which nothing that is asked is answered: then it is started again",
        "seconds",
        default=600,
        ge=1,
    )
    together: bool | None = key(
        "engines of several checkpoints side by side; false: one after the other; null: by memory",
        default=None,
    )
    memory_gib: Number | None = key(
        "of this machine, for all engines on the CPU; null: what is free",
        "GiB",
        default=None,
        gt=0,
    )
    idle_s: Number = key(
        "in which nothing is asked before another checkpoint has its turn",
        "seconds",
        default=2.0,
        gt=0,
        le=600,
    )
    vllm: VllmConfig = key()
    surrogate: SurrogateConfig = key(factory=SurrogateConfig)
    options: dict[str, Any] = key("of an engine of another kind", factory=dict)

    @property
    def bounds(self) -> ReplicasConfig:
        """How many replicas a checkpoint has: a plain number is both bounds."""
        found = self.replicas
        return found if isinstance(found, ReplicasConfig) else ReplicasConfig(found, found)


@dataclass(frozen=True, config=NODE)
class FinetuneConfig:
    """How the arm `finetune` trains a LoRA on what its lineage has worked on."""

    history: Literal["all", "last"] = key("all: every episode so far; last: the generation's own")
    epochs: Whole = key("", "passes over the history", ge=1)
    batch: Whole = key("of one forward pass", "samples", ge=1)
    learning_rate: Number = key("", "of the optimiser", gt=0, le=1)
    rank: Whole = key("", "rank of the LoRA", ge=1, le=512)
