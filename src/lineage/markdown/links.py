"""Links between the files of a folder: what they lead to, and where they stand. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

import regex

_CODE = r"(?P<code>```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))"
_ANGLED = r"(?P<path>[^<>\n]+)"
_PLAIN = r"(?P<path>(?!<)(?:[^()\s<>]|\([^()\s<>]*\))+)"
_TITLED = r"(?:\s[^)]*)?\)"
_DEFINED = r"^[ ]{0,3}\[(?!\^)[^\]\n]+\]:[ \t]*"
_TO_END = r"(?=[ \t\r]*(?:$|[\"'(]))"
_LINK = regex.compile(
    "|".join(
        (
            _CODE,
            rf"(?P<open>\]\(\s*<){_ANGLED}(?P<close>>{_TITLED})",
            rf"(?P<open>\]\(\s*){_PLAIN}(?P<close>{_TITLED})",
            rf"(?P<open>{_DEFINED}<){_ANGLED}(?P<close>>{_TO_END})",
            rf"(?P<open>{_DEFINED}){_PLAIN}(?P<close>{_TO_END})",
            r"(?P<open><(?:a|img)\s[^<>]*?\b(?:href|src)=(?P<mark>[\"']))"
            r"(?P<path>[^\"'<>\n]+)(?P<close>(?P=mark))",
            r"\[\[(?P<wiki>[^\]|\n]+)(?P<shown>\|[^\]\n]*)?\]\]",
        )
    ),
    regex.DOTALL | regex.MULTILINE,
)
_SCHEME = regex.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_ANCHOR = regex.compile(r"[#?].*", regex.DOTALL)


def resolved(path: str, target: str, files: Collection[str]) -> str | None:
    """Return which of `files` the link `target` in the file `path` leads to; None: none of them.

    A name without a suffix, as wikis have it, is looked for beside the file and then anywhere, at
    last in other letters, small or large.
    """
    asked = unquote(target.partition("#")[0]).strip()
    # A file's name may have a question mark, as questions in wikis have.
    for name in dict.fromkeys((asked, file_of(target))):
        found = None if not name or _SCHEME.match(name) else _named(path, name, files)
        if found is not None:
            return found
    return None


def _named(path: str, name: str, files: Collection[str]) -> str | None:
    for base in (
        ("", posixpath.dirname(path)) if name.startswith("/") else (posixpath.dirname(path),)
    ):
        found = posixpath.normpath(posixpath.join(base, name.lstrip("/")))
        for candidate in (found, f"{found}.md"):
            if candidate in files:
                return candidate
    if "/" not in name:
        for form in (str, str.casefold):
            for other in sorted(files):
                if form(name) in (form(PurePosixPath(other).stem), form(PurePosixPath(other).name)):
                    return other
    return None


def file_of(target: str) -> str:
    """Return the path of a link's `target`, without the place in the file; "": it has none."""
    return unquote(_ANCHOR.sub("", target)).strip()


def leaves(path: str, target: str) -> bool:
    """Whether the link `target` in the file `path` leads to a file that is not in the folder."""
    name = file_of(target)
    if not name or _SCHEME.match(name):
        return False
    if name.startswith(("~", "/")):
        return name.startswith("~")
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), name)).startswith("..")


def targets(text: str) -> list[str]:
    """Return what the links of `text` lead to, as they say it; what is in code is no link."""
    found = (match["path"] or match["wiki"] for match in _LINK.finditer(text))
    return [target for target in found if target]


def redirected(text: str, change: Callable[[str, bool], str | None]) -> str:
    """Return `text` with each link led to `change` of its target, and of whether it is a wiki's;
    None leaves it as it is.
    """

    def led(match: regex.Match[str]) -> str:
        target = match["path"] or match["wiki"]
        other = change(target, bool(match["wiki"])) if target else None
        if other is None:
            return str(match[0])
        if match["wiki"]:
            anchor = "".join(target.partition("#")[1:])
            return f"[[{other.removesuffix('.md')}{anchor}{match['shown'] or ''}]]"
        anchor = "".join(_ANCHOR.findall(target))
        return f"{match['open']}{quote(other, safe='/')}{anchor}{match['close']}"

    found: str = _LINK.sub(led, text)
    return found
