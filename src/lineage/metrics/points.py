"""What each pair of a run has of one figure: with it two points of a sweep are compared by pair.

Only pairs that were asked the same tells something: the tasks of each pair stand beside its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from lineage.core.intervals import DIFFERENCE, Interval, Range, interval, tested
from lineage.metrics.relations import over_baseline, scored
from lineage.metrics.scoring import INHERITED, PROBES

OF_GAINS = Range(-2.0, 2.0)
"""What two gains can differ by."""


@dataclass(frozen=True)
class Asked:
    """What a pair has: the mean of its probes, and a digest of which these are."""

    value: float
    tasks: str


@dataclass(frozen=True)
class Below:
    """How much less a point has than the best, over the pairs that both have, and if it is told.

    `interval` is None where no pair was asked the same in both.
    """

    interval: Interval | None
    told: bool = False


def by_pair(log: duckdb.DuckDBPyConnection, arm: str, family: str, gain: bool) -> dict[int, Asked]:
    """Return what each pair of the run in `log` has in probes of `family` under `arm`.

    With `gain` what it has more than under the baseline, in generations that inherited; else its
    score in all. A probe without a score counts in neither, nor in the digest.
    """
    which = INHERITED if gain else PROBES
    cells = over_baseline(which, ["family"]) if gain else scored("arm, family", which)
    values = log.execute(
        f"SELECT pair, value FROM ({cells}) WHERE arm = ? AND family = ?", [arm, family]
    ).fetchall()
    tasks = log.execute(
        "SELECT pair, md5(string_agg(generation || chr(0) || episode || chr(0) || task, chr(0) "
        f"ORDER BY generation, episode)) FROM steps WHERE {which} AND score IS NOT NULL "
        "AND arm = ? AND family = ? GROUP BY pair",
        [arm, family],
    ).fetchall()
    digests = {int(pair): str(digest) for pair, digest in tasks}
    return {
        int(pair): Asked(float(value), digests[int(pair)])
        for pair, value in values
        if value is not None
    }


def below(
    best: Mapping[int, Asked],
    others: Mapping[int, Mapping[int, Asked]],
    confidence: float,
    gain: bool,
) -> dict[int, Below]:
    """Return by the number of each of the `others` how much less it has than the `best`.

    One is told where the interval excludes 0 and its p, times the number of others, is below 1 -
    confidence. The best was looked for, and still no more is needed: if the point were the best in
    truth, one of so many comparisons with it would have to mislead (Hsu 1996, "Multiple
    Comparisons", with Bonferroni's bound in place of Dunnett's).
    """
    found = {number: _difference(best, other, confidence, gain) for number, other in others.items()}
    tested_here = sum(one is not None and tested(one.p, one.n) for one in found.values())
    return {
        number: Below(one, one is not None and _is_told(one, confidence, tested_here))
        for number, one in found.items()
    }


def _is_told(one: Interval, confidence: float, tests: int) -> bool:
    known = tested(one.p, one.n) and one.excludes_zero
    return known and one.p is not None and one.p * tests < 1 - confidence


def _difference(
    a: Mapping[int, Asked], b: Mapping[int, Asked], confidence: float, gain: bool
) -> Interval | None:
    both = {
        pair: one.value - b[pair].value
        for pair, one in a.items()
        if pair in b and b[pair].tasks == one.tasks
    }
    return interval(both, confidence, OF_GAINS if gain else DIFFERENCE) if both else None
