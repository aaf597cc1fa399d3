"""Names that become folders, files and partitions: one rule for all of them. Pure.

Arms, runs, model versions, curricula and trainings are held to it, whoever wrote the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lineage.core.errors import LineageError

LENGTH = 100
"""Letters of a name: a file's name may hold two of them, and has at most 255 bytes."""
SAFE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._@+-]{{0,{LENGTH - 1}}}")
LATEST = "latest"
"""The link in `run.root` to the run that was begun or resumed last."""
SHOWN = 60
"""Characters of a wrong name that an error quotes."""


def check_name(key: str, name: str) -> None:
    """Raise LineageError, which says that it is of the conf key `key`, where `name` is not safe."""
    if not SAFE.fullmatch(name):
        shown = repr(name)
        shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
        raise LineageError(
            f"{key}: {shown} is no name, it becomes part of a path: choose another, of letters "
            f"a to z, digits and . _ @ + -, at most {LENGTH}, a letter or digit first"
        )


def check_names(key: str, names: Iterable[str]) -> None:
    """Raise LineageError where one of `names` is not safe, or two would be one folder.

    So are two that differ in upper and lower case alone, where the file system knows no case.
    """
    found: dict[str, str] = {}
    for name in names:
        check_name(key, name)
        if (other := found.get(name.lower())) is not None:
            apart = f", as {other!r}: choose other names" if other != name else ": leave one out"
            raise LineageError(f"{key} names {name!r} twice{apart}")
        found[name.lower()] = name


def check_run_name(name: str) -> None:
    """Raise LineageError where no run may be called `name`."""
    check_name("run.name", name)
    if name.lower() == LATEST:
        raise LineageError(f"run.name={name} names the link to the latest run: choose another")
