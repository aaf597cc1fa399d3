"""Plugins of Hydra: the launcher `fleet`, for all points of a sweep at once on engines that they
share, and where files of one's own are looked for.

Hydra looks for plugins in this package, and imports all of them whenever it composes anything: so
nothing of lineage is imported here. What is run together is the task's own affair
(`lineage.commands.sweeping`); one that has no `together` is run point by point.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

NODE = {"_target_": "hydra_plugins.lineage_fleet.FleetLauncher"}
"""hydra.launcher: how many points run at once is run.points_in_flight."""


SEARCHED = "LINEAGE_SEARCHPATH"
"""The variable with folders that are searched too (see `lineage.conftree.searched`)."""


class OwnFolders(SearchPathPlugin):  # type: ignore[misc]
    """Lets the file that all is composed from lie in a conf folder of one's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folders that lineage names, if it does."""
        for folder in filter(None, os.environ.get(SEARCHED, "").split(os.pathsep)):
            search_path.append("lineage", f"file://{folder}")


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
            return list(together(self.config, self._composed, numbered))
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
