"""One OpenAI-compatible API: its client, key, rate limits, and what it does wrong.

The client's own retries are off: they give up where a Retry-After is longer than a minute, know no
rate limit, and what an attempt waits for concerns all others too.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from lineage.core.config_engine import EndpointConfig
from lineage.core.errors import LineageError, first_line
from lineage.core.seeds import rng
from lineage.models.openai_requests import shown
from lineage.models.rates import Limit, backoff, retry_after

TRIED_AGAIN = frozenset({408, 409, 425, 429})
"""Statuses that another attempt may mend, beside those of the server itself."""
SERVER = 500
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
"""Codes of a 429 that no waiting mends."""
NO_KEY = "none"
"""What the client is given where an endpoint wants no key: it does not do without one."""
HIDDEN = "[key]"
LISTED = 8
"""So many models an error names."""


@cache
def _trusted() -> ssl.SSLContext:
    """Return whose certificates are trusted: to read them all takes longer than all else of a
    client, and each endpoint has one.
    """
    from httpx import create_ssl_context

    return create_ssl_context()


class Refused(Exception):
    """An endpoint answered that it will not do what was asked: `status`, and the `param` it names.

    The message is what it said, without the key.
    """

    def __init__(self, status: int, said: str, param: str = "") -> None:
        super().__init__(said)
        self.status, self.param = status, param


class Failed(Exception):
    """All attempts failed; the message says of what the last one did."""


class Endpoint:
    """An endpoint by its name in `model.endpoints`. `retried` counts attempts that were mended."""

    def __init__(self, name: str, config: EndpointConfig) -> None:
        self.name, self.config, self.retried = name, config, 0
        self.room = asyncio.Semaphore(config.max_in_flight)
        self.order = asyncio.Lock()
        self.requests, self.tokens = (
            Limit(config.requests_per_minute),
            Limit(config.tokens_per_minute),
        )
        self.paused_until = 0.0
        self.client: Any = None
        self._key = ""

    def open(self) -> None:
        """Make the client. Raises LineageError where the key is not in the environment."""
        if self.client is not None:
            return
        # It takes half a second to import, which runs without one need not wait for.
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        variable = self.config.api_key_var
        self._key = os.environ.get(variable, "").strip() if variable else ""
        if variable and not self._key:
            raise LineageError(
                f"{self.config.base_url} wants a key, and {variable} is not set: export it, or set "
                f"{self.where} to the variable that has the key"
            )
        self.client = AsyncOpenAI(
            api_key=self._key or NO_KEY,
            base_url=self.config.base_url,
            timeout=self.config.timeout_s,
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(timeout=self.config.timeout_s, verify=_trusted()),
        )

    async def close(self) -> None:
        """Close the client. Safe to call twice."""
        client, self.client = self.client, None
        if client is not None:
            await client.close()

    async def models(self) -> dict[str, int | None] | None:
        """Return by its id the context window of each model that is there, None where it is not
        told; None where the endpoint does not list them.

        Raises LineageError where it refuses the key, or cannot be reached.
        """
        try:
            found = await self._tried(self.client.models.with_raw_response.list, {}, 0, "models")
            return {str(one["id"]): _window(one) for one in found["data"]}
        except Refused as error:
            self._check_key(error)
            return None
        except (KeyError, TypeError):
            return None
        except Failed as error:
            raise LineageError(
                f"{self.config.base_url} does not answer ({error}): start it, or correct "
                f"model.endpoints.{self.name}.base_url"
            ) from None

    async def complete(self, body: Mapping[str, Any], tokens: int, id: str) -> dict[str, Any]:
        """Return the answer to `body`, which takes about so many `tokens` of the limit.

        `id` tells requests apart, that are tried again at other times. Raises Refused and Failed;
        and LineageError where no later request could succeed either.
        """
        # What this version of the client does not know by name is sent too.
        sent = {"extra_body": dict(body), "model": body["model"], "messages": body["messages"]}
        try:
            create = self.client.chat.completions.with_raw_response.create
            return await self._tried(create, sent, tokens, id)
        except Refused as error:
            self._check_key(error)
            raise

    def unknown(self, model: str, there: Sequence[str]) -> LineageError:
        """Return the error of a `model` that is not among those that are `there`."""
        close = get_close_matches(model, there, n=LISTED)
        near = list(dict.fromkeys((*close, *sorted(there))))[:LISTED]
        more = f" and {len(there) - len(near)} more" if len(there) > len(near) else ""
        has = f"it has {', '.join(near)}{more}" if near else "it does not say which it has"
        return LineageError(
            f"{self.config.base_url} has no model {shown(model)!r}: {has}; correct `path` of the "
            "version's checkpoint"
        )

    def hidden(self, text: str) -> str:
        """Return `text` without the key, which a server may have said back."""
        return text.replace(self._key, HIDDEN) if self._key else text

    async def _tried(
        self, call: Any, body: Mapping[str, Any], tokens: int, id: str
    ) -> dict[str, Any]:
        """Return what `call` answers, tried again where that may help."""
        config, why = self.config, ""
        for attempt in range(1, config.attempts + 1):
            async with self.room:
                taken = await self._turn(tokens)
                found, why, wait = await self._once(call, body)
            if found is not None:
                # What it took is told, where it is told; else the estimate stands.
                usage = found.get("usage")
                told = usage.get("total_tokens") if isinstance(usage, dict) else None
                taken.amount = float(told or tokens)
                self.retried += attempt - 1
                return found
            if wait is not None and wait > config.most_wait_s:
                raise LineageError(
                    f"{config.base_url} asks to wait {wait:.0f} seconds ({why}), longer than "
                    f"model.endpoints.{self.name}.most_wait_s: lineage resume goes on later"
                )
            if wait is not None:
                # It concerns every request, not this one alone.
                self.paused_until = max(self.paused_until, time.monotonic() + wait)
            if attempt < config.attempts:
                draw = rng("backoff", id, attempt).random()
                await asyncio.sleep(backoff(config.backoff_s, attempt, config.most_wait_s, draw))
        raise Failed(f"{why}, {config.attempts} attempts")

    async def _turn(self, tokens: int) -> Any:
        """Wait until an attempt of about so many `tokens` may be made; return what it took."""
        async with self.order:
            while True:
                now = time.monotonic()
                wait = max(
                    self.paused_until - now,
                    self.requests.wait(1, now),
                    self.tokens.wait(tokens, now),
                )
                if wait <= 0:
                    self.requests.take(1, now)
                    return self.tokens.take(tokens, now)
                await asyncio.sleep(wait)

    async def _once(
        self, call: Any, body: Mapping[str, Any]
    ) -> tuple[dict[str, Any] | None, str, float | None]:
        """Return the answer; or None, why, and how long the server asks to wait."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        try:
            answer = await call(**body)
            # As it came: the client's own classes take any JSON for theirs.
            found = json.loads(answer.http_response.content)
            if isinstance(found, dict) and found.get("choices" if body else "data"):
                return found, "", None
            return None, f"not what was asked for but {self.hidden(shown(found))!r}", None
        except APITimeoutError:
            return None, f"no answer within timeout_s={self.config.timeout_s:g}", None
        except APIConnectionError as error:
            return None, self.hidden(f"connection failed: {shown(error.__cause__ or error)}"), None
        except APIStatusError as error:
            said, param = self._said(error)
            if error.code in NO_MONEY:
                raise LineageError(
                    f"{self.config.base_url} refuses for want of money ({said}): lineage resume "
                    "goes on when that is mended"
                ) from None
            if error.status_code not in TRIED_AGAIN and error.status_code < SERVER:
                raise Refused(error.status_code, said, param) from None
            wait = retry_after(error.response.headers, time.time())
            return None, f"{error.status_code}: {said}", wait
        except (OpenAIError, ValueError) as error:
            # A body that is no JSON, or of another shape.
            return None, self.hidden(f"a damaged answer: {shown(first_line(error))}"), None

    def _said(self, error: Any) -> tuple[str, str]:
        """Return what the server said of an error, and which parameter it named."""
        body = error.body if isinstance(error.body, dict) else {}
        nested = body.get("error")
        body = nested if isinstance(nested, dict) else body
        said = body.get("message") or body.get("detail") or nested or error.message
        return self.hidden(shown(said, 300)), str(body.get("param") or "")

    def _check_key(self, error: Refused) -> None:
        """Raise LineageError where the key is what was refused."""
        if error.status in (401, 403):
            variable = self.config.api_key_var
            mend = f"correct {variable}" if variable else f"name its key's variable in {self.where}"
            raise LineageError(
                f"{self.config.base_url} refuses the key ({error.status}: {error}): {mend}"
            ) from None

    @property
    def where(self) -> str:
        """The key of conf that names the key's variable."""
        return f"model.endpoints.{self.name}.api_key_var"


def _window(model: Mapping[str, Any]) -> int | None:
    """Return the window that a listed model tells: vLLM's and others' own field."""
    found = model.get("max_model_len") or model.get("context_length")
    return found if isinstance(found, int) else None
