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

from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pyarrow as pa

from lineage.core.plaintext import clean

SCHEMA_VERSION = 1
VERSION_KEY = "lineage.schema"
"""Of a file's metadata: its schema's version. Files without it are of the first one."""

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

    run: Annotated[str, "id of the run: experiment name and config hash"]
    arm: Annotated[str, "what successors receive"]
    pair: Annotated[int, "number of the seed that the arms share"]
    lineage: Annotated[str, "one path of generations: pair and arm"]
    generation: Annotated[int, "number of the tenure, from 0"]
    version: Annotated[str, "name of the model version that was asked"]
    phase: Annotated[str, "migrate | plant | work | handoff | probe | reward"]
    episode: Annotated[str, "name of the episode in its generation"]
    step: Annotated[int, "number in the episode"]
    step_id: Annotated[str, "id of the step, a function of where it stands"]
    kind: Annotated[str, "what it is: act, probe, handoff, edit ... (KINDS in schema.py)"]
    family: Annotated[str, "of a probe: same | similar | dissimilar"] = ""
    world: Annotated[str, "id of the world that the task is of"] = ""
    task: Annotated[str, "id of the task"] = ""
    category: Annotated[str, "the benchmark's own label of the task"] = ""
    facts: Annotated[tuple[str, ...], "keys of the hidden facts that the task asks for"] = ()
    met: Annotated[int | None, "generation that first met the task; null: never met"] = None
    prompt: Annotated[str, "all that the model was given, as text"] = ""
    completion: Annotated[str, "all that it wrote"] = ""
    answer: Annotated[str, "the right answer"] = ""
    prompt_tokens: Annotated[int, "tokens of the prompt, by the version's own tokenizer"] = 0
    completion_tokens: Annotated[int, "tokens of the completion"] = 0
    cached_tokens: Annotated[int, "tokens of the prompt that the prefix cache held"] = 0
    memory_tokens: Annotated[int, "tokens of the memory block in this prompt"] = 0
    doc_tokens: Annotated[int, "tokens of docs opened for this prompt"] = 0
    knowledge_before: Annotated[str, "id of the Knowledge before the step"] = ""
    knowledge_after: Annotated[str, "id of the Knowledge after the step"] = ""
    entry: Annotated[str, "memory or doc: edited, opened, tested, or echoed by the answer"] = ""
    results: Annotated[tuple[str, ...], "of a search: ids found, best first"] = ()
    detail: Annotated[
        str, "edit: operation and outcome; search: query; turn, act: what it led to"
    ] = ""
    score: Annotated[
        float | None, "of an answer, 0 to 1; null: not scored, or engine or suite failed"
    ] = None
    reward: Annotated[float | None, "of a handoff: the sum of its parts"] = None
    reward_same: Annotated[float | None, "its part for probes of family same, weighted"] = None
    reward_similar: Annotated[
        float | None, "its part for probes of family similar, weighted"
    ] = None
    reward_dissimilar: Annotated[
        float | None, "its part for probes of family dissimilar, weighted"
    ] = None
    reward_memory: Annotated[
        float | None, "its part for the length of the memories: 0 or less"
    ] = None
    reward_docs: Annotated[float | None, "its part for doc tokens read: 0 or less"] = None
    reward_stale: Annotated[
        float | None, "its part for memories that contradict the world: 0 or less"
    ] = None
    tokens: Annotated[
        tuple[int, ...], "ids of the completion, where a training asked for them"
    ] = ()
    logprobs: Annotated[tuple[float, ...], "of these ids, as the engine sampled them"] = ()
    finish_reason: Annotated[
        str, "why the engine stopped writing; overlong: the prompt did not fit"
    ] = ""
    seed: Annotated[int, "of the request"] = 0
    error: Annotated[str, "what went wrong; empty: nothing"] = ""
    ended_at: Annotated[float, "seconds since the epoch, at the end of the step"] = 0.0
    wall_seconds: Annotated[float, "from asking to having the answer"] = 0.0
    engine_seconds: Annotated[float, "of these, in the engine"] = 0.0


Columns = tuple[tuple[str, pa.DataType, str], ...]

_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    int | None: pa.int64(),
    float | None: pa.float64(),
    tuple[str, ...]: pa.list_(pa.string()),
    tuple[int, ...]: pa.list_(pa.int64()),
    tuple[float, ...]: pa.list_(pa.float64()),
}
_HINTS = {name: get_args(hint) for name, hint in get_type_hints(Step, include_extras=True).items()}
PARTITION = ("arm", "generation")
LISTS = tuple(name for name, (kind, _) in _HINTS.items() if get_origin(kind) is tuple)

STEP_SCHEMA = pa.schema(
    [pa.field(name, _TYPES[kind]) for name, (kind, _) in _HINTS.items() if name not in PARTITION],
    metadata={VERSION_KEY: str(SCHEMA_VERSION)},
)


def _schema(columns: Columns) -> pa.Schema:
    found = [pa.field(name, kind) for name, kind, _ in columns]
    return pa.schema(found, metadata={VERSION_KEY: str(SCHEMA_VERSION)})


_KNOWLEDGE = (
    ("knowledge", pa.string(), "id of the snapshot"),
    ("parent", pa.string(), "id of the one that it was made from"),
    ("lineage", pa.string(), "that made it"),
    ("pair", pa.int64(), "of that lineage"),
    ("memories", pa.int64(), "how many it has"),
    ("docs", pa.int64(), "how many it has"),
    ("content", pa.string(), "canonical JSON: what the id is the hash of"),
)
KNOWLEDGE_SCHEMA = _schema(_KNOWLEDGE)

_WORLD = (
    ("lineage", pa.string(), "whose own world it is"),
    ("pair", pa.int64(), "of that lineage"),
    ("world", pa.string(), "id of the world"),
    ("key", pa.string(), "stable under drift"),
    ("value", pa.string(), "in this generation"),
    ("text", pa.string(), "the fact as a sentence that holds the value"),
)
WORLD_SCHEMA = _schema(_WORLD)

OF_GENERATION = {"steps": STEP_SCHEMA, "knowledge": KNOWLEDGE_SCHEMA, "worlds": WORLD_SCHEMA}
"""The datasets that have rows of every generation, partitioned by `PARTITION`."""

_TRAINING = (
    ("step", pa.int64(), "of the training"),
    ("kind", pa.string(), "rft | grpo"),
    ("curriculum", pa.string(), "that it was sampled in"),
    ("group", pa.string(), "what the alternatives branch from"),
    ("alternative", pa.int64(), "number in the group"),
    ("version", pa.string(), "that wrote it"),
    ("episode", pa.string(), "prefix of its episodes in `steps`"),
    ("world", pa.string(), "id of the world"),
    ("reward", pa.float64(), "the sum of its parts; null: it failed"),
    ("reward_same", pa.float64(), "part for probes of family same, weighted"),
    ("reward_similar", pa.float64(), "part for probes of family similar, weighted"),
    ("reward_dissimilar", pa.float64(), "part for probes of family dissimilar, weighted"),
    ("reward_memory", pa.float64(), "part for the length of the memories"),
    ("reward_docs", pa.float64(), "part for doc tokens read"),
    ("reward_stale", pa.float64(), "part for memories that contradict the world"),
    ("advantage", pa.float64(), "over its group; null: it failed"),
    ("learnt", pa.bool_(), "whether a sample of it was learnt from"),
    ("memory_tokens", pa.int64(), "that the successor's prompt holds"),
    ("completion_tokens", pa.int64(), "of its decisions together"),
    ("entropy", pa.float64(), "nats a token: mean of -logprob as sampled"),
    ("copied", pa.float64(), "share of the memories' word triples that the history shows"),
    ("density", pa.float64(), "facts recoverable from the memories, per 100 tokens"),
    ("staleness", pa.float64(), "share of memories that contradict the world"),
    ("opened", pa.string(), "episode: needed | vain | missed | spared; empty: none of these"),
    ("error", pa.string(), "what went wrong; empty: nothing"),
)
TRAINING_SCHEMA = _schema(_TRAINING)

_CURVE = (
    ("step", pa.int64(), "of the training"),
    ("kind", pa.string(), "rft or grpo"),
    ("version", pa.string(), "that was sampled from"),
    ("samples", pa.int64(), "that were learnt from"),
    ("tokens_learnt", pa.int64(), "of the completions learnt from"),
    ("tokens_generated", pa.int64(), "of sampled decisions and of probes, those alike too"),
    ("loss", pa.float64(), "mean over samples; null: nothing to learn"),
    ("grad_norm", pa.float64(), "of the adapter's gradient"),
    ("kl", pa.float64(), "divergence to the parent; null: not asked"),
    ("entropy", pa.float64(), "of the policy while learning, nats a token"),
    ("seconds_generate", pa.float64(), "until the last alternative is written; others are probed"),
    ("seconds_probe", pa.float64(), "from then on, until the last one is probed"),
    ("seconds_learn", pa.float64(), "in the learner"),
    ("seconds_sync", pa.float64(), "until the engine serves the new adapter"),
    ("seconds", pa.float64(), "the whole step"),
)
CURVE_SCHEMA = _schema(_CURVE)

DOCS: dict[str, dict[str, str]] = {
    "steps": {name: doc for name, (_, doc) in _HINTS.items()},
    **{
        dataset: {name: doc for name, _, doc in columns}
        for dataset, columns in (
            ("knowledge", _KNOWLEDGE),
            ("worlds", _WORLD),
            ("training", _TRAINING),
            ("curve", _CURVE),
        )
    },
}
"""What each column of each dataset holds, by dataset and column."""


def step_id(run: str, lineage: str, generation: int, episode: str, step: int) -> str:
    """Return the id of a step: a function of where it stands, never of when it ran."""
    return f"{run}/{lineage}/g{generation:02d}/{episode}/s{step:02d}"


KEYS = {
    "steps": "step_id",
    "knowledge": "content",
    "worlds": "key",
    "training": "alternative",
    "curve": "step",
}
"""By dataset, a column that no other dataset has: files without it are of another one."""


def table(steps: list[Step]) -> pa.Table:
    """Return `steps` as one table of `STEP_SCHEMA`, sorted by step id."""
    ordered = sorted(steps, key=lambda step: step.step_id)
    columns: dict[str, list[Any]] = {}
    for field in STEP_SCHEMA:
        values = map(attrgetter(field.name), ordered)
        columns[field.name] = list(map(clean, values) if pa.types.is_string(field.type) else values)
    return pa.table(columns, schema=STEP_SCHEMA)
