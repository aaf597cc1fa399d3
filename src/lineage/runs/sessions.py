"""Session logs of agents, read as episodes: what a person asked, what was done, what was answered.

Read are JSON Lines of Claude Code (`type` user or assistant, with a `message`), of OpenAI's chat
format (`messages` on a line are a session), and of single messages (`role`, `content`). Lines of an
agent's log that are no message are passed over. Files are streamed, and all texts bounded.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineage.core.errors import LineageError, first_line
from lineage.core.plaintext import clean

MOST_BYTES = 8 << 20
"""Of one line. A longer one is among those that cannot be read."""
DISAGREES = frozenset(("no", "nope", "wrong", "incorrect"))
"""Words that a person begins with where the answer before was not right."""
NOT_SAID = ("<command-", "<local-command-", "[Request interrupted")
"""How texts begin that Claude Code logs for a user who has not said them."""
TEXTS = ("text", "input_text", "output_text")


@dataclass(frozen=True)
class Told:
    """One episode of a history; `exchanges` are what was done and what that led to.

    `feedback` is what the user said next, and `right` whether that does not begin with a no.
    `asked` are questions that the episode tells the answers of, with these.
    """

    session: str
    version: str
    prompt: str
    answer: str
    feedback: str = ""
    right: bool = True
    context: str = ""
    exchanges: tuple[tuple[str, str], ...] = ()
    asked: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Bounds:
    """The longest text of an episode, and of all its exchanges, in characters."""

    text: int
    exchanges: int


@dataclass
class Lines:
    """How many lines of a file there were, how many could not be read, and the first of these."""

    file: Path
    read: int = 0
    bad: int = 0
    first: str = ""

    def wrong(self, why: str) -> None:
        """Count the line that was read last."""
        self.bad += 1
        self.first = self.first or f"line {self.read}: {why}"

    @property
    def note(self) -> str:
        """What to say of them, "" where all could be read."""
        if not self.bad:
            return ""
        return f"{self.file}: {self.bad:,} of {self.read:,} lines cannot be read; {self.first}"


class _Odd(ValueError):
    """A line that is no message of any known form."""


def read_sessions(file: Path, bounds: Bounds, lines: Lines) -> Iterator[Told]:
    """Yield the episodes of `file`, in its order; `lines` counts what cannot be read.

    Raises LineageError where the file cannot be opened.
    """
    session = _Session(file.stem, bounds)
    try:
        for data in _lines(file, lines):
            try:
                value = _parsed(data)
                alone = isinstance(value.get("messages"), list)
                messages = _messages(value)
            except _Odd as error:
                lines.wrong(str(error))
                continue
            name = str(value.get("sessionId") or session.name)
            if alone or name != session.name:
                yield from session.ended()
                name = f"{file.stem}:{lines.read}" if alone else name
                session = _Session(name, bounds)
            for message in messages:
                yield from session.add(message)
    except OSError as error:
        raise LineageError(f"{file} cannot be read: {error.strerror or error}") from error
    yield from session.ended()


def _lines(file: Path, lines: Lines) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while data := opened.readline(MOST_BYTES):
            lines.read += 1
            if len(data) == MOST_BYTES and not data.endswith(b"\n"):
                lines.wrong(f"more than {MOST_BYTES:,} bytes")
                while data and not data.endswith(b"\n"):
                    data = opened.readline(MOST_BYTES)
            elif data.strip():
                yield data


@dataclass(frozen=True)
class _Message:
    """Parts of a message: who it is by, and texts, calls (id, text) and results (id, text)."""

    role: str
    version: str
    parts: tuple[tuple[str, str, str], ...]


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise _Odd("no UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise _Odd(f"no JSON ({first_line(error)})") from error
    if not isinstance(value, dict):
        raise _Odd("no JSON object")
    return value


def _messages(value: dict[str, Any]) -> list[_Message]:
    """Return the messages of one line; [] where it is another line of an agent's log."""
    if isinstance(value.get("messages"), list):
        return [_message(one) for one in value["messages"]]
    if value.get("type") in ("user", "assistant"):
        if value.get("isMeta") or value.get("isSidechain"):
            return []
        return [_message(value.get("message"))]
    if "role" in value:
        return [_message(value)]
    if isinstance(value.get("type"), str):
        return []
    raise _Odd("no message of a known form")


def _message(value: Any) -> _Message:
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise _Odd("a message without a role")
    role, content = value["role"], value.get("content")
    if role == "tool":
        parts = [("result", str(value.get("tool_call_id") or ""), _text(content))]
    elif isinstance(content, list):
        parts = [part for block in content for part in _block(block)]
    else:
        parts = [("text", "", _text(content))]
    for call in value.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise _Odd("a tool call without a function")
        text = f"{function.get('name')} {function.get('arguments') or ''}"
        parts.append(("call", str(call.get("id") or ""), text.strip()))
    return _Message(role, str(value.get("model") or ""), tuple(parts))


def _block(block: Any) -> Iterator[tuple[str, str, str]]:
    if not isinstance(block, dict):
        raise _Odd("a block of content that is no object")
    kind = block.get("type")
    if kind in TEXTS:
        yield "text", "", _text(block.get("text"))
    elif kind == "tool_use":
        what = json.dumps(block.get("input") or {}, ensure_ascii=False)
        yield "call", str(block.get("id") or ""), f"{block.get('name')} {what}"
    elif kind == "tool_result":
        yield "result", str(block.get("tool_use_id") or ""), _text(block.get("content"))


def _text(content: Any) -> str:
    """Return the texts of `content`: none, a text, or blocks of which some are."""
    if content is None:
        return ""
    if isinstance(content, str):
        return clean(content)
    if not isinstance(content, list):
        raise _Odd("content that is neither text nor blocks")
    texts = (one.get("text") for one in content if isinstance(one, dict))
    return clean("\n".join(text for text in texts if isinstance(text, str)))


@dataclass
class _Session:
    """The episode that is open in a session: it ends where the user says something next."""

    name: str
    bounds: Bounds
    prompt: str = ""
    answer: str = ""
    version: str = ""
    open: dict[str, str] = field(default_factory=dict)
    done: deque[tuple[str, str]] = field(default_factory=deque)
    length: int = 0

    def add(self, message: _Message) -> Iterator[Told]:
        """Take a message in, and yield the episode that it ends."""
        for kind, id, text in message.parts:
            text = self._cut(text)
            if kind == "call":
                self.open[id or str(len(self.open))] = text
            elif kind == "result":
                first = id if id in self.open else next(iter(self.open), "")
                self._exchange(self.open.pop(first, ""), text)
            elif message.role == "assistant" and text:
                self.answer, self.version = text, message.version or self.version
            elif message.role == "user" and text and not text.startswith(NOT_SAID):
                yield from self.ended(text)
                self.prompt = text

    def ended(self, feedback: str = "") -> Iterator[Told]:
        """Yield the open episode, if anything was done or answered in it, and begin anew."""
        if self.prompt and (self.answer or self.done):
            word = feedback.split(maxsplit=1)[0].strip(".,:;!").lower() if feedback else ""
            right = word not in DISAGREES
            yield Told(
                self.name,
                self.version or "session",
                self.prompt,
                self.answer,
                feedback,
                right,
                exchanges=tuple(self.done),
            )
        self.prompt = self.answer = ""
        self.open, self.done, self.length = {}, deque(), 0

    def _exchange(self, call: str, result: str) -> None:
        self.done.append((call, result))
        self.length += len(call) + len(result)
        while self.length > self.bounds.exchanges and len(self.done) > 1:
            self.length -= sum(map(len, self.done.popleft()))

    def _cut(self, text: str) -> str:
        text = text.strip()
        return text if len(text) <= self.bounds.text else text[: self.bounds.text - 1] + "…"
