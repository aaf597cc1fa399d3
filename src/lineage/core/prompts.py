"""Prompts: those that lineage ships with, and a folder of a user's own that take their place.

Each is a file of `lineage/prompts`, filled in as `string.Template` does: `$name` is a placeholder,
`$$` a dollar sign. No code is run, and what is filled in is not looked through again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template
from types import MappingProxyType

from lineage.core.errors import LineageError, nearest

Texts = Mapping[str, str]
"""The texts of prompts that take the place of ours, by name."""
OURS: Texts = MappingProxyType({})
"""None of them: every prompt is ours."""
KEY = "agent.prompts"
MOST_BYTES = 32_768
"""Of one file: some 8,000 tokens, as much as a large window has for rules."""
ABOUT = {
    "act": "the rules of an episode; a suite with instructions of its own has those instead",
    "append": "the rules of a handoff, policy append",
    "edit": "the rules of a handoff, policy edit",
    "rewrite-all": "the rules of a handoff, policy rewrite-all",
    "document": "the rules of writing a doc",
    "purpose-notes": "what belongs into memories: after those rules, with agent.purpose",
    "purpose-document": "what belongs into docs: after the rules of a doc, with agent.purpose",
    "move": "how text moves between memories and docs: after the rules, with agent.moves",
    "compress": "the rules of making memories that are over budget shorter",
    "restate": "the rules of saying an entry anew: migration rewrite",
    "summarise": "the rules of summing up a long episode, or a long text",
    "judge": "the rules of a judge of answers",
    "inherited": "said after any rules, before what was inherited",
    "open": "asks which doc to open",
    "summary": "asks for a summary of the record of an episode",
    "write": "asks for the JSON of a shorter or a restated memory",
    "episodes": "asks for the JSON of a handoff after these episodes",
    "episode": "one of them; arms transcript and retrieval show them too",
    "episode-wrong": "one of them whose wrong answer is not shown",
    "episode-lesson": "one of them that was a text to learn from",
}
"""What each prompt is for."""
_FENCED = re.compile(r"<(\w+)>\n\$(\w+)\n</\1>")
_LINES = re.compile(r"\r\n?")


@cache
def ours(name: str) -> str:
    """Return the prompt `name` that lineage ships with, without its last line break."""
    return files("lineage.prompts").joinpath(f"{name}.md").read_text(encoding="utf-8").rstrip("\n")


@cache
def placeholders(name: str) -> tuple[str, ...]:
    """Return what our prompt `name` is filled in with, in its order."""
    return tuple(Template(ours(name)).get_identifiers())


def said(texts: Texts, name: str, **values: str) -> str:
    """Return the prompt `name` with `values` filled in: that of `texts`, else ours."""
    return Template(texts[name] if name in texts else ours(name)).substitute(values)


def read_prompts(folder: Path) -> dict[str, str]:
    """Return the prompts in `folder` by name, without those that say what ours say.

    Hidden files are left alone. Raises LineageError, with the file and what to change, where one
    is not known, not readable, or `check_prompt` refuses it.
    """
    if not folder.is_dir():
        raise LineageError(
            f"{KEY} is {str(folder)!r}: it must be a folder with files such as edit.md"
        )
    found = {}
    try:
        for file in sorted(folder.iterdir()):
            if not file.name.startswith("."):
                found[file.stem] = _read(file)
    except OSError as error:
        raise LineageError(f"{KEY}: {folder} cannot be read: {error.strerror or error}") from error
    if not found:
        raise LineageError(
            f"{KEY}: {folder} holds no prompts: lineage prompts {folder} puts ours there"
        )
    return {name: text for name, text in found.items() if text != ours(name)}


def _read(file: Path) -> str:
    """Return what `file` says, without its last line breaks."""
    known = [f"{name}.md" for name in ABOUT]
    if file.name not in known:
        raise LineageError(f"{KEY}: {file} is no prompt of lineage{nearest(file.name, known)}")
    if not file.is_file():
        raise LineageError(f"{KEY}: {file} is no file: move it away")
    with file.open("rb") as opened:
        data = opened.read(MOST_BYTES + 1)
    try:
        text = _LINES.sub("\n", data.decode("utf-8-sig")).rstrip("\n")
    except UnicodeDecodeError as error:
        raise LineageError(f"{KEY}: {file} is no UTF-8 (byte {error.start}): save it so") from error
    check_prompt(file.stem, text, str(file))
    return text


def check_prompts(texts: Texts) -> None:
    """Raise LineageError where one of `texts` is not known, or `check_prompt` refuses it."""
    for name, text in texts.items():
        if name not in ABOUT:
            raise LineageError(f"{KEY}.{name} is no prompt of lineage{nearest(name, list(ABOUT))}")
        check_prompt(name, text, f"{KEY}.{name}")


def check_prompt(name: str, text: str, where: str) -> None:
    """Raise LineageError, which names `where`, if `text` cannot be the prompt `name`.

    It must have words, be no longer than `MOST_BYTES`, and have all placeholders of ours and no
    others. What ours fences (`<episodes>`, `<record>`) must be fenced, once: what stands between
    those marks is escaped so that it cannot end them.
    """
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise LineageError(f"{KEY}: {where} has more than {MOST_BYTES:,} bytes: shorten it")
    if odd := next((c for c in text if unicodedata.category(c) == "Cc" and c not in "\n\t"), ""):
        raise LineageError(f"{KEY}: {where} has the control character U+{ord(odd):04X}: remove it")
    if not text.strip():
        raise LineageError(f"{KEY}: {where} says nothing: write it, or leave it out to have ours")
    known, found = placeholders(name), set[str]()
    for match in Template.pattern.finditer(text):
        line = f"{where}, line {text.count(chr(10), 0, match.start()) + 1}"
        word = match["named"] or match["braced"]
        if match["invalid"] is not None:
            raise LineageError(f"{KEY}: {line}: a dollar sign is written $$")
        if word and word not in known:
            what = nearest(word, known) or ": it has none, and a dollar sign is written $$"
            raise LineageError(f"{KEY}: {line}: ${word} is no placeholder of {name}{what}")
        found.add(word or "")
    if lacking := [f"${word}" for word in known if word not in found]:
        raise LineageError(f"{KEY}: {where} lacks {', '.join(lacking)}: put it where that belongs")
    for tag, word in _FENCED.findall(ours(name)):
        inside = rf"<{tag}>\s*\$(?:{word}\b|\{{{word}\}})\s*</{tag}>"
        if len(re.findall(inside, text)) != 1 or len(re.findall(rf"\$\{{?{word}\b", text)) != 1:
            raise LineageError(
                f"{KEY}: {where} must have ${word} once, between <{tag}> and </{tag}>: these marks "
                "tell data from rules"
            )


def write_prompts(folder: Path) -> int:
    """Write our prompts into `folder`, which is made, and return how many there are.

    Raises LineageError, before any is written, where one is there already; and OSError.
    """
    targets = {name: folder / f"{name}.md" for name in ABOUT}
    if there := next((file for file in targets.values() if file.exists()), None):
        raise LineageError(f"{there} is there already: name another folder")
    if folder.exists() and not folder.is_dir():
        raise LineageError(f"{folder} is no folder: name another")
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in targets.items():
        file.write_text(ours(name) + "\n", encoding="utf-8", newline="\n")
    return len(targets)
