"""The node `agent` of the configuration: how an instance works, and hands over. See `config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Discriminator, Tag
from pydantic.dataclasses import dataclass

from lineage.core.errors import LineageError
from lineage.core.fields import AUTO, KEYS, NODE, PLAIN, Automatic, Number, Share, Whole, key, which

Policy = Literal["append", "edit", "rewrite-all"]
Opening = Literal["first", "gate", "choice", "native"]
Prompts = Annotated[
    Annotated[str, Tag(PLAIN)] | Annotated[dict[str, str], Tag(KEYS)], Discriminator(which)
]
LATER_OF_AGENT = ("index_share", "moves", "purpose", "prompts", "extracts", "coverage", "gated")
"""Keys that count in no hash while they are 0, false or null: as it was before they were."""


@dataclass(frozen=True, config=NODE)
class AgentConfig:
    """How an instance works and hands over."""

    memory_budget: Automatic = key(
        "of the memory block, by the version's tokenizer; auto: memory_share of its window",
        "tokens, or auto",
    )
    memory_share: Number = key("of memory_budget auto", "share", default=0.15, gt=0, lt=1)
    index_share: Share = key(
        "of the memory budget, for an index of the docs, a line a doc; 0: no index",
        "share",
        default=0.0,
    )
    memory_chars: Whole = key("longest memory", "characters", ge=1)
    episodes_per_handoff: Whole = key("", "episodes a handoff", ge=1)
    wrong_answers: bool = key("show answers that were wrong when handing over")
    edits_per_episode: Whole = key("that a handoff may propose", "edits an episode", ge=1)
    compress_edits: Whole = key("that a request to compress may propose", "edits", ge=1)
    rewrite_notes: Whole = key("policy rewrite-all: most that it may write", "notes", ge=1)
    rewrite_tokens: Whole = key("policy rewrite-all: longest list", "tokens", ge=1)
    policy: Policy = key("handoff policy: see lineage.agent.policies")
    docs: bool = key("write and open docs")
    purpose: bool = key(
        "tell whoever hands over what belongs into memories, and what into docs", default=False
    )
    moves: bool = key(
        "policy edit: a handoff may move a memory into a doc that it read, or a line of that back",
        default=False,
    )
    episodes_per_doc: Whole = key("", "episodes a doc", ge=1)
    doc_title_chars: Whole = key("longest title", "characters", ge=1)
    doc_body_chars: Whole = key("longest body", "characters", ge=1)
    doc_line_chars: Whole = key("longest line", "characters", ge=1)
    doc_tokens: Whole = key("longest body, by the version's own tokenizer", "tokens", ge=1)
    docs_opened: Whole = key("at most", "docs an episode", ge=1)
    search_results: Whole = key("that a search offers", "docs", ge=1)
    ranking: Literal["bm25", "dense", "hybrid"] = key("by words; by meaning; by both")
    embedding_model: str | None = key(
        "dense, hybrid: folder of a sentence-transformers model; null: an installed MiniLM",
        default=None,
    )
    opening: Opening = key(
        "first: the best are opened; gate: where they cover the task; choice: it picks; native: by "
        "tool calls"
    )
    extracts: bool = key(
        "opening=choice: show of each doc that a search offers its line nearest to the task too, "
        "without values",
        default=False,
    )
    coverage: bool = key(
        "opening=choice: say of each doc that a search offers how much of the task it covers, as "
        "gate reckons it",
        default=False,
    )
    gated: bool = key(
        "opening=choice: offer only docs that gate would open, and ask nothing where there is none",
        default=False,
    )
    gate: Share = key(
        "gate: least that a doc covers, where the version has none of its own",
        "see lineage.search.relevance",
        default=0.05,
    )
    transcript_tokens: Whole = key("of past episodes, arm transcript", "tokens", ge=1)
    retrieved_episodes: Whole = key("in the prompt of arm retrieval", "episodes", ge=1)
    act_tokens: Whole = key("longest answer or action", "tokens", ge=1)
    turns: Whole = key("of an episode in an environment, at most", "actions", ge=1)
    episode_tokens: Whole = key("and what they may take together", "tokens", ge=1)
    observation_chars: Whole = key("that an environment shows at once", "characters", ge=1)
    history_tokens: Whole = key("of an episode's turns, or a text to learn from", "tokens", ge=1)
    summary_tokens: Whole = key("what is over that is summed up in so many", "tokens", ge=1)
    edit_tokens: Whole = key("longest single edit", "tokens", ge=1)
    document_tokens: Whole = key("longest doc as written", "tokens", ge=1)
    temperature: Number = key("of sampling", "0: the likeliest token", ge=0, le=10)
    # A saved configuration has the texts: what a run was asked in outlives the folder.
    prompts: Prompts | None = key(
        "of your own: a folder, or texts by name; see lineage.core.prompts; null: all ours",
        default=None,
    )

    @property
    def texts(self) -> Mapping[str, str]:
        """The texts of the user's own prompts by name.

        Raises LineageError for a folder: `lineage.compose.typed` reads it, before anything runs.
        """
        if isinstance(self.prompts, str):
            raise LineageError(
                f"agent.prompts is {self.prompts!r}: what is saved has the texts, not their folder"
            )
        return self.prompts or {}

    @property
    def tells_purpose(self) -> bool:
        """Whether a handoff is told what belongs where: only where there are docs."""
        return self.docs and self.purpose

    def budget(self, window: int) -> int:
        """Return the memory budget (tokens) of a reader with a context `window` (tokens)."""
        if self.memory_budget == AUTO:
            return max(int(self.memory_share * window), 1)
        return self.memory_budget
