"""Whether a version can serve a run: it is loaded and asked what a run would ask of it."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineage.agent import prompt as prompts
from lineage.agent import schemas
from lineage.agent.history import Experience
from lineage.agent.toolcalls import TOOLS
from lineage.core.config import AgentConfig, Config
from lineage.core.config_engine import OPENAI
from lineage.core.errors import LineageError, first_line
from lineage.core.knowledge import EMPTY, Memory, Origin
from lineage.models import layers
from lineage.models.chat_template import SAMPLE, learnable
from lineage.models.factory import make_engine
from lineage.models.protocol import Completion, Engine, Request, Turn
from lineage.models.versions import lookup, registry

ORIGIN = Origin(0, "check", "")
TOKENS = 10
"""That are generated first."""
CHOICES = ("d1", "d2", prompts.NO_DOC)
CHOICE_TOKENS = 6
QUESTION = "What is the code of pump Birch?"
FACT = "The code of pump Birch is 7413."
NOTED = EMPTY.evolve(
    memories=tuple(
        Memory(f"m{number}", f"The code of fan {number} is {7 * number:04d}.", *[ORIGIN] * 2)
        for number in range(1, 25)
    )
)
"""More notes than a block of the prefix cache has room for."""
SHOWN = 60
"""Letters of a text that a finding quotes, from its end."""


@dataclass(frozen=True)
class Finding:
    """One thing that was tried. `works` is None where it could not be; `told` says what was seen.

    A run `needs` it: without it the version can serve none.
    """

    what: str
    works: bool | None
    told: str
    needs: bool = True


def preflight(config: Config, name: str) -> tuple[Finding, ...]:
    """Return what was found about version `name`, whose engine is started and stopped for it.

    Raises LineageError where the version is unknown, or its engine does not start.
    """
    return asyncio.run(_asked(config, name))


def verdict(name: str, found: tuple[Finding, ...]) -> str:
    """Return in one sentence whether version `name` can serve a run, and what it cannot do."""
    failed = [one for one in found if one.works is False]
    fatal = [one for one in failed if one.needs]
    if fatal:
        return f"{name} cannot serve a run: {fatal[0].what} fails ({fatal[0].told})"
    without = ", ".join(one.what for one in failed)
    return f"{name} can serve a run" + (f", but not: {without}" if without else "")


async def _asked(config: Config, name: str) -> tuple[Finding, ...]:
    version = lookup(registry(config.model), name)
    engine = make_engine(config)
    began = time.monotonic()
    try:
        await engine.start([name])
        seconds = time.monotonic() - began
        return await _Asking(engine, name, config.agent).findings(
            seconds,
            # Behind an API the server knows the format.
            version.tool_parser or (OPENAI if version.checkpoint.kind == OPENAI else ""),
            version.context_window,
        )
    finally:
        await engine.close()


@dataclass
class _Asking:
    """An engine that is asked about one version."""

    engine: Engine
    name: str
    agent: AgentConfig

    async def findings(self, seconds: float, parser: str, window: int) -> tuple[Finding, ...]:
        asked = prompts.act_turns(self.agent.texts, EMPTY, QUESTION)
        first = await self._ask("generate", asked, TOKENS)
        counter = await self.engine.counter(self.name)
        return (
            self._loads(seconds, window),
            _renders(first),
            _generates(first),
            _counts(counter(first.prompt or QUESTION), first.prompt or QUESTION),
            await self._ends(),
            *await self._writes(),
            await self._picks(),
            await self._calls(parser),
            self._learns(),
        )

    async def _ask(
        self, what: str, turns: tuple[Turn, ...], tokens: int, **more: Any
    ) -> Completion:
        request = Request(f"check/{what}", self.name, turns, tokens, 0.0, 0, **more)
        return await self.engine.generate(request)

    @property
    def folder(self) -> Path | None:
        """Where the checkpoint is; None where the engine has loaded none."""
        found = self.engine.weights(self.name).checkpoint
        return found if found != Path() else None

    def _loads(self, seconds: float, window: int) -> Finding:
        folder = self.folder
        if folder is None:
            return Finding("load", None, "nothing is loaded here: a stand-in, or behind an API")
        longest = _positions(folder)
        told = f"{_millions(folder)} weights, ready in {seconds:.0f} s; window of {window} tokens"
        if longest is not None and window > longest:
            return Finding("load", False, f"{told}, more than its {longest} positions")
        return Finding("load", True, told)

    async def _ends(self) -> Finding:
        turns = prompts.act_turns(self.agent.texts, EMPTY, QUESTION)
        got = await self._ask("end", turns, self.agent.act_tokens)
        most = f"agent.act_tokens={self.agent.act_tokens}"
        if got.error:
            return Finding("end an answer", False, got.error, needs=False)
        if got.finish_reason == "stop":
            return Finding("end an answer", True, f"after {got.completion_tokens} tokens")
        return Finding("end an answer", False, f"it went on until {most}", needs=False)

    async def _writes(self) -> tuple[Finding, Finding]:
        """Try a handoff's schema, twice: the first one pays for the compiling of its grammar.

        The second finds the prompt in the engine's prefix cache.
        """
        shown = Experience(QUESTION, "", f"Wrong. {FACT}", right=False)
        agent = self.agent
        turns = prompts.handoff_turns(agent.texts, "edit", NOTED, [shown], agent.wrong_answers)
        schema = schemas.memory_edits(NOTED, 1, self.agent)
        took: list[float] = []
        for number in range(2):
            began = time.monotonic()
            got = await self._ask(f"write/{number}", turns, self.agent.edit_tokens, schema=schema)
            took.append(time.monotonic() - began)
        told = f"{took[0]:.1f} s, again {took[1]:.1f} s: {_end(got.text)}"
        try:
            json.loads(got.text)
            writes = Finding("write by a schema", True, told)
        except ValueError:
            # A model that goes on until its tokens are used up is held to the schema all the same.
            cut = got.finish_reason == "length"
            most = f"no end within agent.edit_tokens={self.agent.edit_tokens}; " if cut else ""
            why = got.error or f"{most}{told}"
            writes = Finding("write by a schema", False, why, needs=not cut)
        cached = f"{got.cached_tokens} of {got.prompt_tokens} tokens the second time"
        reuses = got.cached_tokens > 0 if self.folder else None
        return writes, Finding("reuse a prompt", reuses, cached, needs=False)

    async def _picks(self) -> Finding:
        turns = prompts.act_turns(self.agent.texts, EMPTY, QUESTION)
        got = await self._ask("choose", turns, CHOICE_TOKENS, choices=CHOICES)
        return Finding("choose", got.text in CHOICES, got.error or _end(got.text))

    async def _calls(self, parser: str) -> Finding:
        if not parser:
            told = "no tool_parser is named: agent.opening=native is not for it"
            return Finding("call a tool", None, told, needs=False)
        turns = prompts.act_turns(self.agent.texts, EMPTY, QUESTION)
        got = await self._ask("call", turns, self.agent.edit_tokens, tools=TOOLS)
        names = [one["function"]["name"] for one in TOOLS]
        if got.error:
            return Finding("call a tool", False, got.error, needs=False)
        if got.calls:
            return Finding("call a tool", True, f"it called {got.calls[0].name}", needs=False)
        if parser != OPENAI and not all(name in got.prompt for name in names):
            told = "its chat template shows it no tools"
        else:
            told = f"{parser} found no call in: {_end(got.text)}"
        return Finding("call a tool", False, told, needs=False)

    def _learns(self) -> Finding:
        folder = self.folder
        shapes = layers.shapes_of(folder) if folder else {}
        if folder is None or not shapes:
            return Finding("be trained", None, "its weights are not in a folder", needs=False)
        found = layers.attention(shapes)
        if not found:
            return Finding("be trained", False, "no attention is known by name", needs=False)
        from transformers import AutoTokenizer

        try:
            learnable(AutoTokenizer.from_pretrained(folder), SAMPLE)
        except (LineageError, OSError, ValueError) as error:
            return Finding("be trained", False, first_line(error), needs=False)
        return Finding("be trained", True, f"an adapter changes {', '.join(found)}", needs=False)


def _renders(got: Completion) -> Finding:
    if got.error:
        return Finding("render a prompt", False, got.error)
    return Finding("render a prompt", QUESTION in got.prompt, f"it ends in {_end(got.prompt)}")


def _generates(got: Completion) -> Finding:
    if got.error:
        return Finding("generate", False, got.error)
    told = f"{got.completion_tokens} tokens: {_end(got.text)}"
    return Finding("generate", bool(got.text.strip()), told)


def _counts(tokens: int, text: str) -> Finding:
    told = f"{tokens} tokens for {len(text)} letters"
    return Finding("count tokens", tokens > 0, told)


def _end(text: str) -> str:
    """Return the end of `text`, quoted on one line."""
    return repr(text if len(text) <= SHOWN else f"…{text[-SHOWN:]}")


def _millions(folder: Path) -> str:
    count = layers.weights(layers.shapes_of(folder))
    return f"{count / 1e6:.0f} M" if count else "n/a"


def _positions(folder: Path) -> int | None:
    """Return how many tokens a checkpoint was made for; None where it does not say."""
    with suppress(OSError, ValueError):
        found = json.loads((folder / "config.json").read_bytes())
        most = found.get("max_position_embeddings")
        return most if isinstance(most, int) else None
    return None
