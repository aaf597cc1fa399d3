"""The subcommands, a file a subject; `lineage.cli` puts them together."""

from __future__ import annotations

import argparse

Commands = argparse._SubParsersAction
"""What `add_subparsers` returns; argparse has no public name for it."""


def add_command(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    what: str,
    examples: str,
    add_help: bool = True,
) -> argparse.ArgumentParser:
    """Return the parser of a new command; `examples` end its help as they stand.

    Without `add_help` it takes -h and --help as it likes.
    """
    return commands.add_parser(
        name,
        help=what,
        add_help=add_help,
        description=what,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
