"""`lineage versions`: the versions of the registry and of the shelf; and what code this is."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from rich.console import Console

from lineage import compose
from lineage.commands import Commands, add_command
from lineage.core.console import busy
from lineage.core.errors import LineageError
from lineage.core.text import say, say_json
from lineage.models import shelf, shelves
from lineage.models.versions import ModelVersion, registry, version
from lineage.report.sheet import NOT_COMPUTED, Sheet
from lineage.report.terminal import drawn, show_sheet

EXAMPLES = """\
examples:
  lineage versions                     of conf/model and of the shelf, where training puts them
  lineage versions model=mine
  lineage versions --check gemma3-270m@g0 model=bases   load it and try what a run asks of it
  lineage versions --json | jq '.versions[] | select(.from == "shelf") | .name'
"""
NAMED = ("version", "from", "window", "parent", "released")
PLACES = ("version", "checkpoint", "adapter")
NOTE = "window: tokens of the context; from: conf/model, or the shelf of lineage train"


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "list the model versions of the registry and the shelf"
    versions = add_command(commands, "versions", what, EXAMPLES)
    versions.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    versions.add_argument(
        "--check", metavar="VERSION", help="load it, try what a run asks, say what will not work"
    )
    versions.add_argument("--json", action="store_true", help="one JSON document")
    versions.set_defaults(command=_versions)


def _check(options: argparse.Namespace, console: Console) -> None:
    """Say whether a version can serve a run. Raises LineageError where it cannot, after why."""
    from lineage.runs.preflight import preflight, verdict

    name: str = options.check
    config = compose.load(options.overrides, name)
    with busy(console, f"loading {name}"):
        found = preflight(config, name)
    said = verdict(name, found)
    fails = any(one.works is False and one.needs for one in found)
    if options.json:
        about = {"version": name, "engine": config.engine.kind, "serves": not fails}
        say_json(console, {**about, "findings": [asdict(one) for one in found]})
    else:
        words = {True: "yes", False: "no", None: NOT_COMPUTED}
        rows = tuple((one.what, words[one.works], one.told) for one in found)
        if not fails:
            say(console, said)
        show_sheet(Sheet(f"can {name}", ("what", "works", "seen"), rows, left=3), console)
    if fails:
        raise LineageError(said)


def _versions(options: argparse.Namespace, console: Console) -> None:
    if options.check:
        _check(options, console)
        return
    whole = compose.load(options.overrides)
    config, place = whole.model, shelves.of(whole)
    on_shelf = shelf.named(config, place.names(), place)
    listed = [*registry(config).values(), *(version(name, v) for name, v in on_shelf.items())]
    found = [_plain(one, str(place)) for one in listed]
    if options.json:
        say_json(console, {"shelf": str(place), "versions": found})
        return
    named = tuple(tuple(_cell(one, head) for head in NAMED) for one in found)
    console.print(drawn(Sheet("versions", NAMED, named, NOTE, left=len(NAMED))))
    # Places are long: they have a table of their own, where they can be folded.
    places = tuple(tuple(_cell(one, head) for head in PLACES) for one in found)
    show_sheet(Sheet("where they are", PLACES, places, left=len(PLACES)), console)
    say(console, f"{len(listed)} versions, {len(on_shelf)} of them on the shelf, {place}")


def _plain(one: ModelVersion, place: str) -> dict[str, Any]:
    """Return a version as JSON has it."""
    of_shelf = bool(one.digest)
    adapter = f"{place}/{one.name}" if of_shelf else one.adapter
    return {**asdict(one), "adapter": adapter, "from": "shelf" if of_shelf else "conf"}


def _cell(one: dict[str, Any], head: str) -> str:
    if head == "checkpoint":
        at = one["checkpoint"]
        return f"{at['package']}/{at['path']}" if at["package"] else str(at["path"])
    names = {"version": "name", "window": "context_window"}
    return str(one[names.get(head, head)])


class ShowVersion(argparse.Action):
    """`--version`: prints what code this is, with the libraries that a run rests on, and exits."""

    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *given: object) -> None:
        """Print and exit. Nothing of it is asked for before somebody wants to know."""
        print(version_text())
        parser.exit()


def version_text() -> str:
    """Return the version of lineage with its commit, then of Python and the libraries, by line."""
    from lineage.runs.origin import libraries, origin

    here, found = origin(), libraries("vllm")
    lineage = found.pop("lineage", NOT_COMPUTED)
    state = ", with changes" if here["dirty"] else ""
    commit = f" (commit {here['commit'][:12]}{state})" if here["commit"] else ""
    lines = [f"lineage {lineage}{commit}", f"Python {here['machine']['python']}"]
    return "\n".join((*lines, *(f"{name} {version}" for name, version in found.items())))
