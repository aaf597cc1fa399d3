"""Model versions: immutable, named, each with the parent it came from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TypeVar

from lineage.core.config import Config
from lineage.core.config_engine import CheckpointConfig, ModelConfig, PriceConfig, VersionConfig
from lineage.core.errors import LineageError

V = TypeVar("V")


@dataclass(frozen=True)
class ModelVersion:
    """One version. `context_window` is in tokens; `adapter` is "" for the plain checkpoint.

    `gate` is its own threshold for `agent.opening=gate`, None where it has none. `price` is that of
    one behind an API. Versions of equal checkpoint share an engine.
    """

    name: str
    checkpoint: CheckpointConfig
    adapter: str
    context_window: int
    parent: str
    released: str
    tool_parser: str = ""
    gate: float | None = None
    digest: str = ""
    price: PriceConfig | None = None


def registry(config: ModelConfig) -> dict[str, ModelVersion]:
    """Return the versions by name.

    Raises LineageError where a parent is unknown or a version is its own ancestor.
    """
    versions = {name: version(name, found) for name, found in config.versions.items()}
    for name in versions:
        seen = [name]
        while parent := versions[seen[-1]].parent:
            lookup(versions, parent)
            if parent in seen:
                raise LineageError(f"model version {name!r} is its own ancestor: mend its parent")
            seen.append(parent)
    return versions


def version(name: str, config: VersionConfig) -> ModelVersion:
    """Return the version `name` as `config` describes it."""
    return ModelVersion(name, **{one.name: getattr(config, one.name) for one in fields(config)})


def window_of(config: Config, name: str) -> int:
    """Return the context window (tokens) of version `name`, or that of what it is trained from.

    Raises LineageError as `lookup` does.
    """
    return lookup(config.model.versions, registered(config, name)).context_window


def registered(config: Config, name: str) -> str:
    """Return `name`, or of a version that is trained in the run the one that it is trained from."""
    while name in config.schedule.trained:
        name = config.schedule.trained[name]
    return name


def no_weights(version: str) -> str:
    """Return why `version`, which is behind an API, cannot be trained."""
    return (
        f"{version} is behind an API, which has its weights: an adapter can be trained only for a "
        "checkpoint of your own"
    )


def lookup(versions: Mapping[str, V], name: str, others: Iterable[str] = ()) -> V:
    """Return the version `name`. Raises LineageError that names the nearest one, also of `others`.

    `others` are names that the configuration could hold: those on the shelf.
    """
    if name in versions:
        return versions[name]
    names = sorted({*versions, *others})
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(names)}"
    raise LineageError(f"model version {name!r} is unknown: {hint}")
