"""KEY=VALUE, as commands take it that compose a configuration, and what `--help` says of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product
from pathlib import Path
from textwrap import fill

from hydra.core.override_parser.types import Glob, Override

from lineage import compose
from lineage.core.errors import LineageError

WIDTH = 80
"""Columns of a help text."""
INDENT = 14
"""Of the options of a group, behind its name."""


@cache
def groups_text(*within: Path) -> str:
    """Return the groups of `conf/`, a line each, with the options that GROUP=OPTION may name.

    `within` are the folders whose options count (default: the shipped tree alone).
    """
    lines = []
    for group, options in compose.groups(within).items():
        first, *others = options
        text = ", ".join((f"{first}*", *others))
        start = f"  {group:<{INDENT - 2}}"
        indent = " " * INDENT
        lines.append(
            fill(
                text,
                WIDTH,
                initial_indent=start,
                subsequent_indent=indent,
                break_on_hyphens=False,
                break_long_words=False,
            )
        )
    return (
        "groups of conf/ and their options (* is the default), as in suite=warehouse:\n"
        + "\n".join(lines)
        + "\n\nany key can be overridden, as in suite.drift=0.1; the files of the groups, with "
        "all keys:\n" + "".join(f"  {place}\n" for place in within or (compose.conf_dir(),))
    )


def sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Return the override lists of a multirun, in Hydra's order: `a=1,2 b=3` gives two.

    Raises LineageError where they are no overrides, or a sweep of a kind that cannot be listed.
    """
    within = compose.folders(overrides)
    points: dict[str, list[str]] = {}
    for override in compose.parsed(overrides):
        key = override.get_key_element()
        texts = values_of(override, within)
        if texts is None:
            raise LineageError(
                f"conf: {override.input_line!r} names no values to run one by one: list them, "
                f"{key}=A,B, or use choice() or range()"
            )
        points[key] = [f"{key}={text}" for text in texts]
    return [list(point) for point in product(*points.values())]


def values_of(override: Override, within: Sequence[Path]) -> list[str] | None:
    """Return the values that `override` stands for, as text; None where they cannot be listed.

    Those of glob() are the options of a group in the folders `within` that its patterns fit. Raises
    LineageError where there are none.
    """
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if isinstance(override.value(), Glob):
        group = override.key_or_group
        options = [one for one in compose.options_of(group, within) if one != compose.SHARED]
        if found := override.value().filter(options):
            return list(found)
        there = f": choose from {', '.join(options)}" if options else f", as {group!r} is no group"
        raise LineageError(f"conf: {override.input_line!r} fits no option{there}")
    if not override.is_discrete_sweep():
        return None
    with compose.one_line():
        return list(override.sweep_string_iterator())
