"""Which engine a configuration asks for."""

from __future__ import annotations

from pathlib import Path

from lineage.core.config import Config
from lineage.core.errors import LineageError
from lineage.models.protocol import Engine
from lineage.models.surrogate import Surrogate
from lineage.models.versions import registry

KINDS = ("vllm", "surrogate")


def make_engine(config: Config, adaptable: bool = False) -> Engine:
    """Return the engine, not yet started. Raises LineageError for an unknown kind.

    `adaptable`: versions may be added while it runs, whatever the arms say.
    """
    engine = config.engine
    if engine.kind not in KINDS:
        raise LineageError(f"engine.kind is {engine.kind!r}: choose from {', '.join(KINDS)}")
    if engine.kind == "surrogate" and not engine.hosted:
        return Surrogate(engine.surrogate)
    # It brings Ray with it, which takes as long to import as a small run takes.
    from lineage.models.fleet import Fleet

    return Fleet(
        registry(config.model),
        engine,
        Path(config.run.cache),
        config.run.ray_address,
        config.finetune if adaptable or _trains(config) else None,
        config.run.ray_timeout_s,
    )


def _trains(config: Config) -> bool:
    """Whether an arm of the run is served by adapters that are trained while it runs."""
    defined = config.arms.defined
    return any(
        (defined[name].receives if name in defined else name) == "finetune"
        for name in config.arms.names
    )
