"""Which models wrote a commit, as what agents put under its message says. Pure.

Agents say so by trailers (`Co-Authored-By: Claude Opus 4.5 <noreply@anthropic.com>`,
`Co-authored-by: aider (gpt-4o) <aider@aider.chat>`, `Assisted-by: Claude Code:claude-sonnet-4-6`,
`Assisted-by: Kimi-K2-Thinking via Crush <crush@charm.land>`), by a line of their own
(`Generated with [Claude Code](https://claude.com/claude-code)`), or commit in their own name. A
trailer may stand anywhere: a squashed commit keeps those of its parts in the middle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ANY = frozenset(
    """
    aider amp chatgpt claude cline codex codestral copilot crush cursor cursoragent deepseek devin
    devstral droid fable gemini gemma glm goose gpt grok haiku hermes jules junie kilo kimi kiro
    llama minimax mistral opencode openclaw openhands opus pi qwen roo sonnet warp windsurf
    """.split()  # noqa: SIM905
)
"""Words of the names of agents and models. Some are people's, too: see `_is_agent`."""
PLACES = (
    *("@anthropic.com", "@openai.com", "@cursor.com", "@aider.chat", "@opencode.ai"),
    *("@charm.land", "@ampcode.com", "@all-hands.dev", "@warp.dev", "@alibabacloud.com"),
    *("+copilot@users.noreply.github.com", "[bot]@users.noreply.github.com"),
)
"""Ends of addresses that agents have, of services most of whose commits people do not write."""
_TRAILER = re.compile(
    r"^[ \t>]*(co-authored-by|co-developed-by|(?:ai-)?assisted-by|generated-(?:by|with))"
    r"[ \t]*:[ \t]*(.+?)[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_GENERATED = re.compile(
    r"^\W*generated (?:with|by) (?:\[([^\]\n]+)\]|([\w .+-]+?))[ \t]*(?:\([^)\n]*\))?[ \t.]*$",
    re.IGNORECASE | re.MULTILINE,
)
_NAMED = re.compile(r"^(.*?)\s*<([^<>]*)>\s*$")
_PAIR = re.compile(r"(?:^|(?<=\s))[A-Za-z][\w.+-]*(?: [A-Za-z][\w.+-]*)*:([\w./@+-]+)")
_INSIDE = re.compile(r"^(.*?)\s*\(([^()]*)\)\s*$")
_UNDOES = re.compile(r"[Tt]his reverts commits?\s+([0-9a-f]{7,64})")


def writers(message: str, authors: Iterable[tuple[str, str]] = ()) -> tuple[str, ...]:
    """Return the models that `message` names, each once as it is first spelled.

    Where it names none they are the agents. `authors` are names and addresses that the commit has
    of its own. Empty where neither says that an agent was at work: then it was a person, or nobody
    knows.
    """
    found: list[str] = []
    for key, value in _TRAILER.findall(message):
        by = key.lower().startswith("co-")
        named = _NAMED.match(value)
        name, address = (named[1], named[2]) if named else (value, "")
        if (not by and not address) or _is_agent(name, address):
            found += _names(name)
    for linked, plain in _GENERATED.findall(message):
        if _words(linked or plain) & ANY:
            found += _names(linked or plain)
    for name, address in authors:
        if name.endswith(" (aider)"):  # its mark on the person whom it works for
            found.append("aider")
        elif _is_agent(name, address):
            found += _names(name)
    by_key: dict[str, str] = {}
    for name in found:
        by_key.setdefault(model_key(name), name)
    by_key.pop("", None)
    models = tuple(name for name in by_key.values() if _is_model(name))
    return models or tuple(by_key.values())


def model_key(name: str) -> str:
    """Return what all spellings of a model have in common: `claude-opus-4-5`, `Claude Opus 4.5`."""
    bare = re.sub(r"-20\d{6}$", "", name.lower().rpartition("/")[2])
    return re.sub(r"[^a-z0-9]+", "-", bare).strip("-")


def undone(message: str) -> tuple[str, ...]:
    """Return the ids, or how they begin, of the commits that `message` says it reverts."""
    return tuple(_UNDOES.findall(message))


def _is_agent(name: str, address: str) -> bool:
    """Whether an agent has this name and address: there are people named Claude, and Devin."""
    words, at = _words(name), address.lower()
    if not words & ANY:
        return False
    return not at or at.endswith(PLACES) or at.startswith(("noreply@", "no-reply@"))


def _names(value: str) -> list[str]:
    """Return the models that `value` names; an agent that does not say which is one, too."""
    if pairs := _PAIR.findall(value):  # AGENT:MODEL, as the Linux kernel asks for
        return list(pairs)
    name = re.split(r" via (?=\w)", value)[0]
    inside = _INSIDE.match(name)
    if inside is None:
        return [name.strip()]
    outer, inner = inside[1].strip(), inside[2].strip()
    # "aider (gpt-4o)" names the model, "Claude Opus 4.7 (1M context)" something about it.
    return [inner] if _is_model(inner) and " " not in inner and not _is_model(outer) else [outer]


def _is_model(name: str) -> bool:
    """Whether `name` is a model's: it has a number, which those of agents do not."""
    return any(c.isdigit() for c in name)


def _words(name: str) -> set[str]:
    return {word for word in re.split(r"[^a-z]+", name.lower()) if word}
