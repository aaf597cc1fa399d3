"""The syllabus: which histories each step of a training draws, from which curricula. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lineage.core.seeds import rng
from lineage.training.histories import Source
from lineage.training.rollout import Draw


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


def draws(
    name: str,
    step: int,
    counts: Mapping[str, int],
    before: Mapping[str, int],
    sources: Mapping[str, Source],
) -> tuple[Draw, ...]:
    """Return what the groups of `step` branch from: `counts` by curriculum.

    A curriculum's histories are walked through in shuffled order, and shuffled anew when all were
    met; `before` tells how many earlier steps took. `name` is that of the version in training.
    """
    found = []
    for course, count in counts.items():
        histories = sources[course].histories
        for number in range(count):
            turn = before[course] + number
            round_, place = divmod(turn, len(histories))
            order = _order(len(histories), name, course, round_)
            found.append(Draw(course, number, turn, histories[order[place]]))
    return tuple(found)


def _order(count: int, *ids: str | int) -> Sequence[int]:
    return rng("syllabus", *ids).sample(range(count), count)
