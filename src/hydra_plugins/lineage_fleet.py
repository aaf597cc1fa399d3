"""Plugins of Hydra: the launcher `fleet`, for all points of a sweep at once on engines that they
share, where files of one's own are looked for, and files that are read once.

Hydra looks for plugins in this package, and imports all of them whenever it composes anything: so
nothing of lineage is imported with it. What is run together is the task's own affair
(`lineage.commands.sweeping`); one that has no `together` is run point by point.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

NODE = {"_target_": "hydra_plugins.lineage_fleet.FleetLauncher"}
"""hydra.launcher: how many points run at once is run.points_in_flight."""


SEARCHED = "LINEAGE_SEARCHPATH"
"""The variable with folders that are searched too (see `lineage.conftree.searched`).

It is there, if empty, whenever lineage composes; another's application does not have it.
"""
ON_DISK, KEPT = "file://", "kept"
"""What a path of Hydra's own way of reading a folder begins with, and the scheme of ours."""
SUFFIX = ".yaml"
SHIPPED = "main"
"""How Hydra calls the folder that an application comes with."""
MOST_FILES = 1024
"""Files that are kept."""


BASIC = "basic"
"""The sweeper that learns nothing of its points."""
Together = Callable[[DictConfig, Callable[..., Any], Sequence[Any]], Sequence[JobReturn]]


@contextmanager
def _configured(tree: DictConfig) -> Iterator[None]:
    """Let Hydra's own configuration be that of the point of `tree`, as where it runs a job."""
    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.set_config(tree)
    try:
        place = Path(str(tree.hydra.sweep.dir), str(tree.hydra.sweep.subdir))
        runtime = tree.hydra.runtime
        with read_write(runtime), open_dict(runtime):
            runtime.output_dir = str(place.absolute())
        hydra.set_config(tree)
        yield
    finally:
        hydra.cfg = before


class OwnFolders(SearchPathPlugin):  # type: ignore[misc]
    """Lets the file that all is composed from lie in a conf folder of one's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folders that lineage names, if it does; keep what is read of all."""
        if SEARCHED not in os.environ:
            return
        for folder in filter(None, os.environ[SEARCHED].split(os.pathsep)):
            search_path.append("lineage", ON_DISK + folder)
        for element in search_path.get_path():
            folder = element.path.removeprefix(ON_DISK)
            if "://" not in folder:
                element.path = f"{KEPT}://{folder}"


class KeptFiles(ConfigSource):  # type: ignore[misc]
    """A folder whose files are read and parsed again only where they have changed.

    Hydra composes the same tree several times a command, and twice more for each point of a sweep;
    two fifths of that is parsing.
    """

    @staticmethod
    def scheme() -> str:
        """Return what the path of such a folder begins with."""
        return KEPT

    def load_config(self, config_path: str) -> ConfigResult:
        """Return what the file `config_path` holds. Raises ConfigLoadError where there is none."""
        file = self._file(config_path)
        try:
            stamp = file.stat()
        except OSError as error:
            raise ConfigLoadError(f"Config not found : {file}") from error
        ours = self.provider == SHIPPED
        tree, package = _read(file, stamp.st_mtime_ns, stamp.st_size, ours)
        header = {"package": package}
        return ConfigResult(self.provider, self.full_path(), pickle.loads(tree), header)

    def is_group(self, config_path: str) -> bool:
        """Return whether `config_path` is a folder."""
        return Path(self.path, config_path).is_dir()

    def is_config(self, config_path: str) -> bool:
        """Return whether `config_path`, with or without its suffix, is a file."""
        return self._file(config_path).is_file()

    def available(self) -> bool:
        """Return whether there is such a folder."""
        return self.is_group("")

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names of the groups and files in `config_path`, or of those of one kind."""
        found = set()
        for entry in Path(self.path, config_path).iterdir():
            if entry.is_dir() and results_filter in (None, ObjectType.GROUP):
                found.add(entry.name)
            elif entry.suffix == SUFFIX and results_filter in (None, ObjectType.CONFIG):
                found.add(entry.stem)
        return sorted(found - {"__pycache__"})

    def _file(self, config_path: str) -> Path:
        return Path(self.path, config_path.removesuffix(SUFFIX) + SUFFIX)


@lru_cache(maxsize=MOST_FILES)
def _read(file: Path, changed: int, size: int, ours: bool) -> tuple[bytes, str | None]:
    """Return what `file` holds, and the package that its first lines name: `# @package _global_`.

    `changed` (nanoseconds) and `size` are those of the file: of another state it is read again.
    What it holds is pickled: so a copy is made in a tenth of the time that a deep one takes.
    """
    text, package = file.read_text(encoding="utf-8"), None
    for line in text.splitlines():
        words = line.strip().lstrip("#").split()
        if words and (not line.strip().startswith("#") or not words[0].startswith("@")):
            break
        if len(words) == 2 and words[0] == "@package":
            package = words[1]
    if not ours:
        return pickle.dumps(OmegaConf.load(file)), package
    # Only lineage asks for the shipped files. OmegaConf reads YAML in Python, five times slower.
    from lineage.core.plainyaml import trusted

    return pickle.dumps(OmegaConf.create(trusted(text) or {})), package


class FleetLauncher(Launcher):  # type: ignore[misc]
    """Gives the task all points that a sweeper asks for."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives a launcher before the first point."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the points, which are numbered from `initial_job_idx`; return what came of each."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        numbered = list(enumerate(job_overrides, initial_job_idx))
        together = getattr(self.task, "together", None)
        if together is not None:
            return self._called_back(numbered, together)
        return [
            run_job(
                hydra_context=self.context,
                task_function=self.task,
                config=self._composed(number, overrides),
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
            for number, overrides in numbered
        ]

    def _called_back(
        self, numbered: Sequence[tuple[int, Sequence[str]]], together: Together
    ) -> list[JobReturn]:
        """Run the points together, and tell the callbacks of conf of each, before and after all."""
        told = self.config.hydra.callbacks
        trees = [self._composed(number, overrides) for number, overrides in numbered if told]
        for tree in trees:
            with _configured(tree):
                self.context.callbacks.on_job_start(config=tree, task_function=self.task)
        jobs = list(together(self.config, self._composed, numbered))
        for tree, job in zip(trees, jobs):
            with _configured(tree):
                self.context.callbacks.on_job_end(config=tree, job_return=job)
        if self.config.hydra.runtime.choices["hydra/sweeper"] == BASIC:
            # It asks for no figure, and would give up at the first point without one.
            for job in (job for job in jobs if job.status == JobStatus.FAILED):
                job.return_value, job.status = None, JobStatus.COMPLETED
        return jobs

    def _composed(self, number: int, overrides: Sequence[str]) -> Any:
        """Return what Hydra makes of one point."""
        tree = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(tree):
            tree.hydra.job.id = number
            tree.hydra.job.num = number
        return tree


ConfigStore.instance().store(group="hydra/launcher", name="fleet", node=NODE, provider="lineage")
# The number of a point as the name of its folder.
OmegaConf.register_new_resolver("lineage.point", lambda number: f"{int(number):03d}", replace=True)
