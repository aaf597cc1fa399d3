"""Models behind an API, one request at a time: what a server may do wrong, and how it is asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from apis import NEW, OLD, Api, Mood, Reply, chat, error
from helpers import FULL
from hypothesis import given
from hypothesis import strategies as st

from lineage.agent.toolcalls import TOOLS
from lineage.core.errors import LineageError
from lineage.models.mixed import Mixed
from lineage.models.openai_engine import OpenAIEngine
from lineage.models.protocol import Completion, Request, ToolCall, Turn
from lineage.models.purse import Purse
from lineage.models.rates import MINUTE, Limit, backoff, retry_after
from lineage.models.repair import choice_in, json_in

ASKED = Request("r/1", OLD, (Turn("system", "Be brief."), Turn("user", "Birch?")), 8, 0.7, 3)
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


def first(*replies: Reply | None) -> Mood:
    """Return the mood of a server that sends these first, and then does well; None: well too."""
    return lambda number, body: replies[number] if number < len(replies) else None


def served(
    tmp: Path,
    mood: Mood | None = None,
    *requests: Request,
    told: list[str] | None = None,
    there: dict[str, Any] | None = None,
    **endpoint: Any,
) -> tuple[list[Completion], Api, dict[str, int]]:
    """Return what an endpoint answers to `requests`, one after another, with its faults."""

    async def asked(api: Api) -> tuple[list[Completion], dict[str, int]]:
        engine = OpenAIEngine(api.config(tmp, **endpoint))
        engine.tell = (told if told is not None else []).append
        try:
            await engine.start([OLD])
            found = [await engine.generate(one) for one in requests or (ASKED,)]
            return found, dict(engine.faults())
        finally:
            await engine.close()

    with Api(mood or first(), **(there or {})) as api:
        found, faults = asyncio.run(asked(api))
    return found, api, faults


BAD: dict[str, Reply] = {
    "429": error(429, "Rate limit reached", retry_after="0.01"),
    "500": error(500, "The server had an error"),
    "503": Reply(503, b"<html>busy</html>"),
    "torn": Reply(body=chat("Birch is 7"), cut=25),
    "closed": Reply(cut=0, body={}),
    "no JSON": Reply(body=b"<html>welcome</html>"),
    "half JSON": Reply(body=b'{"choices": [{"mess'),
    "another JSON": Reply(body={"answer": "7413"}),
}


ALIKE = {"500", "half JSON"}
"""Like a 503, and like what is no JSON at all."""


@pytest.mark.parametrize("name", BAD if FULL else [name for name in BAD if name not in ALIKE])
def test_what_another_attempt_mends_is_mended_and_else_is_the_error_of_that_request(
    tmp_path: Path, name: str
) -> None:
    bad = BAD[name]
    mood = first(bad, bad, None, bad, bad, bad)
    (found, failed, well), api, faults = served(tmp_path, mood, ASKED, ASKED, ASKED)
    assert not found.error and found.text and found.finish_reason == "stop"
    assert found.prompt_tokens > 0 and "Birch?" in found.prompt
    assert len(api.asked) == 3 + 3 + 1 and faults == {"attempt_failed": 2}
    assert all(body == api.asked[0] for body in api.asked)
    assert failed.broken and failed.error.startswith(f"{api.url}: ")
    assert failed.error.endswith(", 3 attempts") and "\n" not in failed.error
    assert not well.error


def test_a_slow_answer_is_asked_for_again(tmp_path: Path) -> None:
    apis: list[Api] = []

    def slow(number: int, body: dict[str, Any]) -> Reply | None:
        if number == 0:
            api.halt.wait(30)
        return None

    with Api(slow) as api:
        apis.append(api)

        async def asked() -> Completion:
            engine = OpenAIEngine(api.config(tmp_path, timeout_s=0.3))
            await engine.start([OLD])
            try:
                return await engine.generate(ASKED)
            finally:
                await engine.close()

        assert not asyncio.run(asked()).error
    assert len(api.asked) == 2


FATAL: dict[str, tuple[Reply, str]] = {
    "wait": (error(429, "slow down", retry_after="3600"), "asks to wait 3600 seconds .429: slow"),
    "money": (error(429, "You exceeded it", code="insufficient_quota"), "for want of money"),
    "key": (error(401, "Incorrect API key"), "refuses the key .401: Incorrect API key.: name its"),
    "model": (error(404, "no such model"), f"has no model .*it has {OLD}, {NEW}"),
    "temperature": (
        error(400, "Unsupported value: 'temperature'", param="temperature"),
        r"refuses temperature .*add it to model\.endpoints\.here\.omit",
    ),
    "length": (
        error(400, "Use 'max_completion_tokens' instead.", param="max_tokens"),
        r"set model\.endpoints\.here\.max_tokens_as to the other name",
    ),
    "window": (
        error(400, "This model's maximum context length is 2048 tokens. However, you requested"),
        f"has a context window of 2,048 tokens, not 4,096: set context_window of {OLD} to 2048",
    ),
}


@pytest.mark.parametrize("name", FATAL)
def test_what_concerns_all_requests_ends_in_one_line(tmp_path: Path, name: str) -> None:
    reply, says = FATAL[name]
    with pytest.raises(LineageError, match=says) as caught:
        served(tmp_path, lambda number, body: reply)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match=f"has no model '{OLD}': it has {NEW}, large; correct"):
        served(tmp_path, there={NEW: {}, "large": {}})
    with pytest.raises(LineageError, match=r"context window of 1,024 tokens, not 4,096"):
        served(tmp_path, there={OLD: {"max_model_len": 1024}})
    with Api() as api:
        gone = api.config(tmp_path, attempts=1)
    with pytest.raises(LineageError, match=r"does not answer .*correct model\.endpoints\.here"):
        asyncio.run(OpenAIEngine(gone).start([OLD]))


def test_a_prompt_that_is_too_long_is_its_askers_fault(tmp_path: Path) -> None:
    said = "This model's maximum context length is 4096 tokens. Your messages took 5000 tokens."
    (found, well), *_ = served(tmp_path, first(error(400, said)), ASKED, ASKED)
    assert found.overlong and found.error.startswith("over-long prompt: about ")
    assert not found.broken and not well.error


def test_a_model_is_held_to_a_form_as_its_endpoint_can(tmp_path: Path) -> None:
    schema, choice = replace(ASKED, schema=SCHEMA), replace(ASKED, choices=("d1", "none"))

    def bodies(**endpoint: Any) -> list[dict[str, Any]]:
        plain = Reply(body=chat("{}"))
        return served(tmp_path, first(plain, plain), schema, choice, **endpoint)[1].asked

    one, two = bodies()
    assert one["response_format"]["json_schema"]["schema"] == SCHEMA and one["max_tokens"] == 8
    assert two["response_format"]["json_schema"]["schema"]["required"] == ["choice"]
    assert two["max_tokens"] == 8 + 32
    one, two = bodies(structured="structured_outputs", max_tokens_as="max_completion_tokens")
    assert one["structured_outputs"] == {"json": SCHEMA} and one["max_completion_tokens"] == 8
    assert two["structured_outputs"] == {"choice": ["d1", "none"]}
    one, two = bodies(structured="none", omit=["seed"], extra={"top_k": 1}, reasoning_tokens=50)
    assert json.dumps(SCHEMA, separators=(",", ":")) in one["messages"][-1]["content"]
    assert two["messages"][-1]["content"].endswith("nothing else:\n- d1\n- none")
    assert one["messages"][0] == {"role": "system", "content": "Be brief."}
    assert one["max_tokens"] == 8 + 32 + 50 and one["top_k"] == 1 and "seed" not in one
    (plain, cold) = served(tmp_path, None, ASKED, replace(ASKED, temperature=0.0))[1].asked
    assert plain["seed"] == ASKED.seed and "seed" not in cold and cold["temperature"] == 0


def test_an_endpoint_that_knows_no_form_is_asked_in_words(tmp_path: Path) -> None:
    told: list[str] = []

    def plain(number: int, body: dict[str, Any]) -> Reply | None:
        if "response_format" in body:
            return error(400, "Unknown parameter: 'response_format'")
        schema = "JSON schema" in body["messages"][-1]["content"]
        text = 'Sure!\n```json\n{"text": "7413",}\n```' if schema else "I would take **d1**."
        return Reply(body=chat(text))

    requests = (replace(ASKED, schema=SCHEMA), replace(ASKED, choices=("d1", "d10", "none")))
    found, api, faults = served(tmp_path, plain, *requests, told=told)
    assert [one.text for one in found] == ['{"text":"7413"}', "d1"]
    # It is found out once: json_schema, json_object, words; then words at once.
    assert len(api.asked) == 4 and not faults
    assert sum("is asked without" in line for line in told) == 2


def test_tools_are_called_and_answered(tmp_path: Path) -> None:
    call = {"id": "x", "type": "function"}
    call["function"] = {"name": "open", "arguments": '{"id": "d4"}'}  # type: ignore[assignment]
    asked = replace(ASKED, tools=TOOLS)
    written = '{"name":"open","arguments":{"id":"d4"}}'
    later = replace(asked, turns=(*ASKED.turns, Turn("assistant", written), Turn("tool", "7413")))

    def native(number: int, body: dict[str, Any]) -> Reply | None:
        return Reply(body=chat(None, tool_calls=[call]) if number == 0 else chat("It is 7413."))

    (first_, last), api, _ = served(tmp_path, native, asked, later)
    assert first_.calls == (ToolCall("open", {"id": "d4"}),) and first_.text == written
    assert not last.calls and last.text == "It is 7413."
    assert api.asked[0]["tools"] == list(TOOLS)
    called, replied = api.asked[1]["messages"][-2:]
    assert called["tool_calls"][0]["id"] == replied["tool_call_id"]
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {"id": "d4"}

    def without(number: int, body: dict[str, Any]) -> Reply | None:
        if "tools" in body:
            return error(400, '"auto" tool choice requires --enable-auto-tool-choice')
        said = f"Let me look. {written}" if len(body["messages"]) == 2 else "It is 7413."
        return Reply(body=chat(said))

    (first_, last), api, _ = served(tmp_path, without, asked, later)
    assert first_.calls == (ToolCall("open", {"id": "d4"}),) and first_.text == written
    assert [one["role"] for one in api.asked[-1]["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert "Search the documents" in api.asked[1]["messages"][-1]["content"]


def test_tokens_are_estimated_where_none_are_told(tmp_path: Path) -> None:
    answer = chat("Birch: 7413")
    del answer["usage"]
    told: list[str] = []
    (found,), *_ = served(tmp_path, lambda number, body: Reply(body=answer), told=told)
    assert found.completion_tokens == 4, "a token for three letters, rounded up"
    assert found.prompt_tokens > 5
    assert any("by letters" in line and OLD in line for line in told)


def test_no_more_are_in_flight_than_may_be(tmp_path: Path) -> None:
    lock, now, most = threading.Lock(), [0], [0]
    gate = threading.Barrier(3, timeout=20)

    def count(number: int, body: dict[str, Any]) -> Reply | None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        gate.wait()  # all three come at once, or this breaks
        with lock:
            now[0] -= 1
        return None

    async def asked(api: Api) -> list[Completion]:
        engine = OpenAIEngine(api.config(tmp_path, max_in_flight=3, attempts=1))
        await engine.start([OLD])
        try:
            requests = (replace(ASKED, id=f"r/{number}") for number in range(9))
            return await asyncio.gather(*map(engine.generate, requests))
        finally:
            await engine.close()

    with Api(count) as api:
        found = asyncio.run(asked(api))
    assert not [one.error for one in found if one.error] and most == [3]


@given(
    st.floats(1, 50),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 60)), min_size=1, max_size=12),
)
def test_no_minute_holds_more_than_its_limit(most: float, asked: list[tuple[float, float]]) -> None:
    limit, now, taken = Limit(most), 0.0, list[tuple[float, float]]()
    for pause, amount in asked:
        now += pause
        while (wait := limit.wait(amount, now)) > 0:
            now += wait
        limit.take(amount, now)
        taken.append((now, amount))
    for end, _ in taken:
        within = [amount for at, amount in taken if at <= end < at + MINUTE]
        # What is larger alone went alone.
        assert sum(within) <= most + 1e-6 or len(within) == 1


def test_waits_are_as_the_server_says_and_else_double() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    date = format_datetime(datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC), usegmt=True)
    assert retry_after({"retry-after": "7"}, now) == 7
    assert retry_after({"retry-after": date}, now) == 30
    assert retry_after({"retry-after-ms": "250", "retry-after": "1"}, now) == 0.25
    assert retry_after({"retry-after": "soon"}, now) is None and retry_after({}, now) is None
    assert [backoff(1, attempt, 5, 0) for attempt in (1, 2, 3, 4)] == [1, 2, 4, 5]
    assert backoff(1, 1, 5, 1) == 0.5


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', {"a": 1}),
        ('so:\n```json\n{"a": {"b": [1,]}}\n```', {"a": {"b": [1]}}),
        ('{odd} then {"a": 2} and {}', {"a": 2}),
        ("[1, 2]", None),
        ("{" * 3000, None),
    ],
)
def test_the_first_whole_object_is_found(text: str, found: object) -> None:
    assert json_in(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("yes", "yes"),
        ("**Yes**, there is no doubt.", "yes"),
        ("The answer is no.", "no"),
        ("It is neither yes nor no", ""),
        ("nobody", ""),
    ],
)
def test_a_choice_is_found_where_one_is_named(text: str, found: str) -> None:
    assert choice_in(text, ("yes", "no")) == found


class Own:
    """An engine that does as `does` says, and counts letters."""

    def __init__(self, does: Callable[[Request], Completion]) -> None:
        self.does, self.started = does, list[str]()
        self.close = self.adapt = self.serve = self.weights = self.spare_gpus = None

    async def start(self, versions: list[str]) -> None:
        self.started += versions

    async def generate(self, request: Request) -> Completion:
        await asyncio.sleep(0)
        return self.does(request)

    async def counter(self, version: str) -> Callable[[str], int]:
        return len

    def describe(self) -> dict[str, Any]:
        return {"device": "cpu"}

    def faults(self) -> dict[str, int]:
        return {"engine_died": 1}


def test_an_end_comes_when_all_in_flight_are_answered() -> None:
    def does(request: Request) -> Completion:
        if request.id == "2":
            raise LineageError("the API is gone")
        return Completion("well", finish_reason="stop")

    async def asked() -> list[object]:
        purse = Purse(Own(does), frozenset({OLD}), {}, None, 0.0, {})  # type: ignore[arg-type]
        requests = [replace(ASKED, id=str(number)) for number in range(5)]
        found = await asyncio.gather(*map(purse.generate, requests), return_exceptions=True)
        return [*found, *await asyncio.gather(purse.generate(ASKED), return_exceptions=True)]

    found = asyncio.run(asked())
    assert [type(one) for one in found[:2]] == [Completion, Completion]
    assert str(found[2]) == str(found[5]) == "the API is gone"


def test_two_kinds_of_versions_are_served_in_one_run(tmp_path: Path) -> None:
    own = Own(lambda request: Completion("ours", finish_reason="stop"))

    async def asked(api: Api) -> tuple[list[Completion], Mixed]:
        remote = OpenAIEngine(api.config(tmp_path))
        mixed = Mixed(remote, own, [OLD])  # type: ignore[arg-type]
        mixed.tell = lambda said: None
        await mixed.start([OLD, "ours@1"])
        try:
            requests = (ASKED, replace(ASKED, version="ours@1"))
            found = [await mixed.generate(one) for one in requests]
            assert [(await mixed.counter(v))("abcd") for v in (OLD, "ours@1")] == [2, 4]
            with pytest.raises(LineageError, match="is behind an API"):
                await mixed.adapt("t", OLD, [], tmp_path, 0)
            return found, mixed
        finally:
            await remote.close()

    with Api() as api:
        (behind, ours), mixed = asyncio.run(asked(api))
    assert len(api.asked) == 1 and behind.text and ours.text == "ours"
    assert own.started == ["ours@1"] and mixed.faults() == {"engine_died": 1}
    assert mixed.describe() == {"endpoints": {"here": api.url}, "without": {}, "device": "cpu"}
