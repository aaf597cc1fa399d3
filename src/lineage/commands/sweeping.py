"""A sweep from its command line to its record, and going on with one that was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Glob
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from lineage import compose
from lineage.commands.application import hand_over
from lineage.commands.flags import Asked, setting
from lineage.commands.overrides import sweep, values_of
from lineage.commands.points import NUMBERED, Single, Sweep, configured
from lineage.core.config import Config, RunConfig
from lineage.core.errors import LineageError
from lineage.core.names import check_name
from lineage.core.urls import is_url
from lineage.log.progress import is_done
from lineage.log.sweep import BASIC, Point, SweepRecord, is_sweep, read_sweep, write_sweep
from lineage.models.shelves import relocated
from lineage.report.objective import check_objective, name
from lineage.runs.code import accept_changes
from lineage.runs.folder import at_home, locked, point_latest, root_of
from lineage.runs.origin import origin
from lineage.runs.points import Together
from lineage.runs.run import Release
from lineage.runs.stored import stored


@dataclass(frozen=True)
class Kind:
    """What is swept: `name` is that of the record, run or training.

    `single` runs a point on its own. `together` says whether points go on at once, on engines that
    they share; `release` trains a version while a run goes on. `folder` is what a sweep is named
    by, "" for the experiment. `objective` is the figure that a sweeper is told, "" for the one
    that `log.objective` names.
    """

    name: str
    single: Single
    together: bool = False
    release: Release | None = None
    folder: str = ""
    objective: str = ""


@dataclass(frozen=True)
class Wanted:
    """What a command line asks to be swept, read before anything is begun.

    `task` are its overrides but those of Hydra's own node, which is `node`. `points` are all that
    the sweeper will ask for, each with its configuration in `configs`; none where it learns as it
    goes on. `first` is the configuration of one point.
    """

    asked: Asked
    node: DictConfig
    task: tuple[str, ...]
    points: tuple[Point, ...]
    configs: tuple[Config, ...]
    first: Config

    def chosen(self, group: str) -> str:
        """Return the option of Hydra's own `group`, such as hydra/launcher."""
        return str(self.node.hydra.runtime.choices[group])


def wanted(asked: Asked, kind: Kind) -> Wanted:
    """Return what is `asked` to be swept; raises LineageError where a point could not be."""
    asked = _listed(asked)
    node, params = _node(asked, kind)
    task = (*(f"{key}={value}" for key, value in params.items()), *asked.of_task)
    listed = str(node.hydra.runtime.choices["hydra/sweeper"]) == BASIC
    points = _points(sweep(task)) if listed else ()
    configs = tuple(configured(asked.of_hydra, one, asked.name) for one in points)
    first = configs[0] if configs else compose.load(_base(asked), name=asked.name)
    check_objective(first.log.objective)
    return Wanted(asked, node, task, points, configs, first)


def run_sweep(asked: Asked, kind: Kind, console: Console, begun: Callable[[Path], None]) -> None:
    """Run the sweep that is `asked` for; `begun` is told its folder before the first point.

    Raises LineageError where nothing could be run, and where points failed.
    """
    # Nothing is begun before all points can be read.
    found = wanted(asked, kind)
    asked, node, first, points = found.asked, found.node, found.first, found.points
    known = {one.overrides: config for one, config in zip(points, found.configs, strict=True)}
    folder = _folder(asked, node, first)
    place: Any = OmegaConf.to_container(node.hydra.sweep, resolve=False)
    record = SweepRecord(
        kind=kind.name,
        began=time.time(),
        overrides=asked.overrides,
        keys=_keys(found.task),
        sweeper=found.chosen("hydra/sweeper"),
        launcher=found.chosen("hydra/launcher"),
        objective=kind.objective or name(first.log.objective),
        minimize=minimizes(node),
        points=points if place["subdir"] == NUMBERED else (),
        origin=origin(),
        config_name=asked.name,
    )
    with stored(first.run, folder, console), locked(folder):
        record = _kept(folder, record)
        begun(folder)
        write_sweep(folder, record)
        point_latest(root_of(first.run), folder)
        more = [setting("hydra.sweep.dir", str(folder))]
        more += [setting("hydra.job.name", kind.folder)] if _named_by(asked, kind) else []
        with _group(kind, console) as group:
            try:
                hand_over(asked, Sweep(asked, folder, kind.single, group, known), *more)
            except Exception:
                # A sweeper or launcher of another kind may end at the first point that fails.
                if not any(one.failed for one in read_sweep(folder).points):
                    raise
        tell(folder, console)


def resume_sweep(
    folder: Path,
    kind: Kind,
    console: Console,
    trust: bool = False,
    own: Path | None = None,
    changed: bool = False,
) -> None:
    """Run the points of the sweep in `folder` that are missing or unfinished.

    What they are is read from their folders, or composed anew. With `trust` suites are imported
    whatever module they name; those of the conf folder `own` are too. `changed`: though prompts or
    lineage's version are others since. Raises LineageError where points failed.
    """
    record = read_sweep(folder)
    asked = Asked(record.overrides, record.config_name)
    if not record.points:
        raise LineageError(f"{folder} has no point yet: begin again, with the same lineage run -m")
    with stored(_saved_run(folder, record), folder, console), locked(folder):
        record = read_sweep(folder)
        todo, configs = list[Point](), dict[int, Config | Exception]()
        for point in record.points:
            place = folder / point.folder
            config = _saved(asked, point, place, folder, trust, own)
            if not is_done(place):
                if changed and (place / "run.json").exists():
                    with locked(place):
                        accept_changes(place)
                todo.append(point)
                configs[point.number] = config
        if todo:
            some = next(one for one in configs.values() if isinstance(one, Config))
            point_latest(root_of(some.run), folder)
            console.print(f"{len(todo)} of {len(record.points)} points are to be run in {folder}")
        with _group(kind, console) as group:
            Sweep(asked, folder, kind.single, group).outcomes(todo, configs)
        tell(folder, console)


def tell(folder: Path, console: Console) -> None:
    """Say how many points there are; raises LineageError where some failed, with the first line."""
    points = read_sweep(folder).points
    wrong = [one for one in points if one.failed]
    if wrong:
        raise LineageError(
            f"{len(wrong)} of {len(points)} points failed, the first {folder / wrong[0].folder} "
            f"({wrong[0].failed}); lineage resume {folder} runs them again"
        )
    console.print(f"{len(points)} points are finished in {folder}", highlight=False, markup=False)


def _group(kind: Kind, console: Console) -> Any:
    return Together(console, kind.release) if kind.together else nullcontext()


def _listed(asked: Asked) -> Asked:
    """Return `asked` with the options that glob() stands for: Hydra would take what none is."""
    within = compose.folders(asked.overrides)
    texts = []
    for text, one in zip(asked.overrides, compose.parsed(asked.overrides)):
        if isinstance(one.value(), Glob):
            text = f"{one.get_key_element()}={','.join(values_of(one, within) or ())}"
        texts.append(text)
    return replace(asked, overrides=tuple(texts))


def _base(asked: Asked) -> list[str]:
    """Return the overrides of one point: the first value of each that is swept."""
    within = compose.folders(asked.overrides)
    found = list(asked.of_hydra)
    for one in compose.parsed(asked.of_task):
        if values := values_of(one, within):
            found.append(f"{one.get_key_element()}={values[0]}")
    return found


def _node(asked: Asked, kind: Kind) -> tuple[DictConfig, dict[str, Any]]:
    """Return what Hydra composes of one point with its own node, and what that sweeps besides."""
    more = [setting("hydra.job.name", kind.folder)] if _named_by(asked, kind) else []
    node = compose.composed_by_hydra([*_base(asked), *more], asked.name, hydra=True)
    params = OmegaConf.select(node, "hydra.sweeper.params")
    return node, dict(params) if params else {}


def _named_by(asked: Asked, kind: Kind) -> bool:
    return bool(kind.folder) and not asked.sets("hydra.job.name")


def _folder(asked: Asked, node: DictConfig, first: Config) -> Path:
    """Return the folder of the sweep: hydra.sweep.dir, which `run.name` sets where it is given."""
    if first.run.name and not asked.sets("hydra.sweep.dir"):
        return root_of(first.run) / first.run.name
    check_name("hydra.job.name", str(node.hydra.job.name))
    place = Path(str(node.hydra.sweep.dir))
    # Hydra knows the URL, and not the folder that stands for it.
    at_url = is_url(first.run.root) and not asked.sets("hydra.sweep.dir")
    return root_of(first.run) / place.name if at_url else place


def _points(overrides: list[list[str]]) -> tuple[Point, ...]:
    return tuple(
        Point(number, f"{number:03d}", tuple(found)) for number, found in enumerate(overrides)
    )


def minimizes(node: DictConfig) -> bool:
    """Return whether the sweeper looks for the least: Optuna says so, Ax and Nevergrad do too."""
    said = ("direction", "ax_config.experiment.minimize", "optim.maximize")
    optuna, ax, nevergrad = (OmegaConf.select(node, f"hydra.sweeper.{key}") for key in said)
    return "minimize" in str(optuna) or ax is True or nevergrad is False


def _keys(task: Sequence[str]) -> tuple[str, ...]:
    """Return the keys that are swept, in order."""
    found = compose.parsed(task)
    return tuple(dict.fromkeys(one.key_or_group for one in found if one.is_sweep_override()))


def _kept(folder: Path, record: SweepRecord) -> SweepRecord:
    """Return `record`, or the one in `folder` where it is of the same sweep.

    Raises LineageError where the folder holds something else.
    """
    if (folder / "run.json").exists():
        raise LineageError(f"{folder} holds a run: choose another run.name, or hydra.sweep.dir")
    if not is_sweep(folder):
        return record
    found = read_sweep(folder)
    if (found.kind, found.overrides) != (record.kind, record.overrides):
        raise LineageError(
            f"{folder} holds another sweep ({' '.join(found.overrides)}): choose another run.name, "
            f"or go on with that one by lineage resume {folder}"
        )
    return found


def _saved_run(folder: Path, record: SweepRecord) -> RunConfig:
    """Return how a point of the sweep in `folder` runs, or as conf says where none has begun."""
    files = (folder / one.folder / "config.yaml" for one in record.points)
    file = next((one for one in files if one.exists()), None)
    return at_home(compose.load_file(file), file.parent).run if file else compose.shipped_run()


def _saved(
    asked: Asked, point: Point, place: Path, folder: Path, trust: bool, own: Path | None
) -> Config:
    """Return the configuration of a point: the saved one, or composed anew where none is."""
    remedy, file = f"if you trust it: lineage resume {folder} --trust", place / "config.yaml"
    known = compose.own_suites(own) if own else frozenset[str]()
    if file.exists():
        config = at_home(compose.load_file(file), place)
        if not trust:
            compose.check_suite(config, file, remedy, known)
            compose.check_extra(config, file, remedy)
            compose.check_endpoints(config, file, remedy, own=own)
        return relocated(config)
    texts = [*asked.of_hydra, *point.overrides]
    if not trust:
        # The record may be somebody else's: nothing in it is resolved, and no suite imported.
        tree: Any = compose.composed(texts, asked.name)
        suite: Any = OmegaConf.to_container(tree.suite, resolve=False)
        target = str(suite.get("_target_", ""))
        if any("${" in text for text in texts) or target not in compose.own_suites() | known:
            raise LineageError(
                f"{folder}: point {point.folder} is composed of what {place.parent.name} names, "
                f"with a suite that is none of lineage's own, or with interpolations: {remedy}"
            )
    config = configured(asked.of_hydra, point, asked.name)
    if not trust:
        compose.check_extra(config, folder, remedy)
        compose.check_endpoints(config, folder, remedy, own=own)
    return config
