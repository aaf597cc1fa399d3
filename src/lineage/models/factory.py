"""Which engine a configuration asks for."""

from __future__ import annotations

from pathlib import Path

from lineage.config import Config
from lineage.errors import LineageError
from lineage.models.fleet import Fleet
from lineage.models.protocol import Engine
from lineage.models.surrogate import Surrogate
from lineage.models.versions import registry

KINDS = ("vllm", "surrogate")


def make_engine(config: Config) -> Engine:
    """Return the engine, not yet started. Raises LineageError for an unknown kind."""
    engine = config.engine
    if engine.kind not in KINDS:
        raise LineageError(f"engine.kind is {engine.kind!r}: choose from {', '.join(KINDS)}")
    if engine.kind == "surrogate" and not engine.hosted:
        return Surrogate(engine.surrogate)
    return Fleet(registry(config.model), engine, Path(config.run.cache), config.run.ray_address)
