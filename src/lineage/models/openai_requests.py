"""A request as an OpenAI-compatible API has it, and its answer as lineage has it. Pure.

The chat template is the server's. Where an endpoint cannot be held to a schema, a choice or tools,
they are asked for in words at the end of the prompt, and found in what comes back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineage.core.config_engine import EndpointConfig
from lineage.models.protocol import Completion, Request, TokenCounter, ToolCall, Turn
from lineage.models.repair import call_in, call_text, choice_in, compact, json_in

CHOICE = "choice"
"""The key of the object that an answer is wrapped in where only objects can be asked for."""
TOOLS = "tools"
WORDS = "none"
LADDER = ("structured_outputs", "json_schema", "json_object", WORDS)
"""Ways to hold an answer to a form, each stricter than the next."""
IN_JSON = """\
Answer with one JSON object and nothing else. It must match this JSON schema:
{schema}"""
IN_WORDS = """\
Answer with one of these and nothing else:
{choices}"""
WITH_TOOLS = """\
You may call one of these tools. To call one, answer with nothing but a JSON object such as
{example}
{tools}"""
REFUSED = {
    "response_format": re.compile(
        "response.format|json.schema|json.object|structured.output", re.IGNORECASE
    ),
    TOOLS: re.compile(r"\btools?\b|tool.choice|function", re.IGNORECASE),
}
"""By what was asked with, how an endpoint says that it does not know that."""
TOO_LONG = re.compile(
    r"context.?(?:length|window|size)|max_model_len|prompt is too long|too many tokens",
    re.IGNORECASE,
)
WINDOW = re.compile(r"context.?(?:length|window|size)\D{0,40}?(\d[\d,]*)", re.IGNORECASE)


class Malformed(ValueError):
    """An answer that is none of this protocol."""


@dataclass(frozen=True)
class Asking:
    """How a model is asked: by its id at an endpoint, in the ways that this still has.

    `without` are ways of `LADDER`, and `TOOLS`, that the endpoint turned out not to have.
    """

    model: str
    endpoint: EndpointConfig
    without: Collection[str] = ()

    @property
    def structured(self) -> str:
        """The strictest way that is left to hold an answer to a form."""
        first = LADDER.index(self.endpoint.structured)
        return next(one for one in (*LADDER[first:], WORDS) if one not in self.without)

    @property
    def native_tools(self) -> bool:
        """Whether tools are offered as such."""
        return self.endpoint.tools and TOOLS not in self.without

    def body(self, request: Request) -> dict[str, Any]:
        """Return the body of the API's request."""
        tokens = request.max_tokens + self.endpoint.reasoning_tokens
        tokens += self.endpoint.spare_tokens if self._wordy(request) else 0
        body: dict[str, Any] = {
            "model": self.model,
            "messages": self.messages(request),
            self.endpoint.max_tokens_as: tokens,
            "temperature": request.temperature,
            **self._form(request),
            **self.endpoint.extra,
        }
        if request.temperature > 0:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if request.tools and self.native_tools:
            body[TOOLS] = list(request.tools)
        return {name: value for name, value in body.items() if name not in self.endpoint.omit}

    def _wordy(self, request: Request) -> bool:
        """Whether there may be more around what is asked for: words, or an object."""
        if request.choices:
            return self.structured != "structured_outputs"
        loose = request.schema is not None and self.structured in ("json_object", WORDS)
        return loose or bool(request.tools and not self.native_tools)

    def _form(self, request: Request) -> dict[str, Any]:
        """Return the fields that hold the answer to a schema or a choice."""
        schema, way = request.schema, self.structured
        if way == "structured_outputs" and (schema or request.choices):
            told = {"json": schema} if schema else {"choice": list(request.choices)}
            return {way: told}
        if way == "json_schema" and (schema or request.choices):
            named = {"name": "answer", "strict": True, "schema": schema or _wrapped(request)}
            return {"response_format": {"type": way, way: named}}
        if way == "json_object" and schema:
            return {"response_format": {"type": way}}
        return {}

    def messages(self, request: Request) -> list[dict[str, Any]]:
        """Return the messages, with what only words can ask for at the end of the last."""
        said = _messages(request.turns, self.native_tools)
        if words := self._words(request):
            said[-1] = {**said[-1], "content": f"{said[-1]['content']}\n\n{words}"}
        return said

    def _words(self, request: Request) -> str:
        if request.tools and not self.native_tools:
            name = request.tools[0]["function"]["name"]
            example = compact({"name": name, "arguments": {"...": "..."}})
            tools = "\n".join(compact(one["function"]) for one in request.tools)
            return WITH_TOOLS.format(example=example, tools=tools)
        way = self.structured
        if request.schema and way in ("json_object", WORDS):
            return IN_JSON.format(schema=compact(request.schema))
        if request.choices and way in ("json_object", WORDS):
            return IN_WORDS.format(choices="\n".join(f"- {one}" for one in request.choices))
        return ""

    def refused(self, body: Mapping[str, Any], error: str) -> str:
        """Return what of `body` an endpoint does not know that answered with this `error`; else "".

        It is to be asked without that: a way of `LADDER`, or `TOOLS`.
        """
        held = self.structured in body or "response_format" in body
        if held and REFUSED["response_format"].search(error):
            return self.structured
        return TOOLS if TOOLS in body and REFUSED[TOOLS].search(error) else ""

    def completion(
        self, request: Request, answer: Mapping[str, Any], count: TokenCounter
    ) -> Completion:
        """Return what an `answer` (a `chat.completion` object) holds; raises Malformed.

        Where it does not tell the tokens, they are those that `count` counts.
        """
        try:
            first = answer["choices"][0]
            message = first["message"]
            said = str(message.get("content") or message.get("refusal") or "")
            called = message.get("tool_calls") or []
            found = [_call(one["function"]) for one in called if one.get("function")]
            finish = str(first.get("finish_reason") or "")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise Malformed(f"no choices of a chat completion in {shown(answer)}") from error
        prompt = "".join(f"<|{one['role']}|>\n{_text(one)}\n" for one in self.messages(request))
        usage = answer.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        calls, text = self._read(request, said, found)
        return Completion(
            text=text,
            prompt=prompt,
            calls=calls,
            # In a log one without a reason is a failure.
            finish_reason=finish or "stop",
            prompt_tokens=int(usage.get("prompt_tokens") or count(prompt)),
            completion_tokens=int(usage.get("completion_tokens") or count(said)),
            cached_tokens=int(details.get("cached_tokens") or 0),
        )

    def _read(
        self, request: Request, said: str, found: Sequence[ToolCall | None]
    ) -> tuple[tuple[ToolCall, ...], str]:
        """Return the calls in an answer, and its text as an engine of our own would write it."""
        if request.tools:
            calls = tuple(one for one in found if one is not None)
            if not calls and (call := call_in(said, request.tools)) is not None:
                calls = (call,)
            return calls, call_text(calls[0]) if calls else said
        if request.choices:
            wrapped = json_in(said) if self.structured == "json_schema" else None
            choice = str(wrapped.get(CHOICE, "")) if wrapped else said
            return (), choice_in(choice, request.choices) or said
        if request.schema is not None:
            value = json_in(said)
            # Of an answer that was cut off an inner object may be the first whole one.
            whole = value is not None and {*request.schema.get("required", ())} <= value.keys()
            return (), compact(value) if whole else said
        return (), said


def _messages(turns: Sequence[Turn], native_tools: bool) -> list[dict[str, Any]]:
    """Return turns as messages: a call and its reply as such where tools are, else as words."""
    said: list[dict[str, Any]] = []
    for number, turn in enumerate(turns):
        if turn.role != "tool":
            said.append({"role": turn.role, "content": turn.content})
        elif native_tools and said and (call := _written(said[-1]["content"])) is not None:
            id = f"call_{number}"
            said[-1] = {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": id, "type": "function", "function": call}],
            }
            said.append({"role": "tool", "tool_call_id": id, "content": turn.content})
        else:
            said.append({"role": "user", "content": turn.content})
    return said


def _written(text: str) -> dict[str, Any] | None:
    """Return the call that `call_text` wrote, as the API has it."""
    found = json_in(text or "") or {}
    if not isinstance(found.get("name"), str) or not isinstance(found.get("arguments"), dict):
        return None
    return {"name": found["name"], "arguments": compact(found["arguments"])}


def _call(function: Mapping[str, Any]) -> ToolCall | None:
    """Return the call of a message; None where its arguments are no JSON object."""
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except (ValueError, RecursionError):
        return None
    name = function.get("name")
    return ToolCall(str(name), arguments) if name and isinstance(arguments, dict) else None


def _text(message: Mapping[str, Any]) -> str:
    """Return a message's text: of a call what the earlier turn said."""
    for call in message.get("tool_calls") or ():
        function = call["function"]
        return call_text(ToolCall(function["name"], json.loads(function["arguments"])))
    return str(message["content"])


def _wrapped(request: Request) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {CHOICE: {"type": "string", "enum": list(request.choices)}},
        "required": [CHOICE],
        "additionalProperties": False,
    }


def too_long(error: str) -> bool:
    """Whether an endpoint refused a prompt for its length."""
    return TOO_LONG.search(error) is not None


def window_in(error: str) -> int | None:
    """Return the context window that such an `error` tells, None where it tells none."""
    found = WINDOW.search(error)
    return int(found[1].replace(",", "")) if found else None


def shown(value: object, most: int = 120) -> str:
    """Return the beginning of `value`, on one line."""
    text = " ".join(str(value).split())
    return text if len(text) <= most else f"{text[:most]}…"
