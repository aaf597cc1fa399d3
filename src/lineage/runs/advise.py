"""What a folder of memory is worth to a new version: a plan of arms, run on one engine.

Each arm is a lineage of one generation that works on nothing: it receives the memory, by its
migration, and is asked every task. The first run has both versions without memory and with it as it
is, and the new one with each migration. Then entries are left out, in groups or one by one; each
round is a run of its own below the first one's folder, and the last is the memory as advised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from lineage.core.config import ArmConfig, ArmsConfig, Config, ProbeConfig, ScheduleConfig
from lineage.core.errors import LineageError
from lineage.core.files import mark
from lineage.core.intervals import paired_difference
from lineage.core.knowledge import Knowledge
from lineage.core.signals import Stoppable
from lineage.core.tasks import Task
from lineage.core.verdict import Kind, Measured, Rules, Scores, Verdict, contrasts, judge
from lineage.core.worth import DROP, Worth, groups, halves, weigh
from lineage.log.reader import finished, read_steps
from lineage.log.schema import Step
from lineage.log.sittings import read_sittings, worked_seconds
from lineage.models.counting import counter_of
from lineage.models.factory import make_engine
from lineage.models.protocol import TokenCounter
from lineage.models.remember import Remember
from lineage.runs.evidence import Probe, Probes, about, gather, scores_of
from lineage.runs.folder import check_vacant, locked, point_latest, root_of
from lineage.runs.lineage import place_of
from lineage.runs.migrate import WITHOUT_HISTORY
from lineage.runs.plan import Job, prepare
from lineage.runs.progress import Display
from lineage.runs.run import begin, missing, work
from lineage.suites import make_suite

NAME = "advise"
OLD_WITHOUT, OLD, WITHOUT, AS_IT_IS = "old-without", "old-as-it-is", "without", "as-it-is"
ADVISED = "advised"
OURS = ("verbatim", "none")
"""Migrations that are arms of their own: the memory as it is, and no memory."""
FROM_HISTORY = ("verify", "rebuild")
"""Migrations that need raw episodes, which a history has."""
ROUNDS = "left-out"
"""The folder of the rounds in which entries are left out, below the first run's."""


@dataclass
class Spent:
    """What was asked and answered, each request once, and the seconds that it took."""

    requests: dict[tuple[str, int, str], Step] = field(default_factory=dict)
    seconds: float = 0.0

    def note(self, steps: Sequence[Step]) -> None:
        """Count the completions of `steps`; what is the same in all was asked once."""
        for step in steps:
            if step.prompt:
                self.requests.setdefault((step.version, step.seed, step.prompt), step)


@dataclass(frozen=True)
class Looked:
    """What was found: answers by arm of the first run, the verdict, what each entry is worth.

    `left` is the Knowledge that the verdict leaves, without the entries that are to be dropped, and
    `followed` the answers with it; None where nothing is dropped or handed on.
    """

    job: Job
    tasks: tuple[Task, ...]
    probes: Mapping[str, Probes]
    verdict: Verdict
    worths: tuple[Worth, ...]
    left: Knowledge
    followed: Probes | None
    spent: Spent
    rounds: int


def advised(config: Config, source: Path, old: str, new: str) -> Config:
    """Return the configuration of the first run; `config` says what else holds.

    Raises LineageError where a migration needs more than the folder.
    """
    more = FROM_HISTORY if config.start.history else ()
    for kind in config.advise.migrations:
        if kind not in (*WITHOUT_HISTORY, *more):
            raise LineageError(
                f"advise.migrations names {kind!r}, which needs raw episodes: give --history, or "
                f"choose from {', '.join(WITHOUT_HISTORY)}"
            )
    if old == new:
        raise LineageError(f"--from and --to are both {old}: name two versions")
    suite = dict(config.suite)
    made = make_suite(suite)
    if hasattr(made, "pooled"):
        suite |= {"pooled": True}
        # A model says more than the bare answer.
        suite |= {"scorer": suite.get("scorer", "contains")} if hasattr(made, "scorer") else {}
    wanted = dict.fromkeys((*config.advise.migrations, *more))
    tried = [kind for kind in wanted if kind not in OURS]
    defined = {
        OLD_WITHOUT: ArmConfig(receives="cold", versions=[old]),
        OLD: _inherits(old, "verbatim"),
        WITHOUT: ArmConfig(receives="cold", versions=[new]),
        AS_IT_IS: _inherits(new, "verbatim"),
        **{kind: _inherits(new, kind) for kind in tried},
    }
    questions = len(questions_of(suite))
    return replace(
        config,
        suite=suite,
        experiment=replace(
            config.experiment,
            name=NAME,
            lineages=1,
            working_generations=0,
            probes=ProbeConfig(same=0, similar=questions, dissimilar=0),
        ),
        schedule=ScheduleConfig([new]),
        arms=ArmsConfig(list(defined), WITHOUT, AS_IT_IS, defined),
        start=replace(config.start, folder=str(source), run=None, allow_drop=True),
    )


def left_out(config: Config) -> str:
    """Return what of other experiments is not asked here, and why."""
    needing = "" if config.start.history else ", migrations verify and rebuild (see --history)"
    return (
        f"left out, as a folder has no raw episodes: arms transcript, retrieval and finetune"
        f"{needing}; as it is one world: arm shuffled, dissimilar probes"
    )


def questions_of(suite: Mapping[str, object]) -> tuple[Task, ...]:
    """Return the tasks that a `suite` (the node of the configuration) asks, in its order."""
    return tuple(one for one in make_suite(dict(suite)).world(0, 0).tasks if not one.lesson)


def without(config: Config, left_out: Mapping[str, Sequence[str]], migration: str) -> Config:
    """Return the configuration of a round of `config`: an arm for each of the groups `left_out`."""
    (new,) = config.schedule.versions
    defined = {name: _inherits(new, migration, list(ids)) for name, ids in left_out.items()}
    first = next(iter(defined))
    return replace(config, arms=ArmsConfig(list(defined), first, first, defined))


def arm_of(group: Sequence[str]) -> str:
    """Return the name of the arm that lacks `group`: its first entry, and how many more."""
    return f"without-{group[0]}" + (f"+{len(group) - 1}" if len(group) > 1 else "")


def _inherits(version: str, kind: str, left_out: list[str] | None = None) -> ArmConfig:
    return ArmConfig("inherit", None, kind, [version], False, left_out)


def investigate(job: Job, folder: Path, console: Console) -> Looked:
    """Run all of it in `folder`, or finish what is there, and return what was found.

    Raises LineageError for what the user can mend, and KeyboardInterrupt; what was finished stays.
    """
    mark(Path(job.config.run.cache_folder))
    check_vacant(folder)
    with Stoppable() as stoppable, locked(folder):
        begin(job, folder)
        point_latest(root_of(job.config.run), folder)
        return stoppable.run(_investigate(job, folder, console))


async def _investigate(job: Job, folder: Path, console: Console) -> Looked:
    bench = _Bench(job, console)
    try:
        return await _look(bench, job, folder)
    finally:
        await asyncio.shield(bench.engine.close())


async def _look(bench: _Bench, job: Job, folder: Path) -> Looked:
    config, came = job.config, job.start.knowledge
    tasks, rules = questions_of(config.suite), _rules(config)
    await bench.run(job, folder)
    probes = {arm.name: bench.probes(folder, arm.name, tasks) for arm in job.arms}
    scores = {name: scores_of(found) for name, found in probes.items()}
    given = {OLD_WITHOUT, OLD, WITHOUT, AS_IT_IS}
    verdict = judge(
        Measured(
            scores[OLD_WITHOUT],
            scores[OLD],
            scores[WITHOUT],
            scores[AS_IT_IS],
            {name: found for name, found in scores.items() if name not in given},
        ),
        rules,
    )
    near = about(came, tasks, config.advise.about)
    left_out = await _singled(bench, job, folder, near, scores[AS_IT_IS])
    count = await bench.counter(config.schedule.versions[0])
    evidence = gather(came, tasks, near, probes[AS_IT_IS], left_out, count)
    worths = tuple(weigh(evidence, scores[AS_IT_IS], rules.confidence))
    drops = [one.of.entry for one in worths if one.advice == DROP]
    kind, followed = verdict.by or "verbatim", None
    if verdict.kind in (Kind.ANEW, Kind.REBUILD):
        left = came.evolve(memories=(), docs=())
    elif drops:
        last = prepare(without(config, {ADVISED: drops}, kind))
        await bench.round(last, folder / ADVISED)
        followed = bench.probes(folder / ADVISED, ADVISED, tasks)
        left = _left(folder / ADVISED, ADVISED)
    else:
        left = _left(folder, verdict.by or AS_IT_IS)
    return Looked(
        job, tasks, probes, verdict, worths, left, followed, bench.spent, bench.rounds
    )  # fmt: skip


async def _singled(
    bench: _Bench, job: Job, folder: Path, near: Mapping[str, tuple[int, ...]], with_all: Scores
) -> dict[str, Scores]:
    """Return the scores without each entry that was left out alone.

    A group is halved where leaving it out changes a task that one of it is about, or all tasks
    together beyond chance.
    """
    config, found = job.config, dict[str, Scores]()
    related = frozenset(id for id, numbers in near.items() if numbers)
    pending = groups(list(near), related, config.advise.group, config.advise.singly)
    while pending:
        bench.rounds += 1
        place = folder / ROUNDS / str(bench.rounds)
        arms = {arm_of(group): group for group in pending}
        await bench.round(prepare(without(config, arms, "verbatim")), place)
        tasks = questions_of(config.suite)
        scores = {name: scores_of(bench.probes(place, name, tasks)) for name in arms}
        changes = {(name, AS_IT_IS): paired_difference(s, with_all) for name, s in scores.items()}
        tested = contrasts({n: d for n, d in changes.items() if d}, config.log.confidence)
        pending = []
        for name, group in arms.items():
            if len(group) == 1:
                found[group[0]] = scores[name]
                continue
            touched = {number for id in group for number in near[id]}
            moved = any(changes[name, AS_IT_IS].get(number) for number in touched)
            one = tested.get((name, AS_IT_IS))
            if moved or (one is not None and one.real):
                pending += halves(group)
    return found


def _rules(config: Config) -> Rules:
    return Rules(config.advise.margin, config.log.confidence, config.advise.power)


def _left(folder: Path, arm: str) -> Knowledge:
    found = finished(folder, place_of(arm, 0, 0))
    assert found is not None, "its run is finished"
    return found


class _Bench:
    """One engine for all rounds; what is asked twice is answered once."""

    def __init__(self, job: Job, console: Console) -> None:
        self.job, self.console = job, console
        self.engine = Remember(make_engine(job.config, False, self._say))
        self.started = False
        self.spent, self.rounds = Spent(), 0

    async def round(self, job: Job, folder: Path) -> None:
        """Run what is missing of `job`, which is not the first, in `folder`."""
        with locked(folder):
            begin(job, folder)
            await self.run(job, folder)

    async def run(self, job: Job, folder: Path) -> None:
        """Run what is missing of `job` in `folder`, where it was begun."""
        tasks = job.config.experiment.probes.similar
        with Display(self.console, job.places, "arms") as display:
            display.note(f"{len(job.arms)} arms x {tasks} tasks in {folder}")
            if missing(job, folder):
                await self._start()
            display.work_begins()
            await work(job, folder, self.engine, display, None)
        self.spent.seconds += worked_seconds(read_sittings(folder)) or 0.0

    async def _start(self) -> None:
        if not self.started:
            self._say("starting the engine")
            await self.engine.start(self.job.versions)
            self.started = True

    async def counter(self, version: str) -> TokenCounter:
        """Return the counter of `version`; no engine is started where its tokenizer is here."""
        here = counter_of(self.job.config, version)
        if here is not None:
            return here
        await self._start()
        return await self.engine.counter(version)

    def probes(self, folder: Path, arm: str, tasks: Sequence[Task]) -> dict[int, Probe]:
        """Return how `arm` answered each of `tasks`, by their numbers."""
        steps = read_steps(folder, place_of(arm, 0, 0))
        self.spent.note(steps)
        numbers = {task.id: number for number, task in enumerate(tasks)}
        opened: dict[str, list[str]] = {}
        for step in steps:
            if step.kind == "open" and step.entry:
                opened.setdefault(step.episode, []).append(step.entry)
        return {
            numbers[step.task]: Probe(
                step.score,
                step.completion,
                tuple(opened.get(step.episode, ())),
                step.memory_tokens,
                step.doc_tokens,
                step.prompt_tokens,
            )
            for step in steps
            if step.kind == "probe" and step.task in numbers
        }

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)
