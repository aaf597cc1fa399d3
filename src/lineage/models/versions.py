"""Model versions: immutable, named, each with the parent it came from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from lineage.config import ModelConfig
from lineage.errors import LineageError


@dataclass(frozen=True)
class Checkpoint:
    """Where the weights come from; versions of equal checkpoint share an engine."""

    kind: str
    path: str
    package: str
    remedy: str


@dataclass(frozen=True)
class ModelVersion:
    """One version. `context_window` is in tokens; `adapter` is "" for the plain checkpoint."""

    name: str
    checkpoint: Checkpoint
    adapter: str
    context_window: int
    parent: str
    released: str
    tool_parser: str = ""


def registry(config: ModelConfig) -> dict[str, ModelVersion]:
    """Return the versions by name.

    Raises LineageError where a parent is unknown or a version is its own ancestor.
    """
    versions = {
        name: ModelVersion(
            name,
            Checkpoint(
                v.checkpoint.kind, v.checkpoint.path, v.checkpoint.package, v.checkpoint.remedy
            ),
            v.adapter,
            v.context_window,
            v.parent,
            v.released,
            v.tool_parser,
        )
        for name, v in config.versions.items()
    }
    for name in versions:
        seen = [name]
        while parent := versions[seen[-1]].parent:
            lookup(versions, parent)
            if parent in seen:
                raise LineageError(f"model version {name!r} is its own ancestor: mend its parent")
            seen.append(parent)
    return versions


def lookup(versions: Mapping[str, ModelVersion], name: str) -> ModelVersion:
    """Return the version `name`. Raises LineageError that names the nearest one."""
    if name in versions:
        return versions[name]
    close = get_close_matches(name, versions, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(versions)}"
    raise LineageError(f"model version {name!r} is unknown: {hint}")
