"""`lineage submit`: a run as a job of a Ray cluster, followed here."""

from __future__ import annotations

import argparse
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from lineage import compose
from lineage.commands import Commands, add_command
from lineage.commands.flags import Asked, add_flags, planned, setting, show_help
from lineage.commands.run import check
from lineage.conftree import PRIMARY
from lineage.core import plainyaml
from lineage.core.config import Config
from lineage.core.console import busy
from lineage.core.errors import LineageError
from lineage.core.jobs import (
    SUCCEEDED,
    Job,
    address_of,
    choose,
    command,
    commands,
    entrypoint,
    state,
    submission,
    told,
)
from lineage.core.text import say, visible
from lineage.core.urls import is_url

EXAMPLES = """\
examples:
  lineage submit --address http://HEAD:8265 engine=surrogate
  lineage submit --address http://HEAD:8265 --no-follow experiment.lineages=64 engine.replicas=4
  lineage submit --address http://HEAD:8265 --wheel dist/lineage-0.1.0-py3-none-any.whl
  lineage submit --address http://HEAD:8265 --status lineage-first-light-6a3bbd64
  lineage submit --address http://HEAD:8265 --stop lineage-first-light-6a3bbd64
the same configuration and run.name are the same job: sent again it is followed where it runs, and
gone on with under the next number where it failed or was stopped; docs/cluster.md has the rest
"""
VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Where Ray's own commands look for an address that is not given."""
FILES = {"working_dir": "--working-dir", "wheel": "--wheel", "runtime_env": "--runtime-env"}
"""What is sent along: how it is named here, and by which flag."""
UNQUOTED = re.compile(r"[A-Za-z0-9_./-]+")
"""What Hydra's grammar takes without quotes."""
PACKAGE = "lineage/__init__.py"
"""What a wheel of lineage has in it."""


def register(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command."""
    what = "run on a Ray cluster: submit a job, follow it, stop it"
    parser = add_command(commands, "submit", what, EXAMPLES, add_help=False)
    flag = parser.add_argument
    flag("--address", metavar="URL", help=f"of its dashboard (default: ${VARIABLES[0]})")
    flag(
        "--follow",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show the log as it grows (default)",
    )
    one = parser.add_mutually_exclusive_group().add_argument
    one("--status", metavar="ID", help="say how a job stands, send nothing")
    one("--stop", metavar="ID", help="stop a job: what it finished is kept")
    flag(
        "--working-dir", type=Path, metavar="DIR", help="a folder for the job to run in, sent along"
    )
    flag("--wheel", type=Path, metavar="FILE", help="a wheel of lineage for the job, sent along")
    flag(
        "--runtime-env", type=Path, metavar="FILE", help="YAML: a runtime environment as Ray has it"
    )
    add_flags(parser, shows=False)
    parser.set_defaults(command=_submit)


def _submit(options: argparse.Namespace, console: Console) -> None:
    if options.help:
        show_help(options)
        return
    asked = planned(options, "lineage run")
    if asked.multirun:
        raise LineageError("-m asks for a sweep, and a job is one run: submit each point")
    address = address_of(options.address or _configured())
    config = compose.load(asked.overrides, name=asked.name)
    if options.status or options.stop:
        _ask(options, address, config.run.ray_timeout_s, console)
        return
    job = check(config, console)
    overrides = [*_own(asked), *_places(config)]
    wanted = submission(job.id, job.hash, overrides, config.run.name, config.run.ray_address)
    entry = entrypoint(wanted.words, brought=options.wheel is not None)
    along = [text for name, flag in FILES.items() if (text := _given(options, name, flag))]
    words = [*along, *overrides]
    with _environment(options) as environment:
        # Ray takes a moment to load, and is of no use for a configuration that is wrong.
        from lineage.models.jobs import Head

        with busy(console, f"asking {address}"):
            head = Head(address, config.run.ray_timeout_s)
            head.check()
            choice = choose(wanted.id, head.jobs())
            if choice.sent and not head.send(choice.id, entry, environment, words):
                choice = choose(wanted.id, head.jobs())
    say(console, told(choice, address, entry))
    if choice.sent or not choice.last or not choice.last.ended:
        say(console, "to follow it, ask for it and stop it, from anywhere:")
        _show(console, commands(address, choice.id, words))
    if not options.follow:
        return
    options.then = f" following; {choice.id} goes on: {command(address, *words)}"
    ended = head.follow(choice.id, lambda text: _write(console, text))
    options.then = ""
    if ended.status != SUCCEEDED:
        raise LineageError(f"{state(ended)}; go on with it: {command(address, *words)}")
    say(console, state(ended))


def _ask(options: argparse.Namespace, address: str, timeout_s: float, console: Console) -> None:
    """Say how the job stands that `options` name, or stop it."""
    from lineage.models.jobs import Head

    with busy(console, f"asking {address}"):
        head = Head(address, timeout_s)
        head.reached()
        found: Job = head.stop(options.stop) if options.stop else head.job(options.status)
    if options.stop and not found.ended:
        raise LineageError(f"{state(found)}, though it was told to stop: ask again")
    say(console, state(found))
    more = commands(address, found.id, found.words, found.ended)
    if more and found.status != SUCCEEDED:
        say(console, "to go on with it:" if found.ended else "to follow it, ask for it, stop it:")
        _show(console, more)


def _own(asked: Asked) -> list[str]:
    """Return the words of what is `asked`: its overrides, and the file that they override."""
    named = [] if asked.name == PRIMARY else [f"--config-name={asked.name}"]
    return [*named, *asked.overrides]


def _places(config: Config) -> list[str]:
    """Return the overrides by which the job writes where a run from here would.

    It runs in a folder of Ray's choice, which goes with it.
    """
    folders = {"run.root": config.run.root, "run.cache": config.run.cache}
    if is_url(config.run.cache):
        folders["run.storage.copy"] = config.run.storage.copy
    away = {
        key: str(Path(folder).absolute())
        for key, folder in folders.items()
        if not (Path(folder).is_absolute() or is_url(folder))
    }
    return [
        f"{key}={folder}" if UNQUOTED.fullmatch(folder) else setting(key, folder)
        for key, folder in away.items()
    ]


def _configured() -> str:
    for name in VARIABLES:
        # Inside a cluster the second is no dashboard's.
        if "://" in (found := os.environ.get(name, "")):
            return found
    raise LineageError(
        f"which cluster? name the address of its dashboard: --address http://HOST:8265, or set "
        f"{VARIABLES[0]}"
    )


def _given(options: argparse.Namespace, name: str, flag: str) -> str:
    value: Path | None = getattr(options, name)
    return "" if value is None else f"{flag}={value.absolute()}"


@contextmanager
def _environment(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the runtime environment of the job, whose files last as long as this does.

    Raises LineageError where one of them is not there or of no use.
    """
    made: dict[str, Any] = {} if options.runtime_env is None else _read(options.runtime_env)
    if (folder := options.working_dir) is not None:
        if not folder.is_dir():
            raise LineageError(f"--working-dir {folder} is no folder")
        made["working_dir"] = str(folder.absolute())
    with TemporaryDirectory(prefix="lineage-wheel-") as place:
        if options.wheel is not None:
            modules = _unpacked(options.wheel, Path(place))
            made["py_modules"] = [*made.get("py_modules", ()), *modules]
        yield made


def _read(file: Path) -> dict[str, Any]:
    try:
        found = plainyaml.parse(file.read_bytes())
    except OSError as error:
        raise LineageError(f"--runtime-env {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise LineageError(f"--runtime-env {file} is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise LineageError(f"--runtime-env {file} holds no keys: see Ray's page of them")
    return dict(found)


def _unpacked(wheel: Path, place: Path) -> list[str]:
    """Unpack `wheel` in `place` and return the folders in it.

    Ray would install it on each node with all that it needs, anew. A wheel without compiled parts
    is a folder that can be imported from, and what it needs is what the nodes have.
    """
    try:
        with zipfile.ZipFile(wheel) as packed:
            if PACKAGE not in packed.namelist():
                raise LineageError(f"--wheel {wheel} is no wheel of lineage: it has no {PACKAGE}")
            packed.extractall(place)
    except (OSError, zipfile.BadZipFile) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no wheel"
        raise LineageError(f"--wheel {wheel}: {why}: make one by pip wheel --no-deps .") from error
    return [str(one) for one in sorted(place.iterdir()) if one.is_dir()]


def _show(console: Console, lines: list[str]) -> None:
    for line in lines:
        say(console, f"  {line}")


def _write(console: Console, text: str) -> None:
    console.out(visible(text.expandtabs()), end="", highlight=False)
