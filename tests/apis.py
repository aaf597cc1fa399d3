"""An OpenAI-compatible server on loopback, in this process, which does well or as it is told to.

It answers as the stand-in would, by the model's id: a run on it writes what the stand-in writes.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lineage import compose
from lineage.core.config import Config
from lineage.core.config_engine import ModelConfig
from lineage.core.fields import checked
from lineage.models.protocol import Completion, Request, Turn
from lineage.models.surrogate import Surrogate

OLD, NEW = "smollm2-135m@r0", "smollm2-135m@r1"
"""Ids that the stand-in knows the skills of."""
NOTHING = Completion()
PRICE = {"prompt": 1.0, "completion": 2.0}


@cache
def composed(*overrides: str) -> Config:
    """Return what `overrides` make of the shipped tree: Hydra takes a second."""
    return compose.load(overrides)


@dataclass(frozen=True)
class Reply:
    """What is sent instead of an answer. `cut`: so many bytes of it, then the connection closes."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


Mood = Callable[[int, dict[str, Any]], Reply | None]
"""What becomes of the request of this number, counted from 0; None: it is answered well."""


def error(status: int, message: str, **more: str) -> Reply:
    """Return an error as OpenAI has it."""
    headers = {"Retry-After": more.pop("retry_after")} if "retry_after" in more else {}
    return Reply(status, {"error": {"message": message, "type": "error", **more}}, headers)


class Api:
    """The server; `asked` are the bodies of all requests for completions, `keys` what came along.

    `models` are those that are there, each with what is told of it.
    """

    def __init__(self, mood: Mood = lambda number, body: None, **models: dict[str, Any]) -> None:
        self.mood = mood
        self.models: dict[str, dict[str, Any]] = models or {OLD: {}, NEW: {}}
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.stand_in = Surrogate(composed("engine=surrogate").engine.surrogate)
        self.lock, self.halt = threading.Lock(), threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        self.halt.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def tree(self, **endpoint: Any) -> dict[str, Any]:
        """Return the node `model` of a run on it, with keys of its endpoint."""
        told = {"base_url": self.url, "backoff_s": 0.0, "attempts": 3} | endpoint
        versions = {
            name: {
                "checkpoint": {"kind": "openai", "endpoint": "here", "path": name},
                "context_window": 4096,
                "price": PRICE,
            }
            for name in (OLD, NEW)
        }
        return {"shelf": "versions", "endpoints": {"here": told}, "versions": versions}

    def config(self, tmp: Path, *overrides: str, **endpoint: Any) -> Config:
        """Return the configuration of a small run on it, below `tmp`."""
        model = checked(ModelConfig, self.tree(**endpoint), "model")
        made = composed("engine=openai", "experiment=tiny", "experiment.lineages=1", *overrides)
        run = replace(made.run, root=str(tmp / "runs"), cache=str(tmp / "cache"))
        return replace(made, model=replace(model, shelf=str(tmp / "shelf")), run=run)

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to `body`, as the stand-in writes it."""
        schema, choices = asked_for(body)
        request = Request(
            "",
            body["model"],
            tuple(Turn(one["role"], one["content"]) for one in body["messages"]),
            body.get("max_tokens", 0),
            body.get("temperature", 1.0),
            body.get("seed", 0),
            schema=schema,
            choices=tuple(choices),
        )
        made = asyncio.run(self.stand_in.generate(request))
        text = made.text
        if "response_format" in body and choices:
            text = json.dumps({"choice": text})
        return chat(text, made)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else the second part of a reply waits until the first is acknowledged, 40 ms.
            disable_nagle_algorithm = True

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                listed = [{"id": name, "object": "model", **of} for name, of in api.models.items()]
                self.reply(Reply(body={"object": "list", "data": listed}))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with api.lock:
                    number = len(api.asked)
                    api.asked.append(body)
                    api.keys.append(self.headers.get("Authorization", ""))
                if body["model"] not in api.models:
                    self.reply(error(404, f"The model {body['model']} does not exist."))
                    return
                self.reply(api.mood(number, body) or Reply(body=api.answer(body)))

            def reply(self, reply: Reply) -> None:
                body = reply.body
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(reply.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data[: reply.cut])
                if reply.cut is not None:
                    self.close_connection = True

        return Handler


def asked_for(body: dict[str, Any]) -> tuple[dict[str, Any] | None, Sequence[str]]:
    """Return the schema and the choices that `body` holds the answer to."""
    native = body.get("structured_outputs", {})
    schema = native.get("json") or body.get("response_format", {}).get("json_schema", {}).get(
        "schema"
    )
    choices = native.get("choice", ())
    if schema and "choice" in schema["properties"]:
        return None, schema["properties"]["choice"]["enum"]
    return schema, choices


def chat(text: str | None, made: Completion = NOTHING, **message: Any) -> dict[str, Any]:
    """Return a chat completion with `text`."""
    return {
        "id": "chat",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls" if "tool_calls" in message else "stop",
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": {
            "prompt_tokens": made.prompt_tokens or 7,
            "completion_tokens": made.completion_tokens or 3,
            "total_tokens": (made.prompt_tokens or 7) + (made.completion_tokens or 3),
        },
    }
