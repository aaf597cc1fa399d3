"""The `reasoning` suite: problems that reasoning-gym makes from seeds and scores itself.

A world is one of reasoning-gym's categories (algorithmic, games, logic, …) with some of its
datasets, and a group is one dataset. No problem tells anything about another, so there are no
facts: what can be carried over is how problems of a kind are solved. *Dissimilar* is another
category.

reasoning-gym: Stojanovski et al. 2025, https://arxiv.org/abs/2505.24760.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar

from lineage.core.errors import LineageError, nearest
from lineage.core.fields import Count
from lineage.core.seeds import derive, rng
from lineage.core.tasks import Suite, Task, World

WORLDS_KEPT = 64
"""Worlds that are not made again when they are asked for again: some take a second to make."""

DRAWS = 4
"""Draws for each problem wanted: small datasets repeat themselves."""

SEED_BITS = 31
"""Of the seeds that datasets take: some add to them and give the sum to NumPy, which takes 32."""

_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.IGNORECASE | re.DOTALL)
_SAID = re.compile(r"\banswer is\b:?", re.IGNORECASE)


@dataclass(frozen=True)
class Reasoning(Suite):
    """Problems to reason about, of reasoning-gym: worlds are its categories."""

    larger: ClassVar[str] = "suite.tasks_per_world"
    categories: list[str]  # of reasoning-gym; empty: all
    exclude: list[str]  # datasets that are in no world
    datasets_per_world: Count
    tasks_per_world: Count  # spread evenly over its datasets
    settings: dict[str, dict[str, Any]]  # dataset -> its own configuration: how hard it is

    def __post_init__(self) -> None:
        for name, values in self.settings.items():
            if {"seed", "size"} & set(values):
                raise LineageError(
                    f"suite.settings.{name} is {values!r}: it must be keys of that dataset's "
                    "configuration, and neither seed nor size"
                )

    def world(self, seed: int, generation: int) -> World:
        """Return the world of `seed`, which is the same in every generation.

        Its id is the category: two seeds may give one category, with other problems. Raises
        LineageError where `categories`, `exclude` or `settings` name what reasoning-gym does not
        have.
        """
        return replace(self._worlds(seed), generation=generation)

    def score(self, task: Task, completion: str) -> float:
        """Return the dataset's own score of the answer in `completion`; see `answer_in`.

        It may be anything in [0, 1]. A scorer that fails on an answer gives 0.
        """
        name, entry = task.check
        try:
            found = float(self._datasets(name).score_answer(answer_in(completion, task), entry))
        except Exception:
            # Scorers parse an answer, and some let the parser's errors through.
            return 0.0
        return min(1.0, max(0.0, found))

    @cached_property
    def _worlds(self) -> Callable[[int], World]:
        return lru_cache(WORLDS_KEPT)(self._world)

    @cached_property
    def _datasets(self) -> Callable[[str], Any]:
        """What scores the answers of a dataset, which does not depend on its seed."""
        return lru_cache(None)(lambda name: self._dataset(name, 0, 1))

    def _world(self, seed: int) -> World:
        groups = self._groups()
        draw = rng("reasoning", seed)
        category = draw.choice(sorted(groups))
        names = groups[category]
        chosen = sorted(draw.sample(names, min(self.datasets_per_world, len(names))))
        share, more = divmod(self.tasks_per_world, len(chosen))
        tasks = (
            task
            for place, name in enumerate(chosen)
            for task in self._tasks(category, name, seed, share + (place < more))
        )
        return World(f"reasoning-{category}", 0, (), tuple(tasks))

    def _tasks(self, category: str, name: str, seed: int, count: int) -> list[Task]:
        """Return `count` problems of the dataset `name`, fewer where it repeats itself."""
        own = derive("reasoning", seed, name) >> (63 - SEED_BITS)
        dataset = self._dataset(name, own, count * DRAWS)
        tasks: dict[str, Task] = {}
        for index in range(count * DRAWS):
            if len(tasks) == count:
                break
            entry = dataset[index]
            question = str(entry["question"]).strip()
            if question in tasks:
                continue
            tasks[question] = Task(
                id=f"reasoning-{category}-{seed:x}/{name}/{index}",
                world=f"reasoning-{category}",
                prompt=question,
                answer=str(entry["answer"]),
                group=name,
                category=category,
                check=(name, entry),
            )
        return list(tasks.values())

    def _groups(self) -> dict[str, list[str]]:
        """Return the datasets of each category that worlds are made of."""
        found: dict[str, list[str]] = {}
        known = _library().factory.DATASETS
        for name, (kind, _) in sorted(known.items()):
            found.setdefault(kind.__module__.split(".")[1], []).append(name)
        _refuse_unknown("categories", self.categories, list(found))
        _refuse_unknown("exclude", self.exclude, list(known))
        _refuse_unknown("settings", list(self.settings), list(known))
        groups = {
            category: [name for name in names if name not in self.exclude]
            for category, names in found.items()
            if category in self.categories or not self.categories
        }
        left = {category: names for category, names in groups.items() if names}
        if not left:
            raise LineageError("suite.exclude leaves no dataset of suite.categories: exclude fewer")
        return left

    def _dataset(self, name: str, seed: int, size: int) -> Any:
        values = self.settings.get(name, {})
        try:
            return _library().create_dataset(name, seed=seed, size=size, **values)
        except (AssertionError, TypeError, ValueError) as error:
            raise LineageError(
                f"dataset {name!r} of reasoning-gym refuses suite.settings.{name}={values!r}: "
                f"{error} (or exclude it: suite.exclude)"
            ) from error


def answer_in(completion: str, task: Task) -> str:
    """Return the part of `completion` that answers `task`.

    It is what the last `<answer>` encloses; else what follows the last "answer is"; else as many
    of the last lines that are not empty as the right answer has. The latter two lose a full stop
    at their end that the right answer does not have.
    """
    if tagged := _TAGGED.findall(completion):
        return str(tagged[-1]).strip()
    if said := list(_SAID.finditer(completion)):
        text = completion[said[-1].end() :].strip()
    else:
        lines = [line for line in completion.strip().splitlines() if line.strip()]
        text = "\n".join(lines[-len(task.answer.strip().splitlines() or [""]) :]).strip()
    ends = "." if task.answer.endswith(".") else ""
    return text.removesuffix(".") if text.endswith(f"{ends}.") else text


def _library() -> Any:
    # Here, because it takes a second or more, and other suites do without.
    import reasoning_gym

    return reasoning_gym


def _refuse_unknown(key: str, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise LineageError(
                f"suite.{key} names {name!r}, which reasoning-gym does not have"
                f"{nearest(name, known)}"
            )
