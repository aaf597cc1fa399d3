"""The node `trajectory` of the configuration: what `lineage trajectory` varies. See `config`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineage.core.fields import NODE, Count, Share, Whole, key

Writer = Literal["trained", "untrained"]
Rise = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, config=NODE)
class TrajectoryConfig:
    """What is varied over many releases, one key at a time: the first of each list stays."""

    cadences: list[Count] = key("generations that a version serves", min_length=1)
    jumps: list[Rise] = key("share of what lacks to 1 that a release adds to skills", min_length=1)
    migrations: list[str] = key("verbatim | rewrite | none", min_length=1)
    writers: list[Writer] = key("trained: write and edit grow by the jump too", min_length=1)
    budgets: list[Count] = key("memory budgets, in tokens", min_length=1)
    goal: Share = key("at the end; less is a wall", "score on same and similar")
    draws: Whole = key("of the skills, where they are fitted to runs", ge=1)
    lineages: Whole = key("for each draw of the skills", "lineages", ge=1)
