"""`lineage train`: a training from its configuration to a registered version.

<run.root>/<name>/
  run.json, config.yaml            what was trained
  school/<curriculum>/             the runs that histories are read from
  steps/, knowledge/, worlds/      every rollout, as in any run
  training/, curve/                rollouts and steps (see log.schema)
  adapters/step-000/ ...           what each step left
  held-out/, held-out.json         the reward before and after, in worlds never trained on
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from lineage import compose
from lineage.core.config import Config
from lineage.core.errors import LineageError, nearest
from lineage.core.files import atomic_write, mark
from lineage.core.signals import Stoppable
from lineage.log.held_out import HELD_OUT
from lineage.log.reader import check_finished
from lineage.log.record import RECORD, read_record
from lineage.models import shelf, shelves
from lineage.models.factory import check_kind, make_engine
from lineage.models.meter import Meter
from lineage.models.protocol import Engine
from lineage.models.surrogate import DEFAULT
from lineage.models.versions import lookup, registry
from lineage.report.training_page import write_training
from lineage.runs.code import check_code, code
from lineage.runs.folder import (
    check_vacant,
    locked,
    lost,
    point_latest,
    root_of,
    write_described,
)
from lineage.runs.loop import all_of
from lineage.runs.plan import prepare
from lineage.runs.progress import Display
from lineage.runs.remote import check_learner
from lineage.suites import make_suite
from lineage.training.heldout import measure_gain
from lineage.training.histories import TRAIN_ON
from lineage.training.learners import algorithm
from lineage.training.learners.learner import ToyLearner
from lineage.training.loop import Trainer
from lineage.training.record import curve_file
from lineage.training.rollout import Sampling
from lineage.training.schooling import held_out, read_course, school
from lineage.training.ship import ship
from lineage.training.values import Learner

Gains = list[dict[str, Any]]


def check(config: Config) -> tuple[str, ...]:
    """Return the versions that the training needs from the start: its parent, and its judges.

    Raises LineageError where it could not work, before anything is started.
    """
    shelf.check_name(config.model, config.train.name)
    known, on_shelf = registry(config.model), shelves.of(config).names()
    versions = tuple(dict.fromkeys((config.train.parent, *_judges(config))))
    for version in versions:
        lookup(known, version, on_shelf)
    check_learner(config, config.train.parent)
    check_learning(config)
    return versions


def check_learning(config: Config) -> None:
    """Raise LineageError where no version could be trained so, whichever it is."""
    check_kind(config)
    algorithm(config.method.kind)
    train = config.train
    if not train.curricula:
        raise LineageError("train.curricula is empty: name at least one of conf/curricula")
    for name in train.curricula:
        if name not in config.curricula:
            hint = nearest(name, sorted(config.curricula))
            raise LineageError(f"train.curricula names {name!r}, which is no curriculum{hint}")
    kinds = (school, held_out) if train.held_out else (school,)
    runs = [of(config, name) for name in train.curricula for of in kinds]
    if sum((train.probes.same, train.probes.similar, train.probes.dissimilar)) == 0:
        raise LineageError("train.probes are all 0: without a probe there is no reward")
    if make_suite(config.suite).fingerprint:
        # A file may have too few worlds for both, or for the probes.
        for run in runs:
            prepare(replace(run, experiment=replace(run.experiment, probes=train.probes)))


def _judges(config: Config) -> tuple[str, ...]:
    """Return the versions that judge answers in what is trained on."""
    if config.train.log is None:
        return make_suite(config.suite).judges
    file = Path(config.train.log) / "config.yaml"
    trained_on = compose.load_file(file)
    compose.check_suite(trained_on, file, TRAIN_ON, (str(config.suite.get("_target_")),))
    return make_suite(trained_on.suite).judges


def _check_shelf(config: Config, folder: Path) -> None:
    """Raise LineageError where the shelf has another version of the name, before an hour's work."""
    name, last = config.train.name, config.method.steps - 1
    taken = name in shelves.of(config).names()
    if taken and config.engine.kind != "surrogate" and not curve_file(folder, last).exists():
        raise LineageError(f"{name} is on the shelf already: choose another train.name")


def execute(
    config: Config, folder: Path, console: Console, latest: bool = True
) -> tuple[dict[str, Any], Path | None]:
    """Train in `folder`, or finish what is there.

    Returns its metrics (see `summarise_training`), and the folder of the new version on the shelf:
    None where nothing is shipped, for a surrogate's skills are no weights. Without `latest` the
    link of that name stays where it is. Raises LineageError for what the user can mend, and
    KeyboardInterrupt; what was finished stays.
    """
    versions = check(config)
    _check_shelf(config, folder)
    mark(Path(config.run.cache_folder))
    if config.engine.kind != "surrogate":
        mark(shelves.of(config).folder)
    check_vacant(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with Stoppable() as stoppable, locked(folder):
        describe(config, folder)
        check_finished(folder)
        if latest:
            point_latest(root_of(config.run), folder)
        with Display(console, config.method.steps, "steps") as display:
            train, method = config.train, config.method
            display.note(
                f"{train.name} from {train.parent} by {method.kind}: {method.steps} steps on "
                f"{', '.join(train.curricula)} in {folder}"
            )
            adapter, gains = stoppable.run(_train(config, versions, folder, display))
        summary = write_training(folder, Path(config.run.cache_folder), config.log)
        if config.engine.kind == "surrogate":
            return summary, None
        minutes = summary["time"]["seconds"] / 60
        return summary, ship(config, folder, adapter, gains, minutes=minutes)


async def _train(
    config: Config, versions: tuple[str, ...], folder: Path, display: Display
) -> tuple[Path, Gains]:
    engine = Meter(
        make_engine(config, adaptable=True), display.completed, config.engine.max_failures
    )
    try:
        display.note("starting the engine")
        began = time.monotonic()
        await engine.start(versions)
        display.note(f"engine ready after {time.monotonic() - began:.0f} s")
        display.work_begins()
        return await train(config, folder, engine, display, display.generation_done)
    finally:
        await asyncio.shield(engine.close())


async def train(
    config: Config,
    folder: Path,
    engine: Engine,
    display: Display,
    tick: Callable[[], None] = lambda: None,
) -> tuple[Path, Gains]:
    """Train on an `engine` that serves the parent; then it serves the new version too.

    Returns the adapter's folder and what it gained in held-out worlds. `tick` is told of each step.
    """
    display.note(f"histories: {', '.join(config.train.curricula)}")
    sampling = await schooled(config, folder, engine)
    learner, parent_adapter = make_learner(config, engine, folder)

    def tell(line: str) -> None:
        tick()
        display.note(line)

    for step in range(config.method.steps):
        if curve_file(folder, step).exists():
            tick()
    trainer = Trainer(sampling, learner, parent_adapter, tell)
    try:
        adapter = await trainer.run()
    finally:
        await learner.close()
    await engine.serve(config.train.name, config.train.parent, adapter)
    gains: Gains = []
    if config.train.held_out:
        gains = await measure_gain(sampling, display)
        atomic_write(folder / HELD_OUT, json.dumps(gains, indent=1).encode())
    return adapter, gains


async def schooled(config: Config, folder: Path, engine: Engine) -> Sampling:
    """Return what the training in `folder` samples with, once its parent's histories are lived."""
    courses = config.train.curricula
    works = (read_course(config, one, folder / "school" / one, engine) for one in courses)
    read = await all_of(works)
    sources = dict(zip(courses, read, strict=True))
    count = await engine.counter(config.train.parent)
    return Sampling(config, folder, compose.training_hash(config), engine, count, sources)


async def release(
    config: Config, name: str, parent: str, folder: Path, engine: Engine, display: Display
) -> None:
    """Train version `name` from `parent` while a run goes on, as its schedule says."""
    display.note(f"training {name} from {parent}")
    own = replace(config, train=replace(config.train, name=name, parent=parent))
    describe(own, folder)
    await train(own, folder, engine, display)


def make_learner(config: Config, engine: Engine, folder: Path) -> tuple[Learner, str]:
    """Return what learns for `engine`, and the folder of the parent's adapter ("": none)."""
    train, parent = config.train, config.train.parent
    weights = engine.weights(parent)
    adapter = str(weights.adapter or "")
    if config.engine.kind == "surrogate":
        skills = config.engine.surrogate.skills
        return ToyLearner(config.method, asdict(skills.get(parent, skills[DEFAULT]))), adapter
    from lineage.training.learners.hosted import RayLearner

    fitting = int(engine.spare_gpus() // train.gpus)
    learner = RayLearner(
        str(weights.checkpoint),
        config.method,
        adapter,
        train.workers or fitting or 1,
        fitting > 0,
        folder / "learner",
        train.gpus,
    )
    return learner, adapter


def describe(config: Config, folder: Path) -> None:
    """Write `run.json` and then `config.yaml`; refuse a folder that holds something else.

    A record that was lost is written again, without what only it knew.
    """
    file, found = folder / RECORD, compose.training_hash(config)
    if file.exists():
        record = read_record(folder)
        if record.get("training_hash") != found:
            raise LineageError(f"{folder} holds another training or a run: choose another run.name")
        check_code(folder, record)
        return
    record = {
        "training": config.train.name,
        "training_hash": found,
        "parent": config.train.parent,
        "method": config.method.kind,
        "curricula": list(config.train.curricula),
        "began": time.time(),
        "code": code(),
    }
    if any(folder.glob("curve/*.parquet")):
        record |= lost(folder, record)
    write_described(folder, record, config)
