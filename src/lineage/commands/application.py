"""Handing a command line over to Hydra itself, by its public `hydra.main`.

Hydra composes, sweeps and launches; what it raises becomes one line. The command line was read
before (`lineage.commands.flags`): what comes here is what Hydra shall be asked.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from lineage.commands.flags import Asked, asked, setting, show_help
from lineage.conftree import PRIMARY, conf_dir, explain, folders, searched
from lineage.core.config import Config
from lineage.core.environ import variable
from lineage.core.errors import LineageError
from lineage.core.names import check_name
from lineage.core.urls import is_url
from lineage.runs.folder import in_the_way, named_folder

PROGRAM = "lineage"
RAISING = "HYDRA_FULL_ERROR"
"""The variable that lets Hydra raise what it would otherwise print, and exit."""
QUERY = "COMP_LINE"
"""The variable in which a shell says what is to be completed."""
OURS = ("--train", "--json", "--follow", "--no-follow")
"""Flags of `lineage plan` and `lineage submit` that Hydra does not know."""
VALUED = ("--address", "--status", "--stop", "--working-dir", "--wheel", "--runtime-env")
"""Those of them that a value follows."""


class Task(ABC):
    """What Hydra calls with each configuration that it composed, here or in another process."""

    def __init__(self) -> None:
        self.command = list(sys.argv)

    def __call__(self, tree: DictConfig) -> Any:
        """Run what `tree` says, as part of the command that was given: a record names it."""
        self.as_given()
        return self.run(tree)

    def as_given(self) -> None:
        """Let this process say that it runs the command that was given."""
        sys.argv = self.command

    @abstractmethod
    def run(self, tree: DictConfig) -> Any:
        """Run what `tree` says; return the figure that a sweeper asks for."""


def hand_over(asked: Asked, task: Task, *more: str) -> None:
    """Let Hydra do what is `asked`, with `more` overrides.

    Raises LineageError for what it says of its own, and what `task` raises.
    """
    flags = [*asked.shows, *(["--multirun"] if asked.multirun else [])]
    own = folders(asked.overrides)[1:] if asked.name != PRIMARY else ()
    given = [PROGRAM, *flags, *asked.overrides, *more]
    with _arguments(given), variable(RAISING, "1"), _logging_kept(), searched(own):
        main = hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=asked.name)
        try:
            main(task)()
        except (HydraException, OmegaConfBaseException) as error:
            raise LineageError(explain(error)) from error
        except (FileExistsError, NotADirectoryError) as error:
            # Hydra makes the folder of a run itself.
            place = Path(str(error.filename))
            raise in_the_way(place, place) from error


def show(asked: Asked) -> None:
    """Let Hydra show what is `asked`: a configuration, what it knows, the script of a shell."""
    hand_over(asked, _Nothing())


def started(options: argparse.Namespace) -> Asked | None:
    """Return what the command line asks to be run; None where it only shows, which is done then."""
    if options.help:
        show_help(options)
        return None
    found = asked(options)
    if found.shows:
        show(found)
        return None
    return found


def run_once(found: Asked, config: Config, work: Callable[[Path], None], what: str = "") -> None:
    """Let Hydra call `work` with the folder of the run of `config`: hydra.run.dir.

    Where nobody set that it is `run.name` below `run.root`, or else named by time and `what`
    (default: the experiment). Raises LineageError where that would be no name of one folder.
    """
    task = _Once(work)
    more = []
    if not found.sets("hydra.run.dir"):
        if is_url(config.run.root):
            place = named_folder(config, what or config.experiment.name)
            more.append(setting("hydra.run.dir", str(place)))
        elif config.run.name:
            more.append(setting("hydra.run.dir", str(Path(config.run.root, config.run.name))))
        elif not found.sets("hydra.job.name"):
            check_name("experiment.name", what or config.experiment.name)
            more += [setting("hydra.job.name", what)] if what else []
    hand_over(found, task, *more)
    if task.error is not None:
        raise task.error


def complete(arguments: Sequence[str], commands: Sequence[str]) -> None:
    """Print how the line may go on that a shell asks about with `lineage -sc query=SHELL`.

    `commands` are those whose words are overrides. Others have nothing to be completed.
    """
    first, _, rest = os.environ.get(QUERY, "").strip().partition(" ")
    command, space, words = rest.lstrip().partition(" ")
    if not space:
        print(" ".join(one for one in commands if one.startswith(command)))
    elif command in commands:
        given = words.split(" ")
        if any(one in VALUED for one in given[-2:-1]):
            return
        known = (
            one
            for before, one in zip(["", *given], given)
            if before not in VALUED and one.partition("=")[0] not in (*OURS, *VALUED)
        )
        os.environ[QUERY] = " ".join([first, *known])
        show(Asked(tuple(arguments), PRIMARY, shows=("--shell-completion",)))


def folder_of_job() -> Path:
    """Return the folder that Hydra gives the job that is running: hydra.run.dir, or a point's."""
    job = HydraConfig.get()
    if job.mode == RunMode.MULTIRUN:
        return Path(str(job.sweep.dir), str(job.sweep.subdir))
    return Path(str(job.run.dir))


class _Once(Task):
    """A run of its own. What it raises is kept: Hydra would print it, with its overrides."""

    def __init__(self, work: Callable[[Path], None]) -> None:
        super().__init__()
        self.work = work
        self.error: Exception | None = None

    def run(self, tree: DictConfig) -> None:
        try:
            self.work(folder_of_job())
        except Exception as error:
            self.error = error


class _Nothing(Task):
    def run(self, tree: DictConfig) -> None:
        raise AssertionError("Hydra shows something, and runs nothing")


@contextmanager
def _arguments(given: list[str]) -> Iterator[None]:
    """Let Hydra read `given` as the command line of this process."""
    before = sys.argv
    sys.argv = given
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Undo what Hydra makes of the root logger, such as for --info."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers
