"""A desk: what an instance has at hand in one generation, and the one way to write a step.

The episode, handoff and migration modules ask and log through it, so that ids, seeds, clocks and
errors are dealt with in one place.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Protocol

from lineage.agent.prompt import memory_block
from lineage.config import AgentConfig
from lineage.edits import Limits
from lineage.knowledge import Knowledge, Origin
from lineage.models.protocol import Completion, Engine, Request, TokenCounter, Turn
from lineage.seeds import derive
from lineage.steplog.schema import Step, clean, step_id
from lineage.tasks import Suite


class Log(Protocol):
    """Where steps and snapshots go."""

    def append(self, step: Step) -> None: ...

    def snapshot(self, knowledge: Knowledge) -> None: ...


@dataclass(frozen=True)
class Post:
    """The ids of one generation: of which run, lineage and version it is."""

    run: str
    experiment: str
    arm: str
    pair: int
    lineage: str
    generation: int
    version: str


@dataclass(frozen=True)
class Desk:
    """Everything that an instance of this generation works with."""

    post: Post
    engine: Engine
    suite: Suite
    config: AgentConfig
    count: TokenCounter
    log: Log

    @property
    def limits(self) -> Limits:
        """The longest texts that an edit may bring."""
        c = self.config
        return Limits(c.memory_chars, c.doc_title_chars, c.doc_body_chars)

    def origin(self, episode: str) -> Origin:
        """Return the provenance of what is written in `episode`."""
        return Origin(self.post.generation, self.post.version, episode)

    def memory_tokens(self, knowledge: Knowledge) -> int:
        """Return the tokens of the memory block that a successor's prompt will hold."""
        return self.count(memory_block(knowledge))

    def fits(self, knowledge: Knowledge) -> bool:
        """Whether the memories are within the budget of this version."""
        return self.memory_tokens(knowledge) <= self.config.memory_budget

    async def ask(
        self,
        episode: str,
        step: int,
        turns: tuple[Turn, ...],
        max_tokens: int,
        schema: dict[str, Any] | None = None,
        choices: tuple[str, ...] = (),
    ) -> tuple[Completion, dict[str, Any]]:
        """Return the completion, and the columns that every step with one has.

        The seed is drawn from experiment, pair, generation, episode and step, not from the arm:
        paired arms draw alike.
        """
        post = self.post
        seed = derive(post.experiment, post.pair, post.generation, episode, step)
        request = Request(
            id=step_id(post.run, post.lineage, post.generation, episode, step),
            version=post.version,
            turns=turns,
            max_tokens=max_tokens,
            temperature=self.config.temperature,
            seed=seed,
            schema=schema,
            choices=choices,
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
        }

    def write(self, phase: str, episode: str, step: int, kind: str, **columns: Any) -> None:
        """Log one step of this generation."""
        post = self.post
        row = Step(
            run=post.run,
            arm=post.arm,
            pair=post.pair,
            lineage=post.lineage,
            generation=post.generation,
            version=post.version,
            phase=phase,
            episode=episode,
            step=step,
            step_id=step_id(post.run, post.lineage, post.generation, episode, step),
            kind=kind,
            ended_at=time.time(),
            **columns,
        )
        self.log.append(row)
