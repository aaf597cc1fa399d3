"""Options of scorers, by the scorer's name: what a row may say besides the name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, create_model

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


def _options(**fields: Any) -> type[Options]:
    """Return a model of options: of each its type and its default, `...` where it has none."""
    return create_model("Options", __base__=Options, **fields)


Metric = Literal[
    "substring_exact_match",
    "parsed_substring_exact_match",
    "exact_match",
    "parsed_exact_match",
    "ruler_recall",
]
"""Of MemoryAgentBench."""
OPTIONS: dict[str, type[Options]] = {
    **dict.fromkeys(("exact", "normalised", "contains", "f1", "ddxplus", "ace"), Options),
    "numeric": _options(absolute=(Tolerance, 0), relative=(Tolerance, 0)),
    "choice": _options(choices=(Texts, ...)),
    "regex": _options(pattern=(Text | None, None)),
    "result": _options(relative=(Tolerance, CLOSE), ordered=(bool, False)),
    "judge": _options(version=(Text, ...)),
    "recall": _options(whole=(bool, False)),
    "prefix": _options(choices=(Texts, ...), none=(list[Text], [])),
    "locomo": _options(category=(Category, ...)),
    "memoryagentbench": _options(metric=(Metric, ...)),
    "hotpotqa": _options(metric=(Literal["em", "f1"], "em")),
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
