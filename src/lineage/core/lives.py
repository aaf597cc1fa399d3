"""How long entries of a memory live: from snapshots of it to the life of each entry. Pure.

An entry of one snapshot is that of the next which says the same; else that which is all of the
same file; else that of its kind which shares most words with it, if that are half of them or more.
So an entry is followed by what it says, and a file that is renamed or cut up loses nothing.

What is still there has lived for so long at least, so the time after which half of what was
written is gone is the median of Kaplan and Meier (1958, Nonparametric Estimation from Incomplete
Observations), with the interval of Brookmeyer and Crowley (1982) on the log-log scale. It takes
entries for independent, which those of one commit are not: it is too narrow where few commits
wrote many.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

ALIKE = 0.5
"""Share of the words of two texts that both have, from which on one is a revision of the other."""
DAY = 86_400
"""Seconds."""

Change = Literal["written", "revised", "moved", "dropped", "restored"]
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Said:
    """An entry as a snapshot has it. `whole`: it is all of the file at `path`."""

    kind: str
    path: str
    title: str
    text: str
    whole: bool = False

    @property
    def says(self) -> tuple[str, str, str]:
        """What makes it the same entry elsewhere."""
        return self.kind, self.title, self.text


@dataclass(frozen=True)
class Snapshot:
    """What a memory said after `commit`, `at` so many seconds since 1970, `by` those models.

    `undoes` are the commits that it says it reverts, or how their ids begin.
    """

    commit: str
    at: int
    by: tuple[str, ...]
    entries: tuple[Said, ...]
    undoes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Event:
    """What the snapshot number `index` did with an entry, and the one that `undone` that again."""

    what: Change
    index: int
    undone: int | None = None


@dataclass(frozen=True)
class Life:
    """An entry as it was `last` said, what happened to it, and its `texts` after each event."""

    last: Said
    events: tuple[Event, ...]
    texts: tuple[tuple[str, str], ...]

    @property
    def born(self) -> int:
        """The number of the first snapshot that has it."""
        return self.events[0].index

    @property
    def gone(self) -> int | None:
        """The number of the first snapshot that has it no more; None while it is there."""
        last = next(one for one in reversed(self.events) if one.what != "moved")
        return last.index if last.what == "dropped" else None

    @property
    def undone(self) -> int:
        """How many of its events a later commit undid."""
        return sum(one.undone is not None for one in self.events)


@dataclass(frozen=True)
class Median:
    """Days after which half of `n` entries are gone, of which `ended` are; None: not known yet."""

    days: float | None
    low: float | None
    high: float | None
    n: int
    ended: int


def lives(snapshots: Sequence[Snapshot]) -> tuple[Life, ...]:
    """Return the life of each entry of `snapshots`, which follow each other, in order of birth."""
    found: list[Life] = []
    there: list[int] = []  # of each entry of the snapshot before, the number of its life
    states: dict[frozenset[tuple[str, ...]], int] = {}
    for index, snapshot in enumerate(snapshots):
        before = [found[number].last for number in there]
        pairs = matched(before, snapshot.entries)
        kept = set(pairs.values())
        state = frozenset((*one.says, one.path) for one in snapshot.entries)
        back = states.setdefault(state, index)
        for at, number in enumerate(there):
            if at not in kept:
                found[number] = _dropped(found[number], index, snapshots, back)
        gone: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        for number, life in enumerate(found):
            if life.gone is not None:
                gone[life.last.says].append(number)
        now: list[int] = []
        for at, said in enumerate(snapshot.entries):
            if at in pairs:
                number = there[pairs[at]]
                found[number] = _went_on(found[number], said, index)
            elif gone[said.says]:
                number = gone[said.says].pop()
                found[number] = _restored(found[number], said, index)
            else:
                number = len(found)
                found.append(Life(said, (Event("written", index),), ((said.title, said.text),)))
            now.append(number)
        there = now
    return tuple(found)


def matched(before: Sequence[Said], after: Sequence[Said]) -> dict[int, int]:
    """Return of each entry of `after` that is one of `before` which: numbers of both."""
    found: dict[int, int] = {}
    taken: set[int] = set()
    for same in (
        lambda one: (*one.says, one.path),
        lambda one: one.says,
        lambda one: (one.kind, one.path) if one.whole else None,
    ):
        free: defaultdict[object, list[int]] = defaultdict(list)
        for at, one in enumerate(before):
            if at not in taken and same(one) is not None:
                free[same(one)].append(at)
        for at, one in enumerate(after):
            if at not in found and free[same(one)]:
                found[at] = free[same(one)].pop(0)
                taken.add(found[at])
    for at, old in _revisions(before, after, found, taken):
        if at not in found and old not in taken:
            found[at] = old
            taken.add(old)
    return found


def median_life(
    snapshots: Sequence[Snapshot],
    found: Iterable[Life],
    end: int,
    confidence: float,
    known: bool = True,
) -> Median:
    """Return how long the entries `found` live, seen until `end` (seconds since 1970).

    Where not all is `known`, those of the first snapshot were written nobody knows when, and do
    not count.
    """
    ended, lasting = list[float](), list[float]()
    for life in found:
        if known or life.born > 0:
            until = end if life.gone is None else snapshots[life.gone].at
            days = max(until - snapshots[life.born].at, 0) / DAY
            (lasting if life.gone is None else ended).append(days)
    n = len(ended) + len(lasting)
    if not ended:
        return Median(None, None, None, n, 0)
    # Only here: it takes longer to import than all else that a command needs.
    import numpy as np
    from scipy.stats import CensoredData, ecdf

    left = ecdf(CensoredData(uncensored=ended, right=lasting)).sf
    with warnings.catch_warnings():
        # Where all or nothing is left the scale has no sides.
        warnings.simplefilter("ignore", RuntimeWarning)
        sides = left.confidence_interval(confidence, method="log-log")
    shares = left.probabilities

    def first(side: Iterable[float]) -> float | None:
        """Return the first time at which no more than half is left."""
        times = zip(left.quantiles, side, strict=True)
        return next((float(time) for time, share in times if share <= 0.5), None)

    low = np.where(np.isnan(sides.low.probabilities), shares, sides.low.probabilities)
    return Median(first(shares), first(low), first(sides.high.probabilities), n, len(ended))


def _revisions(
    before: Sequence[Said],
    after: Sequence[Said],
    found: Mapping[int, int],
    taken: set[int],
) -> Iterator[tuple[int, int]]:
    """Yield pairs of `after` and `before` that are alike, the likest first, then of one file."""
    shelf: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    bags = {}
    for old, one in enumerate(before):
        if old not in taken:
            bags[old] = _bag(one)
            for word in bags[old]:
                shelf[one.kind, word].append(old)
    likely = []
    for at, one in enumerate(after):
        if at in found:
            continue
        words = _bag(one)
        shared: defaultdict[int, int] = defaultdict(int)
        for word in words:
            for old in shelf[one.kind, word]:
                shared[old] += 1
        for old, both in shared.items():
            share = both / len(words | bags[old])
            if share >= ALIKE:
                likely.append((-share, before[old].path != one.path, at, old))
    for _, _, at, old in sorted(likely):
        yield at, old


def _bag(one: Said) -> frozenset[str]:
    return frozenset(_WORD.findall(f"{one.title} {one.text}".casefold()))


def _went_on(life: Life, said: Said, index: int) -> Life:
    events, text = list(life.events), (said.title, said.text)
    if text != life.texts[-1]:
        # What it said before is said again: all since then is undone.
        same = [at for at, other in enumerate(life.texts) if other == text]
        if same:
            events = _undo(events, lambda at: at > same[-1], index)
        events.append(Event("revised", index))
    elif said.path != life.last.path:
        events.append(Event("moved", index))
    else:
        return replace(life, last=said)
    return Life(said, tuple(events), (*life.texts, text))


def _restored(life: Life, said: Said, index: int) -> Life:
    last = len(life.events) - 1
    events = _undo(list(life.events), lambda at: at == last, index)
    return Life(said, (*events, Event("restored", index)), (*life.texts, life.texts[-1]))


def _dropped(life: Life, index: int, snapshots: Sequence[Snapshot], back: int) -> Life:
    """Return `life` without the entry: was what wrote it undone, or did it go later?

    It was where the commit says that it reverts that, or brings all back to what was before.
    """
    born, undoes = snapshots[life.born].commit, snapshots[index].undoes
    events = list(life.events)
    if back < life.born or born.startswith(undoes):
        events = _undo(events, lambda at: True, index)
    return Life(life.last, (*events, Event("dropped", index)), (*life.texts, life.texts[-1]))


def _undo(events: Sequence[Event], which: Callable[[int], bool], index: int) -> list[Event]:
    """Return `events`, of which those `which` count as undone by the snapshot `index`."""
    return [
        replace(one, undone=index) if which(at) and one.undone is None else one
        for at, one in enumerate(events)
    ]
