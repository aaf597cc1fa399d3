"""The node `advise` of the configuration: see `lineage.runs.advise`, and `config`."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from lineage.core.fields import NODE, Number, Share, Whole, key


@dataclass(frozen=True, config=NODE)
class AdviseConfig:
    """How `lineage advise` finds out what a folder of memory is worth to a new version."""

    margin: Number = key("smallest difference that matters", "score", default=0.1, gt=0, le=1)
    power: Number = key("of the tasks it asks for", "chance to see it", default=0.8, gt=0, lt=1)
    migrations: list[str] = key(
        "that are tried beside the memory as it is", factory=lambda: ["rewrite", "distil"]
    )
    about: Share = key("that an entry about a task covers", "share of its words", default=0.5)
    group: Whole = key("left out together at first", "entries", default=8, ge=1)
    history_episodes: Whole = key(
        "of --history, the newest", "episodes", default=200, ge=1, le=100_000
    )
    singly: Whole = key(
        "about some task, and left out one by one; more go by groups", "entries", default=64, ge=0
    )
