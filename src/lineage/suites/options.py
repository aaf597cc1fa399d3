"""Options of scorers, by the scorer's name: what a row may say besides the name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from lineage.suites.formats import Described, Differs, Text, read

Tolerance = Annotated[float, Field(ge=0)]
Category = Annotated[int, Field(ge=1, le=5)]
"""Of LoCoMo's questions."""
CLOSE = 1e-6
"""Relative difference of two numbers of a result that are the same."""
Texts = Annotated[list[Text], Field(min_length=1)]


class Options(Described):
    """The options of a scorer that has none; others have more."""

    model_config = ConfigDict(extra="forbid")


class _Tolerances(Options):
    absolute: Tolerance = 0
    relative: Tolerance = 0


class _Choice(Options):
    choices: Texts


class _Regex(Options):
    pattern: Text | None = None


class _Result(Options):
    relative: Tolerance = CLOSE
    ordered: bool = False


class _Judge(Options):
    version: Text


class _Recall(Options):
    whole: bool = False


class _Prefix(Options):
    choices: Texts
    none: list[Text] = Field(default=[])


class _Locomo(Options):
    category: Category


class _MemoryAgentBench(Options):
    metric: Literal[
        "substring_exact_match",
        "parsed_substring_exact_match",
        "exact_match",
        "parsed_exact_match",
        "ruler_recall",
    ]


class _HotpotQA(Options):
    metric: Literal["em", "f1"] = "em"


OPTIONS: dict[str, type[Options]] = {
    **dict.fromkeys(("exact", "normalised", "contains", "f1", "ddxplus", "ace"), Options),
    "numeric": _Tolerances,
    "choice": _Choice,
    "regex": _Regex,
    "result": _Result,
    "judge": _Judge,
    "recall": _Recall,
    "prefix": _Prefix,
    "locomo": _Locomo,
    "memoryagentbench": _MemoryAgentBench,
    "hotpotqa": _HotpotQA,
}


def check(name: str, options: Mapping[str, Any]) -> str:
    """Return what is wrong with the options of the scorer `name`, "" where nothing is.

    Raises KeyError for an unknown name.
    """
    try:
        read(OPTIONS[name], dict(options), "scorer", needs=f"scorer {name!r} needs it")
    except Differs as error:
        return str(error)
    return ""
