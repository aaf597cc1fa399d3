"""Schooling: the runs that a training reads its histories from, in worlds of their own.

A curriculum's worlds are hashed from the new version's name and the curriculum, those that are
held out from another name still: none is an experiment's, and none is both. The worlds of a file
are what they are: a third of them is held out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lineage.core.config import (
    ArmConfig,
    ArmsConfig,
    Config,
    ProbeConfig,
    ScheduleConfig,
    StartConfig,
)
from lineage.core.curriculum import plans
from lineage.core.errors import LineageError
from lineage.models.protocol import Engine
from lineage.runs.loop import run_lineages
from lineage.runs.plan import prepare
from lineage.runs.run import describe
from lineage.suites import make_suite
from lineage.training.histories import History, Source, read_source
from lineage.training.rollout import course_agent

BEFORE, AFTER = "before", "after"
"""The arms of the held-out run: the parent and what was made of it, each reading its own notes."""


def school(config: Config, course: str, held_out: bool = False) -> Config:
    """Return the run of the parent that `course` takes its histories from."""
    curriculum, train = config.curricula[course], config.train
    generations = curriculum.generations + train.horizon - 1
    suite = dict(config.suite)
    if "drift" in suite:
        suite["drift"] = curriculum.drift
    elif curriculum.drift:
        raise LineageError(
            f"curriculum {course!r} needs drift, and suite {suite['name']!r} has none: "
            "leave it out of train.curricula"
        )
    if "part" in suite and train.held_out:
        suite["part"] = "held-out" if held_out else "training"
    name = f"{train.name}-{course}" + ("-held-out" if held_out else "")
    return replace(
        config,
        experiment=replace(
            config.experiment,
            name=name,
            lineages=train.held_out if held_out else train.worlds,
            episodes=train.episodes,
            working_generations=None,
            revisit=curriculum.revisit,
            probes=train.probes if held_out else ProbeConfig(0, 0, 0),
        ),
        arms=ArmsConfig(names=["inherit"], baseline="inherit", ceiling="inherit"),
        schedule=ScheduleConfig([train.parent] * generations, _ancestors(config)),
        agent=course_agent(config.agent, curriculum),
        suite=suite,
        start=StartConfig(),  # a run's own start is no history's
    )


def held_out(config: Config, course: str) -> Config:
    """Return the run that measures the parent and the new version in worlds of neither's."""
    run = school(config, course, held_out=True)
    generations = len(run.schedule.versions)
    arms = {
        BEFORE: ArmConfig(receives="inherit", versions=[config.train.parent] * generations),
        AFTER: ArmConfig(receives="inherit", versions=[config.train.name] * generations),
    }
    return replace(
        run,
        arms=ArmsConfig(names=[BEFORE, AFTER], baseline=BEFORE, ceiling=AFTER, defined=arms),
        schedule=ScheduleConfig(
            [config.train.parent] * generations,
            _ancestors(config) | {config.train.name: config.train.parent},
        ),
    )


def _ancestors(config: Config) -> dict[str, str]:
    """Return the parent and its ancestors that were trained in the same run, with their parents."""
    trained, name = config.schedule.trained, config.train.parent
    chain = []
    while name in trained:
        chain.append(name)
        name = trained[name]
    return {name: trained[name] for name in reversed(chain)}


async def read_course(config: Config, course: str, folder: Path, engine: Engine) -> Source:
    """Return the histories of `course`: of `train.log`, or of a run that is made in `folder`."""
    curriculum, horizon = config.curricula[course], config.train.horizon
    suites = (str(config.suite.get("_target_")),)
    if config.train.log is not None:
        source = read_source(Path(config.train.log), horizon, suites)
    else:
        run = school(config, course)
        if curriculum.trains == "episode" and curriculum.library == "ideal":
            return worlds_only(run)
        await live(run, folder, engine)
        source = read_source(folder, horizon, suites)
    return with_docs(source, course) if curriculum.library == "growing" else source


def with_docs(source: Source, course: str) -> Source:
    """Return `source` without the histories that inherited no doc: there is nothing to open.

    Raises LineageError where none did.
    """
    found = tuple(history for history in source.histories if history.knowledge.docs)
    if not found:
        raise LineageError(
            f"no generation that curriculum {course!r} learns from inherited a doc: raise "
            f"curricula.{course}.generations or train.episodes, or set its library to ideal"
        )
    return replace(source, histories=found)


async def live(config: Config, folder: Path, engine: Engine) -> None:
    """Run `config` in `folder` on an engine that is ready, or finish what is there."""
    job = prepare(config)
    folder.mkdir(parents=True, exist_ok=True)
    describe(job, folder)
    whole = range(job.start.generation, len(config.schedule.versions))
    await run_lineages(job, folder, engine, lambda: None, whole)


def worlds_only(config: Config) -> Source:
    """Return a history without any work for each world of `config`: for an ideal library."""
    suite = make_suite(config.suite)
    experiment, generations = config.experiment, len(config.schedule.versions)
    histories = (
        History(f"{pair:03d}-{experiment.name}", plans(suite, experiment, generations, pair))
        for pair in range(experiment.lineages)
    )
    return Source(suite, tuple(histories))
