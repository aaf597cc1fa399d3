"""The views that are made of the datasets: SQL, what a row is, and what its own columns hold."""

from __future__ import annotations

from dataclasses import dataclass

CONTENT = r"regexp_replace(content, '\\u([dD][89a-fA-F])', '/u\1', 'g')::JSON"
"""JSON without escapes of surrogates: DuckDB refuses lone ones, which a model may write. What
differed still differs, and what was escaped as a backslash stays well-formed."""
ORIGIN = '{"generation": "BIGINT", "version": "VARCHAR", "episode": "VARCHAR"}'
ORIGIN_DOCS = {
    f"{when}_{what}": doc
    for when, doc in (("created", "of who wrote it"), ("edited", "of who edited it last"))
    for what in ("generation", "version", "episode")
}

_MAKER = "folder, arm, pair, lineage, generation"
_MAKER_DOCS = {
    "lineage": "in which the snapshot was made, or came in",
    "generation": "of that lineage, in which it was",
}


@dataclass(frozen=True)
class View:
    """A view: its name, its SQL, what a row is, and its columns that steps have not, or not so."""

    name: str
    sql: str
    doc: str
    docs: dict[str, str]


def _entries(kind: str, fields: tuple[str, ...]) -> str:
    """Return SQL for a row an entry of `kind`, snapshot and generation that made it."""
    texts = ", ".join(f'"{field}": "VARCHAR"' for field in ("id", *fields))
    shape = f'[{{{texts}, "created": {ORIGIN}, "edited": {ORIGIN}}}]'
    origins = ", ".join(
        f"e.{when}.{what} AS {when}_{what}"
        for when in ("created", "edited")
        for what in ("generation", "version", "episode")
    )
    columns = ", ".join(f"e.{field}" for field in fields)
    return (
        f"SELECT {_MAKER}, knowledge, e.id AS entry, {columns}, {origins} FROM ("
        f"SELECT {_MAKER}, knowledge, unnest(from_json({CONTENT} -> '$.{kind}', '{shape}')) AS e "
        "FROM knowledge)"
    )


_ANSWER = "FILTER (kind IN ('act', 'probe'))"
_OF_ANSWER = (
    *("family", "world", "task", "category", "facts", "met"),
    *("score", "answer", "completion"),
)
_EPISODES = (
    "SELECT folder, run, arm, pair, lineage, generation, any_value(version) AS version, phase, "
    "episode, "
    + ", ".join(f"any_value({name}) {_ANSWER} AS {name}" for name in _OF_ANSWER)
    + ", count(*) AS steps, "
    + ", ".join(
        f"sum({name})::BIGINT AS {name}"
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "doc_tokens")
    )
    + ", max(memory_tokens) AS memory_tokens, sum(engine_seconds ORDER BY step) AS engine_seconds, "
    "max(knowledge_before) AS knowledge, coalesce(any_value(error) FILTER (error <> ''), '') "
    "AS error FROM steps WHERE phase IN ('work', 'probe') "
    "GROUP BY folder, run, arm, pair, lineage, generation, phase, episode"
)
_EPISODE_DOCS = {
    "steps": "how many it took",
    "score": "of its answer, 0 to 1; null: not scored, or failed",
    "completion": "its answer as it was written",
    "knowledge": "id of the Knowledge that it was given",
    "prompt_tokens": "of all its steps",
    "completion_tokens": "of all its steps",
    "cached_tokens": "of all its steps",
    "doc_tokens": "of all its steps",
    "memory_tokens": "of the memory block in its prompts",
    "engine_seconds": "of all its steps",
    "error": "the first thing that went wrong; empty: nothing",
}
_PLACE = "folder, run, arm, pair, lineage, generation, version, phase, episode, step, step_id"
_REWARDS = "reward, reward_same, reward_similar, reward_dissimilar, reward_memory, reward_docs"
_GENERATIONS = (
    "SELECT s.*, r.knowledge_after AS knowledge, r.memory_tokens, k.memories, k.docs, "
    f"{_REWARDS}, reward_stale FROM ("
    "SELECT folder, run, arm, pair, lineage, generation, any_value(version) AS version, "
    "count(DISTINCT episode) FILTER (phase = 'work') AS episodes, "
    "count(DISTINCT episode) FILTER (phase = 'probe') AS probes, count(*) AS steps, "
    "count(*) FILTER (error <> '') AS errors FROM steps "
    "WHERE folder IN (SELECT folder FROM runs WHERE kind = 'run') "
    "GROUP BY folder, run, arm, pair, lineage, generation) s "
    "LEFT JOIN (SELECT folder, lineage, generation, knowledge_after, memory_tokens, "
    f"{_REWARDS}, reward_stale FROM steps WHERE phase = 'reward') r "
    "USING (folder, lineage, generation) "
    "LEFT JOIN snapshots k ON k.folder = s.folder AND k.knowledge = r.knowledge_after"
)
_COUNTS = {
    "episodes": "working ones",
    "probes": "episodes that only measure",
    "steps": "of all its episodes",
    "errors": "steps that failed",
    "memories": "entries that it left",
    "docs": "docs that it left",
    "memory_tokens": "of the memories that it left, by its version's tokenizer",
    "knowledge": "id of the Knowledge that it left",
}

VIEWS = (
    View(
        "snapshots",
        "SELECT DISTINCT folder, knowledge, memories, docs, content FROM knowledge",
        "one row a snapshot of Knowledge",
        {
            "knowledge": "id: the hash of the content",
            "memories": "how many it has",
            "docs": "how many it has",
            "content": "canonical JSON: what the id is the hash of",
        },
    ),
    View("episodes", _EPISODES, "one row an episode, working or probing", _EPISODE_DOCS),
    View(
        "probes",
        "SELECT * FROM episodes WHERE phase = 'probe'",
        "one row an episode that only measures",
        _EPISODE_DOCS,
    ),
    View(
        "handoffs",
        f"SELECT {_PLACE}, prompt, completion, prompt_tokens, completion_tokens, memory_tokens, "
        "knowledge_before, knowledge_after, finish_reason, error "
        "FROM steps WHERE kind = 'handoff' AND phase <> 'reward'",
        "one row a time that a model was asked for edits",
        {},
    ),
    View(
        "edits",
        f"SELECT {_PLACE}, split_part(detail, ': ', 1) AS operation, "
        "substr(detail, length(split_part(detail, ': ', 1)) + 3) AS outcome, entry, "
        "completion AS text, knowledge_before, knowledge_after FROM steps WHERE kind = 'edit'",
        "one row an edit of Knowledge that was proposed",
        {
            "operation": "add, revise, merge, drop, write or move; index: a doc without a line",
            "outcome": "applied, or why it was not",
            "entry": "memory or doc that it names",
            "text": "what was to be written",
        },
    ),
    View(
        "memories",
        _entries("memories", ("text",)),
        "one row a memory, snapshot and generation that made it, or received it",
        {"knowledge": "id of the snapshot", "entry": "id of the memory", "text": "the note"}
        | ORIGIN_DOCS
        | _MAKER_DOCS,
    ),
    View(
        "docs",
        _entries("docs", ("title", "body")),
        "one row a doc, snapshot and generation that made it, or received it",
        {
            "knowledge": "id of the snapshot",
            "entry": "id of the doc",
            "title": "by which it is found",
            "body": "what is read when it is opened",
        }
        | ORIGIN_DOCS
        | _MAKER_DOCS,
    ),
    View("generations", _GENERATIONS, "one row a generation of a lineage of a run", _COUNTS),
    View(
        "lineages",
        "SELECT folder, run, arm, pair, lineage, count(*) AS generations, "
        "list(version ORDER BY generation) AS versions, "
        "arg_max(knowledge, generation) AS knowledge, sum(steps)::BIGINT AS steps, "
        "sum(errors)::BIGINT AS errors FROM generations GROUP BY folder, run, arm, pair, lineage",
        "one row a lineage",
        {
            "generations": "that are finished",
            "versions": "of its generations, in order",
            "knowledge": "id of the Knowledge that the last one left",
            "steps": "of all its generations",
            "errors": "steps that failed",
        },
    ),
)
"""In the order in which they are made: later ones read earlier ones."""
