"""Models behind OpenAI-compatible APIs as an engine, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lineage.core.config import Config
from lineage.core.errors import OVERLONG, LineageError
from lineage.log.sittings import Fault
from lineage.models.counting import counted_by
from lineage.models.endpoint import Endpoint, Failed, Refused
from lineage.models.openai_requests import Asking, Malformed, too_long, window_in
from lineage.models.protocol import Completion, Example, Located, Request, TokenCounter
from lineage.models.versions import ModelVersion, lookup, no_weights, registry

NOWHERE = Located(Path(), None)
"""Where the weights are of what has none here."""
MISSING = 404


class OpenAIEngine:
    """An `Engine` over the endpoints of `config.model`; `tell` hears what it finds out of them."""

    def __init__(self, config: Config) -> None:
        self.versions = registry(config.model)
        self.endpoints = {name: Endpoint(name, one) for name, one in config.model.endpoints.items()}
        self.served: dict[str, ModelVersion] = {}
        self.counters: dict[str, TokenCounter] = {}
        self.exact: set[str] = set()
        self.without: dict[tuple[str, str], set[str]] = {}
        self.there: dict[str, dict[str, int | None]] = {}
        self.tell: Callable[[str], None] = lambda said: None

    async def start(self, versions: Sequence[str]) -> None:
        """See that each of `versions` is there, and count by its tokenizer; nothing is paid for.

        Raises LineageError where a key is missing or refused, or a model is not there.
        """
        for name in versions:
            one = lookup(self.versions, name)
            endpoint = self.endpoints[one.checkpoint.endpoint]
            endpoint.open()
            if endpoint.name not in self.there:
                listed = await endpoint.models()
                if listed is None:
                    self.tell(f"{endpoint.config.base_url} does not list its models")
                self.there[endpoint.name] = listed or {}
            self._check(endpoint, one)
            self.counters[name] = counted_by(name, one.checkpoint)
            if one.checkpoint.tokenizer:
                self.exact.add(name)
            self.served[name] = one
        if guessed := [name for name in versions if name not in self.exact]:
            self.tell(
                f"tokens of {', '.join(guessed)} are estimated before they are asked for, by "
                "letters: budgets are kept by that, unless checkpoint.tokenizer names a tokenizer"
            )

    def _check(self, endpoint: Endpoint, one: ModelVersion) -> None:
        there, model = self.there[endpoint.name], one.checkpoint.path
        if there and model not in there:
            raise endpoint.unknown(model, tuple(there))
        window = there.get(model)
        if window is not None and window < one.context_window:
            raise _narrow(endpoint, one, window)

    async def generate(self, request: Request) -> Completion:
        """Return the completion; what concerns this request alone comes back as its error.

        Raises LineageError where no later request could succeed either.
        """
        one = self.served[request.version]
        endpoint, count = self.endpoints[one.checkpoint.endpoint], self.counters[request.version]
        tokens = sum(count(turn.content) for turn in request.turns)
        if request.version in self.exact and tokens + request.max_tokens > one.context_window:
            return _overlong(request, tokens, one.context_window)
        without = self.without.setdefault((endpoint.name, one.checkpoint.path), set())
        began = time.monotonic()
        while True:
            asking = Asking(one.checkpoint.path, endpoint.config, frozenset(without))
            body = asking.body(request)
            try:
                answer = await endpoint.complete(body, tokens + request.max_tokens, request.id)
                found = asking.completion(request, answer, count)
                break
            except Refused as error:
                way = "" if too_long(str(error)) else asking.refused(body, str(error))
                if way:
                    if way not in without:
                        without.add(way)
                        self.tell(f"{one.name} is asked without {way}: its API said {error}")
                    continue
                return self._failed(endpoint, one, request, tokens, error)
            except (Failed, Malformed) as error:
                return Completion(error=f"{endpoint.config.base_url}: {error}")
        return replace(
            found, text=endpoint.hidden(found.text), engine_seconds=time.monotonic() - began
        )

    def _failed(
        self, endpoint: Endpoint, one: ModelVersion, request: Request, tokens: int, error: Refused
    ) -> Completion:
        """Return the completion of a request that was refused.

        Raises LineageError where others would be too.
        """
        said, window = str(error), one.context_window
        if error.status == MISSING:
            raise endpoint.unknown(one.checkpoint.path, tuple(self.there[endpoint.name]))
        if too_long(said):
            told = window_in(said)
            if told is not None and told < window:
                raise _narrow(endpoint, one, told)
            return _overlong(request, tokens, told or window)
        if error.param in ("seed", "temperature", "stop"):
            raise LineageError(
                f"{endpoint.config.base_url} refuses {error.param} ({said}): add it to "
                f"model.endpoints.{endpoint.name}.omit"
            )
        if error.param in ("max_tokens", "max_completion_tokens"):
            raise LineageError(
                f"{endpoint.config.base_url} refuses {error.param} ({said}): set "
                f"model.endpoints.{endpoint.name}.max_tokens_as to the other name"
            )
        return Completion(error=f"{endpoint.config.base_url}: {error.status}: {said}")

    async def counter(self, version: str) -> TokenCounter:
        """Return the counter of the tokenizer that conf names, else one by letters."""
        return self.counters[version]

    async def adapt(
        self, name: str, base: str, examples: Sequence[Example], folder: Path, seed: int
    ) -> None:
        """Raise LineageError: what is behind an API has no adapters of ours."""
        raise LineageError(no_weights(base))

    async def serve(self, name: str, base: str, folder: Path) -> None:
        """Raise LineageError: what is behind an API has no adapters of ours."""
        raise LineageError(no_weights(base))

    def weights(self, version: str) -> Located:
        """Nowhere here."""
        return NOWHERE

    def spare_gpus(self) -> float:
        """It needs none, and knows of none."""
        return 0.0

    def describe(self) -> dict[str, Any]:
        """Return the endpoints that served a run, and what each turned out not to have."""
        used = {one.checkpoint.endpoint for one in self.served.values()}
        without = {f"{at} {model}": sorted(ways) for (at, model), ways in self.without.items()}
        return {
            "endpoints": {name: self.endpoints[name].config.base_url for name in sorted(used)},
            "without": {name: ways for name, ways in without.items() if ways},
        }

    def faults(self) -> Mapping[str, int]:
        """Return how many attempts failed of requests that a later one answered."""
        retried = sum(one.retried for one in self.endpoints.values())
        return {Fault.ATTEMPT_FAILED.value: retried} if retried else {}

    async def close(self) -> None:
        """Close the connections."""
        for endpoint in self.endpoints.values():
            await endpoint.close()


def _overlong(request: Request, tokens: int, window: int) -> Completion:
    return Completion(
        prompt="\n".join(turn.content for turn in request.turns),
        finish_reason=OVERLONG,
        prompt_tokens=tokens,
        error=f"over-long prompt: about {tokens} + {request.max_tokens} tokens in a context window "
        f"of {window}",
    )


def _narrow(endpoint: Endpoint, one: ModelVersion, window: int) -> LineageError:
    return LineageError(
        f"{one.checkpoint.path} at {endpoint.config.base_url} has a context window of {window:,} "
        f"tokens, not {one.context_window:,}: set context_window of {one.name} to {window}"
    )
