"""What a lineage has lived through: raw episodes, kept beside the Knowledge made of them.

Pure. Only the arms and migrations that are about raw history read it; see `lineage.agent.briefing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lineage.curriculum import Plan, Visit
from lineage.search import Entry
from lineage.steplog.schema import Step
from lineage.tasks import Suite, Task


@dataclass(frozen=True)
class Experience:
    """One finished episode as its own instance remembers it; `right` as the feedback says.

    `opened` are the ids of the docs that it read.
    """

    prompt: str
    answer: str
    feedback: str
    right: bool
    opened: tuple[str, ...] = ()


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
        return Entry(self.id, self.experience.prompt, self.experience.feedback)


def past_of(
    visit: Visit, generation: int, episode: str, version: str, experience: Experience, suite: Suite
) -> Past:
    """Return the finished `episode` of `generation` as its lineage remembers it."""
    solution = suite.solution(visit.task, visit.world)
    id = f"g{generation:02d}/{episode}"
    return Past(id, generation, version, visit.task, experience, solution)


def restore(plan: Plan, generation: int, steps: Iterable[Step], suite: Suite) -> tuple[Past, ...]:
    """Return the episodes of a generation from its logged steps; failed ones left nothing."""
    acts: dict[str, Step] = {}
    told: dict[str, str] = {}
    for step in steps:
        if step.kind == "act" and step.score is not None:
            acts[step.episode] = step
        elif step.kind == "feedback":
            told[step.episode] = step.detail
    found = []
    for episode, act in sorted(acts.items()):
        visit = plan.work[int(episode.removeprefix("w"))]
        experience = Experience(
            visit.task.prompt, act.completion, told[episode], right=act.score == 1.0
        )
        found.append(past_of(visit, generation, episode, act.version, experience, suite))
    return tuple(found)


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
