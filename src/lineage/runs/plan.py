"""A run before it starts: its configuration, and all that is read from it once and checked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache

from lineage import compose
from lineage.core.config import Config
from lineage.core.config_engine import OPENAI
from lineage.core.curriculum import plans
from lineage.core.errors import LineageError, nearest
from lineage.core.prompts import check_prompts, said
from lineage.core.tasks import Suite, Task, World
from lineage.markdown.history import pinned
from lineage.models import shelves
from lineage.models.factory import check_kind
from lineage.models.protocol import CHARS_PER_TOKEN
from lineage.models.versions import lookup, registry
from lineage.runs.arms import Arm, begins_with, donor_arm, donor_of, find_arm
from lineage.runs.remote import check_remote
from lineage.runs.start import Start, start_of
from lineage.search import check_ranking
from lineage.suites import make_suite

RULES = (
    *("act", "append", "edit", "rewrite-all", "document", "compress", "restate"),
    *("summarise", "judge", "move", "purpose-notes", "purpose-document"),
)


@dataclass(frozen=True)
class Job:
    """What is to be run. `hash` names the configuration; `versions` are all that are served."""

    config: Config
    hash: str
    arms: tuple[Arm, ...]
    start: Start
    suite: Suite

    @property
    def id(self) -> str:
        """The run's id: the same for every run of the same configuration."""
        return f"{self.config.experiment.name}-{self.hash}"

    @property
    def generations(self) -> int:
        """Generations of one lineage that are run."""
        return len(self.config.schedule.versions) - self.start.generation

    @property
    def places(self) -> int:
        """Generations of all lineages together."""
        return self.generations * len(self.start.pairs) * len(self.arms)

    @property
    def telling(self) -> tuple[int, ...]:
        """The pairs that tell how much all of them do: the first, or all where tasks are a file's.

        Worlds that are generated are all of one size; those of a file are not.
        """
        return self.start.pairs if self.suite.fingerprint else self.start.pairs[:1]

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions of all arms, then those that judge answers; none that is yet to be trained.

        What is trained needs its parent from the start.
        """
        trained = self.config.schedule.trained
        served = (name for arm in self.arms for name in arm.versions)
        wanted = dict.fromkeys((*served, *trained.values(), *self.suite.judges))
        return tuple(name for name in wanted if name not in trained)

    @property
    def stages(self) -> tuple[tuple[range, tuple[tuple[str, str], ...]], ...]:
        """Spans of generations, each with the versions (name, parent) that are trained after it."""
        trained = self.config.schedule.trained
        due = {name: self._first(name) for name in trained}
        for name in reversed(trained):
            # What is trained from a version needs it, whether an arm is served by it yet or not.
            if trained[name] in due:
                due[trained[name]] = min(due[trained[name]], due[name])
        first, found = self.start.generation, []
        for until in sorted({*due.values(), len(self.config.schedule.versions)}):
            made = tuple((name, trained[name]) for name in trained if due[name] == until)
            found.append((range(first, until), made))
            first = until
        return tuple(found)

    def _first(self, name: str) -> int:
        """Return the first generation that version `name` serves in any arm."""
        versions = (enumerate(arm.versions) for arm in self.arms)
        places = [place for arm in versions for place, one in arm if one == name]
        return max(min(places, default=len(self.config.schedule.versions)), self.start.generation)


def prepare(config: Config) -> Job:
    """Return the run of `config`, before anything is started.

    Raises LineageError where it could not work.
    """
    if config.start.folder:
        # By its full id: a branch goes on, and a run that is gone on with begins where it began.
        config = replace(config, start=replace(config.start, folder=pinned(config.start.folder)))
    check_kind(config)
    check_prompts(config.agent.texts)
    arms = tuple(find_arm(config, name) for name in config.arms.names)
    for arm in arms:
        donor_arm(config, arm)
    start = start_of(config, any(arm.receives.replayed for arm in arms))
    for arm in arms:
        begins_with(arm, start.knowledge)
    job = Job(config, compose.config_hash(config), arms, start, make_suite(config.suite))
    _check_trained(job)
    _check_windows(job)
    check_remote(config, job.versions, arms)
    _check_tools(job)
    check_ranking(config.agent.ranking, config.agent.embedding_model)
    if any(arm.poisoned for arm in arms) and not (
        0 < config.poison.generation < len(config.schedule.versions)
    ):
        raise LineageError(
            f"poison.generation is {config.poison.generation}: it must be one that inherits, "
            f"from 1 to {len(config.schedule.versions) - 1}"
        )
    falsified = any(arm.poisoned for arm in arms) and config.poison.form == "fact"

    @lru_cache
    def home(pair: int) -> World:
        generations = len(config.schedule.versions)
        return plans(job.suite, config.experiment, generations, pair)[0].world

    for pair in job.telling:
        world = home(pair)
        if falsified and not world.facts:
            raise LineageError(
                f"poison.form=fact falsifies a fact, and world {world.id!r} of suite "
                f"{job.suite.name!r} has none: use poison.form=instruction"
            )
        if any(arm.receives.retrieval for arm in arms):
            _check_retrieval(job, world)
        for arm in arms:
            donor_of(config, arm, pair, lambda other: home(other).id)
    return job


def _check_trained(job: Job) -> None:
    """Raise LineageError where a version that shall be trained cannot be, or serves no one."""
    trained, known = job.config.schedule.trained, set(registry(job.config.model))
    served = {name for arm in job.arms for name in arm.versions}
    for name, parent in trained.items():
        if name in known:
            raise LineageError(
                f"schedule.trained.{name} is a version of the registry: choose another name"
            )
        if parent not in known:
            raise LineageError(
                f"schedule.trained.{name} is to be trained from {parent!r}, which is unknown"
                + nearest(parent, sorted(known))
            )
        if name not in served and name not in trained.values():
            raise LineageError(f"schedule.trained names {name}, which no arm is served by")
        known.add(name)


def _check_windows(job: Job) -> None:
    """Raise LineageError where the budgets of what a prompt may hold exceed a context window."""
    versions, agent, arms = registry(job.config.model), job.config.agent, job.arms
    on_shelf = shelves.of(job.config).names()
    own = agent.texts
    texts = [job.suite.instructions, *(said(own, name) for name in RULES)]
    # What of ours stands around the rules is a few words; what is the user's may be long.
    around = sum(len(text) for name, text in own.items() if name not in RULES)
    rules = (max(len(text) for text in texts) + around) // CHARS_PER_TOKEN
    docs = agent.doc_tokens * agent.docs_opened if agent.docs else 0
    edits = max(agent.compress_edits, agent.edits_per_episode * agent.episodes_per_handoff)
    answer = max(agent.act_tokens, agent.edit_tokens * edits, agent.document_tokens)
    if any(arm.policy == "rewrite-all" for arm in arms):
        answer = max(answer, agent.rewrite_tokens)
    for name in job.versions:
        window = lookup(versions, name, on_shelf).context_window
        budget = agent.budget(window)
        needed = rules + budget + docs + answer
        if any(arm.receives.transcript for arm in arms):
            needed = max(needed, rules + agent.transcript_tokens + agent.act_tokens)
        if window < needed:
            raise LineageError(
                f"the context window of {name} is {window} tokens, but rules, memory budget, "
                f"docs or transcript, and answer need about {needed}: lower agent.memory_budget, "
                "agent.doc_tokens or agent.transcript_tokens"
            )
        turns = rules + budget + docs + agent.history_tokens + agent.summary_tokens
        if window < turns:
            raise LineageError(
                f"the context window of {name} is {window} tokens, but an episode of many turns "
                f"needs about {turns}: lower agent.history_tokens or agent.summary_tokens"
            )
    if agent.summary_tokens >= agent.history_tokens:
        raise LineageError(
            f"agent.summary_tokens is {agent.summary_tokens}: a summary must be shorter than "
            f"agent.history_tokens ({agent.history_tokens}), which it makes room in"
        )


def _check_retrieval(job: Job, world: World) -> None:
    """Raise LineageError where the raw episodes of tasks of `world` exceed a context window.

    The longest tasks count, in full. How long turns become cannot be known before: an episode whose
    prompt they make over-long scores 0, and is counted.
    """
    versions, agent, suite = registry(job.config.model), job.config.agent, job.suite
    on_shelf = shelves.of(job.config).names()
    asked, past = [0], list[int]()
    for task in world.tasks:
        shown = len(task.prompt) // CHARS_PER_TOKEN
        shown += min(len(task.context) // CHARS_PER_TOKEN, agent.history_tokens)
        if task.lesson:
            past.append(shown)
        else:
            past.append(shown + agent.act_tokens + _told(suite, task, world))
            asked.append(shown + agent.act_tokens)
    past.sort(reverse=True)
    rules = len(suite.instructions or said(agent.texts, "act")) // CHARS_PER_TOKEN
    needed = rules + max(asked) + sum(past[: agent.retrieved_episodes])
    for name in (name for arm in job.arms if arm.receives.retrieval for name in arm.versions):
        window = lookup(versions, name, on_shelf).context_window
        if window < needed:
            raise LineageError(
                f"the context window of {name} is {window} tokens, but a task with "
                f"{agent.retrieved_episodes} raw episodes (arm retrieval) may need {needed}: lower "
                "agent.retrieved_episodes or agent.history_tokens"
            )


def _told(suite: Suite, task: Task, world: World) -> int:
    """Return about how many tokens the feedback takes; a suite that fails costs its episodes."""
    with suppress(Exception):
        return len(suite.feedback(task, world, 0.0)) // CHARS_PER_TOKEN
    return 0


def _check_tools(job: Job) -> None:
    """Raise LineageError where a version that shall call tools has no format for it."""
    ways = {arm.opens(job.config.agent) for arm in job.arms}
    if "native" not in ways or job.config.engine.kind != "vllm":
        return
    versions = registry(job.config.model)
    for name in job.versions:
        one = lookup(versions, name)
        if one.checkpoint.kind != OPENAI and not one.tool_parser:
            raise LineageError(
                f"agent.opening=native, but {name} has no tool_parser: set it in conf/model/ to "
                "vLLM's name of its format, or use agent.opening=choice"
            )
