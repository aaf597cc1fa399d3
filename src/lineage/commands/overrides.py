"""KEY=VALUE, as commands take it that compose a configuration, and what `--help` says of it."""

from __future__ import annotations

import argparse
from functools import cache
from textwrap import fill

from lineage import compose

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
