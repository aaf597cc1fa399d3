"""What is known of each entry of a memory before and after tasks were asked with all of it. Pure.

By words alone: which tasks an entry is about, whether it holds what is right, whether a wrong
answer is what it says. So it tells something to look at, as `lineage.core.findings` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lineage.core.findings import CONTRADICTION, DUPLICATE, findings
from lineage.core.knowledge import Doc, Knowledge, Memory
from lineage.core.tasks import Task
from lineage.core.worth import Evidence
from lineage.models.protocol import TokenCounter
from lineage.search.bm25 import terms
from lineage.search.relevance import EMPTY_WORDS, Passages
from lineage.suites.wording import holds

SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")
NEAR = 0.9
"""An entry is about a task where it covers as much of it as the best does, or nearly so."""


@dataclass(frozen=True)
class Probe:
    """How a task was answered: its score (None: engine or suite failed), and what it took."""

    score: float | None
    said: str
    opened: tuple[str, ...]
    memory_tokens: int
    doc_tokens: int
    prompt_tokens: int


Probes = Mapping[int, Probe]
"""By number of the task."""


def scores_of(probes: Probes) -> dict[int, float]:
    """Return the scores that there are."""
    return {task: one.score for task, one in probes.items() if one.score is not None}


def about(knowledge: Knowledge, tasks: Sequence[Task], least: float) -> dict[str, tuple[int, ...]]:
    """Return by entry the numbers of the tasks that it is about.

    It covers `least` of a task's telling words, each as heavy as it is rare, and nearly as much as
    any entry does (see `lineage.search.relevance`).
    """
    ids = [entry.id for entry in knowledge.entries]
    passages = Passages((), (_parts(entry) for entry in knowledge.entries))
    found: dict[str, list[int]] = {id: [] for id in ids}
    for number, task in enumerate(tasks):
        worth = passages.worth(task.prompt, ids)
        best = max(worth.values(), default=0.0)
        for id, share in worth.items():
            if share and share >= least and share >= NEAR * best:
                found[id].append(number)
    return {id: tuple(numbers) for id, numbers in found.items()}


def gather(
    knowledge: Knowledge,
    tasks: Sequence[Task],
    near: Mapping[str, tuple[int, ...]],
    probes: Probes,
    left_out: Mapping[str, Mapping[int, float]],
    count: TokenCounter,
) -> list[Evidence]:
    """Return what is known of each entry of `knowledge`, in its order.

    `near` is what entries are `about`; `probes` are answers with all of them, `left_out` the scores
    without one.
    """
    entries = {entry.id: entry for entry in knowledge.entries}
    right = {
        id: tuple(n for n in near[id] if _holds(entry, tasks[n])) for id, entry in entries.items()
    }
    rivals: dict[str, set[str]] = {id: set() for id in entries}
    repeats: dict[str, str] = {}
    for one in findings(knowledge):
        first, second = one.entries
        if one.kind == CONTRADICTION:
            rivals[first].add(second)
            rivals[second].add(first)
        elif one.kind == DUPLICATE and right[first] == right[second]:
            # What shares most of its words may differ in the one that matters.
            repeats[second] = first
    misled = _misled(entries, tasks, near, probes)
    made = []
    for id, entry in entries.items():
        settled = {n for other in rivals[id] for n in right[other]}
        made.append(
            Evidence(
                id,
                isinstance(entry, Doc),
                count(entry.text),
                near[id],
                right[id],
                tuple(n for n in near[id] if id in misled.get(n, ())),
                tuple(n for n in near[id] if n in settled),
                tuple(sorted(rivals[id])),
                repeats.get(id, ""),
                left_out.get(id),
            )
        )
    return made


def _parts(entry: Memory | Doc) -> tuple[str, str, str]:
    if isinstance(entry, Doc):
        return entry.id, entry.title, entry.body
    return entry.id, "", entry.text


def _answers(task: Task) -> Sequence[str]:
    """Return all right answers, where the task comes from a file that may name several."""
    found: Sequence[str] = getattr(task.check, "answers", ()) or (task.answer,)
    return found


def _holds(entry: Memory | Doc, task: Task) -> bool:
    return any(holds(entry.text, answer) for answer in _answers(task))


def _misled(
    entries: Mapping[str, Memory | Doc],
    tasks: Sequence[Task],
    near: Mapping[str, tuple[int, ...]],
    probes: Probes,
) -> dict[int, tuple[str, ...]]:
    """Return by task that was answered wrongly which entries say what was answered first.

    Of several those that say it in the line that is nearest to the question.
    """
    found = {}
    for number, probe in probes.items():
        asked = {*terms(tasks[number].prompt)} - EMPTY_WORDS
        told = {*terms(SENTENCE_END.split(probe.said.strip(), 1)[0])} - EMPTY_WORDS - asked
        if probe.score is None or probe.score > 0 or not told:
            continue
        shares = {
            id: _nearest(entry, told, asked)
            for id, entry in entries.items()
            if number in near[id] and (isinstance(entry, Memory) or id in probe.opened)
        }
        most = max(shares.values(), default=0)
        found[number] = tuple(id for id, share in shares.items() if share and share == most)
    return found


def _nearest(entry: Memory | Doc, told: set[str], asked: set[str]) -> int:
    """Return how many words of what was `asked` a line of `entry` has, of those with all `told`."""
    text = entry.body if isinstance(entry, Doc) else entry.text
    lines = ({*terms(line)} for line in text.splitlines())
    return max((len(asked & line) for line in lines if told <= line), default=0)
