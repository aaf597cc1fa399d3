"""Inherited text as data. Pure: what of it could be a mark is escaped, the rest stays as it is.

A mark is a fence of ours, or what a chat template takes for one of its own tokens.
"""

from __future__ import annotations

import re

from lineage.core.plaintext import spaced

_FENCES = "notes|docs?|history|summary|record|episodes"
"""The tags of our own prompts: see `fence` in `lineage.agent.prompt`, and `prompts/`."""
_TOKENS = (
    r"\w+_TOKEN|s|bos|eos|eot|eoh|eoa|pad|unk|cls|sep|mask|think|tools?|tool_\w+|fim_\w+"
    r"|(?:start|end)_of_\w+|im_(?:start|end|sep)|extra_id_\d+|unused_?\d+|reserved\w*"
    r"|image|img|audio|video|repo_?name|file_?name|file_sep|gh_stars|(?:issue|jupyter)_\w+"
    r"|empty_output"
)
"""Names of special tokens that stand between `<` and `>` in the vocabularies of public models."""
_BRACKETED = (
    "INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|ARGS|CALL_ID|THINK"
    "|IMG|IMG_BREAK|IMG_END|AUDIO|BEGIN_AUDIO|PREFIX|MIDDLE|SUFFIX|MODEL_SETTINGS"
)
"""Those that stand in square brackets, as Mistral's do."""
_MARK = re.compile(
    rf"<(?=\s*/?\s*(?:{_FENCES})\b)"
    rf"|<(?=/?(?:{_TOKENS})>)"
    "|<(?=[|\N{FULLWIDTH VERTICAL LINE}])"
    r"|<(?=</?SYS>>)",
    re.IGNORECASE,
)
_BRACKET = re.compile(rf"\[(?=/?(?:{_BRACKETED})\])")


def escape(text: str) -> str:
    """Return inherited or generated text on one line, with nothing in it that could be a mark.

    `<` goes, and with it both our fences and every chat template's special tokens; control
    characters and lone surrogates become spaces.
    """
    return " ".join(spaced(text.replace("&", "&amp;").replace("<", "&lt;")).split())


def inert(line: str) -> str:
    """Return one line of a document as it is, its indentation too, but for what could be a mark.

    Of a mark the first character is escaped; control characters but tabs become spaces.
    """
    line = "\t".join(spaced(part) for part in line.split("\t")).rstrip()
    return _BRACKET.sub("&#91;", _MARK.sub("&lt;", line))
