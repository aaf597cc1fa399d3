"""Task suites. A new one is one file here (or anywhere) and one entry in `conf/suite/`.

An entry's `_target_` is the dotted name of a subclass of `lineage.core.tasks.Suite`, as in Hydra;
its other keys are that class's fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any

from lineage.core.errors import LineageError
from lineage.core.fields import checked
from lineage.core.tasks import Suite


def make_suite(config: Mapping[str, Any]) -> Suite:
    """Return the suite that an entry of `conf/suite/` describes.

    Raises LineageError where its class cannot be found, or a key is missing or unknown or has a
    value that the class refuses.
    """
    kind = suite_class(str(config.get("_target_", "")))
    values = {str(key): value for key, value in config.items() if key != "_target_"}
    return checked(kind, values, "suite")


def suite_class(target: str) -> type[Suite]:
    """Return the class that the dotted name `target` stands for; raises LineageError."""
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise LineageError(
            f"suite._target_ is {target!r}, which cannot be imported: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Suite) and is_dataclass(found)):
        raise LineageError(
            f"suite._target_ is {target!r}: it must be a dataclass that extends "
            "lineage.core.tasks.Suite"
        )
    return found
