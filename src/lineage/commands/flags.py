"""Hydra's own flags, as `lineage run` and `lineage train` take them, and what they ask for.

Hydra reads its command line itself (see `lineage.commands.application`). Its flags are known here
all the same: so that --help tells them, overrides may stand before and after them, and one that
makes no sense of a run is refused with a reason.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from lineage import compose
from lineage.commands.overrides import groups_text
from lineage.conftree import ON_DISK, PRIMARY, SEARCHPATH
from lineage.core.errors import LineageError, nearest

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
REFUSED = {
    "config_path": "--config-path would put another tree in the place of conf/, whose keys a run "
    "needs: add a folder of your own with --config-dir",
    "experimental_rerun": "--experimental-rerun reads a pickle, which may run any code: go on with "
    "a run by lineage resume RUN, or begin it again with the overrides of its run.json",
}
"""By flag why it is refused."""
SHOWING = ("cfg", "package", "resolve", "info", "shell_completion", "hydra_help", "version")
"""The flags that show something in the place of a run."""
MOVED = "hydra.job.chdir"
"""The key that would let a run work in its own folder."""


@dataclass(frozen=True)
class Asked:
    """What a command line asks for.

    `overrides` are in Hydra's grammar, with the folders of one's own as hydra.searchpath; `name` is
    the file that all is composed from. `shows` are the flags, as Hydra takes them, of what is shown
    in the place of a run.
    """

    overrides: tuple[str, ...]
    name: str = PRIMARY
    multirun: bool = False
    shows: tuple[str, ...] = ()

    @property
    def of_hydra(self) -> tuple[str, ...]:
        """The overrides of Hydra's own node: they set no key of a run."""
        found = zip(self.overrides, compose.parsed(self.overrides))
        return tuple(text for text, one in found if one.is_hydra_override())

    @property
    def of_task(self) -> tuple[str, ...]:
        """The others."""
        mine = {*self.of_hydra}
        return tuple(text for text in self.overrides if text not in mine)

    def sets(self, key: str) -> bool:
        """Whether an override sets `key`, of Hydra's or of a run."""
        return any(one.key_or_group == key for one in compose.parsed(self.overrides))


def add_flags(parser: argparse.ArgumentParser, shows: bool = True) -> None:
    """Let `parser` take KEY=VALUE and Hydra's flags; its help lists the groups of `conf/`.

    Without `shows` its help leaves out those of `SHOWING`, which `planned` refuses.
    """
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides of conf/")
    flag = parser.add_argument_group("flags of Hydra").add_argument

    def look(*names: str, help: str, **more: Any) -> None:
        flag(*names, help=help if shows else argparse.SUPPRESS, **more)

    flag("-m", "--multirun", action="store_true", help="sweep values given as a,b,c")
    flag("-r", "--run", action="store_true", help="run once, which is the default")
    flag("-cd", "--config-dir", metavar="DIR", help="a conf folder of your own, beside conf/")
    flag("-cn", "--config-name", metavar="NAME", help="its file to begin with, for config")
    look("-c", "--cfg", choices=("job", "hydra", "all"), help="show the configuration, run nothing")
    look("-p", "--package", metavar="KEY", help="with --cfg: of this node alone")
    look("--resolve", action="store_true", help="with --cfg: with its interpolations resolved")
    look("-i", "--info", nargs="?", const="all", choices=INFO, help="show what Hydra knows")
    look("-sc", "--shell-completion", action="store_true", help="install=bash, zsh or fish")
    look("--hydra-help", action="store_true", help="show Hydra's own help")
    look("--version", action="store_true", help="show Hydra's version")
    flag("-cp", "--config-path", help=argparse.SUPPRESS)
    flag("--experimental-rerun", help=argparse.SUPPRESS)
    # The options of a folder of one's own are known when all flags are read.
    flag("-h", "--help", action="store_true", help="show this and exit")
    parser.set_defaults(more=(), parser=parser)


def asked(options: argparse.Namespace) -> Asked:
    """Return what the flags and overrides in `options` ask for.

    Raises LineageError where a flag is refused, unknown, or at odds with another.
    """
    for name, reason in REFUSED.items():
        if getattr(options, name) is not None:
            raise LineageError(reason)
    overrides = [*options.overrides, *(text for text in options.more if text[:1] != "-")]
    for text in options.more:
        if text not in overrides:
            words = (word.rstrip(",") for word in options.parser.format_help().split())
            known = [word for word in words if word[:2] == "--"]
            raise LineageError(f"unknown flag {text}{nearest(text, sorted({*known}))}")
    shows = _shows(options)
    chosen = [f"--{name}" for name in ("run", "multirun") if getattr(options, name)]
    if len([*chosen, *shows[:1]]) > 1:
        raise LineageError(f"{', '.join([*chosen, *shows[:1]])}: one thing at a time")
    if "--shell-completion" in shows:
        return Asked(tuple(overrides), shows=shows)
    overrides = with_folder(overrides, options.config_dir)
    found = Asked(tuple(overrides), options.config_name or PRIMARY, bool(options.multirun), shows)
    if "--hydra-help" in shows:
        # Hydra composes its own node alone for that, in which the keys of a run are unknown.
        found = replace(found, overrides=found.of_hydra)
    for one in compose.parsed(overrides):
        if one.key_or_group == MOVED and one.value() is not False:
            raise LineageError(
                f"{MOVED} would look for run.root and run.cache in the run's own folder: leave it "
                "out, each run writes to its folder all the same"
            )
        if one.key_or_group == "hydra.mode" and str(one.value()) == "MULTIRUN" and not shows:
            return replace(found, multirun=True)
    return found


def planned(options: argparse.Namespace, command: str) -> Asked:
    """Return what is `asked` to be planned, and by `command` to be done.

    Raises LineageError as `asked` does, and for a flag that shows something in the place of that.
    """
    for name in SHOWING:
        if getattr(options, name):
            flag = f"--{name.replace('_', '-')}"
            raise LineageError(f"{flag} shows something, and plans nothing: it is of {command}")
    return asked(options)


def show_help(options: argparse.Namespace) -> None:
    """Print the help of the command, with the options of a folder of one's own."""
    within = compose.folders(with_folder(options.overrides, options.config_dir))
    # Of a copy: the parser itself is kept for the next command of this process.
    shown = copy(options.parser)
    shown.epilog = f"{shown.epilog or ''}\n{groups_text(*within)}"
    shown.print_help()


def _shows(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the flags of what is shown in the place of a run, as Hydra takes them."""
    if (options.resolve or options.package is not None) and options.cfg is None:
        flag = "--resolve" if options.resolve else "--package"
        raise LineageError(f"{flag} says how the configuration is shown: add --cfg job")
    alone = ("hydra_help", "version", "shell_completion")
    found = [f"--{name.replace('_', '-')}" for name in alone if getattr(options, name)]
    given = {name: getattr(options, name) for name in ("cfg", "info")}
    found += [f"--{name}={value}" for name, value in given.items() if value is not None]
    if len(found) > 1:
        raise LineageError(f"{', '.join(found)}: one thing at a time")
    if options.package is not None:
        found.append(f"--package={options.package}")
    return (*found, *(["--resolve"] if options.resolve else []))


def with_folder(overrides: Sequence[str], own: str | None) -> list[str]:
    """Return `overrides` in which the folder `own`, where one is given, is searched as well.

    Raises LineageError where it is no folder.
    """
    if own is None:
        return list(overrides)
    if not Path(own).is_dir():
        raise LineageError(f"--config-dir {own} is no folder")
    places = [f"{ON_DISK}{Path(own).absolute()}"]
    others = []
    for text, one in zip(overrides, compose.parsed(overrides)):
        if one.key_or_group == SEARCHPATH and isinstance(one.value(), list):
            places += map(str, one.value())
        else:
            others.append(text)
    return [setting(SEARCHPATH, places), *others]


def setting(key: str, value: str | Sequence[str]) -> str:
    """Return the override that sets `key` to a text or a list of them, whatever these hold."""
    if isinstance(value, str):
        return f"{key}={_quoted(value)}"
    return f"{key}=[{','.join(map(_quoted, value))}]"


def _quoted(text: str) -> str:
    return str(QuotedString(text, Quote.single).with_quotes())
