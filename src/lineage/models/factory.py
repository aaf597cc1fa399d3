"""Which engine a configuration asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from lineage.core.config import Config
from lineage.core.config_engine import OPENAI
from lineage.core.errors import LineageError
from lineage.models.mixed import Mixed
from lineage.models.protocol import Engine
from lineage.models.surrogate import Surrogate


@runtime_checkable
class Telling(Protocol):
    """An engine that says what it settles when it is started, before that takes time."""

    tell: Callable[[str], None]


def make_engine(
    config: Config, adaptable: bool = False, tell: Callable[[str], None] | None = None
) -> Engine:
    """Return the engine, not yet started. Raises LineageError for an unknown kind.

    `adaptable`: versions may be added while it runs, whatever the arms say. `tell` hears what an
    engine settles when it is started.
    """
    check_kind(config)
    made = ENGINES[config.engine.kind](config, adaptable or trains(config))
    if config.engine.kind not in (OPENAI, "surrogate") and (behind := behind_api(config)):
        made = Mixed(_openai(config, adaptable), made, behind)
    if tell is not None and isinstance(made, Telling):
        made.tell = tell
    return made


def check_kind(config: Config) -> None:
    """Raise LineageError for a kind of engine that is unknown."""
    kind = config.engine.kind
    if kind not in ENGINES:
        raise LineageError(f"engine.kind is {kind!r}: choose from {', '.join(ENGINES)}")


def _fleet(config: Config, adaptable: bool) -> Engine:
    # It brings Ray with it, which takes as long to import as a small run takes.
    from lineage.models.fleet import Fleet

    return Fleet(config, adaptable)


def _surrogate(config: Config, adaptable: bool) -> Engine:
    engine = config.engine
    return _fleet(config, adaptable) if engine.hosted else Surrogate(engine.surrogate)


def _openai(config: Config, adaptable: bool) -> Engine:
    # It brings a tokenizer's library with it.
    from lineage.models.openai_engine import OpenAIEngine

    return OpenAIEngine(config)


ENGINES: dict[str, Callable[[Config, bool], Engine]] = {
    "vllm": _fleet,
    "surrogate": _surrogate,
    OPENAI: _openai,
}
"""By `engine.kind` what makes it of a configuration and of whether versions may be added."""


def in_process(config: Config) -> bool:
    """Whether the engine is made in this process, and takes no time to start."""
    kind = config.engine.kind
    return kind == OPENAI or (kind == "surrogate" and not config.engine.hosted)


def behind_api(config: Config) -> frozenset[str]:
    """Return the versions of the registry that are behind an API; a stand-in stands in for all."""
    if config.engine.kind == "surrogate":
        return frozenset()
    versions = config.model.versions.items()
    return frozenset(name for name, one in versions if one.checkpoint.kind == OPENAI)


def trains(config: Config) -> bool:
    """Whether an arm of the run is served by adapters that are trained while it runs."""
    defined = config.arms.defined
    return any(
        (defined[name].receives if name in defined else name) == "finetune"
        for name in config.arms.names
    )
