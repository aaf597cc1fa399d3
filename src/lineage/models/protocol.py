"""What lineage asks of a model, as two protocols: of a sampler, and of an engine, which is one.

A `Layer` is a sampler over another, such as the replay of a log over an engine.

Values only; no Ray and no vLLM here, so that the agent can be tested without either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Protocol

from lineage.core.errors import OVERLONG

Role = Literal["system", "user", "assistant", "tool"]
TokenCounter = Callable[[str], int]
"""Counts the tokens of a text as one model version's own tokenizer does, no special tokens."""
CHARS_PER_TOKEN = 3
"""Letters of a token where no tokenizer is known: English has four, so it counts too many."""
OF_RUN = "#"
"""Parts the name of a version that a run made from the mark of that run, where engines are shared:
no name of a version has it."""
DIGEST = 16
"""Hexadecimal digits of a request's digest: 64 bits."""


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Request:
    """One completion that is asked for.

    `id` is the step's id. At most one of `schema` (a JSON schema) and `choices` constrains the
    text. `seed` is used where `temperature` is above 0. `tools` are offered in the model's own
    format, as JSON schemas of functions (the convention of chat templates). `logprobs`: the
    completion shall tell its tokens.
    """

    id: str
    version: str
    turns: tuple[Turn, ...]
    max_tokens: int
    temperature: float
    seed: int
    schema: dict[str, Any] | None = None
    choices: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    logprobs: bool = False

    @property
    def digest(self) -> str:
        """A hash of all that is asked, whatever step asks it: of equal requests equal."""
        asked = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "id"}
        return hashlib.sha256(json.dumps(asked, default=vars).encode()).hexdigest()[:DIGEST]


@dataclass(frozen=True)
class ToolCall:
    """One call that a model makes; `arguments` is what it wrote, parsed but not checked."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Completion:
    """What came back. `error` is empty for a success; then `text` is what the model wrote.

    A prompt that does not fit the window is an error too, but its asker's: `finish_reason` is
    `OVERLONG` then, and "" where the engine failed.
    `prompt` is the rendered text the model read. `engine_seconds` runs from the request's
    arrival at the engine to its last token. Where asked for, `tokens` are the ids as sampled, the
    end token with them, and `logprobs` the model's own: before temperature and any constraint.
    """

    text: str = ""
    prompt: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    engine_seconds: float = 0.0
    error: str = ""
    calls: tuple[ToolCall, ...] = ()
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()

    @property
    def overlong(self) -> bool:
        """Whether the prompt did not fit: whoever asked could not do it, the engine is well."""
        return self.finish_reason == OVERLONG

    @property
    def broken(self) -> bool:
        """Whether the engine failed: it says nothing about whoever asked."""
        return bool(self.error) and not self.overlong


@dataclass(frozen=True)
class Located:
    """The folder of a checkpoint, and of an adapter where the version has one."""

    checkpoint: Path
    adapter: Path | None


@dataclass(frozen=True)
class Example:
    """A conversation that ends with the assistant turn to be learnt."""

    turns: tuple[Turn, ...]


class Sampler(Protocol):
    """What answers requests: an engine, or a layer over one."""

    async def generate(self, request: Request) -> Completion:
        """Return the completion; failures come back as `Completion.error`.

        Raises LineageError where no later request could succeed either.
        """
        ...

    async def counter(self, version: str) -> TokenCounter:
        """Return the token counter of `version`."""
        ...


class Layer:
    """A `Sampler` over `engine`: a subclass says what becomes of a request on its way there."""

    engine: Sampler

    async def counter(self, version: str) -> TokenCounter:
        """Return the counter of the engine behind."""
        return await self.engine.counter(version)


class Engine(Sampler, Protocol):
    """A sampler with a life: it is started, serves more versions while it runs, and is closed."""

    async def start(self, versions: Sequence[str]) -> None:
        """Get ready to serve `versions`. Raises `LineageError` where one cannot be served."""
        ...

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        """Train an adapter on `examples`, from version `base`, and serve it as version `name`.

        It is kept in `folder`; one that is there already is served, not trained again. Raises
        LineageError where that fails.
        """
        ...

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Serve what was trained from version `base` and is kept in `folder` as version `name`.

        A name that is served already stays as it is. Raises LineageError where that fails.
        """
        ...

    def weights(self, version: str) -> Located:
        """Return where the weights of `version` are, which is served."""
        ...

    def spare_gpus(self) -> float:
        """Return how many GPUs it leaves: a trainer may have them."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what the record of a run holds of it, besides its kind."""
        ...

    def faults(self) -> Mapping[str, int]:
        """Return how often what failed since the start, and was mended: by names of `Fault`."""
        ...

    async def close(self) -> None:
        """Stop everything that `start` started; safe to call twice."""
        ...


class EngineLayer(Layer):
    """A `Layer` over an engine, and an `Engine` itself: what is no request is the engine's own."""

    engine: Engine

    async def start(self, versions: Sequence[str]) -> None:
        """Get the engine behind ready to serve `versions`."""
        await self.engine.start(versions)

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        """Train an adapter on the engine behind."""
        await self.engine.adapt(name, base, examples, folder, seed)

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Serve what `folder` holds as version `name` on the engine behind."""
        await self.engine.serve(name, base, folder)

    def weights(self, version: str) -> Located:
        """Return where the weights of `version` are."""
        return self.engine.weights(version)

    def spare_gpus(self) -> float:
        """Return how many GPUs the engine behind leaves."""
        return self.engine.spare_gpus()

    def describe(self) -> dict[str, Any]:
        """Return what the engine behind tells of itself."""
        return self.engine.describe()

    def faults(self) -> Mapping[str, int]:
        """Return the faults of the engine behind."""
        return self.engine.faults()

    async def close(self) -> None:
        """Stop the engine behind."""
        await self.engine.close()
