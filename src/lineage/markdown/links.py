"""Links between the files of a folder: what they lead to, and where they stand. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

_CODE = r"(?P<code>```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))"
_LINK = re.compile(
    _CODE + r"|(?P<open>\]\(\s*<?)(?P<path>[^)\s<>]+)(?P<close>>?(?:\s[^)]*)?\))"
    r"|\[\[(?P<wiki>[^\]|\n]+)(?P<shown>\|[^\]\n]*)?\]\]",
    re.DOTALL,
)
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")


def resolved(path: str, target: str, files: Collection[str]) -> str | None:
    """Return which of `files` the link `target` in the file `path` leads to; None: none of them.

    A name without a suffix, as wikis have it, is looked for beside the file and then anywhere.
    """
    name = unquote(target.partition("#")[0]).strip()
    if not name or _SCHEME.match(name):
        return None
    for base in (
        ("", posixpath.dirname(path)) if name.startswith("/") else (posixpath.dirname(path),)
    ):
        found = posixpath.normpath(posixpath.join(base, name.lstrip("/")))
        for candidate in (found, f"{found}.md"):
            if candidate in files:
                return candidate
    if "/" not in name:
        for other in sorted(files):
            if PurePosixPath(other).stem == name or PurePosixPath(other).name == name:
                return other
    return None


def leaves(path: str, target: str) -> bool:
    """Whether the link `target` in the file `path` leads to a file that is not in the folder."""
    name = unquote(target.partition("#")[0]).strip()
    if not name or _SCHEME.match(name):
        return False
    if name.startswith(("~", "/")):
        return name.startswith("~")
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), name)).startswith("..")


def targets(text: str) -> list[str]:
    """Return what the links of `text` lead to, as they say it; what is in code is no link."""
    found = (match["path"] or match["wiki"] for match in _LINK.finditer(text))
    return [target for target in found if target]


def redirected(text: str, change: Callable[[str], str | None]) -> str:
    """Return `text` with each link led to `change` of its target; None leaves it as it is."""

    def led(match: re.Match[str]) -> str:
        target = match["path"] or match["wiki"]
        other = change(target) if target else None
        if other is None:
            return match[0]
        if match["wiki"]:
            return f"[[{other.removesuffix('.md')}{match['shown'] or ''}]]"
        anchor = "".join(target.partition("#")[1:])
        return f"{match['open']}{quote(other, safe='/')}{anchor}{match['close']}"

    return _LINK.sub(led, text)
