"""The syllabus: which histories each step of a training draws, from which curricula. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lineage.core.seeds import rng
from lineage.training.values import Group

if TYPE_CHECKING:  # see `values`
    from lineage.training.histories import Source


def allotted(count: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return how many of `count` each name gets: by share, the largest remainders first."""
    whole = sum(shares.values())
    exact = {name: count * share / whole for name, share in shares.items()}
    given = {name: int(value) for name, value in exact.items()}
    rest = sorted(exact, key=lambda name: (given[name] - exact[name], list(exact).index(name)))
    for name in rest[: count - sum(given.values())]:
        given[name] += 1
    return given


def quotas(most: int, wanted: Mapping[str, int], shares: Mapping[str, float]) -> dict[str, int]:
    """Return how many of `most` places each name gets: by share, and no more than it has `wanted`.

    What one leaves is allotted to those that want more.
    """
    given = dict.fromkeys((name for name in shares if name in wanted), 0)
    while left := most - sum(given.values()):
        short = {name: shares[name] for name in given if given[name] < wanted[name]}
        if not short:
            break
        for name, count in allotted(left, short).items():
            given[name] += min(count, wanted[name] - given[name])
    return given


def draw(
    name: str, counts: Sequence[Mapping[str, int]], sources: Mapping[str, Source]
) -> tuple[Group, ...]:
    """Return the groups of a step, without rollouts as yet.

    `counts` are how many each curriculum gets, in each step up to this one. Its histories are
    walked through in shuffled order, and shuffled anew when all were met. `name` is that of the
    version in training.
    """
    *before, now = counts
    found = []
    for course, count in now.items():
        histories = sources[course].histories
        for number in range(count):
            turn = sum(earlier[course] for earlier in before) + number
            round_, place = divmod(turn, len(histories))
            order = rng("syllabus", name, course, round_).sample(histories, len(histories))
            found.append(Group(course, number, turn, order[place]))
    return tuple(found)
