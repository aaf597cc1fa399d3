"""The conventions by which agents keep memory in files, each behind one interface."""

from __future__ import annotations

from difflib import get_close_matches

from lineage.core.errors import LineageError
from lineage.markdown.conventions.interface import Convention, Texts
from lineage.markdown.conventions.named import (
    AGENTS,
    CLINE,
    CODEX,
    CURSOR,
    GEMINI,
    MEMFS,
    OPENCLAW,
    PLAIN,
    SERENA,
    SKILLS,
)
from lineage.markdown.conventions.told import CLAUDE, GOOSE, HERMES, LETTA, OKF

CONVENTIONS: dict[str, Convention] = {
    one.name: one
    for one in (
        *(CLAUDE, HERMES, OPENCLAW, CODEX, LETTA, MEMFS, GOOSE, SERENA, CLINE),
        *(CURSOR, GEMINI, AGENTS, SKILLS, OKF, PLAIN),
    )
}
"""By name, as `--format` takes them; of two that are as sure, the first."""


def convention(name: str) -> Convention:
    """Return the convention `name`. Raises LineageError where there is none."""
    if name not in CONVENTIONS:
        near = get_close_matches(name, CONVENTIONS, 1)
        like = f"did you mean {near[0]}? " if near else ""
        raise LineageError(f"no format {name!r}: {like}choose from {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def recognised(texts: Texts) -> list[Convention]:
    """Return the conventions that `texts` may be of, the likeliest first."""
    sure = {name: one.recognise(texts) for name, one in CONVENTIONS.items()}
    likely = [(value, name) for name, value in sure.items() if value is not None]
    return [CONVENTIONS[name] for _, name in sorted(likely, key=lambda one: -one[0])]
