"""The one schema of the step log and of the datasets beside it, with its version.

A run folder holds three Parquet datasets, and that of a training two more:

    steps/arm=<arm>/generation=<g>/<lineage>.parquet      one row a step
    knowledge/arm=<arm>/generation=<g>/<lineage>.parquet  one row a snapshot made there
    worlds/arm=<arm>/generation=<g>/<lineage>.parquet     one row a fact of the lineage's own world
    training/step=<s>.parquet                             one row an alternative of step s
    curve/step=<s>.parquet                                one row: the step itself

`arm` and `generation` are hive partition keys, so they are not inside the files. `step` names a
file, not a folder: it is a column inside it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 4
"""1: no `worlds`, and steps without `facts` and `results`; 2: no `category`, no `turn`, `read`,
`summary` and `judge`; 3: no `tokens`, `logprobs` and `reward_stale`, no `training` and `curve`."""

KINDS = (
    *("read", "search", "open", "turn", "summary", "act", "probe", "judge", "feedback"),
    *("handoff", "edit", "migrate"),
)
"""What a step is. `act` (working) and `probe` are answers and end an episode's acting: in an
environment, each action before the last is a `turn`. `read`: what was given to learn from."""
CLOCK_COLUMNS = ("ended_at", "wall_seconds", "engine_seconds", "cached_tokens")
"""The columns that may differ between two runs of one config: time, and what the cache held."""


@dataclass(frozen=True)
class Step:
    """One row of the step log. Empty strings and nulls mean "does not apply"."""

    run: str  # id of the run: experiment name and config hash
    arm: str
    pair: int  # number of the seed that the arms share
    lineage: str  # one path of generations: pair and arm
    generation: int
    version: str
    phase: str  # migrate | plant | work | handoff | probe | reward
    episode: str
    step: int  # number in the episode
    step_id: str
    kind: str  # one of KINDS
    family: str = ""  # of a probe: same | similar | dissimilar
    world: str = ""
    task: str = ""
    category: str = ""  # the benchmark's own label of the task
    facts: tuple[str, ...] = ()  # keys of the hidden facts that the task asks for
    met: int | None = None  # generation that first met the task; null: never met
    prompt: str = ""
    completion: str = ""
    answer: str = ""  # the right answer
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    memory_tokens: int = 0  # tokens of the memory block in this prompt
    doc_tokens: int = 0  # tokens of docs opened for this prompt
    knowledge_before: str = ""
    knowledge_after: str = ""
    entry: str = ""  # memory or doc: edited, opened, tested, or echoed by the answer
    results: tuple[str, ...] = ()  # of a search: ids found, best first
    detail: str = ""  # edit: operation and outcome; search: query; turn, act: what it led to
    score: float | None = None
    reward: float | None = None
    reward_same: float | None = None
    reward_similar: float | None = None
    reward_dissimilar: float | None = None
    reward_memory: float | None = None
    reward_docs: float | None = None
    reward_stale: float | None = None
    tokens: tuple[int, ...] = ()  # ids of the completion, where a training asked for them
    logprobs: tuple[float, ...] = ()  # of these ids, as the engine sampled them
    finish_reason: str = ""
    seed: int = 0
    error: str = ""
    ended_at: float = 0.0  # seconds since the epoch, at the end of the step
    wall_seconds: float = 0.0
    engine_seconds: float = 0.0


_TYPES: dict[str, pa.DataType] = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "int | None": pa.int64(),
    "float | None": pa.float64(),
    "tuple[str, ...]": pa.list_(pa.string()),
    "tuple[int, ...]": pa.list_(pa.int64()),
    "tuple[float, ...]": pa.list_(pa.float64()),
}
PARTITION = ("arm", "generation")
LISTS = tuple(f.name for f in fields(Step) if str(f.type).startswith("tuple"))

STEP_SCHEMA = pa.schema(
    [pa.field(f.name, _TYPES[str(f.type)]) for f in fields(Step) if f.name not in PARTITION],
    metadata={"lineage.schema_version": str(SCHEMA_VERSION)},
)

KNOWLEDGE_SCHEMA = pa.schema(
    [
        ("knowledge", pa.string()),
        ("parent", pa.string()),
        ("lineage", pa.string()),
        ("pair", pa.int64()),
        ("memories", pa.int64()),
        ("docs", pa.int64()),
        ("content", pa.string()),  # canonical JSON: what the id is the hash of
    ],
    metadata={"lineage.schema_version": str(SCHEMA_VERSION)},
)

WORLD_SCHEMA = pa.schema(
    [
        ("lineage", pa.string()),
        ("pair", pa.int64()),
        ("world", pa.string()),
        ("key", pa.string()),  # stable under drift
        ("value", pa.string()),
        ("text", pa.string()),  # the fact as a sentence that holds the value
    ],
    metadata={"lineage.schema_version": str(SCHEMA_VERSION)},
)

TRAINING_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("kind", pa.string()),  # rft | grpo
        ("curriculum", pa.string()),
        ("group", pa.string()),  # what the alternatives branch from
        ("alternative", pa.int64()),
        ("version", pa.string()),  # that wrote it
        ("episode", pa.string()),  # prefix of its episodes in `steps`
        ("world", pa.string()),
        ("reward", pa.float64()),
        ("reward_same", pa.float64()),
        ("reward_similar", pa.float64()),
        ("reward_dissimilar", pa.float64()),
        ("reward_memory", pa.float64()),
        ("reward_docs", pa.float64()),
        ("reward_stale", pa.float64()),
        ("advantage", pa.float64()),
        ("learnt", pa.bool_()),  # whether a sample of it was learnt from
        ("memory_tokens", pa.int64()),  # that the successor's prompt holds
        ("completion_tokens", pa.int64()),  # of its decisions together
        ("entropy", pa.float64()),  # nats a token: mean of -logprob as sampled
        ("copied", pa.float64()),  # share of the memories' word triples that the history shows
        ("density", pa.float64()),  # facts recoverable from the memories, per 100 tokens
        ("staleness", pa.float64()),  # share of memories that contradict the world
        ("opened", pa.string()),  # episode: needed | vain | missed | spared, "" for none
        ("error", pa.string()),
    ],
    metadata={"lineage.schema_version": str(SCHEMA_VERSION)},
)

CURVE_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("kind", pa.string()),
        ("version", pa.string()),  # that was sampled from
        ("samples", pa.int64()),  # that were learnt from
        ("tokens_learnt", pa.int64()),
        ("tokens_generated", pa.int64()),  # by sampled decisions and by probes
        ("loss", pa.float64()),
        ("grad_norm", pa.float64()),
        ("kl", pa.float64()),
        ("entropy", pa.float64()),  # of the policy while learning, nats a token
        ("seconds_generate", pa.float64()),
        ("seconds_probe", pa.float64()),
        ("seconds_learn", pa.float64()),
        ("seconds_sync", pa.float64()),  # until the engine serves the new adapter
        ("seconds", pa.float64()),  # the whole step
    ],
    metadata={"lineage.schema_version": str(SCHEMA_VERSION)},
)


def step_id(run: str, lineage: str, generation: int, episode: str, step: int) -> str:
    """Return the id of a step: a function of where it stands, never of when it ran."""
    return f"{run}/{lineage}/g{generation:02d}/{episode}/s{step:02d}"


def clean(text: str) -> str:
    """Return `text` such that it can be stored as UTF-8: lone surrogates become "?"."""
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def table(steps: list[Step]) -> pa.Table:
    """Return `steps` as one table of `STEP_SCHEMA`, sorted by step id."""
    ordered = sorted(steps, key=lambda step: step.step_id)
    columns: dict[str, list[Any]] = {name: [] for name in STEP_SCHEMA.names}
    for step in ordered:
        for name, column in columns.items():
            value = getattr(step, name)
            column.append(clean(value) if isinstance(value, str) else value)
    return pa.table(columns, schema=STEP_SCHEMA)
