"""What a model wrote where nothing held it to a form: the JSON or the choice in it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lineage.models.protocol import ToolCall

TRAILING = re.compile(r",(\s*[}\]])")
"""A comma before a closing bracket, which JSON has not."""


def json_in(text: str) -> dict[str, Any] | None:
    """Return the first whole JSON object in `text`; None where there is none.

    It may stand in a fence or among words, and a comma too many does no harm.
    """
    for start in (found.start() for found in re.finditer(r"\{", text)):
        for candidate in (text[start:], TRAILING.sub(r"\1", text[start:])):
            try:
                value, _ = json.JSONDecoder().raw_decode(candidate)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                return value
    return None


def compact(value: object) -> str:
    """Return `value` as JSON on one line, as an engine writes that is held to a schema."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def choice_in(text: str, choices: Sequence[str]) -> str:
    """Return the one of `choices` that `text` names, "" where it names none or several.

    How the answer begins counts first, then the only choice that it holds as a word of its own.
    """
    for choice in sorted(choices, key=len, reverse=True):
        if re.match(rf"\W*{re.escape(choice)}(?!\w)", text, re.IGNORECASE):
            return choice
    named = [
        one for one in choices if re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text, re.IGNORECASE)
    ]
    # "open the door" names "open" too: the longest that holds all others is meant.
    longest = max(named, key=len, default="")
    alone = all(one.casefold() in longest.casefold() for one in named)
    return longest if alone else ""


def call_in(text: str, tools: Sequence[Mapping[str, Any]]) -> ToolCall | None:
    """Return the call of one of `tools` that `text` is, as `call_text` writes it; else None."""
    found = json_in(text)
    if found is None or not isinstance(found.get("arguments"), dict):
        return None
    known = {one["function"]["name"] for one in tools}
    name = str(found.get("name"))
    return ToolCall(name, found["arguments"]) if name in known else None


def call_text(call: ToolCall) -> str:
    """Return a call as the log and later prompts have it."""
    return compact({"name": call.name, "arguments": call.arguments})
