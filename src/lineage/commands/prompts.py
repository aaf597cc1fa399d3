"""`lineage prompts`: the prompts that lineage ships with, to be read or to begin one's own from."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from lineage.commands import Commands, add_command
from lineage.core.prompts import ABOUT, KEY, placeholders, write_prompts
from lineage.core.text import say
from lineage.report.terminal import new_table, plain

EXAMPLES = """\
examples:
  lineage prompts                              what there are, what for, and their placeholders
  lineage prompts mine                         put them into the folder mine, to be edited
  lineage run agent.prompts=mine               with those; where one is missing, ours
"""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "list the prompts, or put them into a folder to write your own from"
    parser = add_command(commands, "prompts", what, EXAMPLES)
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help="to be made, for agent.prompts"
    )
    parser.set_defaults(command=_prompts)


def _prompts(options: argparse.Namespace, console: Console) -> None:
    if options.folder is not None:
        written = write_prompts(options.folder)
        say(console, f"{written} prompts are in {options.folder}; edit some, and run with them:")
        say(console, f"lineage run {KEY}={options.folder}")
        return
    say(console, f"{len(ABOUT)} prompts; {KEY}=FOLDER has others in their place")
    table = new_table()
    table.add_column("prompt", no_wrap=True)
    table.add_column("placeholders")
    table.add_column("what for", overflow="fold")
    for name, about in ABOUT.items():
        held = ", ".join(f"${word}" for word in placeholders(name)) or "-"
        table.add_row(plain(f"{name}.md"), plain(held), plain(about))
    console.print(table)
