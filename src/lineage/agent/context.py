"""A context: what an instance has at hand in one generation, and the one way to write a step.

The episode, handoff and migration modules ask and log through it, so that ids, seeds, clocks and
errors are dealt with in one place.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from lineage.agent.index import Index, index_of
from lineage.agent.prompt import memory_block
from lineage.agent.sections import within
from lineage.core.config import AgentConfig
from lineage.core.edits import Limits
from lineage.core.knowledge import Doc, Knowledge, Origin
from lineage.core.plaintext import clean
from lineage.core.prompts import Texts
from lineage.core.seeds import derive
from lineage.core.tasks import Suite
from lineage.log.schema import Step, step_id
from lineage.models.protocol import Completion, Request, Sampler, TokenCounter, Turn
from lineage.search import Entry, Library
from lineage.search.relevance import Passages


class Log(Protocol):
    """Where steps and snapshots go."""

    def append(self, step: Step, asked: str = "") -> None: ...

    def hold(self, step: Step, asked: str = "") -> None: ...

    def snapshot(self, knowledge: Knowledge) -> None: ...


@dataclass(frozen=True)
class Ids:
    """The ids of one generation: of which run, lineage and version it is."""

    run: str
    experiment: str
    arm: str
    pair: int
    lineage: str
    generation: int
    version: str


@dataclass(frozen=True)
class Context:
    """Everything that an instance of this generation works with.

    `docs` and `past` find docs and raw episodes. `window` is the version's context window in
    tokens (0: not known). `serving` is the engine's name of the version where it is not that of
    `ids`: an adapter that was trained on this lineage alone. A training samples at a `temperature`
    of its own and wants the tokens of each completion. `forced`, for an instance of a training that
    explores: the choice that it has at its first decision on a doc, counted from 0: to open none,
    then the docs as the search ranks them. Beyond the last one it is free, as where it is None.
    """

    ids: Ids
    engine: Sampler
    suite: Suite
    config: AgentConfig
    count: TokenCounter
    log: Log
    docs: Library
    past: Library
    window: int = 0
    serving: str = ""
    temperature: float | None = None
    forced: int | None = None
    shelves: dict[str, tuple[tuple[Entry, ...], dict[str, Doc]]] = field(default_factory=dict)
    read: dict[str, Passages] = field(default_factory=dict)
    cuts: dict[Doc, Doc] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)

    @property
    def memory_budget(self) -> int:
        """The most tokens that the memory block may take with this version."""
        return self.config.budget(self.window)

    @property
    def texts(self) -> Texts:
        """The user's own prompts, which stand in place of ours."""
        return self.config.texts

    @property
    def limits(self) -> Limits:
        """The longest texts that an edit may bring."""
        c = self.config
        return Limits(
            c.memory_chars,
            c.doc_title_chars,
            c.doc_body_chars,
            self.count,
            self.memory_budget,
            c.doc_tokens,
            c.docs and c.moves,
        )

    def find_docs(self, knowledge: Knowledge, query: str) -> tuple[Doc, ...]:
        """Return the docs that a search for `query` offers, best first."""
        if knowledge.id not in self.shelves:
            docs = {doc.id: doc for doc in knowledge.docs}
            entries = tuple(Entry(doc.id, doc.title, doc.body) for doc in knowledge.docs)
            self.shelves[knowledge.id] = (entries, docs)
        entries, docs = self.shelves[knowledge.id]
        hits = self.docs.search(entries, query, self.config.search_results)
        return tuple(self.shown(docs[hit.id]) for hit in hits)

    def gated(self, knowledge: Knowledge, query: str, found: Sequence[Doc]) -> tuple[Doc, ...]:
        """Return those of the docs `found` that the gate lets pass, the worthiest first."""
        docs = {doc.id: doc for doc in found}
        through = self.passages(knowledge).through(query, [*docs], self.config.gate)
        return tuple(docs[id] for id in through)

    def offered(self, knowledge: Knowledge, query: str, found: Sequence[Doc]) -> tuple[Doc, ...]:
        """Return those of the docs `found` that a choice is offered."""
        return self.gated(knowledge, query, found) if self.config.gated else tuple(found)

    def shown(self, doc: Doc) -> Doc:
        """Return `doc` as a prompt may hold it: of one that is too long, its first sections.

        It is no part of the Knowledge. What an instance wrote is never too long for its version.
        """
        if doc not in self.cuts:
            config = self.config
            body = within(doc.body, config.doc_tokens, self.count)
            self.cuts[doc] = replace(doc, title=doc.title[: config.doc_title_chars], body=body)
        return self.cuts[doc]

    def whole(self, doc: Doc) -> bool:
        """Whether a prompt may hold the whole of `doc`: else nobody can revise it unread."""
        return self.shown(doc) == doc

    def passages(self, knowledge: Knowledge) -> Passages:
        """Return what `knowledge` says, passage by passage, to tell how well it covers a task."""
        if knowledge.id not in self.read:
            self.read[knowledge.id] = Passages.of(knowledge)
        return self.read[knowledge.id]

    def index(self, knowledge: Knowledge) -> Index:
        """Return the index of the docs of `knowledge` within `agent.index_share` of the budget."""
        if knowledge.id not in self.indexes:
            self.indexes[knowledge.id] = index_of(
                knowledge.docs, self.config, self.memory_budget, self.count
            )
        return self.indexes[knowledge.id]

    def origin(self, episode: str) -> Origin:
        """Return the provenance of what is written in `episode`."""
        return Origin(self.ids.generation, self.ids.version, episode)

    def memory_tokens(self, knowledge: Knowledge) -> int:
        """Return the tokens of the memory block that a successor's prompt will hold."""
        return self.count(memory_block(knowledge, index=self.index(knowledge).block))

    async def ask(
        self,
        episode: str,
        step: int,
        turns: tuple[Turn, ...],
        max_tokens: int,
        schema: dict[str, Any] | None = None,
        choices: tuple[str, ...] = (),
        tools: tuple[dict[str, Any], ...] = (),
        version: str = "",
    ) -> tuple[Completion, dict[str, Any]]:
        """Return the completion, and the columns that every step with one has.

        Beside them is `asked`, the request's digest, which the log keeps out of its rows.
        The seed is drawn from experiment, pair, generation, episode and step, not from the arm:
        paired arms draw alike. `version` is a judge: what it says is measured, not sampled, so
        that the temperature of a training is not its own, and it gets no credit.
        """
        ids = self.ids
        sampled = None if version else self.temperature
        seed = derive(ids.experiment, ids.pair, ids.generation, episode, step)
        request = Request(
            id=step_id(ids.run, ids.lineage, ids.generation, episode, step),
            version=version or self.serving or ids.version,
            turns=turns,
            max_tokens=max_tokens,
            temperature=self.config.temperature if sampled is None else sampled,
            seed=seed,
            schema=schema,
            choices=choices,
            tools=tools,
            logprobs=sampled is not None,
        )
        began = time.monotonic()
        answer = await self.engine.generate(request)
        completion = replace(answer, text=clean(answer.text))
        return completion, {
            "prompt": completion.prompt,
            "completion": completion.text,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
            "cached_tokens": completion.cached_tokens,
            "finish_reason": completion.finish_reason,
            "seed": seed,
            "error": completion.error,
            "wall_seconds": time.monotonic() - began,
            "engine_seconds": completion.engine_seconds,
            "tokens": completion.tokens,
            "logprobs": completion.logprobs,
            "asked": request.digest,
        }

    def write(self, phase: str, episode: str, step: int, kind: str, **columns: Any) -> None:
        """Log one step of this generation."""
        self.log.append(*self._step(phase, episode, step, kind, columns))

    def hold(self, episode: str, step: int, columns: dict[str, Any]) -> None:
        """Make an answer durable whose step is written later."""
        self.log.hold(*self._step("", episode, step, "", columns))

    def _step(
        self, phase: str, episode: str, step: int, kind: str, columns: dict[str, Any]
    ) -> tuple[Step, str]:
        """Return a step, and the digest of what was asked for it: "" where nothing was."""
        ids, columns = self.ids, dict(columns)
        asked = str(columns.pop("asked", ""))
        made = Step(
            run=ids.run,
            arm=ids.arm,
            pair=ids.pair,
            lineage=ids.lineage,
            generation=ids.generation,
            version=ids.version,
            phase=phase,
            episode=episode,
            step=step,
            step_id=step_id(ids.run, ids.lineage, ids.generation, episode, step),
            kind=kind,
            ended_at=time.time(),
            **columns,
        )
        return made, asked
