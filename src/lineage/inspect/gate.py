"""What a threshold on the coverage of docs would have opened, from a run's log: to fit one.

Every search of the log is asked again, without a model: of the docs that it offered the worthiest
(`lineage.search.relevance`) is opened where it is worth the threshold. That holds for a run of any
`agent.opening`, since what is offered does not depend on it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import mean
from typing import Any

from lineage.core.errors import LineageError
from lineage.core.intervals import SHARE, Interval, interval
from lineage.log.views.connect import connect
from lineage.metrics.docsearch import read_searches
from lineage.metrics.ground import AT_ONCE, spans
from lineage.metrics.records import records
from lineage.search.relevance import Passages

STEPS = 20
"""Thresholds from 0 to 1 that are looked at, beside the two ends."""
THRESHOLDS = tuple(step / STEPS for step in range(STEPS + 1))
# Of each episode the first search: what it asked, what it offered, and which docs it needed.
SEARCHES = """\
SELECT g.shelf, g.pair, g.version, g.query, g.results,
       coalesce(n.docs, []) AS needed, o.search IS NOT NULL AS opened,
       coalesce(o.right, false) AS opened_right
FROM (SELECT g.*, s.version, s.detail AS query, s.results,
             row_number() OVER (PARTITION BY g.search ORDER BY s.step) AS nth
      FROM ground_searches g JOIN steps s USING (folder, lineage, generation, episode)
      WHERE s.kind = 'search') g
LEFT JOIN (SELECT search, list(DISTINCT entry) AS docs FROM ground_needed WHERE missing
           GROUP BY ALL) n USING (search)
LEFT JOIN (SELECT o.search, bool_or(n.entry IS NOT NULL) AS right FROM ground_opened o
           LEFT JOIN (SELECT DISTINCT search, entry FROM ground_needed WHERE missing) n
           ON n.search = o.search AND n.entry = o.entry GROUP BY ALL) o USING (search)
WHERE g.nth = 1 AND g.pair BETWEEN ? AND ? ORDER BY g.shelf, g.turn
"""
SHELVES = """\
SELECT h.shelf, any_value(k.content) FROM ground_shelves h JOIN knowledge k
ON k.folder = h.folder AND k.pair = h.pair AND k.knowledge = h.knowledge
WHERE h.pair BETWEEN ? AND ? GROUP BY ALL
"""


@dataclass(frozen=True)
class Search:
    """One episode that searched: of the doc that a gate would open, its worth (0: none) and whether
    it was needed; whether any offered or other doc was needed; and what was opened in truth."""

    pair: int
    version: str
    worth: float
    right: bool
    needed: bool
    opened: bool
    opened_right: bool


@dataclass(frozen=True)
class Outcome:
    """What opening by one rule comes to: shares in 0..1, means over pairs; None: not known."""

    when_needed: Interval | None
    """Episodes in which a needed doc was opened, of those that needed one."""
    in_vain: Interval | None
    """Episodes in which a doc was opened, of those that needed none."""
    precision: Interval | None
    """Opened docs that were needed."""


@dataclass(frozen=True)
class Fit:
    """The threshold that parts best, and what that comes to on pairs it was not fitted on."""

    threshold: float
    held_out: Outcome
    as_run: Outcome
    by_threshold: Mapping[float, Outcome]
    searches: int
    needed: int
    pairs: int


def searches(run: Path, version: str | None = None) -> list[Search]:
    """Return the episodes of `run` that searched, of those of `version` where one is named.

    Raises LineageError where the run logged no search, or no facts to tell by what was needed.
    """
    log = connect(run)
    read_searches(log)
    found: list[Search] = []
    for first, last in spans(log, "ground_shelves", AT_ONCE):
        contents = dict(log.execute(SHELVES, [first, last]).fetchall())
        rows = log.execute(SEARCHES, [first, last]).fetchall()
        for shelf, its in groupby(rows, key=itemgetter(0)):
            found += _asked_again(contents[shelf], its)
    if version is not None:
        found = [one for one in found if one.version == version]
    if not found:
        whose = f" of {version}" if version is not None else ""
        raise LineageError(
            f"{run} holds no search{whose} for docs that its tasks' facts can judge: run one with "
            "agent.docs=true on a suite with facts, such as codebook"
        )
    return found


def _asked_again(content: str, rows: Iterable[Sequence[Any]]) -> Iterator[Search]:
    held = json.loads(content)
    docs = [(doc["id"], doc["title"], doc["body"]) for doc in held["docs"]]
    passages = Passages((memory["text"] for memory in held["memories"]), docs)
    known = {id for id, _, _ in docs}
    for _, pair, version, query, results, needed, opened, opened_right in rows:
        offered = [id for id in results if id in known]
        worth = passages.worth(query, offered)
        best = max(offered, key=lambda id: worth[id], default="")
        most = worth.get(best, 0.0)
        right = most > 0 and best in needed
        yield Search(pair, version, most, right, bool(needed), bool(opened), bool(opened_right))


def fit(found: Sequence[Search], confidence: float) -> Fit:
    """Return the threshold that parts best the episodes that need a doc from the others.

    Best is the greatest Youden's J (Youden, "Index for rating diagnostic tests", Cancer 1950): the
    share opened when needed less the share opened in vain, each a mean over pairs; of several the
    highest. `held_out` is fitted on the pairs of even number for those of odd, and the other way
    round. Raises LineageError where either kind of episode is missing.
    """
    if not any(one.needed for one in found) or all(one.needed for one in found):
        which = "none" if not any(one.needed for one in found) else "every one"
        raise LineageError(
            f"of {len(found)} episodes that searched {which} needed a doc: nothing can be fitted; "
            "a memory that holds every fact (agent.memory_budget) leaves docs without a use"
        )
    halves = [[one for one in found if one.pair % 2 == half] for half in (0, 1)]
    fitted = [_best(half) if half else None for half in halves]
    kept = [
        (one, other is not None and _through(one, other))
        for half, other in zip(halves, reversed(fitted), strict=True)
        for one in half
        if other is not None
    ]
    return Fit(
        threshold=_best(found),
        held_out=_outcome([(o, opened, opened and o.right) for o, opened in kept], confidence),
        as_run=_outcome([(o, o.opened, o.opened_right) for o in found], confidence),
        by_threshold={at: _at(found, at, confidence) for at in THRESHOLDS},
        searches=len(found),
        needed=sum(one.needed for one in found),
        pairs=len({one.pair for one in found}),
    )


def confidence_of(run: Path) -> float:
    """Return the level of the intervals of `run`."""
    (record,) = records(connect(run)).values()
    return record.confidence


def _through(one: Search, threshold: float) -> bool:
    return one.worth > 0 and one.worth >= threshold


def _best(found: Sequence[Search]) -> float:
    def parted(threshold: float) -> float:
        needed = _by_pair(
            (one.pair, one.right and _through(one, threshold)) for one in found if one.needed
        )
        vain = _by_pair((one.pair, _through(one, threshold)) for one in found if not one.needed)
        return mean(needed.values() or [0.0]) - mean(vain.values() or [0.0])

    return max(THRESHOLDS, key=lambda at: (parted(at), at))


def _at(found: Sequence[Search], threshold: float, confidence: float) -> Outcome:
    opened = [(one, _through(one, threshold)) for one in found]
    return _outcome([(one, was, was and one.right) for one, was in opened], confidence)


def _outcome(told: Sequence[tuple[Search, bool, bool]], confidence: float) -> Outcome:
    """Return what opening comes to, by episode: whether a doc was opened, and a needed one."""
    return Outcome(
        _share(((o.pair, right) for o, _, right in told if o.needed), confidence),
        _share(((o.pair, opened) for o, opened, _ in told if not o.needed), confidence),
        _share(((o.pair, right) for o, opened, right in told if opened), confidence),
    )


def _by_pair(values: Iterable[tuple[int, bool]]) -> dict[int, float]:
    known = defaultdict(list)
    for pair, value in values:
        known[pair].append(float(value))
    return {pair: mean(its) for pair, its in known.items()}


def _share(values: Iterable[tuple[int, bool]], confidence: float) -> Interval | None:
    known = _by_pair(values)
    return interval(known, confidence, SHARE) if known else None
