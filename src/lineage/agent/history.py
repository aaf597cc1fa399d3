"""What a lineage has lived through: raw episodes, kept beside the Knowledge made of them.

Pure. Only the arms and migrations that are about raw history read it; see `lineage.agent.inputs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lineage.core.curriculum import Plan, TaskInstance
from lineage.core.tasks import Suite, Task
from lineage.log.schema import Step
from lineage.search import Entry


@dataclass(frozen=True)
class Exchange:
    """One turn in an environment: what the instance did, and what that led to."""

    action: str
    result: str


@dataclass(frozen=True)
class Trace:
    """An episode of many turns so far: a summary of its older turns, then the newer ones."""

    summary: str = ""
    exchanges: tuple[Exchange, ...] = ()

    def then(self, action: str, result: str) -> Trace:
        """Return the trace with one turn more."""
        return Trace(self.summary, (*self.exchanges, Exchange(action, result)))


@dataclass(frozen=True)
class Experience:
    """One finished episode as its own instance remembers it; `right` as the feedback says.

    `opened` are the ids of the docs that it read, `context` what it was given to learn from (or
    its own summary of that), `trace` what it did before it answered.
    """

    prompt: str
    answer: str
    feedback: str
    right: bool
    opened: tuple[str, ...] = ()
    context: str = ""
    trace: Trace = Trace()


@dataclass(frozen=True)
class Past:
    """One finished episode of a lineage. `id` is "g<generation>/<episode>"."""

    id: str
    generation: int
    version: str
    task: Task
    experience: Experience
    solution: str  # the right answer in words, as far as the feedback told it

    @property
    def entry(self) -> Entry:
        """The episode as search finds it."""
        e = self.experience
        results = (exchange.result for exchange in e.trace.exchanges)
        told = (e.context, e.trace.summary, *results, e.feedback)
        return Entry(self.id, e.prompt, "\n".join(text for text in told if text))


def past_of(
    task_instance: TaskInstance,
    generation: int,
    episode: str,
    version: str,
    experience: Experience,
    suite: Suite,
) -> Past:
    """Return the finished `episode` of `generation` as its lineage remembers it."""
    solution = suite.solution(task_instance.task, task_instance.world)
    id = f"g{generation:02d}/{episode}"
    return Past(id, generation, version, task_instance.task, experience, solution)


def restore(plan: Plan, generation: int, steps: Iterable[Step], suite: Suite) -> tuple[Past, ...]:
    """Return the episodes of a generation from its logged steps; failed ones left nothing."""
    episodes: dict[str, list[Step]] = {}
    for step in steps:
        if step.phase == "work":
            episodes.setdefault(step.episode, []).append(step)
    found = []
    for episode, its in sorted(episodes.items()):
        task_instance = plan.work[int(episode.removeprefix("w"))]
        experience = _remembered(task_instance, sorted(its, key=lambda step: step.step))
        if experience is not None:
            version = its[0].version
            found.append(past_of(task_instance, generation, episode, version, experience, suite))
    return tuple(found)


def _remembered(task_instance: TaskInstance, steps: Sequence[Step]) -> Experience | None:
    """Return what the instance of `steps` remembered, None where its episode failed."""
    context, trace, answer, feedback = "", Trace(), "", ""
    opened: list[str] = []
    score: float | None = None
    whole = False
    for step in steps:
        if step.kind == "open" and step.entry:
            opened.append(step.entry)
        elif step.kind == "read":
            context, trace = step.detail, Trace()
            whole = task_instance.task.lesson
        elif step.kind == "summary":
            # It stands for all but the newest turn, which was yet to be answered.
            summary = trace.summary if step.error else step.completion
            trace = Trace(summary, trace.exchanges[-1:])
        elif step.kind == "turn":
            trace = trace.then(step.completion, step.detail)
        elif step.kind == "act":
            answer, score = step.completion, step.score
        elif step.kind == "feedback":
            feedback, whole = step.detail, True
    if not whole:
        return None
    return Experience(
        task_instance.task.prompt, answer, feedback, score == 1.0, tuple(opened), context, trace
    )


def newest(
    past: Sequence[Past], budget: int, tokens: Callable[[Sequence[Past]], int]
) -> tuple[Past, ...]:
    """Return the longest tail of `past` whose `tokens` are within `budget`, oldest first."""
    low, high = 0, len(past)
    while low < high:
        middle = (low + high) // 2
        if tokens(past[middle:]) <= budget:
            high = middle
        else:
            low = middle + 1
    return tuple(past[low:])
