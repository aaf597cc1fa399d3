"""The subcommands, a file a subject; `lineage.cli` puts them together."""

from __future__ import annotations

import argparse

Commands = argparse._SubParsersAction
"""What `add_subparsers` returns; argparse has no public name for it."""


def add_command(
    commands: Commands[argparse.ArgumentParser], name: str, what: str, examples: str
) -> argparse.ArgumentParser:
    """Return the parser of a new command; `examples` end its help as they stand."""
    return commands.add_parser(
        name,
        help=what,
        description=what,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
