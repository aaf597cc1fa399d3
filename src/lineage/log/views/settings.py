"""The settings of a run as its folder holds them: dotted keys, unchecked, of any version's tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lineage.core.errors import LineageError
from lineage.core.jsonfile import read_file
from lineage.core.plainyaml import parse

TEXTS = ("engine.kind", "train.parent")
"""Keys whose values are shown as they are."""
WHERE = "run."
"""How the keys begin that say where and under which name a run is, not what it is."""


def read_settings(run: Path) -> dict[str, Any]:
    """Return the value of each dotted key of `config.yaml`.

    It is not checked against this version's keys, so the settings of any run can be read. Raises
    LineageError where there is no such file, or where it is torn.
    """
    file = run / "config.yaml"
    if not file.exists():
        raise LineageError(f"{run} is no run folder: it has no {file.name}")
    return parse_settings(read_file(file), str(file))


def parse_settings(text: str | bytes, file: str) -> dict[str, Any]:
    """Return the values of `text`, as `read_settings` does of the `file` that it is named by."""
    try:
        tree = parse(text)
    except ValueError as error:
        raise LineageError(f"{file} is no whole YAML file: {error}") from error
    if not isinstance(tree, dict):
        raise LineageError(f"{file} is no whole YAML file: it holds no keys")
    found = leaves(tree)
    for key in (key for key in TEXTS if not isinstance(found.get(key, ""), str)):
        raise LineageError(f"{file} is damaged ({key} is no text): restore it")
    return found


def leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values at the ends of `tree` by dotted key; an empty dict is a value."""
    if not isinstance(tree, dict) or not tree:
        return {prefix.rstrip("."): tree}
    return {
        key: leaf for name in tree for key, leaf in leaves(tree[name], f"{prefix}{name}.").items()
    }


def differing(all_settings: Sequence[dict[str, Any]]) -> list[str]:
    """Return the keys whose values are not the same in all, but those of `WHERE`."""
    keys = dict.fromkeys(key for settings in all_settings for key in settings)
    return [
        key
        for key in keys
        if not key.startswith(WHERE)
        and any(settings.get(key) != all_settings[0].get(key) for settings in all_settings)
    ]
