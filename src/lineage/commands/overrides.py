"""KEY=VALUE, as commands take it that compose a configuration, and what `--help` says of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache
from itertools import product
from textwrap import fill

from hydra.core.override_parser.types import Glob

from lineage import compose
from lineage.core.errors import LineageError

WIDTH = 80
"""Columns of a help text."""
INDENT = 14
"""Of the options of a group, behind its name."""


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Let `parser` take overrides; its help ends with the groups of `conf/` and their options."""
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    parser.epilog = f"{parser.epilog or ''}\n{groups_text()}"


@cache
def groups_text() -> str:
    """Return the groups of `conf/`, a line each, with the options that GROUP=OPTION may name."""
    lines = []
    for group, options in compose.groups().items():
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
        f"all keys:\n  {compose.conf_dir()}\n"
    )


def sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Return the override lists of a multirun, in Hydra's order: `a=1,2 b=3` gives two.

    Raises LineageError where they are no overrides, or a sweep of a kind that cannot be listed.
    """
    points: dict[str, list[str]] = {}
    for override in compose.parsed(overrides):
        key = override.get_key_element()
        if not override.is_sweep_override():
            texts = [override.get_value_element_as_str()]
        elif override.is_discrete_sweep() and not isinstance(override.value(), Glob):
            with compose.one_line():
                texts = list(override.sweep_string_iterator())
        else:
            raise LineageError(
                f"conf: {override.input_line!r} names no values to run one by one: list them, "
                f"{key}=A,B, or use choice() or range()"
            )
        points[key] = [f"{key}={text}" for text in texts]
    return [list(point) for point in product(*points.values())]
